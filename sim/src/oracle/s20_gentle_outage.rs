//! S20: an outage is gentle.

use std::collections::BTreeMap;

use downbeat_core::machine::{Action, Input, Why};

use super::book::Page;
use super::{Oracle, Ruling, Setting, Step, secs};

/// After a failure of transport no call is sent before the link gate's time, and then one alone; and a fleet does not
/// wait in step.
#[derive(Debug)]
pub(super) struct GentleOutage {
    /// The first waits of each worker's life, in microseconds.
    waits: Vec<Vec<u64>>,
    /// Whose they were.
    seen: BTreeMap<Vec<u64>, u32>,
    failures: Vec<u32>,
}

/// So many equal waits in a row are no accident.
const ALIKE: usize = 3;

impl GentleOutage {
    pub(super) fn new(setting: &Setting) -> Self {
        let workers = setting.policies.len();
        Self { waits: vec![Vec::new(); workers], seen: BTreeMap::new(), failures: vec![0; workers] }
    }

    /// Two workers whose jitter is the same have the same seed.
    fn compare(&mut self, step: &Step<'_>, until: downbeat_core::machine::Instant) -> Ruling {
        let (page, worker) = (step.page, step.worker);
        let at = worker as usize;
        let (Some(waits), Some(failures)) = (self.waits.get_mut(at), self.failures.get_mut(at)) else {
            return Ok(());
        };
        if page.policy.failing.jitter == 0 || waits.len() >= ALIKE || page.link.failures == *failures {
            return Ok(());
        }
        *failures = page.link.failures;
        waits.push(page.link.since.until(until).as_micros().try_into().unwrap_or(u64::MAX));
        if waits.len() < ALIKE {
            return Ok(());
        }
        match self.seen.insert(waits.clone(), worker) {
            Some(other) => Err(format!(
                "waits {waits:?} µs after its first failures, as worker {other} did: the fleet retries in step"
            )),
            None => Ok(()),
        }
    }
}

impl Oracle for GentleOutage {
    fn name(&self) -> &'static str {
        "S20 gentle-outage"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let (page, now) = (step.page, step.page.latest);
        let link = &page.link;
        if link.failures == 0 {
            return Ok(());
        }
        match *step.action {
            Action::Refuse { .. } if matches!(step.input, Input::Leased { .. }) => Ok(()),
            Action::Poll { .. }
            | Action::Update { .. }
            | Action::Extend { .. }
            | Action::Refresh { .. }
            | Action::Refuse { .. } => {
                if now < link.opens.lo {
                    return Err(format!(
                        "calls an unreachable server at {}, before {}",
                        secs(now),
                        secs(link.opens.lo)
                    ));
                }
                if link.probe.is_some() {
                    return Err("calls an unreachable server while another call is trying".to_owned());
                }
                Ok(())
            }
            Action::Wait { until: Some(until), why: Why::Unreachable } => {
                if until < link.opens.lo || until > link.opens.hi.max(now) {
                    return Err(format!(
                        "waits for the server until {}, whose gate opens from {} to {}",
                        secs(until),
                        secs(link.opens.lo),
                        secs(link.opens.hi)
                    ));
                }
                self.compare(step, until)
            }
            Action::Run { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }

    fn life(&mut self, worker: u32, _: &Page) {
        if let (Some(waits), Some(failures)) =
            (self.waits.get_mut(worker as usize), self.failures.get_mut(worker as usize))
        {
            waits.clear();
            *failures = 0;
        }
    }
}
