//! One page that opens in a browser.
use super::timeline::Timeline;
use super::{Broken, Cast};
use std::io::{self, Write};
pub(super) fn write(
    _line: &Timeline,
    _cast: &Cast,
    _broken: &[Broken<'_>],
    _out: &mut dyn Write,
) -> io::Result<()> {
    Ok(())
}
