//! What each kind of setting may be; an error says what is allowed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use downbeat::TransportChoice;

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

pub(crate) fn slots(text: &str) -> Result<u16, String> {
    number(text, SLOTS)
}

pub(crate) fn max_calls(text: &str) -> Result<u16, String> {
    number(text, MAX_CALLS)
}

fn number(text: &str, bounds: (u16, u16)) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| (bounds.0..=bounds.1).contains(number));
    number.ok_or_else(|| within(bounds))
}

/// The bounds in words.
pub(crate) fn within(bounds: (u16, u16)) -> String {
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
