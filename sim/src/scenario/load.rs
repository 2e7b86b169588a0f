//! Scenarios in files: TOML or JSON, with errors that name line and key.

use std::fmt;
use std::fs;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::model::Scenario;

/// Why a scenario could not be used. Shows every problem on a line of its own: `FILE:LINE: KEY: what is wrong`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoadError {
    /// The lines, in the order of the file.
    pub lines: Vec<String>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for LoadError {}

/// Reads a scenario from a file: JSON if its name ends in `.json`, TOML otherwise.
///
/// # Errors
/// The file cannot be read, is not a scenario, or asks for what is out of bounds.
pub fn read(path: &Path) -> Result<Scenario, LoadError> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|error| LoadError { lines: vec![format!("{name}: cannot be read: {error}")] })?;
    let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    parse(&name, &text, json)
}

/// Reads a scenario from a text; `name` is what errors call it.
///
/// # Errors
/// As [`read`].
pub fn parse(name: &str, text: &str, json: bool) -> Result<Scenario, LoadError> {
    let scenario = if json { from_json(text) } else { from_toml(text) };
    let scenario =
        scenario.map_err(|(line, what)| LoadError { lines: vec![format!("{name}:{line}: {what}")] })?;
    let problems = scenario.problems();
    if problems.is_empty() {
        return Ok(scenario);
    }
    let mut lines: Vec<(usize, String)> = problems
        .iter()
        .map(|problem| {
            let offset = if json { json_offset(text, &problem.key) } else { toml_offset(text, &problem.key) };
            let line = line_of(text, offset);
            (line, format!("{name}:{line}: {problem}"))
        })
        .collect();
    lines.sort_by_key(|(line, _)| *line);
    Err(LoadError { lines: lines.into_iter().map(|(_, text)| text).collect() })
}

/// Writes the scenario as JSON, the form that reports and regressions are kept in.
///
/// # Errors
/// Never for a scenario that was read or generated.
pub fn to_json(scenario: &Scenario) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(scenario).map(|mut text| {
        text.push('\n');
        text
    })
}

/// Writes the scenario as TOML, for people to edit.
///
/// # Errors
/// Never for a scenario that was read or generated.
pub fn to_toml(scenario: &Scenario) -> Result<String, toml::ser::Error> {
    toml::to_string_pretty(scenario)
}

/// Returns the JSON schema of scenarios.
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(Scenario);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

fn from_json(text: &str) -> Result<Scenario, (usize, String)> {
    let mut from = serde_json::Deserializer::from_str(text);
    let scenario = serde_path_to_error::deserialize(&mut from).map_err(|error| {
        let key = key_of(error.path(), &error.inner().to_string());
        let inner = error.inner();
        if inner.is_data() {
            let line = line_of(text, json_offset(text, &key));
            (line, named(&key, &plain(&without_place(inner))))
        } else {
            (inner.line(), named(&key, &unreadable(inner)))
        }
    })?;
    from.end().map_err(|error| (error.line(), unreadable(&error)))?;
    Ok(scenario)
}

fn from_toml(text: &str) -> Result<Scenario, (usize, String)> {
    let from = toml::Deserializer::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let what = error.message().trim_end().replace('\n', ", ");
        (line_of(text, offset), format!("{what}, in column {}", column_of(text, offset)))
    })?;
    serde_path_to_error::deserialize(from).map_err(|error| {
        let message = error.inner().message().trim_end();
        let key = key_of(error.path(), message);
        let exact = error.inner().span().map_or(0, |span| span.start);
        let offset = if key.is_empty() { exact } else { toml_offset(text, &key).max(exact) };
        (line_of(text, offset), named(&key, &plain(message)))
    })
}

/// What is wrong with a text that is no JSON, and where in its line.
fn unreadable(error: &serde_json::Error) -> String {
    let what = without_place(error)
        .replace("EOF while parsing a value", "the text ends where a value is expected")
        .replace("EOF while parsing", "the text ends within");
    format!("{what}, in column {}", error.column())
}

/// Only the message.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

fn named(key: &str, what: &str) -> String {
    if key.is_empty() { what.to_owned() } else { format!("{key}: {what}") }
}

/// What went wrong where, as `workers[0].slots`; empty for the file as a whole, or where that is not known.
fn key_of(path: &serde_path_to_error::Path, message: &str) -> String {
    let text = path.to_string();
    let known = text.trim_end_matches('?').trim_end_matches('.');
    // An unknown key is part of it, also where it was found too late for the path.
    match message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
        Some(key) if !known.ends_with(key) && known.is_empty() => key.to_owned(),
        Some(key) if !known.ends_with(key) => format!("{known}.{key}"),
        _ => known.to_owned(),
    }
}

/// A message for people who do not know Rust's names, with the nearest known name if there is one.
fn plain(message: &str) -> String {
    const TYPES: [(&str, &str); 5] = [
        ("expected u8", "expected a whole number from 0 to 255"),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u32", "expected a whole number from 0 to 4294967295"),
        ("expected u64", "expected a whole number from 0 on"),
        ("expected i64", "expected a whole number"),
    ];
    let typed =
        TYPES.iter().find_map(|(name, words)| Some(format!("{}{words}", message.strip_suffix(name)?)));
    let mut text = typed.unwrap_or_else(|| message.to_owned());
    if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        let mut names = message.split('`').skip(1).step_by(2);
        if let Some(near) = names.next().and_then(|unknown| nearest(unknown, names)) {
            text += &format!("; did you mean `{near}`?");
        }
    }
    text
}

/// The name that somebody most likely meant, or `None` if nothing is near.
pub(crate) fn nearest<'a>(unknown: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let unknown = plain(unknown);
    let distance = |name: &str| strsim::damerau_levenshtein(&plain(name), &unknown);
    let near = names.map(|name| (distance(name), name)).min()?;
    (near.0 <= 1 + unknown.chars().count() / 4).then_some(near.1)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// The place in its line, in characters, from 1.
fn column_of(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.rsplit('\n').next().unwrap_or_default().chars().count() + 1
}

/// The parts of a key: names, and indexes in brackets.
fn parts(key: &str) -> impl Iterator<Item = &str> {
    key.split(['.', '[', ']']).filter(|part| !part.is_empty())
}

/// Where a key, or the nearest thing around it that is written, stands in a TOML text.
fn toml_offset(text: &str, key: &str) -> usize {
    let Ok(table) = DeTable::parse(text) else { return 0 };
    let mut offset = 0;
    let mut value = DeValue::Table(table.into_inner());
    for part in parts(key) {
        let next: Option<Spanned<DeValue<'_>>> = match value {
            DeValue::Array(items) => part.parse().ok().and_then(|at| items.into_iter().nth(at)),
            DeValue::Table(table) => {
                let mut entries = table.into_iter();
                entries.find(|(name, _)| name.get_ref() == part).map(|(name, value)| {
                    offset = name.span().start;
                    value
                })
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => None,
        };
        let Some(next) = next else { break };
        if next.span().start > 0 && part.parse::<usize>().is_ok() {
            offset = next.span().start;
        }
        value = next.into_inner();
    }
    offset
}

/// Where a key, or the nearest thing around it that is written, stands in a JSON text that is known to be sound.
fn json_offset(text: &str, key: &str) -> usize {
    let mut at = 0;
    for part in parts(key) {
        match json_child(text.as_bytes(), at, part) {
            Some(child) => at = child,
            None => break,
        }
    }
    at
}

/// Where the member or element `part` of the value that begins at (or after white space at) `at` begins.
fn json_child(text: &[u8], at: usize, part: &str) -> Option<usize> {
    let mut at = skip_space(text, at);
    let object = match text.get(at)? {
        b'{' => true,
        b'[' => false,
        _ => return None,
    };
    let mut index = 0_usize;
    loop {
        at = skip_space(text, at + 1);
        if matches!(text.get(at)?, b'}' | b']') {
            return None;
        }
        let mut found = !object && part.parse() == Ok(index);
        if object {
            let end = skip_value(text, at);
            found = text.get(at + 1..end.saturating_sub(1)) == Some(part.as_bytes());
            if found {
                // The line of the name, which is where people look.
                let value = skip_space(text, skip_space(text, end) + 1);
                return Some(if matches!(text.get(value), Some(b'{' | b'[')) { value } else { at });
            }
            at = skip_space(text, skip_space(text, end) + 1);
        }
        if found {
            return Some(at);
        }
        at = skip_space(text, skip_value(text, at));
        index += 1;
    }
}

fn skip_space(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// The end of the value that begins at `at`.
fn skip_value(text: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    let mut quoted = false;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' if quoted => at += 1,
            b'"' => {
                quoted = !quoted;
                if !quoted && depth == 0 {
                    return at + 1;
                }
            }
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    at
}
