//! S27: one copy of a task in a worker.

use downbeat_core::machine::Action;

use super::{Oracle, Step, Verdict};

/// The server's retry of a task that runs here does not run beside it: the run goes on for the retry, or, if
/// it is being stopped, the retry is given back.
#[derive(Debug)]
pub(super) struct OneCopy;

impl Oracle for OneCopy {
    fn name(&self) -> &'static str {
        "S27 one-copy"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        let running = model.retried(step.input).filter(|_| !model.is_ruby());
        match (*step.action, running) {
            (Action::Run { key, .. }, Some(held)) => Err(format!(
                "runs task {:032x} beside task {:032x}, which it is the retry of",
                key.to_u128(),
                held.key.to_u128()
            )),
            (Action::Adopt { entry, .. }, Some(held))
                if held.entry == entry && !held.recalled && !held.ended =>
            {
                Ok(())
            }
            (Action::Adopt { key, .. }, _) => {
                Err(format!("adopts task {:032x}, and does not run what that retries", key.to_u128()))
            }
            _ => Ok(()),
        }
    }
}
