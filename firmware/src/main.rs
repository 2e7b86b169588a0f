//! A Conductor worker without an operating system: downbeat-core on a Cortex-M3, over one serial line.
//!
//! `README.md` beside `src` has the line's protocol, the memory and what it takes to move to another board.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "registers, the stack's bounds and semihosting")]
mod board;
mod line;
#[expect(unsafe_code, reason = "the routines that the compiler calls, in assembler")]
mod mem;
mod tasks;

use core::cell::RefCell;
use core::panic::PanicInfo;
use core::time::Duration;

use board::{BoardClock, Exit};
use cortex_m_rt::entry;
use downbeat_core::drive::{Buffers, Config, Key, Session, Site, run};
use downbeat_core::machine::{Backoff, Policy, Worker};
use line::{Line, LineIdle, SerialLink};
use tasks::{Measurements, SLOTS, TASK_TYPE};

/// Bytes of a held result.
const RESULT: usize = 256;
const RECEIVE: usize = 2048;
const SEND: usize = 2048;
const TOKEN: usize = 256;

/// How this worker behaves: its server is its own, so it is back sooner after a failure than a fleet may be.
const POLICY: Policy = Policy {
    concurrency: SLOTS as u16,
    call_timeout: Duration::from_secs(3),
    failing: Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(1), jitter: 50 },
    auth: Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(5), jitter: 50 },
    update: [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)],
    ..Policy::DEFAULT
};

/// Who it is. The bridge knows where the server is; the name goes into `Host` alone.
const CONFIG: Config<'_> = Config {
    site: Site { host: "downbeat.invalid", base: "/api" },
    task_type: TASK_TYPE,
    worker_id: "lm3s6965",
    domain: "",
    key: match (option_env!("DOWNBEAT_KEY"), option_env!("DOWNBEAT_SECRET")) {
        (Some(id), Some(secret)) => Some(Key { id, secret }),
        _ => None,
    },
};

#[entry]
fn main() -> ! {
    board::start();
    // One after the other, so that the room on the stack which the making takes is free for the work.
    let exit = match session() {
        Some(session) => work(session),
        None => Exit::Setup,
    };
    board::exit(exit)
}

/// The session, in static memory: on the stack it would be moved, and take its room several times.
type Worker2 = Session<'static, SLOTS, RESULT>;

/// What the session works in.
struct Memory {
    receive: [u8; RECEIVE],
    send: [u8; SEND],
    token: [u8; TOKEN],
}

impl Memory {
    const EMPTY: Self = Self { receive: [0; RECEIVE], send: [0; SEND], token: [0; TOKEN] };
}

#[inline(never)]
fn work(session: &mut Worker2) -> Exit {
    let Some(line) = cortex_m::singleton!(: RefCell<Line> = RefCell::new(Line::new())) else {
        return Exit::Setup;
    };
    let line = &*line;
    let mut tasks = Measurements::new();
    say(&[b"working on ", TASK_TYPE.as_bytes()]);
    run(session, &mut SerialLink::new(line), &mut LineIdle(line), &BoardClock, &mut tasks);
    report(line.borrow().broken(), tasks.begun);
    Exit::Well
}

/// Makes the session; `None`: the names or the memory do not fit, or it was made before.
#[inline(never)]
fn session() -> Option<&'static mut Worker2> {
    let Memory { receive, send, token } = cortex_m::singleton!(: Memory = Memory::EMPTY)?;
    let buffers = Buffers { receive, send, token };
    let place = cortex_m::singleton!(: Option<Worker2> = None)?;
    Session::place(place, POLICY, board::seed(), CONFIG, buffers).ok()
}

/// Says what a run has taken, as lines `name = number`.
#[inline(never)]
fn report(broken: u32, begun: u32) {
    let (used, all) = board::stack();
    figure("tasks_begun", begun as usize);
    figure("connections_broken", broken as usize);
    figure("peak_stack", used);
    figure("stack_room", all);
    figure("session", size_of::<Worker2>());
    figure("worker_4", size_of::<Worker<4>>());
    figure("worker_8", size_of::<Worker<8>>());
}

#[inline(never)]
fn figure(name: &str, figure: usize) {
    let mut memory = [0; 20];
    let digits = serde_json_core::to_slice(&figure, &mut memory).unwrap_or(0);
    say(&[name.as_bytes(), b" = ", memory.get(..digits).unwrap_or_default()]);
}

/// Prints a line.
fn say(parts: &[&[u8]]) {
    for part in parts {
        board::CONSOLE.send(part);
    }
    board::CONSOLE.send(b"\n");
}

/// Says nothing of the place: the texts of all places would be in the image. Where one is wanted, a debugger has it.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    board::exit(Exit::Panic)
}
