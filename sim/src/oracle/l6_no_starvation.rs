//! L6: no starvation.

use downbeat_core::machine::Action;

use super::{Oracle, Ruling, Step, secs};

/// What is owed comes before what is wanted: no report is sent while a lease is due, no poll while a lease or a result
/// is. So a due lease waits for at most the one call that holds the lane.
#[derive(Debug)]
pub(super) struct NoStarvation;

impl Oracle for NoStarvation {
    fn name(&self) -> &'static str {
        "L6 no-starvation"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let page = step.page;
        let polls = matches!(step.action, Action::Poll { .. });
        if page.held == 0 || !(polls || matches!(step.action, Action::Update { .. })) {
            return Ok(());
        }
        let lease = page.next_extension().filter(|(_, due)| page.policy.extend && *due < page.latest);
        let result = page.next_report().filter(|(_, due)| polls && *due < page.latest);
        match (lease, result) {
            (Some((held, due)), _) => Err(format!(
                "sends {:?} while the lease of task {:032x} is due since {}",
                step.action,
                held.key.to_u128(),
                secs(due)
            )),
            (None, Some((held, due))) => Err(format!(
                "polls while the outcome of task {:032x} is due since {}",
                held.key.to_u128(),
                secs(due)
            )),
            (None, None) => Ok(()),
        }
    }
}
