//! The address of a server as a store remembers it.

use std::io;
use std::path::Path;

use super::place::{self, is_full};

/// The file that names the server a second time.
const FILE: &str = "server";
/// Bytes of the longest address that is read.
const MOST: usize = 64 << 10;

/// The server that the file names; `None`: there is no such file, or nothing in it.
pub(super) fn remembered(directory: &Path) -> io::Result<Option<String>> {
    let bytes = match place::read(&directory.join(FILE), MOST) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let url = normal(&String::from_utf8_lossy(&bytes));
    Ok((!url.is_empty()).then_some(url))
}

/// Writes the file, where it is not there. A full disk has no room for it: the journal's headers do then.
pub(super) fn remember(directory: &Path, server: &str) -> io::Result<()> {
    if remembered(directory)?.is_some() {
        return Ok(());
    }
    match place::write(&directory.join(FILE), server.as_bytes()) {
        Err(cause) if is_full(&cause) => Ok(()),
        written => written,
    }
}

/// One spelling for all that name the same place: scheme and host in lower case, no port where it is the scheme's own,
/// no slash at the end.
pub(super) fn normal(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let scheme = scheme.to_ascii_lowercase();
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let authority = authority.to_ascii_lowercase();
    let port = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let host = authority.strip_suffix(port).unwrap_or(&authority);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn the_same_place_has_one_spelling() {
        for url in ["http://host/api", "http://host/api/", "HTTP://HOST:80/api//"] {
            assert_eq!(normal(url), "http://host/api", "{url}");
        }
        assert_eq!(normal("https://host:443"), "https://host");
        assert_eq!(normal("http://host:443/API"), "http://host:443/API");
        assert_eq!(normal("http://host:8080"), "http://host:8080");
        assert_eq!(normal("no url"), "no url");
    }
}
