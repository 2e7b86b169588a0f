//! Who is who in a scenario: the numbers of workers, and the processes that hold many of them.

use downbeat_core::machine::{HubPolicy, Policy};

use super::model::{Processes, Scenario, Workers};
use crate::random::mix;

/// One process with a hub.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Process {
    /// Which group of the scenario's `processes` it is of.
    pub group: usize,
    /// Which copy, from 0.
    pub copy: u32,
    /// What its hub is made with.
    pub policy: HubPolicy,
    /// Its workers, in the hub's order, by their numbers over all groups.
    pub members: Vec<u32>,
}

/// A hub as oracles and records know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hub {
    /// Its number among the workers of the events; hubs are numbered on behind the last worker.
    pub number: u32,
    /// What it is made with.
    pub policy: HubPolicy,
    /// Its workers, in its order: by their numbers.
    pub members: Vec<u32>,
}

impl Hub {
    /// Makes the hubs of a scenario.
    #[must_use]
    pub fn from_scenario(scenario: &Scenario) -> Vec<Self> {
        let first = u32::try_from(scenario.worker_count()).unwrap_or(u32::MAX);
        let hub = |(number, process): (u32, Process)| Self {
            number,
            policy: process.policy,
            members: process.members,
        };
        (first..).zip(scenario.each_process()).map(hub).collect()
    }

    /// Returns a worker's index in the hub.
    #[must_use]
    pub fn index(&self, worker: u32) -> Option<usize> {
        self.members.binary_search(&worker).ok()
    }
}

impl Scenario {
    /// Returns how many workers there are, in processes and outside. They are numbered over the groups, in
    /// the file's order; in a group of a process, copy by copy.
    #[must_use]
    pub fn worker_count(&self) -> u64 {
        self.workers.iter().map(|group| self.in_group(group)).sum()
    }

    /// Returns how many workers a group has in all.
    #[must_use]
    pub fn in_group(&self, group: &Workers) -> u64 {
        let copies = self.process_of(group).map_or(1, |process| process.count);
        u64::from(group.count) * u64::from(copies)
    }

    /// Returns the process that holds a group of workers, if one does.
    #[must_use]
    pub fn process_of(&self, group: &Workers) -> Option<&Processes> {
        let name = group.process.as_ref()?;
        self.processes.iter().find(|process| process.name == *name)
    }

    /// Returns the policy of a group's workers. In a process a worker may have as many calls in flight as all
    /// together, if nothing else is said.
    #[must_use]
    pub fn policy_of(&self, group: &Workers) -> Policy {
        let mut policy = group.policy_for(self.server.auth);
        if let Some(process) = self.process_of(group) {
            policy.max_calls = group.policy.lanes.unwrap_or(process.calls);
        }
        policy
    }

    /// Returns what the hub of a process is made with.
    #[must_use]
    pub fn hub_policy(&self, process: &Processes) -> HubPolicy {
        HubPolicy { max_calls: process.calls, authenticated: self.server.auth, ..HubPolicy::default() }
    }

    /// Returns the processes with hubs, copy by copy. Among the workers of a run, number
    /// [`Scenario::worker_count`] and the next ones stand for the hubs, in this order.
    #[must_use]
    pub fn each_process(&self) -> Vec<Process> {
        let (mut processes, mut firsts) = (Vec::new(), Vec::new());
        for (number, group) in self.processes.iter().enumerate() {
            let policy = self.hub_policy(group);
            firsts.push(processes.len());
            let process = |copy| Process { group: number, copy, policy, members: Vec::new() };
            processes.extend((0..group.count).map(process));
        }
        if processes.is_empty() {
            return processes;
        }
        let mut next = 0_u32;
        for group in &self.workers {
            let held = self.processes.iter().position(|it| Some(&it.name) == group.process.as_ref());
            let first = held.and_then(|process| firsts.get(process)).copied();
            let copies = self.process_of(group).map_or(1, |process| process.count);
            for copy in 0..copies as usize {
                let members = next..next.saturating_add(group.count);
                next = members.end;
                if let Some(process) = first.and_then(|first| processes.get_mut(first + copy)) {
                    process.members.extend(members);
                }
            }
        }
        processes
    }
}

/// Returns the seed of a worker's machine in its life with this number, the first being 0: a record can make
/// it anew.
#[must_use]
pub fn machine_seed(scenario_seed: u64, worker: u32, life: u32) -> u64 {
    mix(scenario_seed ^ (u64::from(worker) << 32) ^ u64::from(life))
}
