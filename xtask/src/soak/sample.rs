//! What a process takes of its machine, as /proc tells it.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::process::{Context, Failure};

/// One line: the mean of its seconds' memory, the rest at its end.
pub(super) struct Sample {
    pub(super) seconds: f64,
    pub(super) resident_kib: f64,
    files: usize,
    threads: f64,
    store_bytes: u64,
    store_files: usize,
}

impl Sample {
    pub(super) const HEAD: &str = "seconds  resident KiB  open files  threads  store bytes  store files";
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, resident_kib, files, threads, store_bytes, store_files } = self;
        write!(
            f,
            "{seconds:>7.0} {resident_kib:>13.0} {files:>11} {threads:>8.0} {store_bytes:>12} {store_files:>12}"
        )
    }
}

/// The lines so far.
pub(super) struct Samples {
    every: Duration,
    /// Memory of the seconds since the last line.
    resident: Vec<f64>,
    lines: Vec<Sample>,
}

impl Samples {
    pub(super) const fn new(every: Duration) -> Self {
        Self { every, resident: Vec::new(), lines: Vec::new() }
    }

    /// Looks at the process and at its store; gives a line when one is due.
    pub(super) fn look(&mut self, at: Duration, id: u32, store: &Path) -> Result<Option<&Sample>, Failure> {
        let status = format!("/proc/{id}/status");
        let status = std::fs::read_to_string(&status).context(|| status)?;
        self.resident.push(field(&status, "VmRSS:"));
        let due =
            self.every.as_secs_f64() * f64::from(u32::try_from(self.lines.len() + 1).unwrap_or(u32::MAX));
        if at.as_secs_f64() < due {
            return Ok(None);
        }
        let files = std::fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count);
        let (store_bytes, store_files) = size(store);
        let threads = field(&status, "Threads:");
        let looks = f64::from(u32::try_from(self.resident.len()).unwrap_or(u32::MAX));
        let resident_kib = self.resident.drain(..).sum::<f64>() / looks;
        let seconds = at.as_secs_f64();
        self.lines.push(Sample { seconds, resident_kib, files, threads, store_bytes, store_files });
        Ok(self.lines.last())
    }

    /// The first line that ends at least a line's time after this, so that all its seconds are after it.
    pub(super) fn first_after(&self, time: Duration) -> Option<&Sample> {
        self.lines.iter().find(|line| line.seconds >= (time + self.every).as_secs_f64())
    }

    pub(super) fn last(&self) -> Option<&Sample> {
        self.lines.last()
    }
}

/// The number behind a name in `/proc/ID/status`.
fn field(status: &str, name: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

/// Bytes and files below a directory. What goes while it is looked at does not count.
fn size(directory: &Path) -> (u64, usize) {
    let (mut bytes, mut files) = (0, 0);
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                let (more_bytes, more_files) = size(&entry.path());
                (bytes, files) = (bytes + more_bytes, files + more_files);
            }
            Ok(metadata) => (bytes, files) = (bytes + metadata.len(), files + 1),
            Err(_) => {}
        }
    }
    (bytes, files)
}
