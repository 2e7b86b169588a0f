//! The repository keeps its own house rules (CONTRIBUTING.md).
//!
//! What clippy and rustfmt can check, they do; this is the rest, by nothing but text. `prose.rs` has the documents.

use downbeat_tests::{RETIRED, Source, is_word, sources};

/// The longest file of code or prose.
const LINES_MAX: usize = 600;
/// What people write and read; data, licences and generated files are not held to these rules.
const WRITTEN: [&str; 7] = [".rs", ".md", ".toml", ".sh", ".py", ".yml", ".ci/run"];
/// Files whose length or spacing nobody chose.
const GENERATED: [&str; 3] = ["Cargo.lock", "LICENSE", "/snapshots/"];

#[test]
fn files_are_at_most_600_lines() {
    let long = |source: &Source| {
        let lines = source.text.lines().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines; split it by noun", source.path))
    };
    assert_none(written().iter().filter_map(long).collect());
}

#[test]
fn nothing_is_left_open() {
    let needles = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("#[ig", "nore"),
        concat!("To be ", "written"),
    ];
    let code = written().into_iter().filter(|source| source.path != "CHANGELOG.md");
    assert_none(find(code, &needles, |line, needle| line.contains(needle) && !line.contains("clippy")));
}

#[test]
fn exceptions_to_lints_are_expected_with_a_reason() {
    let needles = [concat!("#[al", "low("), concat!("#![al", "low(")];
    assert_none(find(rust(), &needles, |line, needle| line.contains(needle)));
}

#[test]
fn tests_do_not_sleep() {
    let tests = rust().into_iter().filter(|source| is_test(&source.path));
    let needles = [concat!("thread::sl", "eep"), concat!("sleep(Dur", "ation"), concat!("park_time", "out(")];
    assert_none(find(tests, &needles, |line, needle| line.contains(needle)));
}

#[test]
fn there_are_no_tabs_and_no_trailing_blanks() {
    let blank = |source: &Source| -> Vec<String> {
        let wrong = source.lines().filter(|(_, line)| line.ends_with([' ', '\t']) || line.contains('\t'));
        wrong.map(|(number, _)| format!("{}:{number}: a tab, or a blank at the end", source.path)).collect()
    };
    assert_none(written().iter().flat_map(blank).collect());
}

#[test]
fn files_end_with_one_newline() {
    let open = |source: &Source| {
        let well = source.text.is_empty() || (source.text.ends_with('\n') && !source.text.ends_with("\n\n"));
        (!well).then(|| format!("{}: end it with exactly one newline", source.path))
    };
    assert_none(written().iter().filter_map(open).collect());
}

#[test]
fn core_reads_no_clock_and_names_neither_std_nor_alloc() {
    let core = rust().into_iter().filter(|source| source.path.starts_with("core/src/"));
    let needles = ["std::", "alloc::", "Instant::now", "SystemTime", "unsafe "];
    assert_none(find(core, &needles, |line, needle| !is_comment(line) && names(line, needle)));
}

#[test]
fn retired_words_stay_away() {
    let found = rust().into_iter().flat_map(|source| {
        let lines: Vec<String> = source
            .lines()
            .flat_map(|(number, line)| RETIRED.iter().map(move |(word, now)| (number, line, word, now)))
            .filter(|(_, line, word, _)| is_word(line, word))
            .map(|(number, _, word, now)| format!("{}:{number}: `{word}`; say `{now}`", source.path))
            .collect();
        lines
    });
    assert_none(found.collect());
}

#[test]
fn every_crate_is_held_to_the_lints_of_the_workspace() {
    let loose = |source: &Source| {
        let package = source.text.contains("[package]") && !source.text.contains("[workspace]");
        let held = source.text.contains("[lints]\nworkspace = true");
        (package && !held).then(|| format!("{}: add `[lints]` with `workspace = true`", source.path))
    };
    let manifests = sources().into_iter().filter(|source| source.is_one_of(&["Cargo.toml"]));
    assert_none(manifests.filter_map(|source| loose(&source)).collect());
}

/// Whether a path `needle` stands on its own in a line, not as the end of a longer name (`__std::`, `my_alloc::`).
fn names(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|last| last.is_alphanumeric() || last == '_')
    })
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("tests.rs")
}

fn written() -> Vec<Source> {
    let ours = |source: &Source| {
        source.is_one_of(&WRITTEN) && !GENERATED.iter().any(|generated| source.path.contains(generated))
    };
    sources().into_iter().filter(ours).collect()
}

fn rust() -> Vec<Source> {
    written().into_iter().filter(|source| source.is_one_of(&[".rs"])).collect()
}

fn find(
    sources: impl IntoIterator<Item = Source>,
    needles: &[&str],
    is_in: impl Fn(&str, &str) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in source.lines() {
            if let Some(needle) = needles.iter().find(|needle| is_in(line, needle)) {
                found.push(format!("{}:{number}: `{needle}` in `{}`", source.path, line.trim()));
            }
        }
    }
    found
}

fn assert_none(found: Vec<String>) {
    assert!(found.is_empty(), "{} places:\n{}", found.len(), found.join("\n"));
}
