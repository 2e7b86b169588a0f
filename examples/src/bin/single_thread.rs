//! A host with one thread: core's loop over a blocking socket, as it is on a microcontroller, in fixed memory.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use downbeat_core::drive::{Buffers, Idle, Session, run};
use downbeat_core::machine::{Clock as _, Control, Instant, Policy};
use downbeat_examples::{Args, Greeter, Socket, SystemClock};

/// Tasks at once.
const SLOTS: usize = 2;
/// Bytes of a held result.
const RESULT: usize = 512;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::read()?;
    let (mut receive, mut send) = ([0; 8_192], [0; 2_048]);
    let buffers = Buffers { receive: &mut receive, send: &mut send, token: &mut [] };
    let policy = Policy { concurrency: u16::try_from(SLOTS)?, ..Policy::DEFAULT };
    let seed = u64::from(std::process::id());
    let mut session = Session::<SLOTS, RESULT>::new(policy, seed, args.config("single-thread"), buffers)?;
    let done = Rc::new(Cell::new(0));
    let mut socket = Socket::new(&args.host);
    let mut idle = Sleep { done: Rc::clone(&done), count: args.count };
    run(&mut session, &mut socket, &mut idle, &SystemClock, &mut Greeter::new(done));
    Ok(())
}

/// Sleeps between calls, and drains when enough tasks were run.
struct Sleep {
    done: Rc<Cell<u32>>,
    count: u32,
}

impl Idle for Sleep {
    #[expect(
        clippy::disallowed_methods,
        reason = "the machine's deadline is waited for, and nothing else can come"
    )]
    fn wait(&mut self, until: Option<Instant>) {
        let left = until
            .map_or(Duration::from_millis(100), |until| until.saturating_duration_since(SystemClock.now()));
        std::thread::sleep(left);
    }

    fn control(&mut self) -> Option<Control> {
        let enough = self.done.get() >= self.count;
        if enough {
            self.count = u32::MAX;
        }
        enough.then_some(Control::Drain)
    }
}
