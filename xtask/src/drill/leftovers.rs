//! What a killed runner leaves on the machine: processes, and folders in its temporary directory.

use std::path::{Path, PathBuf};

/// The name under which every process of a drill has the drill's directory in its environment.
pub(super) const MARK: &str = "DRILL_DIRECTORY";

/// Finds what belongs to the drill in one directory.
pub(crate) struct Leftovers {
    mark: String,
    pub(crate) temporary: PathBuf,
}

impl Leftovers {
    /// `directory`: the drill's; the runner's temporary directory is `tmp` in it.
    pub(crate) fn from_directory(directory: &Path) -> Self {
        Self { mark: format!("{MARK}={}", directory.display()), temporary: directory.join("tmp") }
    }

    /// The ids of the drill's processes that are alive. A zombie is not.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|id| self.is_ours(*id)).collect()
    }

    fn is_ours(&self, id: i32) -> bool {
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == self.mark.as_bytes())
    }

    /// Ends the drill's processes that are alive, so that none outlives the drill.
    pub(crate) fn end_processes(&self) {
        for id in self.processes() {
            if let Some(pid) = rustix::process::Pid::from_raw(id) {
                // It may have ended by itself meanwhile.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    /// What lies in the runner's temporary directory.
    pub(crate) fn folders(&self) -> usize {
        std::fs::read_dir(&self.temporary).map_or(0, |entries| entries.flatten().count())
    }
}
