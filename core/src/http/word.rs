//! The parts of a line.

/// Takes what stands before the first of these bytes off the front of `rest`, and that byte with it.
pub(super) fn word<'a>(rest: &mut &'a [u8], [one, other, third]: [u8; 3]) -> &'a [u8] {
    let all = *rest;
    let end = all.iter().position(|byte| *byte == one || *byte == other || *byte == third);
    let (word, tail) = all.split_at_checked(end.unwrap_or(all.len())).unwrap_or_default();
    *rest = tail.get(1..).unwrap_or_default();
    word
}
