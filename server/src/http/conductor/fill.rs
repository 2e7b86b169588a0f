//! Parameters: `${workflow.input.x}` and `${ref.output.x}` inside definitions (R-WORKFLOW-2).

use std::fmt::Write as _;

use serde_json::value::RawValue;

use super::json;

/// Objects and lists deeper than this in a definition are copied as they are.
const DEPTH_MAX: u32 = 64;

/// Fills every `${…}` in a value. `find` gives the value at a source such as `workflow.input` or `ref.output`, with
/// the rest of the path; what is not found becomes null.
pub(super) fn fill(value: &RawValue, find: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    put(value, find, DEPTH_MAX, &mut out);
    out
}

fn put(value: &RawValue, find: &dyn Fn(&str) -> Option<String>, depth: u32, out: &mut String) {
    let text = value.get();
    if depth == 0 || !text.contains("${") {
        out.push_str(text);
        return;
    }
    match text.as_bytes().first() {
        Some(b'{') => put_object(text, find, depth, out),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            out.push('[');
            for (at, item) in items.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                put(item, find, depth - 1, out);
            }
            out.push(']');
        }
        _ => put_text(&serde_json::from_str::<String>(text).unwrap_or_default(), find, out),
    }
}

fn put_object(text: &str, find: &dyn Fn(&str) -> Option<String>, depth: u32, out: &mut String) {
    out.push('{');
    for (at, (name, member)) in json::members(text).unwrap_or_default().into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        put_string(&name, out);
        out.push(':');
        put(member, find, depth - 1, out);
    }
    out.push('}');
}

/// A text that is one `${…}` becomes the value itself; inside a longer text the value becomes text.
fn put_text(text: &str, find: &dyn Fn(&str) -> Option<String>, out: &mut String) {
    let whole = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    if let Some(path) = whole.filter(|path| !path.contains("${")) {
        out.push_str(find(path).as_deref().unwrap_or("null"));
        return;
    }
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let Some((path, after)) = after.split_once('}') else {
            filled.push_str("${");
            rest = after;
            continue;
        };
        let found = find(path).unwrap_or_else(|| "null".to_owned());
        filled.push_str(&serde_json::from_str::<String>(&found).unwrap_or(found));
        rest = after;
    }
    filled.push_str(rest);
    put_string(&filled, out);
}

fn put_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// The value at a path such as `a.b[0].c` below a value; the value itself for an empty path.
pub(super) fn at_path(value: &str, path: &str) -> Option<String> {
    let mut steps = String::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, index) = part.split_once('[').map_or((part, ""), |(name, index)| (name, index));
        let _ = writeln!(steps, "{name}");
        for index in index.split('[').filter_map(|index| index.strip_suffix(']')) {
            let _ = writeln!(steps, "[{index}");
        }
    }
    let mut value = value;
    for step in steps.lines() {
        value = match step.strip_prefix('[') {
            Some(index) => {
                let items: Vec<&RawValue> = serde_json::from_str(value).ok()?;
                items.get(index.parse::<usize>().ok()?)?.get()
            }
            None => json::members(value).ok()?.get(step)?.get(),
        };
    }
    Some(value.to_owned())
}
