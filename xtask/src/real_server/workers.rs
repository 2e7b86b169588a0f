//! The workers under test: `downbeat run` with a configuration file, and a library worker that panics.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Binaries;
use crate::conductor::last_lines;
use crate::process::{Context, Failure, Guarded, root};

/// The example of the library whose handler panics; it takes its server from `CONDUCTOR_SERVER_URL` and its task
/// type as its only argument.
pub(super) const PANICKING_EXAMPLE: &str = "panicking";
/// What it panics with.
pub(super) const PANIC_TEXT: &str = "panicking on purpose";

/// How long the workers may take to end once asked: nothing is left to do by then.
const GRACE: Duration = Duration::from_secs(20);

/// The processes, ended with this value.
pub(super) struct Workers {
    processes: Vec<(&'static str, Guarded, PathBuf)>,
}

impl Workers {
    /// Starts both against the API at `url`.
    pub(super) fn start(url: &str, dir: &Path, binaries: &Binaries) -> Result<Self, Failure> {
        let config = dir.join("downbeat.toml");
        std::fs::write(&config, configuration(url)).context(|| format!("writing {}", config.display()))?;
        let mut runner = Command::new(&binaries.downbeat);
        runner.arg("run").arg("--config").arg(&config);
        let mut panicking = Command::new(&binaries.panicking);
        panicking.arg("real_panic").env("CONDUCTOR_SERVER_URL", url);
        let mut workers = Self { processes: Vec::new() };
        workers.launch("downbeat run", runner, dir)?;
        workers.launch("the library worker", panicking, dir)?;
        Ok(workers)
    }

    fn launch(&mut self, name: &'static str, mut command: Command, dir: &Path) -> Result<(), Failure> {
        let log = dir.join(format!("worker-{}.log", self.processes.len()));
        let file = File::create(&log).context(|| format!("making {}", log.display()))?;
        let twin = file.try_clone().context(|| format!("opening {} twice", log.display()))?;
        command.current_dir(dir).stdout(file).stderr(twin);
        self.processes.push((name, Guarded::start(&mut command, GRACE)?, log));
        Ok(())
    }

    /// Fails once a worker has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        for (name, process, log) in &mut self.processes {
            if process.has_ended() {
                return Err(Failure::new(format!("{name} ended too early; its log:\n{}", last_lines(log))));
            }
        }
        Ok(())
    }

    /// Asks both to end; each must do so in time and with success.
    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        for (name, process, log) in &mut self.processes {
            let code = process.terminate();
            if code != Some(0) {
                let how = code.map_or_else(|| "was killed".to_owned(), |code| format!("ended with {code}"));
                return Err(Failure::new(format!(
                    "{name} {how} after SIGTERM; its log:\n{}",
                    last_lines(log)
                )));
            }
        }
        Ok(())
    }
}

/// One `[[worker]]` for each task type that a command serves.
fn configuration(url: &str) -> String {
    let scripts = root().join("tools/conductor-server/workers");
    let script = |name: &str| format!("[\"sh\", {:?}]", scripts.join(name).display().to_string());
    let workers = [
        ("real_echo", "[\"cat\"]".to_owned(), 8),
        ("real_flaky", script("flaky.sh"), 4),
        ("real_doomed", script("doomed.sh"), 4),
        ("real_callback", script("callback.sh"), 4),
        ("real_slow", script("slow.sh"), 8),
    ];
    let mut text = format!("[server]\nurl = {url:?}\n");
    for (task, command, slots) in workers {
        text.push_str(&format!("\n[[worker]]\ntask = {task:?}\ncommand = {command}\nslots = {slots}\n"));
    }
    text
}
