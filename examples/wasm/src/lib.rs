//! A worker as a WebAssembly module: the machine, HTTP, JSON and the user's code, with neither std nor an allocator.
//!
//! A module has no clock and no sockets. Its host lends it eight functions (`border.rs`), calls `work`, and gets the
//! number of the tasks that were run. Any runtime does; `examples/src/bin/wasm_host.rs` has one on wasmi.
#![no_std]
#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "the names that host and module call each other by")]
mod border;

use core::cell::Cell;
use core::fmt::Write as _;
use core::panic::PanicInfo;

use border::Host;
use downbeat_core::drive::{Buffers, Config, Session, Site, run};
use downbeat_core::machine::{EntryId, Policy};
use downbeat_core::ports::{Assignment, End, Executor, Progress, Unfit};
use heapless::String;
use serde::{Deserialize, Serialize};

/// Tasks at once.
const SLOTS: usize = 2;
/// Bytes of a held result.
const RESULT: usize = 256;
/// The longest name, and the longest greeting, in bytes.
const NAME: usize = 64;
const GREETING: usize = NAME + 16;

/// Works until the host says that it is enough. How many tasks were run; `None`: the settings are unfit.
fn work() -> Option<u32> {
    let mut memory = [0; 256];
    let mut words = border::settings(&mut memory)?.split(' ');
    let (host, base, task_type) = (words.next()?, words.next()?, words.next()?);
    let config = Config { site: Site { host, base }, task_type, worker_id: "wasm", domain: "", key: None };
    let (mut receive, mut send) = ([0; 2_048], [0; 2_048]);
    let buffers = Buffers { receive: &mut receive, send: &mut send, token: &mut [] };
    let policy = Policy { concurrency: SLOTS as u16, ..Policy::DEFAULT };
    let mut session = Session::<SLOTS, RESULT>::new(policy, border::now(), config, buffers).ok()?;
    let done = Cell::new(0);
    let (mut link, mut idle) = (Host::new(&done), Host::new(&done));
    let mut code = Greeter { greetings: [const { None }; SLOTS], done: &done };
    run(&mut session, &mut link, &mut idle, &Host::new(&done), &mut code);
    Some(done.get())
}

#[derive(Deserialize)]
struct Person {
    name: String<NAME>,
}

#[derive(Serialize)]
struct Greeting<'a> {
    greeting: &'a str,
}

/// The user's code.
struct Greeter<'d> {
    greetings: [Option<String<GREETING>>; SLOTS],
    done: &'d Cell<u32>,
}

impl Executor for Greeter<'_> {
    fn start(&mut self, entry: EntryId, task: &Assignment<'_>) -> Result<(), Unfit> {
        let unfit = Unfit { reason: "the input must be {\"name\": text}, and the name of at most 64 bytes" };
        let mut scratch = [0; NAME];
        let decoded = serde_json_core::from_slice_escaped::<Person>(task.input, &mut scratch);
        let (person, _) = decoded.map_err(|_| unfit)?;
        let mut greeting = String::new();
        write!(greeting, "Good morning, {}", person.name).map_err(|_| unfit)?;
        if let Some(place) = self.greetings.get_mut(usize::from(entry.index())) {
            *place = Some(greeting);
        }
        Ok(())
    }

    fn step(&mut self, entry: EntryId, output: &mut [u8]) -> Progress {
        let greeting = self.greetings.get_mut(usize::from(entry.index())).and_then(Option::take);
        self.done.set(self.done.get().saturating_add(1));
        let greeting = Greeting { greeting: greeting.as_deref().unwrap_or_default() };
        match serde_json_core::to_slice(&greeting, output) {
            Ok(output) => Progress::Done { end: End::Completed, output },
            Err(_) => Progress::Done { end: End::Terminal { reason: "the output is too long" }, output: 0 },
        }
    }

    fn cancel(&mut self, entry: EntryId) {
        if let Some(place) = self.greetings.get_mut(usize::from(entry.index())) {
            *place = None;
        }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
