//! S19: whatever comes from the network, lanes, capacity and rest hold.

use super::model::Model;
use super::s10_lanes::Lanes;
use super::s11_capacity::Capacity;
use super::s14_no_spin::NoSpin;
use super::{Oracle, Step, Verdict};
use crate::scenario::Setting;

/// S10, S11 and S14 for workers that were told of things that are not.
#[derive(Debug)]
pub(super) struct HostileServer {
    hostile: Vec<bool>,
    spin: NoSpin,
}

impl HostileServer {
    /// Judges each worker once it was told something stale.
    pub(super) fn once_hostile(setting: &Setting) -> Self {
        Self { hostile: vec![false; setting.policies.len()], spin: NoSpin::new(setting) }
    }

    /// Judges from the start.
    pub(super) fn always(setting: &Setting) -> Self {
        Self { hostile: vec![true; setting.policies.len()], spin: NoSpin::new(setting) }
    }
}

impl Oracle for HostileServer {
    fn name(&self) -> &'static str {
        "S19 hostile-server"
    }

    fn step(&mut self, step: &Step<'_>) -> Verdict {
        let Some(hostile) = self.hostile.get_mut(step.worker as usize) else { return Ok(()) };
        *hostile |= step.model.stale;
        if !*hostile {
            return Ok(());
        }
        Lanes.step(step)?;
        Capacity.step(step)?;
        self.spin.step(step)
    }

    fn life(&mut self, worker: u32, model: &Model) {
        self.spin.life(worker, model);
    }
}
