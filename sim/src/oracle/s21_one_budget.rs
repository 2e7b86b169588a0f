//! S21: a process keeps its budget.

use downbeat_core::machine::{Action, Input};

use super::{HubView, Oracle, Verdict};

/// Calls in flight of all workers of a process, and its token's, are at most its `max_calls`; all but a quarter of them,
/// and never all, may be polls.
#[derive(Debug)]
pub(super) struct OneBudget;

impl Oracle for OneBudget {
    fn name(&self) -> &'static str {
        "S21 one-budget"
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Verdict {
        let (hub, action) = (view.hub, &view.step.action);
        let polls = matches!(action, Action::Poll { .. });
        if polls && hub.polls >= hub.poll_lanes() {
            return Err(format!(
                "polls while {} polls of the process are in flight; {} of its {} calls may be polls",
                hub.polls,
                hub.poll_lanes(),
                hub.policy.max_calls
            ));
        }
        // A give-back shares the lane of the poll that brought the task; the store's writes are no calls.
        let shares =
            matches!(action, Action::GiveBack { .. }) && matches!(view.step.input, Input::Leased { .. });
        let sends = action.call().is_some() && !shares && !matches!(action, Action::Spill { .. });
        if sends && hub.calls() >= usize::from(hub.policy.max_calls) {
            return Err(format!(
                "sends a call while {} of the process are in flight; {} are allowed",
                hub.calls(),
                hub.policy.max_calls
            ));
        }
        Ok(())
    }
}
