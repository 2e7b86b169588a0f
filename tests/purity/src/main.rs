//! A program of C's world: no std, no allocator. It links only if nothing in downbeat-core, or below it, needs them.
#![no_std]
#![no_main]

#[cfg(feature = "control")]
extern crate alloc;

use core::hint::black_box;
use core::panic::PanicInfo;

use downbeat_core::machine::{Action, Input, Instant, Policy, TaskKey, Why, Worker};

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

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let Ok(mut worker) = Worker::<8>::new(black_box(Policy::default()), 1) else { return 1 };
    let first = worker.step(Instant::ZERO, black_box(Input::Tick));
    let polls = matches!(first, Action::Poll { count: 1, .. });
    let then = worker.step(Instant::ZERO, Input::Tick);
    let waits = matches!(then, Action::Wait { why: Why::InFlight, .. });
    let key = TaskKey::from_id(black_box("3b7b1f6e-0000-4000-8000-00000000002a"));
    let sound = polls && waits && key.to_u128() != 0;
    #[cfg(feature = "control")]
    let sound = sound && black_box(alloc::vec![1_u8; 3]).len() == 3;
    i32::from(!sound)
}
