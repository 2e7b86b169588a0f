//! `downbeat run`, to be killed and started again.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{CommandLog, leftovers, make_directory};
use crate::conductor::last_lines;
use crate::process::{Context, Failure, Guarded};

/// How long a runner may take to end once asked.
const PATIENCE: Duration = Duration::from_secs(40);

/// A runner with a store, ended with this value.
pub(crate) struct Runner {
    command: Command,
    process: Guarded,
    log: PathBuf,
    store: PathBuf,
    /// Starts after which it ended by itself.
    vain: u32,
}

/// After so many the drill gives up.
const VAIN_MAX: u32 = 100;

impl Runner {
    /// Starts `downbeat run` with these words; its store is `store` in the directory, its temporary directory `tmp`.
    pub(crate) fn start(downbeat: &Path, directory: &Path, words: &[&str]) -> Result<Self, Failure> {
        let (temporary, store) = (directory.join("tmp"), directory.join("store"));
        make_directory(&temporary)?;
        let log = directory.join("runner.log");
        let file = OpenOptions::new().create(true).append(true).open(&log);
        let file = file.context(|| format!("making {}", log.display()))?;
        let twin = file.try_clone().context(|| format!("opening {} twice", log.display()))?;
        let mut command = Command::new(downbeat);
        command
            .arg("run")
            .arg("--store")
            .arg(&store)
            .args(words)
            .current_dir(directory)
            .stdout(file)
            .stderr(twin);
        command.env("TMPDIR", temporary).env(leftovers::MARK, directory);
        let process = Guarded::start(&mut command, PATIENCE)?;
        Ok(Self { command, process, log, store, vain: 0 })
    }

    /// Starts one that runs the log's script for one task type.
    pub(crate) fn from_script(
        downbeat: &Path,
        directory: &Path,
        url: &str,
        (task, slots): (&str, u32),
        log: &CommandLog,
    ) -> Result<Self, Failure> {
        let (script, slots) = (log.script.display().to_string(), slots.to_string());
        let words = ["--server", url, "--task", task, "--slots", &slots];
        Self::start(downbeat, directory, &[&words[..], &["--", "sh", &script]].concat())
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        self.revive()?;
        self.process.kill().context(|| "killing the runner".to_owned())
    }

    /// Starts it again, with the same words.
    pub(crate) fn restart(&mut self) -> Result<(), Failure> {
        self.process = Guarded::start(&mut self.command, PATIENCE)?;
        Ok(())
    }

    /// Starts it again where it has ended by itself, as systemd would, and counts that.
    pub(crate) fn revive(&mut self) -> Result<(), Failure> {
        if self.process.has_ended() {
            self.vain += 1;
            if self.vain > VAIN_MAX {
                return self.check();
            }
            self.restart()?;
        }
        Ok(())
    }

    /// How often [`Runner::revive`] had to.
    pub(crate) const fn vain(&self) -> u32 {
        self.vain
    }

    /// Fails once it has ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        if !self.process.has_ended() {
            return Ok(());
        }
        Err(Failure::new(format!("the runner ended by itself; its log:\n{}", last_lines(&self.log))))
    }

    /// Asks it to end; its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.process.terminate()
    }

    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}
