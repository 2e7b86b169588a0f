//! The numbered rules: what code cites exists, and what the documents state is cited by code.
//!
//! `R-…` are the server's (docs/server-rules.md), `S…` and `L…` the worker's (docs/invariants.md).

use std::collections::{BTreeMap, BTreeSet};

use downbeat_tests::{Source, sources};

const SERVER_RULES: &str = "docs/server-rules.md";
const INVARIANTS: &str = "docs/invariants.md";
const CODE: [&str; 3] = [".rs", ".toml", ".py"];

#[test]
fn every_rule_that_code_cites_is_written_down() {
    let stated: BTreeSet<String> = stated().into_keys().collect();
    let unknown: Vec<String> = cited()
        .into_iter()
        .filter(|(rule, _)| !stated.contains(rule))
        .map(|(rule, place)| {
            format!("{rule}, cited at {place}, is in neither {SERVER_RULES} nor {INVARIANTS}")
        })
        .collect();
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn every_rule_that_is_written_down_is_cited_by_code() {
    let cited: BTreeSet<String> = cited().into_keys().collect();
    let idle: Vec<String> = stated()
        .into_iter()
        .filter(|(rule, _)| !cited.contains(rule))
        .map(|(rule, place)| {
            format!("{rule} ({place}) is cited by no code: cite it where it is kept or tested")
        })
        .collect();
    assert!(idle.is_empty(), "{}", idle.join("\n"));
}

#[test]
fn rules_are_told_from_other_words() {
    let line = "// R-POLL-2 and S8, (L1); not S, LS2, S100x, R-, Worker<S1> or R-POLL";
    let found: Vec<String> = rules(line).into_iter().collect();
    assert_eq!(found, ["L1", "R-POLL-2", "S8"]);
}

/// Rules by the heading, table row or bold term that states them.
fn stated() -> BTreeMap<String, String> {
    let mut stated = BTreeMap::new();
    for source in sources().iter().filter(|source| [SERVER_RULES, INVARIANTS].contains(&source.path.as_str()))
    {
        for (number, line) in source.lines() {
            let head = line.trim_start_matches(['#', '*', '|', '-', ' ', '`']);
            let states = head.len() < line.len();
            let first = head.split([' ', '*', '|', '`', ':', '.']).next().unwrap_or_default();
            if states && rules(first).contains(first) {
                stated.insert(first.to_owned(), format!("{}:{number}", source.path));
            }
        }
    }
    stated
}

/// Rules in the comments of code, with the first place of each.
fn cited() -> BTreeMap<String, String> {
    let mut cited = BTreeMap::new();
    for source in sources().iter().filter(|source| source.is_one_of(&CODE)) {
        for (number, line) in source.lines().filter(|(_, line)| cites(source, line)) {
            for rule in rules(line) {
                cited.entry(rule).or_insert_with(|| format!("{}:{number}", source.path));
            }
        }
    }
    cited
}

/// A comment, or a string: generic parameters are called `S1` too.
fn cites(source: &Source, line: &str) -> bool {
    let own = source.path.ends_with("rules_cited.rs") || source.path.ends_with("doc_links.rs");
    !own && (line.contains("//") || line.contains('"') || line.trim_start().starts_with('#'))
}

/// `S8`, `L1` (one or two digits) and `R-NOUN-2`, as words of their own.
fn rules(line: &str) -> BTreeSet<String> {
    let words =
        line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '<' || c == '>'));
    words.filter(|word| is_invariant(word) || is_server_rule(word)).map(str::to_owned).collect()
}

fn is_invariant(word: &str) -> bool {
    let number = word.strip_prefix(['S', 'L']).unwrap_or_default();
    (1..=2).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_server_rule(word: &str) -> bool {
    let Some((noun, number)) = word.strip_prefix("R-").and_then(|rest| rest.rsplit_once('-')) else {
        return false;
    };
    let named = !noun.is_empty() && noun.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    named && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}
