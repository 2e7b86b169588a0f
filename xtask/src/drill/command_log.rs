//! What the commands of a drill say of themselves: a line when one starts, a line when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::process::{Context, Failure};

/// A command that reads its pause from its input, says that it has started, waits, says that it has ended. With a
/// directory `marks` only the first run of a workflow waits.
const SCRIPT: &str = r#"read -r input
pause=${input#*\"pause\":\"}
pause=${pause%%\"*}
mark="$DRILL_DIRECTORY/marks/$DOWNBEAT_WORKFLOW_ID"
if [ -e "$mark" ]; then
    pause=0
elif [ -d "$DRILL_DIRECTORY/marks" ]; then
    : >"$mark"
fi
said="$DOWNBEAT_WORKFLOW_ID $DOWNBEAT_TASK_ID $$"
echo "started $said" >>"$DRILL_DIRECTORY/runs.log"
sleep "$pause"
echo "ended $said" >>"$DRILL_DIRECTORY/runs.log"
echo '{"done":true}'
"#;

/// The log, and the script that writes it.
pub(crate) struct CommandLog {
    pub(super) script: PathBuf,
    file: PathBuf,
}

/// A run that has started and not ended.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Running {
    task: String,
    /// As the script knows itself.
    pid: String,
}

impl CommandLog {
    pub(crate) fn new(directory: &Path) -> Result<Self, Failure> {
        let (script, file) = (directory.join("task.sh"), directory.join("runs.log"));
        std::fs::write(&script, SCRIPT).context(|| format!("writing {}", script.display()))?;
        std::fs::write(&file, "").context(|| format!("writing {}", file.display()))?;
        Ok(Self { script, file })
    }

    /// How many runs have started so far.
    pub(crate) fn started(&self) -> u32 {
        let started = self.text().lines().filter(|line| line.starts_with("started ")).count();
        u32::try_from(started).unwrap_or(u32::MAX)
    }

    /// The runs that have started and not ended.
    pub(crate) fn running(&self) -> BTreeSet<Running> {
        running(&self.text())
    }

    /// How often a task of each workflow was started.
    pub(crate) fn runs(&self) -> BTreeMap<String, u32> {
        let mut runs = BTreeMap::new();
        for line in self.text().lines() {
            if let Some(workflow) = line.strip_prefix("started ").and_then(|rest| rest.split(' ').next()) {
                *runs.entry(workflow.to_owned()).or_default() += 1;
            }
        }
        runs
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap_or_default()
    }
}

fn running(text: &str) -> BTreeSet<Running> {
    let mut running = BTreeSet::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (word, _workflow) = (words.next(), words.next());
        let (Some(task), Some(pid)) = (words.next(), words.next()) else { continue };
        let run = Running { task: task.to_owned(), pid: pid.to_owned() };
        match word {
            Some("started") => running.insert(run),
            _ => running.remove(&run),
        };
    }
    running
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_under_way_until_its_own_process_has_ended() {
        let text = "started w1 t1 10\nstarted w2 t2 11\nended w1 t1 10\nstarted w1 t1 12\nended w2 t2 99\n";
        let run = |task: &str, pid: &str| Running { task: task.to_owned(), pid: pid.to_owned() };
        assert_eq!(running(text), BTreeSet::from([run("t1", "12"), run("t2", "11")]));
    }
}
