//! L8: idle is quiet.

use downbeat_core::machine::{Action, Input, Instant};

use super::gates::PollKind;
use super::model::Model;
use super::{Oracle, Step, Verdict};
use crate::scenario::Setting;

/// While its queue is empty a worker polls no more often than the empty backoff allows, and once.
#[derive(Debug)]
pub(super) struct IdleIsQuiet {
    quiet: Vec<Option<(Instant, u64)>>,
}

impl IdleIsQuiet {
    pub(super) fn new(setting: &Setting) -> Self {
        Self { quiet: vec![None; setting.policies.len()] }
    }
}

impl Oracle for IdleIsQuiet {
    fn name(&self) -> &'static str {
        "L8 idle-is-quiet"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        let Some(quiet) = self.quiet.get_mut(step.worker as usize) else { return Ok(()) };
        let news = match step.input {
            Input::Leased { .. } | Input::Recovered { .. } | Input::Control(_) => true,
            Input::Replied { reply, .. } => reply.is_err(),
            Input::Tick | Input::Finished { .. } | Input::Token(_) => false,
        };
        if news {
            *quiet = None;
        }
        if !matches!(step.action, Action::Poll { .. })
            || model.gate.kind(&model.policy) == PollKind::FollowUp
            || model.gate.vague
        {
            return Ok(());
        }
        let (since, polls) = quiet.get_or_insert((model.latest, 0));
        *polls += 1;
        let interval = model.policy.poll_interval.as_micros().max(1);
        // The delays before the interval is reached double; jitter halves them at the most.
        let doublings = u64::from(128 - (interval / 1_000 + 1).leading_zeros()) + 1;
        let shortest = interval * u128::from(100 - model.policy.empty_jitter) / 100;
        let steady =
            u64::try_from(model.latest.saturating_duration_since(*since).as_micros() / shortest.max(1))
                .unwrap_or(u64::MAX);
        if *polls > doublings + steady + 2 {
            return Err(format!(
                "{polls} polls of an empty queue in {} ms; {} are allowed",
                model.latest.saturating_duration_since(*since).as_millis(),
                doublings + steady + 2
            ));
        }
        Ok(())
    }

    fn life(&mut self, worker: u32, _: &Model) {
        if let Some(quiet) = self.quiet.get_mut(worker as usize) {
            *quiet = None;
        }
    }
}
