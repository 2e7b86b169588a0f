//! Every relative link of the documents leads somewhere, headings included.

use std::collections::BTreeSet;

use downbeat_tests::{Source, root, sources};

#[test]
fn relative_links_resolve() {
    let documents: Vec<Source> = sources().into_iter().filter(|source| source.is_one_of(&[".md"])).collect();
    let mut broken = Vec::new();
    for document in &documents {
        for (number, target) in links(document) {
            if let Err(why) = resolve(document, &target) {
                broken.push(format!("{}:{number}: {target}: {why}", document.path));
            }
        }
    }
    assert!(broken.is_empty(), "{} broken links:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn a_heading_becomes_the_anchor_that_hosts_make_of_it() {
    assert_eq!(anchor("The `Hub`: one token, many workers"), "the-hub-one-token-many-workers");
    assert_eq!(anchor("S8 Poll gate"), "s8-poll-gate");
}

/// `](target)` outside fenced blocks and code spans; addresses of the web are not followed.
fn links(document: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every second part between backticks is code.
        for prose in line.split('`').step_by(2) {
            for (at, _) in prose.match_indices("](") {
                let rest = prose.get(at + 2..).unwrap_or_default();
                let target = rest.split([')', ' ']).next().unwrap_or_default();
                if !target.contains("://") && !target.starts_with("mailto:") {
                    found.push((number, target.to_owned()));
                }
            }
        }
    }
    found
}

fn resolve(document: &Source, target: &str) -> Result<(), String> {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let here = root().join(&document.path);
    let file = if path.is_empty() { here } else { here.with_file_name("").join(path) };
    if !file.exists() {
        return Err("there is no such file".to_owned());
    }
    if heading.is_empty() || file.extension().is_none_or(|extension| extension != "md") {
        return Ok(());
    }
    let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
    let anchors: BTreeSet<String> = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect();
    if anchors.contains(heading) { Ok(()) } else { Err("there is no such heading".to_owned()) }
}

/// What GitHub makes of a heading: lower case, blanks to hyphens, all other punctuation dropped.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
