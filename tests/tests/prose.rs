//! The prose of the repository keeps the house style (CONTRIBUTING.md), as far as its text can tell.
//!
//! Records of what was decided (`docs/decisions`) and of earlier versions keep the words of their time.

use downbeat_tests::{RETIRED, Source, is_word, sources};

/// The widest line of the documents; tables, code and links cannot be wrapped.
const WIDTH_MAX: usize = 120;
/// Where the documents for everybody are: in the root and in `docs`.
const WIDE: [&str; 5] = ["docs/", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"];
/// Rooms whose comments keep the style.
const ROOMS: [&str; 6] =
    ["core/src/", "transport-std/src/", "transport-mock/src/", "server/src/", "sim/src/", "cli/src/"];

/// Retired names that are plain English words too.
const ENGLISH: [&str; 5] = [
    concat!("Com", "ing"),
    concat!("Cou", "rse"),
    concat!("Fa", "cts"),
    concat!("La", "ne"),
    concat!("Si", "de"),
];

/// Retired turns of phrase, and what is said now.
const PHRASES: [(&str, &str); 6] = [
    (concat!("the ance", "stor"), "the Ruby SDK's worker"),
    (concat!("the se", "ed's"), "the Ruby SDK's"),
    (concat!("se", "nds home"), "gives back"),
    (concat!("se", "nt home"), "given back"),
    (concat!("sw", "ears in"), "adds"),
    (concat!("whose=\"", "the runner\""), "the runner's"),
];

/// Lines that name a retired word because they say that it is retired.
const EXCEPTIONS: [(&str, &str); 2] =
    [("CHANGELOG.md", "`Action::GiveBack` (`"), ("CHANGELOG.md", "`EntryId` and `entry` (`")];

/// Words that begin no sentence, or are no condition, and what is said instead.
const STYLE: [(&str, &str); 5] = [
    ("where there is", "if there is"),
    ("where there are", "if there are"),
    ("where it has none", "if it has none"),
    ("where none is", "if none is"),
    ("where nobody", "if nobody"),
];

#[test]
fn retired_words_stay_out_of_the_documents() {
    let words = RETIRED.iter().filter(|(word, _)| !ENGLISH.contains(word));
    let found = find(&documents(), words.chain(&PHRASES), is_word);
    assert_none(&found);
}

#[test]
fn retired_phrases_stay_out_of_the_code_and_so_out_of_help_texts() {
    let code: Vec<Source> = sources().into_iter().filter(|source| source.is_one_of(&[".rs"])).collect();
    assert_none(&find(&code, PHRASES.iter(), is_word));
}

#[test]
fn conditions_begin_with_if() {
    let mut prose = documents();
    prose.extend(comments());
    assert_none(&find(&prose, STYLE.iter(), |line, words| line.to_lowercase().contains(words)));
}

#[test]
fn no_sentence_begins_with_of() {
    let mut prose = documents();
    prose.extend(comments());
    let begins = |line: &str, words: &str| line.starts_with(words) || line.contains(&format!(". {words}"));
    assert_none(&find(&prose, [("Of ", "a subject first")].iter(), begins));
}

#[test]
fn functions_return_and_do_not_answer() {
    let begins = |line: &str, word: &str| line.starts_with(word);
    let old = (concat!("Ans", "wers "), "Returns, Handles or Responses");
    assert_none(&find(&comments(), [old].iter(), begins));
}

#[test]
fn documents_are_wrapped() {
    let wide =
        documents().into_iter().filter(|source| WIDE.iter().any(|start| source.path.starts_with(start)));
    let long = |source: Source| {
        let lines = source
            .lines()
            .filter(|(_, line)| line.chars().count() > WIDTH_MAX && !line.trim_start().starts_with('|'));
        lines
            .map(|(number, _)| format!("{}:{number}: wider than {WIDTH_MAX}", source.path))
            .collect::<Vec<_>>()
    };
    assert_none(&wide.flat_map(long).collect::<Vec<_>>());
}

/// The documents without their code: of the changelog, what is not released yet.
fn documents() -> Vec<Source> {
    let ours = |source: &Source| source.is_one_of(&[".md"]) && !source.path.starts_with("docs/decisions/");
    let text = |source: Source| Source { text: without_code(&present(&source)), ..source };
    sources().into_iter().filter(ours).map(text).collect()
}

/// The changelog up to the first released version; all of any other document.
fn present(source: &Source) -> String {
    let mut versions = source.text.match_indices("\n## [").map(|(at, _)| at);
    let end = if source.path == "CHANGELOG.md" { versions.nth(1) } else { None };
    source.text.get(..end.unwrap_or(source.text.len())).unwrap_or_default().to_owned()
}

/// The text with every line of a fenced block empty, so that the others keep their numbers.
fn without_code(text: &str) -> String {
    let mut fenced = false;
    let line = |line: &str| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if fence || fenced { String::new() } else { line.to_owned() }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The comments of the rooms, each line without its slashes; other lines are empty.
fn comments() -> Vec<Source> {
    let ours = |source: &Source| {
        source.is_one_of(&[".rs"]) && ROOMS.iter().any(|room| source.path.starts_with(room))
    };
    let comment = |line: &str| {
        let line = line.trim_start();
        let text = ["/// ", "//! ", "// "].iter().find_map(|slashes| line.strip_prefix(slashes));
        text.unwrap_or_default().to_owned()
    };
    let text = |source: Source| {
        let lines: Vec<String> = source.text.lines().map(comment).collect();
        Source { path: source.path, text: lines.join("\n") }
    };
    sources().into_iter().filter(ours).map(text).collect()
}

fn find<'w>(
    sources: &[Source],
    words: impl Iterator<Item = &'w (&'w str, &'w str)>,
    is_in: impl Fn(&str, &str) -> bool,
) -> Vec<String> {
    let words: Vec<_> = words.collect();
    let excepted =
        |path: &str, line: &str| EXCEPTIONS.iter().any(|(file, part)| path == *file && line.contains(part));
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in source.lines().filter(|(_, line)| !excepted(&source.path, line)) {
            let old = words.iter().filter(|(word, _)| is_in(line, word));
            found.extend(old.map(|(word, now)| format!("{}:{number}: `{word}`; say `{now}`", source.path)));
        }
    }
    found
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
}
