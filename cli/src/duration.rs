//! Times as people write them: `500ms`, `30s`, `5m`, `1h`.

use std::time::Duration;

/// The longest time that makes sense anywhere in the settings.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Parses one whole number with its unit.
///
/// # Errors
/// What is allowed.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let millis = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let parsed = number.parse::<u64>().ok().filter(|_| millis > 0);
    let parsed = parsed.and_then(|number| number.checked_mul(millis)).map(Duration::from_millis);
    match parsed.filter(|duration| *duration <= LONGEST) {
        Some(duration) => Ok(duration),
        None => Err("a whole number with its unit: 500ms, 30s, 5m or 1h".to_owned()),
    }
}

/// Writes what [`parse`] reads.
pub(crate) fn show(duration: Duration) -> String {
    let millis = duration.as_millis();
    match (millis % 1_000, millis % 60_000, millis % 3_600_000) {
        (1.., _, _) => format!("{millis}ms"),
        (_, 1.., _) => format!("{}s", millis / 1_000),
        (_, _, 1..) => format!("{}m", millis / 60_000),
        _ if millis == 0 => "0s".to_owned(),
        _ => format!("{}h", millis / 3_600_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("90s", 90_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("8760h", 31_536_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(
                parse(&show(Duration::from_millis(millis))),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in ["", "5", "s", "-1s", "1.5s", "1d", "8761h", "99999999999999999999s", "5 5s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
