//! Raw JSON: payloads keep the bytes that came, so that numbers of any size pass through (R-PAYLOAD-1).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

/// A value as it was written.
pub(crate) type Raw = Arc<RawValue>;
/// The members of an object, by name; of two with one name the last counts.
pub(crate) type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Text that must be JSON, as a value.
pub(crate) fn parse(text: &str) -> Result<Raw, serde_json::Error> {
    RawValue::from_string(text.to_owned()).map(Arc::from)
}

/// The empty object.
pub(crate) fn empty() -> Raw {
    parse("{}").unwrap_or_else(|_| Arc::from(RawValue::NULL.to_owned()))
}

/// Anything that serialises; `{}` if it does not.
pub(crate) fn of(value: &impl serde::Serialize) -> Raw {
    serde_json::to_string(value).ok().and_then(|text| parse(&text).ok()).unwrap_or_else(empty)
}

/// The members of an object.
pub(crate) fn members(text: &str) -> Result<Members<'_>, serde_json::Error> {
    serde_json::from_str(text)
}

/// An object without its null members: the server takes a null as absent.
pub(crate) fn without_nulls(text: &str) -> Result<String, serde_json::Error> {
    let mut members = members(text)?;
    members.retain(|_, value| value.get() != "null");
    serde_json::to_string(&members)
}

/// A string, decoded; other scalars as they are written, as the server takes them.
pub(crate) fn scalar(value: &RawValue) -> Option<String> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).ok(),
        Some(b'{' | b'[' | b'n') | None => None,
        Some(_) => Some(text.to_owned()),
    }
}

/// Whether a value is an object.
pub(crate) fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// Whether a text in a value has the character U+0000, which JSON can only write as an escape.
pub(crate) fn has_nul(value: &RawValue) -> bool {
    let text = value.get();
    let escaped = |at: usize| {
        let before = text.as_bytes().get(..at).unwrap_or_default();
        before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0
    };
    text.match_indices("\\u0000").any(|(at, _)| escaped(at))
}
