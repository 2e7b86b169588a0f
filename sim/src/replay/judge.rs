//! What the oracles say of a record.

use downbeat_core::machine::Instant;

use super::{Broken, Verdict};
use crate::oracle::{Jury, Setting, Violation};
use crate::record::{Header, Line, Record};

/// Shows the oracles what the record says, as far as they can know what came before. They go on after a broken rule:
/// which of those that follow from one change says the most, the reader knows best.
pub(super) fn judge(record: &Record) -> Verdict {
    let header = record.header();
    let mut verdict = Verdict::default();
    let setting = match header.and_then(|header| header.scenario.as_ref()) {
        Some(scenario) => Setting::of(scenario),
        None => {
            verdict.reasons.push("the record does not show what the server did".to_owned());
            Setting::of_workers(&record.cast().collect::<Vec<_>>()).behind(&record.hubs.list)
        }
    };
    let mut jury = Jury::new(setting);
    verdict.skipped = jury.skipped();
    verdict.judges = jury.names().count();
    let (mut end, mut last) = (Instant::ZERO, 0);
    let (mut known, mut judged) = (true, false);
    for entry in &record.entries {
        match &entry.line {
            Line::Header(header) if last == 0 && header.segment > 0 => {
                known = verdict.resume(&mut jury, header, "it begins in the middle of a run");
            }
            Line::Header(header) if !known => {
                known = verdict.resume(&mut jury, header, "it goes on after the gap")
            }
            Line::Gap(gap) => {
                let at = gap.t.as_millis() / 1_000;
                verdict.reasons.push(format!("{} steps are missing at {at} s", gap.gap));
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
            verdict.add(entry.number, jury.see_all_of_hub(&step));
            continue;
        }
        for event in record.events_of(entry) {
            end = end.max(event.at());
            verdict.add(entry.number, jury.see_all(&event));
        }
    }
    if !known {
        verdict.reasons.push("nothing is judged from there on".to_owned());
        if !judged {
            verdict.judges = 0;
            verdict.skipped.extend(jury.dismiss(|_| true));
        }
    } else if record.truncated {
        verdict.reasons.push("the record is cut off: what had not ended by then is no fault".to_owned());
    } else {
        verdict.add(last, jury.finish_all(end));
    }
    verdict
}

impl Verdict {
    /// Goes on from the state in a header; whether it says enough.
    fn resume(&mut self, jury: &mut Jury, header: &Header, what: &str) -> bool {
        let resumed = header.hub.as_ref().and_then(|state| jury.resume(state)).is_some();
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
