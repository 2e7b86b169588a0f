//! Records that somebody has changed: each change is found at its line, by the rule that a reader expects.
//!
//! The records are of the simulator, and of `downbeat run` against `downbeat-sim serve` (the files in `fixtures`).
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "the records of these tests are sound before they are changed, and other actions say nothing of gates"
)]

use std::collections::BTreeMap;

use downbeat_core::machine::{Action, Answer, Input, Instant, Why};
use downbeat_core::record::Step;
use downbeat_sim::record::{Line, Record};
use downbeat_sim::replay::{Replay, replay};
use downbeat_sim::scenario::{self, Profile};
use downbeat_sim::view::{View, write};

/// Changes of each kind that are tried on a record.
const TRIES: usize = 4;

/// A record as text, with what its lines say.
struct Original {
    name: String,
    lines: Vec<String>,
    steps: Vec<Option<Step>>,
    simulated: bool,
}

impl Original {
    fn new(name: String, lines: Vec<String>, simulated: bool) -> Self {
        let steps = lines.iter().map(|line| match Line::parse(line).unwrap() {
            Line::Step(step) => Some(step),
            Line::Header(_) | Line::Gap(_) | Line::Start { .. } | Line::Event(_) | Line::Violation { .. } => {
                None
            }
        });
        Self { name, steps: steps.collect(), lines, simulated }
    }

    fn simulated(seed: u64, profile: Profile) -> Self {
        let mut out = Vec::new();
        let record = Record::from_run(&scenario::generate(seed, profile));
        write(&record, View::Record, &mut out).unwrap();
        let lines = String::from_utf8_lossy(&out).lines().map(str::to_owned).collect();
        Self::new(format!("{} {seed}", profile.name()), lines, true)
    }

    fn produced(name: &str, text: &str) -> Self {
        Self::new(name.to_owned(), text.lines().map(str::to_owned).collect(), false)
    }

    /// Some lines at which the picked steps stand, spread over the record.
    fn places(&self, picks: impl Fn(usize, &Step) -> bool) -> Vec<usize> {
        let picks = |at: &usize| self.steps[*at].as_ref().is_some_and(|step| picks(*at, step));
        let all: Vec<usize> = (0..self.lines.len()).filter(picks).collect();
        assert!(!all.is_empty(), "{}: no place for this change", self.name);
        all.iter().copied().step_by(all.len().div_ceil(TRIES)).collect()
    }

    fn changed(&self, change: impl FnOnce(&mut Vec<String>)) -> Replay {
        let mut lines = self.lines.clone();
        change(&mut lines);
        judged(&lines)
    }

    /// The change is found, first at this line (counted from 0) or soon after, and the rule is among those named.
    fn finds(&self, at: usize, rule: Option<&str>, what: &str, change: impl FnOnce(&mut Vec<String>)) {
        let replay = self.changed(change);
        let found = told(&replay);
        let first = found.iter().map(|(line, _)| *line).min();
        assert!(first.is_some_and(|first| first > at), "{}:{} {what}: {found:?}", self.name, at + 1);
        if self.simulated {
            assert!(first <= Some(at + 2), "{}:{} {what}: {found:?}", self.name, at + 1);
        }
        if let Some(rule) = rule {
            let named = found.iter().any(|(_, name)| name == rule);
            assert!(named, "{}:{} {what}: {rule} is not among {found:?}", self.name, at + 1);
        }
    }
}

fn judged(lines: &[String]) -> Replay {
    let text = lines.join("\n") + "\n";
    replay(&Record::from_lines("record.jsonl".to_owned(), text.as_bytes()).unwrap())
}

/// All that a replay objects to, with the lines.
fn told(replay: &Replay) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    all.extend(replay.divergence.map(|found| (found.line, "diverges".to_owned())));
    let broken = replay.judgement.broken.iter();
    all.extend(broken.map(|found| (found.line, found.violation.oracle.to_owned())));
    all.extend(replay.contract.iter().map(|found| (found.line, format!("contract: {}", found.what))));
    all.extend(replay.rerun.iter().map(|found| (found.line, format!("again: {}", found.what))));
    all
}

fn originals() -> Vec<Original> {
    let mut all = vec![Original::produced("production", include_str!("fixtures/production.jsonl"))];
    for (seed, profile) in [(2, Profile::Calm), (2, Profile::Radioactive), (30, Profile::Stormy)] {
        all.push(Original::simulated(seed, profile));
    }
    all
}

fn replace_time(line: &str, key: &str, by: u64) -> String {
    let at = line.find(key).map(|at| at + key.len());
    let Some(at) = at else { return line.to_owned() };
    let end = at + line[at..].find([',', '}']).unwrap();
    let time: u64 = line[at..end].parse().unwrap();
    format!("{}{}{}", &line[..at], time.saturating_sub(by), &line[end..])
}

/// A line whose time is so much earlier.
fn earlier(line: &str, by: u64) -> String {
    replace_time(line, "{\"t\":", by)
}

/// A line whose time is so much earlier, on the worker's clock too.
fn earlier_on_both_clocks(line: &str, by: u64) -> String {
    replace_time(&earlier(line, by), "\"l\":", by)
}

#[test]
fn the_originals_are_sound() {
    for original in originals() {
        let replay = judged(&original.lines);
        assert_eq!(told(&replay), [], "{}", original.name);
        assert!(replay.untried == 0 && replay.judgement.judges > 10, "{}", original.name);
    }
}

/// The polls that were sent at the very time at which the wait before them ended, only for the gate.
fn polls_at_their_gates(original: &Original) -> Vec<usize> {
    let mut waits: BTreeMap<Option<u32>, Instant> = BTreeMap::new();
    // A hub's record does not show what its workers wait for: of a failing gate it says no more than jitter leaves open.
    let mut failed: BTreeMap<Option<u32>, bool> = BTreeMap::new();
    let mut polls = Vec::new();
    for (at, step) in original.steps.iter().enumerate() {
        let Some(step) = step else { continue };
        let who = if original.simulated { step.w } else { None };
        if let Input::Replied { reply, .. } = step.input {
            failed.insert(step.w, reply.is_err());
        }
        match step.action {
            Action::Wait { until: Some(until), why }
                if matches!(why, Why::Empty | Why::Failing | Why::RetryAfter)
                    || (who.is_none() && why == Why::InFlight) =>
            {
                waits.insert(who, until);
            }
            Action::Wait { .. } => drop(waits.remove(&who)),
            Action::Poll { .. } if step.to.is_some() && failed.get(&step.to) == Some(&true) => {}
            Action::Poll { .. } if step.input == Input::Tick => {
                let at_once =
                    |until: &&Instant| step.local().saturating_duration_since(**until).as_millis() < 1;
                polls.extend(
                    waits.get(&who).filter(at_once).filter(|until| **until <= step.local()).map(|_| at),
                );
            }
            _ => {}
        }
    }
    polls
}

#[test]
fn a_poll_inside_its_gate_is_found() {
    for original in originals() {
        let polls = polls_at_their_gates(&original);
        assert!(polls.len() >= 5, "{}: {} polls", original.name, polls.len());
        for at in polls.iter().copied().step_by(polls.len().div_ceil(TRIES)) {
            for by in [1_000, 20_000] {
                let rule = Some("S8 poll-gate");
                original.finds(at, rule, "moved", |lines| lines[at] = earlier(&lines[at], by));
                original.finds(at, rule, "moved", |lines| lines[at] = earlier_on_both_clocks(&lines[at], by));
            }
        }
    }
}

#[test]
fn a_run_that_is_told_twice_is_found() {
    for original in originals() {
        for at in original.places(|_, step| matches!(step.action, Action::Run { .. })) {
            let rule = Some("S5 no-double-run");
            original.finds(at, rule, "twice", |lines| lines.insert(at + 1, lines[at].clone()));
            // The same task in another worker, with the answer to a call of that one.
            let Some(step) = original.steps[at] else { continue };
            let other = original.steps.iter().flatten().find_map(|other| {
                if original.simulated { other.w } else { other.to }.filter(|other| Some(*other) != step.w)
            });
            if let Some(other) = other {
                let mut forged = step;
                forged.w = Some(other);
                forged.to = step.to.map(|_| other);
                let text = Line::Step(forged).to_json().unwrap();
                original.finds(at, rule, "in two workers", |lines| lines.insert(at + 1, text));
            }
        }
    }
}

/// Whether a step tells the end of a result whose report is accepted: with the line of that answer.
fn accepted(original: &Original, at: usize) -> Option<(usize, usize)> {
    let Action::Update { call, .. } = original.steps[at]?.action else { return None };
    let told = |step: &Step| if original.simulated { step.w } else { step.to };
    let who = told(original.steps[at].as_ref()?);
    let answer = (at..original.lines.len()).find(|next| {
        original.steps[*next].is_some_and(|step| {
            step.w == who && matches!(step.input, Input::Replied { call: of, .. } if of == call)
        })
    })?;
    let ok = matches!(original.steps[answer]?.input, Input::Replied { reply: Ok(Answer::Done), .. });
    ok.then_some((at, answer))
}

#[test]
fn a_result_that_is_taken_out_is_missed() {
    let rule = Some("S2 no-result-lost");
    for original in originals() {
        let reports = original.places(|at, _| accepted(&original, at).is_some());
        for (report, answer) in reports.into_iter().filter_map(|at| accepted(&original, at)) {
            original.finds(report, rule, "report", |lines| drop(lines.remove(report)));
            original.finds(report, rule, "report and answer", |lines| {
                lines.remove(answer);
                lines.remove(report);
            });
            original.finds(answer, None, "answer", |lines| drop(lines.remove(answer)));
        }
        for at in original.places(|_, step| matches!(step.input, Input::Finished { .. })) {
            original.finds(at, None, "end", |lines| drop(lines.remove(at)));
        }
    }
}

#[test]
fn time_that_runs_backwards_is_found() {
    for original in originals() {
        for at in original.places(|at, step| at > 9 && step.t.as_micros() > 500) {
            let before = (0..at).rev().find_map(|before| original.steps[before]).unwrap();
            let by = original.steps[at].unwrap().t.as_micros() - before.t.as_micros() + 1;
            original.finds(at, Some("S15 time"), "backwards", |lines| lines[at] = earlier(&lines[at], by));
        }
    }
}

#[test]
fn a_changed_answer_is_found_at_its_line() {
    for original in originals() {
        for at in original.places(|_, step| matches!(step.action, Action::Wait { .. })) {
            let mut step = original.steps[at].unwrap();
            step.action = Action::Wait {
                until: Some(step.t.saturating_add(std::time::Duration::from_secs(9))),
                why: Why::Lease,
            };
            let text = Line::Step(step).to_json().unwrap();
            let replay = original.changed(|lines| lines[at] = text);
            assert_eq!(replay.divergence.map(|found| found.line), Some(at + 1), "{}", original.name);
        }
    }
}

#[test]
fn lines_that_are_missing_or_doubled_are_found() {
    for original in originals() {
        for at in original.places(|_, step| step.input != Input::Tick) {
            original.finds(at, None, "missing", |lines| drop(lines.remove(at)));
            original.finds(at, None, "doubled", |lines| lines.insert(at + 1, lines[at].clone()));
        }
        // What was done is done once; a wait that is told again changes nothing, and only a simulation shows it.
        for at in original.places(|_, step| !matches!(step.action, Action::Wait { .. } | Action::Stopped)) {
            original.finds(at, None, "missing", |lines| drop(lines.remove(at)));
            original.finds(at, None, "doubled", |lines| lines.insert(at + 1, lines[at].clone()));
        }
        let middle = original.lines.len() / 2;
        original.finds(middle, None, "ten lines missing", |lines| drop(lines.drain(middle..middle + 10)));
        if original.simulated {
            for at in (1..original.lines.len()).step_by(original.lines.len() / TRIES) {
                original.finds(at - 1, None, "missing", |lines| drop(lines.remove(at)));
                original.finds(at, None, "doubled", |lines| lines.insert(at + 1, lines[at].clone()));
            }
            let last = original.lines.len() - 1;
            original.finds(last - 1, None, "the last is missing", |lines| drop(lines.pop()));
        }
    }
}

#[test]
fn a_record_that_is_cut_off_is_noticed() {
    for original in originals() {
        let whole = original.lines.join("\n");
        let record = Record::from_lines("record".to_owned(), &whole.as_bytes()[..whole.len() - 20]).unwrap();
        assert!(record.truncated);
        // Who wrote a record of production may have been killed; a simulation goes on.
        let replay = replay(&record);
        assert_eq!(replay.rerun.is_some(), original.simulated, "{:?}", told(&replay));
        assert!(original.simulated || told(&replay).is_empty(), "{:?}", told(&replay));
    }
}

/// The lines from there on, behind a header with the state of the hub.
fn segment(original: &Original, from: usize) -> Vec<String> {
    let Line::Header(mut header) = Line::parse(&original.lines[0]).unwrap() else {
        panic!("a header comes first")
    };
    let mut hub = header.hub.take().unwrap();
    for step in original.steps[..from].iter().flatten() {
        let _ = hub.step(step.t, step.hub_input().unwrap());
    }
    header.hub = Some(hub);
    header.segment = 1;
    let first = Line::Header(header).to_json().unwrap();
    std::iter::once(first).chain(original.lines[from..].iter().cloned()).collect()
}

#[test]
fn a_segment_alone_or_behind_a_gap_is_judged_from_its_state_on() {
    let mut moved = 0;
    for original in originals().iter().filter(|original| !original.simulated) {
        for from in (2..original.lines.len() - 30).step_by(3) {
            let alone = segment(original, from);
            let replay = judged(&alone);
            assert_eq!(told(&replay), [], "{} from {from}", original.name);
            assert!(replay.judgement.judges > 10 && replay.untried == 0, "{:?}", replay.judgement);
            let gap = format!("{{\"t\":{},\"gap\":1}}", original.steps[from].unwrap().t.as_micros());
            let mut lines = original.lines[..from - 1].to_vec();
            lines.push(gap);
            lines.extend(alone);
            let replay = judged(&lines);
            assert_eq!(told(&replay), [], "{} from {from}", original.name);
            let polls = polls_at_their_gates(original).into_iter().filter(|at| *at > from + 20);
            for at in polls.take(1) {
                // Behind the gap and the header of the segment.
                let at = at + 1;
                moved += 1;
                lines[at] = earlier(&lines[at], 20_000);
                let found = told(&judged(&lines));
                assert!(
                    found.iter().any(|(line, rule)| *line == at + 1 && rule == "S8 poll-gate"),
                    "{found:?}"
                );
            }
        }
    }
    assert!(moved > 3, "{moved} polls were moved");
}

#[test]
fn a_record_of_processes_is_no_easier_to_change() {
    let original = Original::simulated(3, Profile::Processes);
    assert_eq!(told(&judged(&original.lines)), [], "{}", original.name);
    for at in original.places(|_, step| matches!(step.action, Action::Run { .. })) {
        original
            .finds(at, Some("S5 no-double-run"), "twice", |lines| lines.insert(at + 1, lines[at].clone()));
    }
    for at in original.places(|_, step| matches!(step.action, Action::Update { .. })) {
        original.finds(at, Some("S2 no-result-lost"), "report", |lines| drop(lines.remove(at)));
        original.finds(at, Some("S10 lanes"), "doubled", |lines| lines.insert(at + 1, lines[at].clone()));
    }
    for at in original.places(|at, step| at > 9 && step.t.as_micros() > 30_000_000) {
        let rule = Some("S15 time");
        original.finds(at, rule, "earlier", |lines| lines[at] = earlier(&lines[at], 20_000_000));
    }
}
