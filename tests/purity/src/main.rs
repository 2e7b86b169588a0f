//! A program of C's world: no std, no allocator. It links only if nothing in downbeat-core, or below it, needs them.
#![no_std]
#![no_main]

#[cfg(feature = "control")]
extern crate alloc;

use core::cell::Cell;
use core::hint::black_box;
use core::panic::PanicInfo;

use downbeat_core::drive::{Buffers, Config, Idle, Link, Session, Site, run};
use downbeat_core::http::embedded_io;
use downbeat_core::machine::{Action, Clock, Control, EntryId, Input, Instant, Policy, TaskKey, Why, Worker};
use downbeat_core::ports::{Assignment, Cause, End, Executor, Progress, Unfit};

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// The compiled `core` names it, for unwinding; this program aborts, and nothing calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

// memcpy, and the start of a C program.
#[link(name = "c")]
unsafe extern "C" {}

/// A line that is never there, a board whose time flies, and code that is never called.
struct Nowhere;

impl embedded_io::ErrorType for Nowhere {
    type Error = embedded_io::ErrorKind;
}

impl embedded_io::Read for Nowhere {
    fn read(&mut self, _: &mut [u8]) -> Result<usize, Self::Error> {
        Ok(0)
    }
}

impl embedded_io::Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

impl Link for Nowhere {
    fn reconnect(&mut self) -> Result<(), Cause> {
        black_box(Ok(()))
    }

    fn set_deadline(&mut self, _: Instant) {}
}

impl Executor for Nowhere {
    fn start(&mut self, _: EntryId, _: &Assignment<'_>) -> Result<(), Unfit> {
        Ok(())
    }

    fn step(&mut self, _: EntryId, _: &mut [u8]) -> Progress {
        Progress::Done { end: End::Completed, output: 0 }
    }

    fn cancel(&mut self, _: EntryId) {}
}

struct Board(Cell<u64>);

impl Clock for Board {
    fn now(&self) -> Instant {
        Instant::from_micros(self.0.get())
    }
}

impl Idle for &Board {
    fn wait(&mut self, until: Option<Instant>) {
        self.0.set(until.map_or(u64::MAX, Instant::as_micros));
    }

    fn control(&mut self) -> Option<Control> {
        (self.0.get() > 9_000_000).then_some(Control::Drain)
    }
}

/// A whole run of the single-lane driver, codec and all.
fn driven() -> bool {
    let (mut receive, mut send, mut token) = ([0; 1_024], [0; 1_024], [0; 64]);
    let config = Config {
        site: Site { host: "h", base: "/api" },
        task_type: black_box("t"),
        worker_id: "w",
        domain: "",
        key: None,
    };
    let buffers = Buffers { receive: &mut receive, send: &mut send, token: &mut token };
    let Ok(mut session) = Session::<'_, 2, 64>::new(Policy::default(), 1, config, buffers) else {
        return false;
    };
    let board = Board(Cell::new(0));
    run(&mut session, &mut Nowhere, &mut &board, &board, &mut Nowhere);
    session.counts().failures > 0
}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let Ok(mut worker) = Worker::<8>::new(black_box(Policy::default()), 1) else { return 1 };
    let first = worker.step(Instant::ZERO, black_box(Input::Tick));
    let polls = matches!(first, Action::Poll { count: 1, .. });
    let then = worker.step(Instant::ZERO, Input::Tick);
    let waits = matches!(then, Action::Wait { why: Why::InFlight, .. });
    let key = TaskKey::from_id(black_box("3b7b1f6e-0000-4000-8000-00000000002a"));
    let sound = polls && waits && key.to_u128() != 0 && driven();
    #[cfg(feature = "control")]
    let sound = sound && black_box(alloc::vec![1_u8; 3]).len() == 3;
    i32::from(!sound)
}
