//! What each kind of setting may be; an error says what is allowed.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use downbeat::{Journal, OnLapse, TransportChoice};

use crate::duration as time;

/// Tasks run at once by one worker, least and most.
pub(crate) const SLOTS: (u16, u16) = (1, 1_000);
/// Calls in flight of the whole process, least and most.
pub(crate) const MAX_CALLS: (u16, u16) = (2, 1_000);

pub(crate) fn text(text: &str) -> Result<String, String> {
    let usable = !text.trim().is_empty() && !text.contains(char::is_control);
    if usable { Ok(text.to_owned()) } else { Err("a text that is not empty".to_owned()) }
}

pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') { Err("a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    time::parse(text)
}

pub(crate) fn time_limit(text: &str) -> Result<Duration, String> {
    let longer = "a time above zero: 500ms, 30s, 5m or 1h";
    time::parse(text).and_then(|limit| if limit.is_zero() { Err(longer.to_owned()) } else { Ok(limit) })
}

/// A time above zero, or `never`.
pub(crate) fn time_or_never(text: &str) -> Result<Option<Duration>, String> {
    if text.eq_ignore_ascii_case("never") {
        return Ok(None);
    }
    time_limit(text).map(Some).map_err(|allowed| format!("{allowed}, or never"))
}

/// What becomes of a run whose lease is over.
pub(crate) fn on_lapse(text: &str) -> Result<OnLapse, String> {
    match text.to_ascii_lowercase().as_str() {
        "finish" => Ok(OnLapse::Finish),
        "stop" => Ok(OnLapse::Stop),
        _ => Err("finish or stop".to_owned()),
    }
}

/// Writes what [`on_lapse`] reads.
pub(crate) fn on_lapse_name(what: OnLapse) -> String {
    match what {
        OnLapse::Finish => "finish",
        OnLapse::Stop => "stop",
    }
    .to_owned()
}

pub(crate) fn slots(text: &str) -> Result<u16, String> {
    number(text, SLOTS)
}

pub(crate) fn max_calls(text: &str) -> Result<u16, String> {
    number(text, MAX_CALLS)
}

pub(crate) fn store_files(text: &str) -> Result<u32, String> {
    number(text, STORE_FILES)
}

fn number<T: Copy + PartialOrd + fmt::Display + FromStr>(text: &str, bounds: (T, T)) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| (bounds.0..=bounds.1).contains(number));
    number.ok_or_else(|| within(bounds))
}

/// The bounds in words.
pub(crate) fn within<T: fmt::Display>(bounds: (T, T)) -> String {
    format!("a whole number from {} to {}", bounds.0, bounds.1)
}

/// The address of the server's API, without a slash at its end.
pub(crate) fn url(text: &str) -> Result<String, String> {
    let allowed = || "the address of the server's API, like http://localhost:8080/api".to_owned();
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).ok_or_else(allowed)?;
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        return Err(
            "an address without credentials; set CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET".to_owned()
        );
    }
    let odd =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '"' | '<' | '>' | '\\');
    if host.is_empty() || host.starts_with(':') || rest.contains(odd) {
        return Err(allowed());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// How requests travel: `auto`, `ureq` or `lean`.
pub(crate) fn transport(text: &str) -> Result<TransportChoice, String> {
    text.parse().map_err(|_| "auto, ureq or lean".to_owned())
}

/// Writes what [`transport`] reads.
pub(crate) fn transport_name(choice: TransportChoice) -> String {
    match choice {
        TransportChoice::Auto => "auto",
        TransportChoice::Ureq => "ureq",
        TransportChoice::Lean => "lean",
    }
    .to_owned()
}

/// When results are written to the store: `finish`, `failure` or `off`.
pub(crate) fn journal(text: &str) -> Result<Journal, String> {
    text.parse().map_err(|()| "finish, failure or off".to_owned())
}

/// Bytes of the largest task, least and most.
const TASK_SIZES: (u64, u64) = (64 << 10, 1 << 30);
/// Bytes of a part of the store, least and most.
const STORE_SIZES: (u64, u64) = (1 << 20, 1 << 50);
/// Files of a part of the store, least and most.
pub(crate) const STORE_FILES: (u32, u32) = (1, 1_000_000);

pub(crate) fn task_size(text: &str) -> Result<u64, String> {
    size(text, TASK_SIZES)
}

pub(crate) fn store_size(text: &str) -> Result<u64, String> {
    size(text, STORE_SIZES)
}

fn size(text: &str, bounds: (u64, u64)) -> Result<u64, String> {
    let within =
        || format!("a size from {} to {}: 512KiB, 64MiB, 1GiB", show_size(bounds.0), show_size(bounds.1));
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, bytes)| *bytes);
    let bytes = number.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    bytes.filter(|bytes| (bounds.0..=bounds.1).contains(bytes)).ok_or_else(within)
}

/// Units of sizes, the largest first.
const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Writes what sizes are read from.
pub(crate) fn show_size(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, unit)| bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// What a list of hosts in a file is.
pub(crate) const HOSTS: &str = r#"a list of hosts: ["storage.example", "minio:9000", "*.example"]"#;
/// What a command in a file is.
pub(crate) const COMMAND: &str = r#"a list of texts: ["python3", "resize.py"]"#;
/// What variables in a file are.
pub(crate) const VARIABLES: &str = r#"a table of texts: { LANG = "C" }"#;

/// A host from which payloads may be read: `host`, `host:port`, `*.domain`.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/@?#".contains(c);
    let stars = text.matches('*').count();
    let usable =
        !text.is_empty() && !text.contains(odd) && (stars == 0 || (stars == 1 && text.starts_with("*.")));
    if usable {
        Ok(text.to_owned())
    } else {
        Err("a host: storage.example, minio:9000 or *.example".to_owned())
    }
}

pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address with its port, like 127.0.0.1:9090".to_owned())
}

pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in
            [("64KiB", 64 << 10), ("65537B", 65_537), ("64 MiB", 64 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(task_size(text), Ok(bytes), "{text}");
            assert_eq!(task_size(&show_size(bytes)), Ok(bytes), "{text}");
        }
        for text in ["", "64", "MiB", "-1MiB", "1.5MiB", "64MB", "63KiB", "2GiB", "99999999999999999999GiB"] {
            let allowed = task_size(text).unwrap_err();
            assert_eq!(allowed, "a size from 64KiB to 1GiB: 512KiB, 64MiB, 1GiB", "{text}");
        }
    }

    #[test]
    fn hosts_are_names_without_more() {
        for text in ["minio", "minio:9000", "*.amazonaws.com", "[::1]", "10.0.0.7"] {
            assert_eq!(host(text), Ok(text.to_owned()));
        }
        for text in ["", "*", "a.*.b", "**.b", "http://minio", "minio/bucket", "user@minio", "mi nio"] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
