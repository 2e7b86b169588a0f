//! What the oracles say of a record.

use downbeat_core::machine::Instant;

use super::found::{Broken, Judgement};
use crate::oracle::{Oracles, Violation};
use crate::record::{Header, Line, Record};
use crate::scenario::Setting;

/// Shows the oracles what the record says, as far as they can know what came before. They go on after a broken rule:
/// which of those that follow from one change says the most, the reader knows best.
pub(super) fn judge(record: &Record) -> Judgement {
    let header = record.header();
    let mut judgement = Judgement::default();
    let setting = match header.and_then(|header| header.scenario.as_ref()) {
        Some(scenario) => Setting::from_scenario(scenario),
        None => {
            judgement.reasons.push("the record does not show what the server did".to_owned());
            Setting::from_workers(&record.cast().collect::<Vec<_>>()).behind(&record.hubs.list)
        }
    };
    let mut oracles = Oracles::new(setting);
    judgement.skipped = oracles.skipped();
    judgement.judges = oracles.names().count();
    let (mut end, mut last) = (Instant::ZERO, 0);
    let (mut known, mut judged) = (true, false);
    for entry in &record.entries {
        match &entry.line {
            Line::Header(header) if last == 0 && header.segment > 0 => {
                known = judgement.resume(&mut oracles, header, "it begins in the middle of a run");
            }
            Line::Header(header) if !known => {
                known = judgement.resume(&mut oracles, header, "it goes on after the gap")
            }
            Line::Gap(gap) => {
                let at = gap.t.as_millis() / 1_000;
                judgement.reasons.push(format!("{} steps are missing at {at} s", gap.gap));
                known = false;
            }
            Line::Header(_)
            | Line::Step(_)
            | Line::Start { .. }
            | Line::Event(_)
            | Line::Violation { .. } => {}
        }
        last = entry.number;
        if !known {
            continue;
        }
        judged |= matches!(entry.line, Line::Step(_));
        if let Some(step) = record.hub_step(&entry.line) {
            end = end.max(step.at);
            judgement.add(entry.number, oracles.see_all_of_hub(&step));
            continue;
        }
        for event in record.events_of(entry) {
            end = end.max(event.at());
            judgement.add(entry.number, oracles.see_all(&event));
        }
    }
    if !known {
        judgement.reasons.push("nothing is judged from there on".to_owned());
        if !judged {
            judgement.judges = 0;
            judgement.skipped.extend(oracles.remove(|_| true));
        }
    } else if record.truncated {
        judgement.reasons.push("the record is cut off: what had not ended by then is no fault".to_owned());
    } else {
        judgement.add(last, oracles.finish_all(end));
    }
    judgement
}

impl Judgement {
    /// Goes on from the state in a header; whether it says enough.
    fn resume(&mut self, oracles: &mut Oracles, header: &Header, what: &str) -> bool {
        let resumed = header.hub.as_ref().and_then(|state| oracles.resume(state)).is_some();
        self.reasons.push(if resumed {
            format!("{what}: it is judged from the state in the header of segment {} on", header.segment)
        } else {
            format!("{what}, and the header of segment {} does not say in which state", header.segment)
        });
        resumed
    }

    fn add(&mut self, line: usize, found: Vec<Violation>) {
        self.broken.extend(found.into_iter().map(|violation| Broken { line, violation }));
    }
}
