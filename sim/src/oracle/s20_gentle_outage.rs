//! S20: an outage is gentle.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing here")]

use std::collections::BTreeMap;

use downbeat_core::machine::{Action, Input, Instant, Why};

use super::gates::LinkGate;
use super::model::Model;
use super::{HubView, Oracle, Step, Verdict, secs};
use crate::scenario::Setting;

/// After a failure of transport no call is sent before the link gate's time, and then only one; and a fleet
/// does not wait in step.
#[derive(Debug)]
pub(super) struct GentleOutage {
    /// The first waits of each worker's life, in microseconds.
    waits: Vec<Vec<u64>>,
    /// Whose they were.
    seen: BTreeMap<Vec<u64>, u32>,
    failures: Vec<u32>,
    workers: usize,
}

/// So many equal waits in a row are no accident.
const ALIKE: usize = 3;

impl GentleOutage {
    pub(super) fn new(setting: &Setting) -> Self {
        let workers = setting.policies.len();
        let all = workers + setting.hubs.len();
        Self { waits: vec![Vec::new(); all], seen: BTreeMap::new(), failures: vec![0; all], workers }
    }

    fn forget(&mut self, who: usize) {
        if let (Some(waits), Some(failures)) = (self.waits.get_mut(who), self.failures.get_mut(who)) {
            waits.clear();
            *failures = 0;
        }
    }

    /// Two workers, or processes, whose jitter is the same have the same seed.
    fn compare(&mut self, link: &LinkGate, jitter: u8, who: u32, until: Instant) -> Verdict {
        let at = who as usize;
        let (Some(waits), Some(failures)) = (self.waits.get_mut(at), self.failures.get_mut(at)) else {
            return Ok(());
        };
        if jitter == 0 || waits.len() >= ALIKE || link.failures == *failures {
            return Ok(());
        }
        *failures = link.failures;
        waits.push(until.saturating_duration_since(link.since).as_micros().try_into().unwrap_or(u64::MAX));
        if waits.len() < ALIKE {
            return Ok(());
        }
        match self.seen.insert(waits.clone(), who) {
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

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let (model, now) = (step.model, step.model.latest);
        let link = &model.link;
        if link.failures == 0 {
            return reachable(step.action);
        }
        match *step.action {
            Action::GiveBack { .. } if matches!(step.input, Input::Leased { .. }) => Ok(()),
            Action::Poll { .. }
            | Action::Ask { .. }
            | Action::Update { .. }
            | Action::Extend { .. }
            | Action::Refresh { .. }
            | Action::GiveBack { .. } => calls(link, now),
            Action::Wait { until: Some(until), why: Why::Unreachable } => {
                waits(link, now, until)?;
                self.compare(link, model.policy.failing.jitter, step.worker, until)
            }
            Action::Run { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        let (hub, link) = (view.hub, &view.hub.link);
        if link.failures == 0 {
            return reachable(&view.step.action);
        }
        if matches!(view.step.action, Action::Refresh { .. }) {
            return calls(link, hub.latest);
        }
        let Some((Some(until), Why::Unreachable)) = view.wait() else { return Ok(()) };
        waits(link, hub.latest, until)?;
        self.compare(link, hub.policy.failing.jitter, hub.number, until)
    }

    fn hub_life(&mut self, index: usize) {
        self.forget(self.workers + index);
    }

    fn life(&mut self, worker: u32, _: &Model) {
        self.forget(worker as usize);
    }
}

/// A server that answers, be it late, is no server that cannot be reached.
fn reachable(action: &Action) -> Verdict {
    match *action {
        Action::Wait { why: Why::Unreachable, .. } => {
            Err("waits for a server that answers other calls: a slow call is no outage".to_owned())
        }
        _ => Ok(()),
    }
}

fn calls(link: &LinkGate, now: Instant) -> Verdict {
    if now < link.opens.lo {
        return Err(format!("calls an unreachable server at {}, before {}", secs(now), secs(link.opens.lo)));
    }
    if link.probe.is_some() {
        return Err("calls an unreachable server while another call is trying".to_owned());
    }
    Ok(())
}

fn waits(link: &LinkGate, now: Instant, until: Instant) -> Verdict {
    if until < link.opens.lo || until > link.opens.hi.max(now) {
        return Err(format!(
            "waits for the server until {}, whose gate opens from {} to {}",
            secs(until),
            secs(link.opens.lo),
            secs(link.opens.hi)
        ));
    }
    Ok(())
}
