//! L6: no starvation.

use downbeat_core::machine::{Action, Instant};

use super::{HubView, Oracle, Ruling, Setting, Step, secs};

/// What is owed comes before what is wanted: no report is sent while a lease is due, no poll while a lease or a result
/// is. So a due lease waits for at most the one call that holds the lane.
/// Behind a hub: no worker polls while another's lease or result that could be sent has been due since before the
/// latest wait.
#[derive(Debug)]
pub(super) struct NoStarvation {
    /// When each hub last waited, by its clock.
    waited: Vec<Instant>,
}

impl NoStarvation {
    pub(super) fn new(setting: &Setting) -> Self {
        Self { waited: vec![Instant::ZERO; setting.hubs.len()] }
    }
}

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

    fn hub_step(&mut self, view: &HubView<'_>) -> Ruling {
        let Some(waited) = self.waited.get_mut(view.index) else { return Ok(()) };
        if view.wait().is_some() {
            *waited = view.hub.latest;
        }
        if !matches!(view.step.action, Action::Poll { .. }) {
            return Ok(());
        }
        view.each(|_, page| {
            if page.held == 0 || !page.has_lane() {
                return Ok(());
            }
            let lease = page.next_extension().filter(|_| page.policy.extend);
            let due = lease.into_iter().chain(page.next_report()).find(|(_, due)| *due < *waited);
            due.map_or(Ok(()), |(held, due)| {
                let (task, due) = (held.key.to_u128(), secs(due));
                Err(format!("task {task:032x} has to be seen to since {due}, and another polls first"))
            })
        })
    }

    fn hub_life(&mut self, index: usize) {
        if let Some(waited) = self.waited.get_mut(index) {
            *waited = Instant::ZERO;
        }
    }
}
