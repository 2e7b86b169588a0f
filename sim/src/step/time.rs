//! A time as a person says it.

use downbeat_core::machine::Instant;

use crate::scenario::Span;

/// A time: seconds, or a number with a unit.
pub(super) fn time(text: &str) -> Result<Instant, String> {
    let with_unit =
        if text.ends_with(|c: char| c.is_ascii_digit()) { format!("{text}s") } else { text.to_owned() };
    let span: Span = with_unit.parse()?;
    Ok(Instant::ZERO.saturating_add(span.get()))
}
