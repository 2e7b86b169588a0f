//! Dates as HTTP writes them.

/// Reads a date of any of the three forms of RFC 9110, section 5.6.7, as seconds since 1970; `None`: it is none.
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
    for word in text.split(|byte| matches!(byte, b' ' | b',' | b'-')).filter(|word| !word.is_empty()) {
        if word.contains(&b':') {
            time = Some(clock(word)?);
        } else if let Some(value) = number(word) {
            if day.is_none() { day = Some(value) } else { year = Some((value, word.len())) }
        } else if month.is_none() {
            month = month_of(word);
        }
    }
    let year = match year? {
        (value, 2) if value < 70 => value.checked_add(2_000)?,
        (value, 2) => value.checked_add(1_900)?,
        (value, 4) if value >= 1970 => value,
        _ => return None,
    };
    let day = day.filter(|day| (1..=31).contains(day))?;
    u64::from(days(year, month?, day)?).checked_mul(86_400)?.checked_add(u64::from(time?))
}

fn number(word: &[u8]) -> Option<u32> {
    let digits = word.len() <= 4 && word.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(word).ok().filter(|_| digits)?.parse().ok()
}

/// `HH:MM:SS` in seconds.
fn clock(word: &[u8]) -> Option<u32> {
    let mut parts = word.split(|byte| *byte == b':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let sound = parts.next().is_none() && hour < 24 && minute < 60 && second <= 60;
    let minutes = hour.checked_mul(60)?.checked_add(minute)?;
    minutes.checked_mul(60)?.checked_add(second).filter(|_| sound)
}

/// 1 to 12; the names of days are none.
fn month_of(word: &[u8]) -> Option<u32> {
    const MONTHS: [&[u8; 3]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let at = MONTHS.iter().position(|month| word.eq_ignore_ascii_case(*month))?;
    u32::try_from(at).ok()?.checked_add(1)
}

/// Days since 1970-01-01. Years are counted from March, so that a leap day is the last of its year.
fn days(year: u32, month: u32, day: u32) -> Option<u32> {
    let (year, month) =
        if month > 2 { (year, month.checked_sub(3)?) } else { (year.checked_sub(1)?, month.checked_add(9)?) };
    let leaps = (year / 4).checked_sub(year / 100)?.checked_add(year / 400)?;
    let in_year = month.checked_mul(153)?.checked_add(2)? / 5;
    let since_0 = year.checked_mul(365)?.checked_add(leaps)?.checked_add(in_year)?.checked_add(day)?;
    // 719,469 days lie between the 0th of March of the year 0 and 1970-01-01, counted so.
    since_0.checked_sub(719_469)
}
