//! A program of C's world: no std, no allocator. It links only if nothing in downbeat-core, or below it, needs them.
#![no_std]
#![no_main]

#[cfg(feature = "control")]
extern crate alloc;

use core::hint::black_box;
use core::panic::PanicInfo;

use downbeat_core::machine::{Backoff, Policy, TaskKey};

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let policy = black_box(Policy::default());
    let Backoff { cap, .. } = policy.auth;
    let key = TaskKey::from_id(black_box("3b7b1f6e-0000-4000-8000-00000000002a"));
    let sound = policy.check(8).is_ok() && cap.as_secs() == 60 && key.to_u128() != 0;
    #[cfg(feature = "control")]
    let sound = sound && black_box(alloc::vec![1_u8; 3]).len() == 3;
    i32::from(!sound)
}
