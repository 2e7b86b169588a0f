//! Programs that are run, and what went wrong with them.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::clock;

/// What went wrong, and where, for people.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A failure of which everything was said already.
    pub(crate) const fn told() -> Self {
        Self(String::new())
    }

    pub(crate) fn is_told(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says what was being done when an error came.
pub(crate) trait Context<T> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{}: {error}", doing())))
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where cargo builds: `CARGO_TARGET_DIR`, else `target` at the root.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// A program started at the root.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The cargo that runs this tool, without the variables that cargo sets for it: they would make builds of its own
/// think that something had changed.
pub(crate) fn cargo() -> Command {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_CRATE_NAME"
        {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs a command to its end, its output shown; anything but success is a failure.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let line = line_of(command);
    println!("$ {line}");
    let status = command.status().context(|| format!("`{line}` could not be started"))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("`{line}` ended with {status}"))) }
}

/// Runs a command to its end and keeps its output, standard error included.
pub(crate) fn capture(command: &mut Command) -> Result<(bool, String), Failure> {
    let line = line_of(command);
    let output =
        command.stdin(Stdio::null()).output().context(|| format!("`{line}` could not be started"))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), text))
}

/// Builds what users build, `cargo build --release` at the root, and gives the path of one of its binaries.
pub(crate) fn release_binary(name: &str) -> Result<PathBuf, Failure> {
    run(cargo().args(["build", "--quiet", "--release", "--locked"]))?;
    let path = target().join("release").join(name);
    if path.exists() {
        Ok(path)
    } else {
        Err(Failure::new(format!("`cargo build --release` made no {}", path.display())))
    }
}

/// The binary that the command line names, else the one that users build.
pub(crate) fn named_or_release(named: Option<&str>, name: &str) -> Result<PathBuf, Failure> {
    let path = named.map_or_else(|| release_binary(name), |path| Ok(PathBuf::from(path)))?;
    path.canonicalize().context(|| path.display().to_string())
}

/// Whether a program of this name is on the path.
pub(crate) fn on_path(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).exists()))
}

/// A process that ends with its owner: asked first (SIGTERM), made to after `patience`.
pub(crate) struct Guarded {
    child: Child,
    patience: Duration,
}

impl Guarded {
    pub(crate) fn start(command: &mut Command, patience: Duration) -> Result<Self, Failure> {
        let line = line_of(command);
        let child =
            command.stdin(Stdio::null()).spawn().context(|| format!("`{line}` could not be started"))?;
        Ok(Self { child, patience })
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process at once, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill().and_then(|()| self.child.wait()).map(drop)
    }

    /// Asks the process to end and gives its exit code; `None` if it had to be killed or died of a signal.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        if let Ok(None) = self.child.try_wait() {
            let pid = rustix::process::Pid::from_child(&self.child);
            let asked = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let child = &mut self.child;
            let ended =
                clock::wait_for(self.patience, Duration::from_millis(20), || child.try_wait().ok().flatten());
            if asked.is_err() || ended.is_none() {
                let killed = self.child.kill().and_then(|()| self.child.wait());
                return killed.ok().and(None);
            }
        }
        self.child.try_wait().ok().flatten().and_then(|status| status.code())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.terminate();
    }
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
