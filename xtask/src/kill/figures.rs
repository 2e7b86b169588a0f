//! What a round of kills came to, and what it may come to at the most.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

/// Repeats for each run that a kill met.
const REPEATS_MAX: f64 = 1.1;
/// How many lost workflows are named.
const NAMED: usize = 12;

/// The figures of one round.
pub(super) struct Figures {
    pub(super) seed: u32,
    pub(super) workflows: u32,
    pub(super) kills: u32,
    /// Runs of workflows' tasks, by workflow.
    pub(super) runs: BTreeMap<String, u32>,
    /// Runs that were under way at the kills.
    pub(super) running: u32,
    /// Workflows whose task a runner had and that did not end as COMPLETED, with what they ended as.
    pub(super) lost: Vec<(String, String)>,
    /// Such whose last delivery no runner knew of: a kill met the answer that brought it.
    pub(super) never_came: u32,
    /// Starts of the runner after which it ended by itself.
    pub(super) vain_starts: u32,
    /// Processes that were alive 5 s after the last runner had ended.
    pub(super) processes: usize,
    /// What that runner left in its temporary directory.
    pub(super) folders: usize,
    pub(super) seconds: f64,
}

impl Figures {
    pub(super) const HEAD: &str = "  seed workflows  lost never came    runs repeats running at kills  ratio vain starts leftovers folders \
         seconds";

    /// Every run.
    fn runs(&self) -> u32 {
        self.runs.values().sum()
    }

    /// Runs of a workflow's task beyond the first.
    fn repeats(&self) -> u32 {
        self.runs.values().map(|runs| runs.saturating_sub(1)).sum()
    }

    fn ratio(&self) -> f64 {
        f64::from(self.repeats()) / f64::from(self.running.max(1))
    }

    /// The bounds that were broken, a sentence each.
    pub(super) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if !self.lost.is_empty() {
            let named = self.lost.iter().take(NAMED).map(|(id, status)| {
                format!("\n  {id} {status}, run {} times", self.runs.get(id).copied().unwrap_or(0))
            });
            let (count, named) = (self.lost.len(), named.collect::<String>());
            broken.push(format!("seed {}: {count} workflows are lost, none may be:{named}", self.seed));
        }
        if self.ratio() > REPEATS_MAX {
            broken.push(format!(
                "seed {}: {} repeats are {:.2} for each of the {} runs that the kills met; {REPEATS_MAX} at the most",
                self.seed,
                self.repeats(),
                self.ratio(),
                self.running
            ));
        }
        if self.vain_starts > 0 {
            broken.push(format!(
                "seed {0}: {1} starts were in vain, the runner ended by itself; target/kill/seed-{0}/runner.log says why",
                self.seed, self.vain_starts
            ));
        }
        if self.processes > 0 {
            let count = self.processes;
            broken.push(format!("seed {}: {count} processes outlived the last runner by 5 s", self.seed));
        }
        if self.folders > 0 {
            let count = self.folders;
            broken.push(format!("seed {}: {count} temporary folders were left by killed runners", self.seed));
        }
        broken
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "seed": self.seed, "workflows": self.workflows, "kills": self.kills, "lost": self.lost.len(),
            "never_came": self.never_came, "runs": self.runs(), "repeats": self.repeats(),
            "running_at_kills": self.running, "ratio": self.ratio(), "vain_starts": self.vain_starts, "leftover_processes": self.processes,
            "leftover_folders": self.folders, "seconds": self.seconds,
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, workflows, running, never_came, vain_starts, processes, folders, seconds, .. } =
            self;
        let (lost, runs, repeats) = (self.lost.len(), self.runs(), self.repeats());
        let ratio = self.ratio();
        write!(
            f,
            "{seed:>6} {workflows:>9} {lost:>5} {never_came:>10} {runs:>7} {repeats:>7} {running:>16} {ratio:>6.2} \
             {vain_starts:>11} {processes:>9} {folders:>7} {seconds:>7.1}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(repeats: u32) -> Figures {
        Figures {
            seed: 1,
            workflows: 1,
            kills: 40,
            runs: BTreeMap::from([("w".to_owned(), 1 + repeats)]),
            running: 320,
            lost: Vec::new(),
            never_came: 1,
            vain_starts: 0,
            processes: 0,
            folders: 0,
            seconds: 1.0,
        }
    }

    #[test]
    fn a_tenth_more_repeats_than_runs_met_is_within_the_bound_and_one_more_is_not() {
        assert_eq!(figures(352).broken(), Vec::<String>::new());
        assert_eq!(figures(353).broken().len(), 1);
    }

    #[test]
    fn a_lost_workflow_is_named_with_its_status() {
        let lost = vec![("w".to_owned(), "TIMED_OUT".to_owned())];
        let broken = Figures { lost, ..figures(0) }.broken();
        assert!(broken.len() == 1 && broken[0].contains("w TIMED_OUT, run 1 times"), "{broken:?}");
    }
}
