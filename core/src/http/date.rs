//! Dates as HTTP writes them.

use super::word::word;
use crate::wire::digits;

/// Reads a date of any of the three forms of RFC 9110, section 5.6.7, as seconds since 1970. Returns `None`
/// if it is no date.
///
/// Years of two digits are 1970 to 2069. The day's name is not checked.
///
/// ```
/// use downbeat_core::http::http_date;
/// assert_eq!(http_date(b"Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
/// assert_eq!(http_date(b"Sunday, 06-Nov-94 08:49:37 GMT"), Some(784_111_777));
/// assert_eq!(http_date(b"Sun Nov  6 08:49:37 1994"), Some(784_111_777));
/// assert_eq!(http_date(b"soon"), None);
/// ```
#[must_use]
pub fn http_date(text: &[u8]) -> Option<u64> {
    let (mut day, mut month, mut year, mut time) = (None, None, None, None);
    let mut rest = text;
    while !rest.is_empty() {
        let word = word(&mut rest, *b" ,-");
        if let Some(value) = number(word) {
            if day.is_none() { day = Some(value) } else { year = Some((value, word.len())) }
        } else if word.contains(&b':') {
            time = Some(clock(word)?);
        } else if month.is_none() {
            month = month_of(word);
        }
    }
    let year = match year? {
        (value, 2) => value.wrapping_add(if value < 70 { 2_000 } else { 1_900 }),
        (value, 4) if value >= 1970 => value,
        _ => return None,
    };
    let day = day.filter(|day| (1..=31).contains(day))?;
    Some(u64::from(days(year, month?, day)).wrapping_mul(86_400).wrapping_add(u64::from(time?)))
}

/// At most four digits.
fn number(word: &[u8]) -> Option<u32> {
    u32::try_from(digits(word)?).ok().filter(|_| word.len() <= 4)
}

/// `HH:MM:SS` in seconds.
fn clock(text: &[u8]) -> Option<u32> {
    let (mut seconds, mut rest) = (0_u32, text);
    for max in [23, 59, 60] {
        let value = number(word(&mut rest, [b':'; 3])).filter(|value| *value <= max)?;
        seconds = seconds.wrapping_mul(60).wrapping_add(value);
    }
    (rest.is_empty() && !text.ends_with(b":")).then_some(seconds)
}

/// 1 to 12; the names of days are none.
fn month_of(word: &[u8]) -> Option<u32> {
    let mut months = b"janfebmaraprmayjunjulaugsepoctnovdec".chunks_exact(3).zip(1..);
    months.find(|(month, _)| word.eq_ignore_ascii_case(month)).map(|(_, number)| number)
}

/// Days since 1970-01-01. Years are counted from March, so that a leap day is the last of its year.
///
/// Nothing wraps for the years 1970 to 9999.
const fn days(year: u32, month: u32, day: u32) -> u32 {
    let (year, month) =
        if month > 2 { (year, month.wrapping_sub(3)) } else { (year.wrapping_sub(1), month.wrapping_add(9)) };
    let leaps = (year / 4).wrapping_sub(year / 100).wrapping_add(year / 400);
    let in_year = month.wrapping_mul(153).wrapping_add(2) / 5;
    let since_0 = year.wrapping_mul(365).wrapping_add(leaps).wrapping_add(in_year).wrapping_add(day);
    // 719,469 days lie between the 0th of March of the year 0 and 1970-01-01, counted so.
    since_0.wrapping_sub(719_469)
}
