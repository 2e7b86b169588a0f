//! QEMU with the firmware in it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::clock;
use crate::process::{Context, Failure, Guarded, on_path, target};

const QEMU: &str = "qemu-system-arm";

/// What this machine lacks to run firmware.
pub(crate) fn missing() -> Option<String> {
    (!on_path(QEMU)).then(|| format!("{QEMU} is missing: apt-get install qemu-system-arm"))
}

/// A board that runs.
pub(crate) struct Board {
    qemu: Guarded,
    console: PathBuf,
    log: PathBuf,
}

/// How the firmware ended: `Exit` of its `board.rs`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Well,
    Setup,
    Panic,
    Fault,
    /// QEMU's exit code, which the firmware did not choose; `None`: a signal.
    Other(Option<i32>),
}

impl End {
    const fn from_code(code: Option<i32>) -> Self {
        match code {
            Some(0) => Self::Well,
            Some(1) => Self::Setup,
            Some(2) => Self::Panic,
            Some(3) => Self::Fault,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well => f.write_str("all well (0)"),
            Self::Setup => f.write_str("it could not start: its policy or a buffer is wrong (1)"),
            Self::Panic => f.write_str("it panicked (2)"),
            Self::Fault => f.write_str("a fault of the processor: the stack left RAM, or a wild access (3)"),
            Self::Other(Some(code)) => write!(f, "QEMU's exit code {code}, which the firmware never gives"),
            Self::Other(None) => f.write_str("QEMU was ended by a signal"),
        }
    }
}

impl Board {
    /// Starts the image with its line on a TCP port of the bridge and its console in a file.
    pub(crate) fn start(image: &Path, bridge: u16) -> Result<Self, Failure> {
        let dir = target().join("firmware");
        std::fs::create_dir_all(&dir).context(|| format!("making {}", dir.display()))?;
        let (console, log) = (dir.join("console.txt"), dir.join("qemu.txt"));
        let mut command = Command::new(QEMU);
        command.args(["-machine", "lm3s6965evb", "-nodefaults", "-nographic", "-monitor", "none"]);
        command.args(["-semihosting-config", "enable=on,target=native", "-serial"]);
        command.arg(format!("tcp:127.0.0.1:{bridge},nodelay=on"));
        command.arg("-serial").arg(format!("file:{}", console.display())).arg("-kernel").arg(image);
        let file = std::fs::File::create(&log).context(|| format!("making {}", log.display()))?;
        command.stderr(file);
        let qemu = Guarded::start(&mut command, Duration::from_secs(2))?;
        Ok(Self { qemu, console, log })
    }

    /// Fails if the firmware has ended, and says how.
    pub(crate) fn must_run(&mut self) -> Result<(), Failure> {
        if !self.qemu.has_ended() {
            return Ok(());
        }
        let end = End::from_code(self.qemu.terminate());
        Err(Failure::new(format!("the firmware ended before its time: {end}{}", self.complaint())))
    }

    /// Waits for the firmware's own end, `ask`ing for it now and then; `None`: it goes on.
    pub(crate) fn wait(&mut self, limit: Duration, ask: impl Fn()) -> Option<End> {
        let ended = clock::wait_for(limit, Duration::from_millis(500), || {
            ask();
            self.qemu.has_ended().then_some(())
        });
        ended.map(|()| End::from_code(self.qemu.terminate()))
    }

    /// What QEMU itself had to complain of, where it did.
    pub(crate) fn complaint(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("warning: ")).collect();
        if lines.is_empty() { String::new() } else { format!("\nQEMU says: {}", lines.join("\n")) }
    }

    /// What the firmware has said on its console.
    pub(crate) fn console(&self) -> String {
        let bytes = std::fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
