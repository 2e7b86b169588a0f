//! The runner's hub, as its scheduler steps it.

use std::sync::Arc;

use downbeat_core::machine::{Action, HubAction, HubInput, Instant};

use super::scheduler::{Core, Scheduler, Step};
use super::slots::WorkerSlots;
use crate::hub::BoxedHub;
use crate::record::Recorder;

/// The hub with the record of its steps.
pub(crate) struct HubCore {
    hub: BoxedHub,
    /// Notes each step, if somebody wants a record.
    recorder: Option<Recorder>,
    workers: Arc<[WorkerSlots]>,
}

impl HubCore {
    pub(crate) fn new(hub: BoxedHub, recorder: Option<Recorder>, workers: Arc<[WorkerSlots]>) -> Self {
        Self { hub, recorder, workers }
    }
}

impl Core for HubCore {
    type Input = HubInput;
    type Job = HubAction;

    fn step(&mut self, now: Instant, input: Option<HubInput>) -> Step<HubAction> {
        let input = input.unwrap_or(HubInput::Tick);
        let action = match &mut self.recorder {
            Some(recorder) => recorder.step(&mut self.hub, now, input),
            None => self.hub.step(now, input),
        };
        match action {
            HubAction::Wait { until, .. } => Step::Wait(until),
            HubAction::Stopped => Step::Stopped,
            HubAction::Worker { worker, action: Action::Discard { entry, .. } } => {
                if let Some(slots) = self.workers.get(usize::from(worker)) {
                    // The entry may be another task's before the job is done.
                    slots.set_aside(entry);
                }
                Step::Job(action)
            }
            HubAction::Worker { .. } | HubAction::Refresh { .. } => Step::Job(action),
        }
    }

    /// What is still done when the hub has stopped: it keeps results. A call that is under way then (the runner was
    /// aborted) can bring nothing any more, and the user's code may never end.
    fn must_be_done(job: &HubAction) -> bool {
        matches!(job, HubAction::Worker { action: Action::Spill { .. } | Action::Discard { .. }, .. })
    }
}

impl Scheduler<HubCore> {
    /// Looks at the hub.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&BoxedHub) -> T) -> T {
        self.look_at_core(|core| look(&core.hub))
    }

    /// Ends the record, if there is one, and waits until it is written.
    pub(crate) fn end_record(&self) {
        let recorder = self.look_at_core(|core| core.recorder.take());
        recorder.into_iter().for_each(Recorder::finish);
    }
}
