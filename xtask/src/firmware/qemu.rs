//! QEMU with the firmware in it.

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
        Ok(Self { qemu, console })
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.qemu.has_ended()
    }

    /// Waits for the firmware's own end, `ask`ing for it now and then, and gives its exit code.
    pub(crate) fn wait(&mut self, limit: Duration, ask: impl Fn()) -> Option<i32> {
        let ended = clock::wait_for(limit, Duration::from_millis(500), || {
            ask();
            self.qemu.has_ended().then_some(())
        });
        ended.and_then(|()| self.qemu.terminate())
    }

    /// What the firmware has said on its console.
    pub(crate) fn console(&self) -> String {
        let bytes = std::fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
