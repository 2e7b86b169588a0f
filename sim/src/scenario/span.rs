//! Lengths of time as people write them: `90s`, `1.5s`, `250ms`, `2m`, `1h`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time, or a point in a run counted from its start; whole microseconds, at most 1,000 days.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span(Duration);

/// The start of a run.
pub(crate) fn zero() -> Span {
    Span(Duration::ZERO)
}

const UNITS: [(&str, u64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];
const MAX_MICROS: u64 = 1_000 * 86_400_000_000;

impl Span {
    /// Makes a span of a duration.
    #[must_use]
    pub const fn new(length: Duration) -> Self {
        Self(length)
    }

    /// Returns the length.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a length of time: write a number and a unit, such as 250ms, 1.5s, 2m or 1h"
            )
        };
        let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(at);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let (whole, part) = number.trim().split_once('.').unwrap_or_else(|| (number.trim(), ""));
        let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 9 {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let scale = 10_u64.pow(u32::try_from(part.len()).unwrap_or(0));
        let part: u64 = if part.is_empty() { 0 } else { part.parse().map_err(|_| wrong())? };
        let micros = whole
            .checked_mul(*factor)
            .map(|whole| u128::from(whole) + u128::from(part) * u128::from(*factor) / u128::from(scale));
        match micros.and_then(|micros| u64::try_from(micros).ok()).filter(|micros| *micros <= MAX_MICROS) {
            Some(micros) => Ok(Self(Duration::from_micros(micros))),
            None => Err(format!("`{text}` is too long: at most 1000d")),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let fits = |factor: u64| micros.is_multiple_of(u128::from(factor));
        let (name, factor) = match micros {
            0 => ("s", 1_000_000),
            _ => UNITS.iter().rev().find(|(_, factor)| fits(*factor)).copied().unwrap_or(("us", 1)),
        };
        write!(f, "{}{name}", micros / u128::from(factor))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time in quotes, such as \"250ms\", \"1.5s\", \"2m\" or \"1h\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_str(Text)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]{1,9})?(us|ms|s|m|h|d)$",
            "description": "A length of time, or a point counted from the run's start: 250ms, 1.5s, 2m, 1h.",
        })
    }
}
