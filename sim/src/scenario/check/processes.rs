//! What processes of many workers must keep, and what their workers may not decide for themselves.

use super::{Found, Problem, Times};
use crate::scenario::limits::{CALLS_MAX, CALLS_MIN, COPIES_MAX, MEMBERS_MAX};
use crate::scenario::load::nearest;
use crate::scenario::model::{Processes, Workers};
use crate::scenario::policy::Preset;

impl Found<'_> {
    pub(super) fn process(&mut self, key: &str, process: &Processes) {
        let (name, scenario) = (&process.name, self.scenario);
        self.name(format!("{key}.name"), Some(name));
        let same = scenario.processes.iter().filter(|other| other.name == *name).count();
        self.unless(same == 1, format!("{key}.name"), || {
            format!("`{name}` is the name of {same} processes; for equal ones use `count`")
        });
        self.unless((1..=COPIES_MAX).contains(&process.count), format!("{key}.count"), || {
            format!("{} is not allowed; use 1 to {COPIES_MAX}", process.count)
        });
        self.unless((CALLS_MIN..=CALLS_MAX).contains(&process.calls), format!("{key}.calls"), || {
            format!("{} is not allowed; use {CALLS_MIN} to {CALLS_MAX}", process.calls)
        });
        self.skew(key, process.clock_skew_ppm);
        let of = Times { count: process.count, start_at: process.start_at, stagger: process.stagger };
        self.lives(key, "process", &of, process.drain_at, process.restart_after);
        let held = scenario.workers.iter().filter(|group| group.process.as_ref() == Some(name));
        let members: u64 = held.map(|group| u64::from(group.count)).sum();
        self.unless(members > 0, format!("{key}.name"), || {
            format!("no group of workers has `process = \"{name}\"`")
        });
        self.unless(members <= u64::from(MEMBERS_MAX), format!("{key}.name"), || {
            format!("{members} workers in one process are not allowed; use at most {MEMBERS_MAX}")
        });
    }

    /// What a process decides for its workers, they do not.
    pub(super) fn held(&mut self, key: &str, group: &Workers) {
        let Some(name) = &group.process else { return };
        let processes = &self.scenario.processes;
        let Some(at) = processes.iter().position(|process| process.name == *name) else {
            let near = nearest(name, processes.iter().map(|process| process.name.as_str()));
            let known = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write `[[processes]]` with `name = \"{name}\"`"),
            };
            let what = format!("there is no process `{name}`; {known}");
            return self.problems.push(Problem { key: format!("{key}.process"), what });
        };
        for (field, unset) in [
            ("start_at", group.start_at.get().is_zero()),
            ("stagger", group.stagger.get().is_zero()),
            ("restart_after", group.restart_after.is_none()),
            ("clock_skew_ppm", group.clock_skew_ppm == 0),
        ] {
            self.unless(unset, format!("{key}.{field}"), || {
                format!("belongs to the process `{name}`: write it under processes[{at}]")
            });
        }
        self.unless(group.policy.preset == Preset::Default, format!("{key}.policy.preset"), || {
            "the Ruby SDK's rules know no process of many workers; leave out `process` or `preset`".to_owned()
        });
    }
}
