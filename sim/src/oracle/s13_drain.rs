//! S13: a drain drops nothing.

use downbeat_core::machine::Action;

use super::book::{Held, Mode, Page};
use super::{HubView, Oracle, Ruling, Step};

/// After `Drain` nothing is asked for; the worker stops when nothing is held and no poll is in flight; what arrives
/// late is run or given back; what still runs at the end of its time is recalled; and a stopped worker stays so.
#[derive(Debug)]
pub(super) struct Drain;

impl Oracle for Drain {
    fn name(&self) -> &'static str {
        "S13 drain"
    }

    fn step(&mut self, step: &Step<'_>) -> Ruling {
        let page = step.page;
        if step.mode_before == Mode::Stopped && !matches!(step.action, Action::Stopped) {
            return Err("acts after it has stopped".to_owned());
        }
        match *step.action {
            // A worker of a hub that has given up hears of late tasks still; alone it would have been gone.
            Action::Ignore { .. } if page.is_held() && matches!(page.mode, Mode::Aborted | Mode::Stopped) => {
                Ok(())
            }
            Action::Ignore { key } if !page.known => {
                Err(format!("drops task {:032x}, which is not here", key.to_u128()))
            }
            Action::Poll { .. } if page.mode.is_ending() => Err("polls while draining".to_owned()),
            Action::Update { take_next: true, .. } if page.mode.is_ending() => {
                Err("takes the next task while draining".to_owned())
            }
            Action::Stopped if step.mode_before != Mode::Stopped => stops(page),
            Action::Wait { .. } if !page.is_held() => recalls(page),
            Action::Recall { .. } if !matches!(page.mode, Mode::Recalling { .. }) => {
                Err("recalls a task before the drain's time is over".to_owned())
            }
            Action::Run { .. }
            | Action::Refuse { .. }
            | Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Refresh { .. }
            | Action::Extend { .. }
            | Action::Update { .. }
            | Action::Poll { .. }
            | Action::Spill { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => Ok(()),
        }
    }

    fn hub_step(&mut self, view: &HubView<'_>) -> Ruling {
        let stopped = view.members().any(|(_, page)| page.mode == Mode::Stopped);
        if matches!(view.step.action, Action::Stopped) {
            return view.each(|_, page| {
                if page.mode == Mode::Stopped {
                    Ok(())
                } else if page.held > 0 {
                    Err(format!("stops while it holds {} tasks", page.held))
                } else {
                    stops(page)
                }
            });
        }
        if stopped {
            return Err("acts after it has stopped".to_owned());
        }
        if view.wait().is_some() { view.each(|_, page| recalls(page)) } else { Ok(()) }
    }
}

fn recalls(page: &Page) -> Ruling {
    let runs = |held: &&Held| held.outcome.is_none() && !held.recalled;
    match page.all().find(runs).filter(|_| matches!(page.mode, Mode::Recalling { .. })) {
        Some(held) => {
            Err(format!("does not recall task {:032x}, though the drain's time is over", held.key.to_u128()))
        }
        None => Ok(()),
    }
}

fn stops(page: &Page) -> Ruling {
    match page.mode {
        Mode::Open | Mode::Paused => Err("stops though nobody told it to".to_owned()),
        Mode::Draining { .. } | Mode::Recalling { .. } if page.poll().is_some() => {
            Err("stops while a poll is in flight, whose tasks would wait for their timeout".to_owned())
        }
        Mode::Draining { .. } | Mode::Recalling { .. } | Mode::Aborted | Mode::Stopped => Ok(()),
    }
}
