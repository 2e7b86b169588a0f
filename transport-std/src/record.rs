//! The record of a run: what the hub was told and what it answered, written by a thread of its own.
//!
//! The hub's lock is held while a step is handed over and never while one is written: the queue between is bounded,
//! and what does not fit is counted and missing. A gap in the record names the number; a new segment, with the hub's
//! state, begins right after it, so that the rest can be replayed. Nothing of a task but its id is ever in a record.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use downbeat_core::machine::{HubAction, HubInput, Instant};
use downbeat_core::record::{Gap, Group, Header, Step, VERSION};

use crate::hub::BoxedHub;

/// Steps that may wait to be written: some megabytes.
const QUEUE: usize = 16_384;
/// Why there is a writer that waits at all: what is written is on disk soon, also when nothing more happens.
const FLUSH: Duration = Duration::from_millis(500);

/// Where a record goes, and how much of it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recording {
    /// The file; older segments are beside it, as FILE.1, FILE.2 and so on.
    pub file: PathBuf,
    /// A segment ends once it is as large as this. Default 64 MiB.
    pub segment_bytes: u64,
    /// Older segments that are kept; the oldest is deleted. Default 4.
    pub segments_kept: u32,
}

impl Recording {
    /// Records into this file, with the defaults: at most five segments of 64 MiB.
    #[must_use]
    pub fn new(file: impl AsRef<Path>) -> Self {
        Self { file: file.as_ref().to_owned(), segment_bytes: 64 << 20, segments_kept: 4 }
    }
}

/// What does not change in a run.
#[derive(Clone, Debug)]
pub(crate) struct RecordHeader {
    /// The seed of the hub's jitter.
    pub(crate) seed: u64,
    /// When the runner's clock was at zero, in milliseconds since 1970.
    pub(crate) epoch_ms: u64,
    /// The workers' task types.
    pub(crate) names: Vec<String>,
}

enum Message {
    Segment(Box<BoxedHub>),
    Step(Step),
    Gap(Gap),
}

/// The hub's end of a record.
#[derive(Debug)]
pub(crate) struct Recorder {
    sender: SyncSender<Message>,
    /// The next step must begin a segment.
    wanted: Arc<AtomicBool>,
    /// Steps that the queue did not take, since the latest gap was noted.
    dropped: u64,
    behind_gap: bool,
    writer: JoinHandle<()>,
}

impl Recorder {
    /// Opens the file and starts the writer.
    ///
    /// # Errors
    /// The file cannot be made, or the system refuses a thread.
    pub(crate) fn start(recording: Recording, facts: RecordHeader) -> io::Result<Self> {
        let wanted = Arc::new(AtomicBool::new(true));
        let (sender, receiver) = sync_channel(QUEUE);
        let out = Segments::open(recording, facts)?;
        let writer = {
            let wanted = Arc::clone(&wanted);
            thread::Builder::new()
                .name("downbeat-record".to_owned())
                .spawn(move || write(&receiver, out, &wanted))?
        };
        Ok(Self { sender, wanted, dropped: 0, behind_gap: false, writer })
    }

    /// Steps the hub and records the step.
    pub(crate) fn step(&mut self, hub: &mut BoxedHub, now: Instant, input: HubInput) -> HubAction {
        if self.wanted.load(Ordering::Relaxed) {
            self.begin_segment(hub, now);
        }
        let action = hub.step(now, input);
        // Behind a gap a step says nothing until a segment begins.
        if self.behind_gap || !self.send(Message::Step(Step::from_hub(now, input, action))) {
            self.behind_gap = true;
            self.dropped += 1;
            self.wanted.store(true, Ordering::Relaxed);
        }
        action
    }

    /// Notes what is missing, and begins anew with the state before the step.
    fn begin_segment(&mut self, hub: &BoxedHub, now: Instant) {
        if self.dropped > 0 {
            if !self.send(Message::Gap(Gap { t: now, gap: self.dropped })) {
                return;
            }
            self.dropped = 0;
        }
        if self.send(Message::Segment(Box::new(hub.clone()))) {
            self.behind_gap = false;
            self.wanted.store(false, Ordering::Relaxed);
        }
    }

    /// Whether the queue has taken it.
    fn send(&self, message: Message) -> bool {
        self.sender.try_send(message).is_ok()
    }

    /// Ends the record and waits until it is written.
    pub(crate) fn finish(self) {
        drop(self.sender);
        if self.writer.join().is_err() {
            tracing::warn!("the writer of the record ended in a panic");
        }
    }
}

/// The writer's life.
fn write(receiver: &Receiver<Message>, mut out: Segments, wanted: &AtomicBool) {
    loop {
        let done = match receiver.recv_timeout(FLUSH) {
            Ok(message) => out.write(message),
            Err(RecvTimeoutError::Timeout) => out.file.flush(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if let Err(cause) = done {
            let file = out.recording.file.display();
            tracing::warn!(%file, %cause, "the record cannot be written; it ends here, and the runner goes on");
            return;
        }
        if out.is_full() && !std::mem::replace(&mut out.asked, true) {
            wanted.store(true, Ordering::Relaxed);
        }
    }
    if let Err(cause) = out.file.flush() {
        tracing::warn!(file = %out.recording.file.display(), %cause, "the end of the record cannot be written");
    }
}

/// The files of a record.
struct Segments {
    recording: Recording,
    facts: RecordHeader,
    file: BufWriter<File>,
    written: u64,
    number: u32,
    /// The hub was asked for a segment, since this file is full.
    asked: bool,
}

impl Segments {
    fn open(recording: Recording, facts: RecordHeader) -> io::Result<Self> {
        rotate(&recording)?;
        let file = create(&recording.file)?;
        Ok(Self { recording, facts, file, written: 0, number: 0, asked: false })
    }

    fn is_full(&self) -> bool {
        self.written >= self.recording.segment_bytes
    }

    fn write(&mut self, message: Message) -> io::Result<()> {
        match message {
            Message::Step(step) => self.line(&step),
            Message::Gap(gap) => self.line(&gap),
            Message::Segment(hub) => self.segment(&hub),
        }
    }

    fn segment(&mut self, hub: &BoxedHub) -> io::Result<()> {
        if self.is_full() {
            self.file.flush()?;
            rotate(&self.recording)?;
            self.file = create(&self.recording.file)?;
            self.written = 0;
            self.asked = false;
        }
        let names = self.facts.names.clone();
        let workers = hub.members().iter().zip(&names).map(|(member, name)| {
            let machine = member.machine();
            let capacity = machine.snapshot().capacity;
            Group { name: name.as_str(), count: 1, capacity, policy: *machine.policy() }
        });
        let header = Header::<_, _, _, ()> {
            downbeat_record: VERSION,
            program: concat!("downbeat ", env!("CARGO_PKG_VERSION")),
            commit: option_env!("DOWNBEAT_COMMIT").unwrap_or_default(),
            segment: self.number,
            seed: self.facts.seed,
            epoch_ms: Some(self.facts.epoch_ms),
            workers: workers.collect::<Vec<_>>(),
            hub: Some(hub),
            scenario: None,
        };
        self.number += 1;
        self.line(&header)
    }

    fn line(&mut self, line: &impl serde::Serialize) -> io::Result<()> {
        let text = serde_json::to_string(line).map_err(io::Error::other)?;
        self.written += text.len() as u64 + 1;
        writeln!(self.file, "{text}")
    }
}

fn create(file: &Path) -> io::Result<BufWriter<File>> {
    // Ids of tasks are nobody else's business.
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file).map(BufWriter::new)
}

/// FILE becomes FILE.1, FILE.1 becomes FILE.2; the oldest goes.
fn rotate(recording: &Recording) -> io::Result<()> {
    let name = |number: u32| {
        let mut name = recording.file.clone().into_os_string();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        PathBuf::from(name)
    };
    if recording.segments_kept == 0 {
        return Ok(());
    }
    for number in (0..recording.segments_kept).rev() {
        match std::fs::rename(name(number), name(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
