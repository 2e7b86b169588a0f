//! Records: what is written is read, what is read is replayed, and what was changed is found.

use downbeat_sim::record::Record;
use downbeat_sim::replay::replay;
use downbeat_sim::scenario::{self, Profile};
use downbeat_sim::view::{View, write};

/// The record of a seed, as text.
fn text(seed: u64, profile: Profile) -> String {
    let mut out = Vec::new();
    let record = Record::from_run(&scenario::generate(seed, profile));
    write(&record, View::Record, &mut out).unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8_lossy(&out).into_owned()
}

fn parse(text: &str) -> Result<Record, String> {
    Record::from_lines("record.jsonl".to_owned(), text.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn a_record_is_read_as_it_was_written_and_the_core_says_it_all_again() {
    for seed in 0..6 {
        for profile in [Profile::Calm, Profile::Stormy, Profile::Radioactive] {
            let written = text(seed, profile);
            let record = parse(&written).unwrap();
            let mut again = Vec::new();
            write(&record, View::Record, &mut again).unwrap();
            assert_eq!(String::from_utf8_lossy(&again), written, "seed {seed}");
            let replay = replay(&record);
            assert_eq!(replay.divergence, None, "seed {seed} {}", profile.name());
            assert_eq!(replay.judgement.broken, [], "seed {seed} {}", profile.name());
            assert!(replay.steps > 100 && replay.untried == 0);
        }
    }
}

/// The number of the line at which the core first disagrees, and the rule that the oracles find broken.
fn found(lines: &[String]) -> (Option<usize>, Option<&'static str>) {
    let record = parse(&lines.join("\n")).unwrap_or_else(|error| panic!("{error}"));
    let replay = replay(&record);
    let broken = replay.judgement.broken.iter().map(|broken| broken.violation.oracle);
    (replay.divergence.map(|found| found.line), broken.min_by_key(|name| *name != "S8 poll-gate"))
}

fn outage_record() -> Vec<String> {
    let scenario = scenario::parse("outage.toml", include_str!("fixtures/outage.toml"), false);
    let scenario = scenario.unwrap_or_else(|error| panic!("{error}"));
    let mut out = Vec::new();
    write(&Record::from_run(&scenario), View::Record, &mut out).unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8_lossy(&out).lines().map(str::to_owned).collect()
}

fn first(lines: &[String], what: &str) -> usize {
    lines.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("no line has {what}"))
}

#[test]
fn a_result_that_was_taken_out_is_missed() {
    let mut lines = outage_record();
    assert_eq!(found(&lines), (None, None));
    let at = first(&lines, "\"do\":{\"update\"");
    lines.remove(at);
    let (line, rule) = found(&lines);
    assert!(line.is_some_and(|line| line > at) && rule.is_some(), "{line:?} {rule:?}");
}

#[test]
fn a_poll_that_was_moved_before_its_gate_is_found() {
    let mut lines = outage_record();
    let wait = first(&lines, "\"why\":\"empty\"");
    let at = wait + first(&lines[wait..], "\"in\":\"tick\",\"do\":{\"poll\"");
    let end = lines[at].find(',').unwrap();
    let time: u64 = lines[at]["{\"t\":".len()..end].parse().unwrap();
    lines[at] = format!("{{\"t\":{}{}", time - 1_000, &lines[at][end..]);
    assert_eq!(found(&lines), (Some(at + 1), Some("S8 poll-gate")));
}

#[test]
fn a_task_that_was_made_to_run_twice_is_found() {
    let mut lines = outage_record();
    let at = first(&lines, "\"do\":{\"run\"");
    lines.insert(at + 1, lines[at].clone());
    assert_eq!(found(&lines), (Some(at + 2), Some("S1 conservation")));
}

#[test]
fn a_last_line_that_is_cut_off_is_left_out() {
    let whole = outage_record().join("\n");
    let record = parse(&whole[..whole.len() - 20]).unwrap();
    assert!(record.truncated);
    let replay = replay(&record);
    assert_eq!((replay.divergence, replay.judgement.broken), (None, vec![]));
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    let lines = outage_record();
    let error = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        lines.push(String::new());
        parse(&lines.join("\n")).map_or_else(|error| error, |_| "accepted".to_owned())
    };
    let cases = [
        error(&|lines| lines.clear()),
        error(&|lines| drop(lines.remove(0))),
        error(&|lines| lines[4] = "{\"t\":12,".to_owned()),
        error(&|lines| lines[4] = lines[4].replace("\"w\":1", "\"w\":2")),
        error(&|lines| lines[0] = lines[0].replace("\"downbeat_record\":1", "\"downbeat_record\":9")),
        error(&|lines| lines[3] = lines[3].replace("tick", "tock")),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}
