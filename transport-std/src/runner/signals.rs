//! The process's signals, for as long as a runner listens to them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use super::handle::Handle;
use crate::context::lock;
use crate::error::Error;

/// The signals that end a runner.
const ENDING: [i32; 2] = [SIGTERM, SIGINT];

/// Who listens. A handler, once installed, stays for the process's life; so that a program which goes on after its
/// runner can still be ended, the signals have their usual effect while nobody listens.
static LISTENERS: Mutex<Listeners> = Mutex::new(Listeners { count: 0, nobody: None });

struct Listeners {
    count: usize,
    /// Whether there is none; what the handlers look at.
    nobody: Option<Arc<AtomicBool>>,
}

impl Listeners {
    fn enter(&mut self) -> io::Result<()> {
        let nobody = match &self.nobody {
            Some(nobody) => nobody,
            None => {
                let nobody = Arc::new(AtomicBool::new(false));
                for signal in ENDING {
                    flag::register_conditional_default(signal, Arc::clone(&nobody))?;
                }
                self.nobody.insert(nobody)
            }
        };
        nobody.store(false, Ordering::SeqCst);
        self.count += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.count = self.count.saturating_sub(1);
        if let Some(nobody) = &self.nobody {
            nobody.store(self.count == 0, Ordering::SeqCst);
        }
    }
}

/// The first signal drains, the second aborts, the third has its usual effect. The thread ends with the runner.
pub(super) fn watch(handle: Handle) -> Result<(), Error> {
    let refused = |what| move |cause| Error::System { what, cause };
    lock(&LISTENERS).enter().map_err(refused("a signal handler"))?;
    let thread = spawn(handle);
    if thread.is_err() {
        lock(&LISTENERS).leave();
    }
    thread.map_err(refused("the signals' thread"))
}

fn spawn(handle: Handle) -> io::Result<()> {
    let mut signals = Signals::new(ENDING)?;
    // It is set once: a runner is started once.
    let _ = handle.shared.signals.set(signals.handle());
    let listen = move || {
        let mut received = signals.forever();
        if received.next().is_some() {
            handle.drain();
        }
        if received.next().is_some() {
            handle.abort();
        }
        lock(&LISTENERS).leave();
    };
    std::thread::Builder::new().name("downbeat-signals".to_owned()).spawn(listen).map(drop)
}
