//! S8: no poll before its gate.

use downbeat_core::machine::{Action, EntryId, Why};

use super::model::Model;
use super::{Oracle, Step, Verdict, secs};

/// No `Poll`, and no `Update` with `take_next`, before the gate opens; nor is the gate later than its cap.
#[derive(Debug)]
pub(super) struct PollGate;

impl Oracle for PollGate {
    fn name(&self) -> &'static str {
        "S8 poll-gate"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let (model, now) = (step.model, step.now);
        let opens = model.gate.opens;
        if let Action::Update { entry, attempt, take_next: true, instead, .. } = *step.action {
            takes_next(model, entry, attempt > 0 || instead.is_some())?;
        }
        if model.gate.vague {
            return Ok(());
        }
        match *step.action {
            Action::Poll { .. } | Action::Update { take_next: true, .. } => {
                if now < opens.lo {
                    let early = opens.lo.saturating_duration_since(now).as_micros();
                    return Err(format!(
                        "polls {early} µs before the gate ({:?}, opens at {} at the earliest)",
                        model.gate.why,
                        secs(opens.lo)
                    ));
                }
                if !model.token.allows(now) {
                    return Err("polls without a good token, or inside the authorisation backoff".to_owned());
                }
                Ok(())
            }
            Action::Wait { until: Some(until), why: Why::Empty | Why::Failing | Why::RetryAfter } => {
                if until < opens.lo || until > opens.hi.max(model.latest) {
                    return Err(format!(
                        "waits for the poll gate until {}, which opens from {} to {}",
                        secs(until),
                        secs(opens.lo),
                        secs(opens.hi)
                    ));
                }
                Ok(())
            }
            Action::Run { .. }
            | Action::GiveBack { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Ask { .. }
            | Action::Refresh { .. }
            | Action::Extend { .. }
            | Action::Update { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }
}

/// Which reports may bring a task: a first one of a result, to a server that knows `update-v2` and answers soon. What comes
/// with an answer that nobody waits for any more is out until its lease ends.
fn takes_next(model: &Model, entry: EntryId, repeats: bool) -> Verdict {
    if model.slow {
        return Err(
            "takes the next task from a server whose answer to the latest report came late".to_owned()
        );
    }
    if model.latest < model.take_next_from {
        return Err(format!(
            "uses update-v2 at {}, which the server did not know: it is left alone until {}",
            secs(model.latest),
            secs(model.take_next_from)
        ));
    }
    match model.held(entry) {
        Some(held) if repeats || !held.is_final() => Err(format!(
            "takes the next task with a repeat, or with a yield, of task {:032x}",
            held.key.to_u128()
        )),
        _ => Ok(()),
    }
}
