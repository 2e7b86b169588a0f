//! Who is who in a scenario: the numbers of workers, and the processes that hold many of them.

use downbeat_core::machine::{HubPolicy, Policy};

use super::model::{Process, Scenario, Workers};

/// One process with a hub.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Crew {
    /// Which of the scenario's `processes` it is a copy of.
    pub process: usize,
    /// Which copy, from 0.
    pub copy: u32,
    /// What its hub is made with.
    pub policy: HubPolicy,
    /// Its workers, in the hub's order, by their numbers over all groups.
    pub members: Vec<u32>,
}

impl Scenario {
    /// How many workers there are, in processes and alone. They are numbered over the groups, in the file's order; in a
    /// group of a process, copy by copy.
    #[must_use]
    pub fn worker_count(&self) -> u64 {
        self.workers.iter().map(|group| self.in_group(group)).sum()
    }

    /// How many workers a group has in all.
    #[must_use]
    pub fn in_group(&self, group: &Workers) -> u64 {
        let copies = self.process_of(group).map_or(1, |process| process.count);
        u64::from(group.count) * u64::from(copies)
    }

    /// The process that holds a group of workers, where one does.
    #[must_use]
    pub fn process_of(&self, group: &Workers) -> Option<&Process> {
        let name = group.process.as_ref()?;
        self.processes.iter().find(|process| process.name == *name)
    }

    /// The policy of a group's workers. In a process a worker may have as many calls in flight as all together, where
    /// nothing else is said.
    #[must_use]
    pub fn policy_of(&self, group: &Workers) -> Policy {
        let mut policy = group.policy_for(self.server.auth);
        if let Some(process) = self.process_of(group) {
            policy.max_calls = group.policy.lanes.unwrap_or(process.calls);
        }
        policy
    }

    /// What the hub of a process is made with.
    #[must_use]
    pub fn hub_policy(&self, process: &Process) -> HubPolicy {
        HubPolicy { max_calls: process.calls, authenticated: self.server.auth, ..HubPolicy::default() }
    }

    /// The processes with hubs, copy by copy. Among the workers of a run, number [`Scenario::worker_count`] and the
    /// next ones stand for the hubs, in this order.
    #[must_use]
    pub fn crews(&self) -> Vec<Crew> {
        let (mut crews, mut firsts) = (Vec::new(), Vec::new());
        for (number, process) in self.processes.iter().enumerate() {
            let policy = self.hub_policy(process);
            firsts.push(crews.len());
            let crew = |copy| Crew { process: number, copy, policy, members: Vec::new() };
            crews.extend((0..process.count).map(crew));
        }
        if crews.is_empty() {
            return crews;
        }
        let mut next = 0_u32;
        for group in &self.workers {
            let held = self.processes.iter().position(|it| Some(&it.name) == group.process.as_ref());
            let first = held.and_then(|process| firsts.get(process)).copied();
            let copies = self.process_of(group).map_or(1, |process| process.count);
            for copy in 0..copies as usize {
                let members = next..next.saturating_add(group.count);
                next = members.end;
                if let Some(crew) = first.and_then(|first| crews.get_mut(first + copy)) {
                    crew.members.extend(members);
                }
            }
        }
        crews
    }
}
