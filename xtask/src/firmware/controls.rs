//! Images that must fail, so that the checks of the good one are known to see something.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::bridge::Bridge;
use super::qemu::{Board, End};
use super::toolchain::Toolchain;
use super::{KEYS, PACKAGE, SCRIPT};
use crate::process::{Failure, root};

/// Too little flash for the firmware, and too little stack, in bytes; `firmware/memory.x` takes them.
const NO_FLASH: &str = "--defsym=_flash_length=8192";
const NO_STACK: &str = "--defsym=_stack_length=1024";
/// What the linker says of the first.
const WILL_NOT_FIT: &str = "will not fit in region 'FLASH'";
/// A stack that is too small ends the firmware at once.
const SOON: Duration = Duration::from_secs(30);

/// The firmware in 8 KiB of flash is not linked.
pub(crate) fn flash_is_bounded(toolchain: &Toolchain) -> Result<(), Failure> {
    let text = toolchain.refuses(&root().join("firmware"), &PACKAGE, &[SCRIPT, NO_FLASH], &KEYS)?;
    if !text.contains(WILL_NOT_FIT) {
        return Err(Failure::new(format!("8 KiB of flash were refused, but not for their size:\n{text}")));
    }
    println!("the control in 8 KiB of flash is not linked, for its size");
    Ok(())
}

/// The firmware with 1 KiB of stack faults as soon as it runs, and ends.
pub(crate) fn overflow_ends(toolchain: &Toolchain) -> Result<(), Failure> {
    toolchain.build(&root().join("firmware"), &PACKAGE, &[SCRIPT, NO_STACK], &KEYS)?;
    run(&toolchain.program("downbeat-firmware"))
}

fn run(image: &Path) -> Result<(), Failure> {
    // It does not come as far as its server.
    let bridge = Bridge::start(SocketAddr::from(([127, 0, 0, 1], 1)), 1)?;
    let mut board = Board::start(image, bridge.port)?;
    match board.wait(SOON, || {}) {
        Some(End::Fault) => {}
        Some(end) => return Err(Failure::new(format!("a stack of 1 KiB did not fault; it ended so: {end}"))),
        None => {
            return Err(Failure::new(format!("a stack of 1 KiB did not end the firmware in {SOON:?}")));
        }
    }
    println!("the control with 1 KiB of stack ends at once: {}", End::Fault);
    Ok(())
}
