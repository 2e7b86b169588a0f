//! S29: one call at a time writes to a task.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others write to no task")]

use downbeat_core::machine::Action;

use super::{Oracle, Step, Verdict, secs};

/// While a report is in flight the lease of its task is not extended, and while an extension is, no report of its task is sent,
/// until nine tenths of the lease are over and the other has been in flight for a tenth of it.
#[derive(Debug)]
pub(super) struct OneWriter;

impl Oracle for OneWriter {
    fn name(&self) -> &'static str {
        "S29 one-writer"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let model = step.model;
        let (entry, what, other) = match *step.action {
            Action::Extend { entry, .. } => (entry, "extends the lease", "its report"),
            Action::Update { entry, .. } => (entry, "reports the outcome", "the extension of its lease"),
            _ => return Ok(()),
        };
        let Some(held) = model.held(entry) else { return Ok(()) };
        match model.alone_until(held) {
            Some(until) if model.latest < until => Err(format!(
                "{what} of task {:032x} while {other} is in flight, which has it for itself until {}",
                held.key.to_u128(),
                secs(until)
            )),
            _ => Ok(()),
        }
    }
}
