//! The journal: an append-only file of records, in segments, with one sync for all who wait for theirs.
//!
//! Every record is written under one lock, by one call of the system, so a `kill -9` loses nothing that a method here
//! has returned from. A result is made durable besides: the first thread that waits becomes the leader, syncs for all
//! whose records are written by then, and wakes them. Where results come quickly it lets some gather first.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use downbeat_core::machine::{Clock as _, Instant};

use super::index::{Index, Key, Keys, Place};
use super::note::LeaseNote;
use super::parts::Used;
use super::place::{self, is_full};
use super::record::{self, BODY_MAX, Kind, TooLarge};
use super::segment::{self, Segment};
use crate::clock::{StdClock, unix_millis};
use crate::context::lock;

/// Results for which a leader waits, if they come quickly.
const BATCH: u64 = 8;
/// The longest that it waits for them.
const GATHER: Duration = Duration::from_millis(3);
/// Ends of tasks that a full disk may hold up, in bytes; of more, those that come are sent twice after a crash.
const LAZY_MAX: usize = 1 << 20;

/// See the module.
pub(super) struct Journal {
    pub(super) directory: PathBuf,
    pub(super) server: String,
    pub(super) keys: Keys,
    clock: StdClock,
    state: Mutex<State>,
    /// A sync is over.
    synced: Condvar,
    /// So many have come that the leader need not wait.
    gathered: Condvar,
    syncs: AtomicU64,
    /// It was said that a segment can be neither removed nor emptied.
    pub(super) is_stuck: AtomicBool,
    #[cfg(test)]
    pub(super) fails: AtomicBool,
    /// The segment that the disk does not remove (1), nor empty (2).
    #[cfg(test)]
    pub(super) holds_on: Mutex<(u64, u8)>,
    /// Whoever holds it keeps a sync from coming to its end.
    #[cfg(test)]
    pub(super) disk: Mutex<()>,
}

/// A record that is to be written: its kind, its task, and the parts of its body.
pub(super) type Fresh<'a> = (Kind, &'a [u8], &'a [&'a [u8]]);

/// What the lock guards.
pub(super) struct State {
    pub(super) active: Option<Segment>,
    pub(super) index: Index,
    /// Number of the newest record, and of the newest segment.
    pub(super) number: u64,
    pub(super) segment: u64,
    /// One record as bytes; kept so that the next one needs no memory.
    scratch: Vec<u8>,
    /// Tasks whose end is to be written with the next record.
    lazy: Vec<u8>,
    /// The turn of the newest result that is written, and of the newest that is durable.
    written: u64,
    durable: u64,
    /// Turns that a sync has failed for, and what it said.
    lost: Vec<(u64, u64, io::ErrorKind, String)>,
    /// Threads that wait for their results to become durable.
    pub(super) waiters: usize,
    /// Results written since the last sync began.
    batch: u64,
    has_leader: bool,
    gathers: bool,
    /// When the newest result came, and how long after the one before it, on average.
    came: Instant,
    gap: Duration,
}

impl State {
    pub(super) fn new(index: Index, number: u64, segment: u64) -> Self {
        Self {
            active: None,
            index,
            number,
            segment,
            scratch: Vec::new(),
            lazy: Vec::new(),
            written: 0,
            durable: 0,
            lost: Vec::new(),
            waiters: 0,
            batch: 0,
            has_leader: false,
            gathers: false,
            came: Instant::ZERO,
            gap: Duration::from_secs(1),
        }
    }

    /// Notes that a result came.
    fn arrived(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.came).min(Duration::from_secs(1));
        self.came = now;
        // It follows a change within some results.
        self.gap = self.gap.saturating_mul(7).saturating_add(gap) / 8;
        self.written += 1;
        self.batch += 1;
        self.waiters += 1;
    }

    /// Whether there is nobody left to wait for.
    const fn has_enough(&self) -> bool {
        self.batch >= BATCH || self.index.in_hand == 0
    }

    /// Whoever waits for these turns has lost: their records may or may not be there.
    fn lose(&mut self, cause: &io::Error) {
        if self.durable < self.written {
            self.lost.push((self.durable, self.written, cause.kind(), cause.to_string()));
            self.durable = self.written;
        }
    }

    /// How it ended for a turn; `None`: it has not yet.
    fn end_of(&self, turn: u64) -> Option<io::Result<()>> {
        let lost = self.lost.iter().find(|(from, to, ..)| (*from..*to).contains(&(turn - 1)));
        match lost {
            Some((_, _, kind, text)) => Some(Err(io::Error::new(*kind, text.clone()))),
            None => (turn <= self.durable).then_some(Ok(())),
        }
    }
}

impl Journal {
    pub(super) fn new(directory: &Path, server: String, keys: Keys, state: State) -> Self {
        Self {
            directory: directory.to_owned(),
            server,
            keys,
            clock: StdClock::new(),
            state: Mutex::new(state),
            synced: Condvar::new(),
            gathered: Condvar::new(),
            syncs: AtomicU64::new(0),
            is_stuck: AtomicBool::new(false),
            #[cfg(test)]
            fails: AtomicBool::new(false),
            #[cfg(test)]
            holds_on: Mutex::default(),
            #[cfg(test)]
            disk: Mutex::new(()),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// How often the disk was asked to make results durable.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Notes a task in hand; returns the turn of this delivery.
    pub(super) fn lease(&self, note: &LeaseNote<'_>) -> io::Result<u64> {
        let [workflow, task_type, worker, output] = note.texts();
        let head = note.head(unix_millis()).ok_or_else(too_large)?;
        let key = self.keys.of(note.task_id.as_bytes());
        let mut state = self.state();
        let body = [&head[..], workflow, task_type, worker, output];
        let place = self.append(&mut state, Kind::Lease, note.task_id, &body, false)?;
        Ok(state.index.lease(key, place))
    }

    /// Notes a process; what is not in hand has none.
    pub(super) fn process(&self, task: &str, group: i32, started: u64) -> io::Result<()> {
        self.of_lease(task, Kind::Process, &process(group, started), |entry| {
            entry.process = Some((group, started))
        })
    }

    pub(super) fn yielding(&self, task: &str) -> io::Result<()> {
        self.of_lease(task, Kind::Yielding, &[], |entry| entry.yielding = true)
    }

    fn of_lease(
        &self,
        task: &str,
        kind: Kind,
        body: &[u8],
        change: impl FnOnce(&mut super::index::Entry),
    ) -> io::Result<()> {
        let key = self.keys.of(task.as_bytes());
        let mut state = self.state();
        if state.index.entry(key).is_none_or(|entry| entry.lease.is_none()) {
            return Ok(());
        }
        self.append(&mut state, kind, task, &[body], true)?;
        state.index.entry_mut(key).map(change);
        Ok(())
    }

    /// Notes for how long the server has refused a result, if that is still here.
    pub(super) fn refused(&self, key: Key, task: &str, millis: u64) -> io::Result<()> {
        let mut state = self.state();
        if state.index.entry(key).is_none_or(|entry| entry.result.is_none()) {
            return Ok(());
        }
        self.append(&mut state, Kind::Refused, task, &[&millis.to_le_bytes()], true)?;
        if let Some(entry) = state.index.entry_mut(key) {
            entry.refused_ms = millis;
        }
        Ok(())
    }

    /// Writes a result, and returns once it is durable. `admit` says whether there is room beside what is here.
    pub(super) fn result(
        &self,
        task: &str,
        body: &[u8],
        waits: bool,
        admit: impl FnOnce(Used) -> io::Result<()>,
    ) -> io::Result<()> {
        if body.len() > BODY_MAX {
            return Err(too_large());
        }
        let key = self.keys.of(task.as_bytes());
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let mut state = self.state();
        admit(state.index.results)?;
        let place = self.append(&mut state, Kind::Result, task, &[body], false)?;
        let ticket = state.index.result(key, place, bytes, waits);
        state.arrived(self.clock.now());
        let turn = state.written;
        let (mut state, end) = self.commit(state, turn);
        if end.is_err() {
            state.index.take_back(key, ticket);
        }
        end
    }

    /// Hands a result that is here over to the sender; false: it is not here.
    pub(super) fn hand_over(&self, task: &str) -> bool {
        self.state().index.hand_over(self.keys.of(task.as_bytes()))
    }

    /// Takes a result that waits over from the sender; `None`: there is none, or it cannot be read, and stays the sender's.
    pub(super) fn take_over(&self, task: &str) -> Option<Vec<u8>> {
        let key = self.keys.of(task.as_bytes());
        let (body, _) = self.waiting(key).ok()??;
        self.state().index.take_over(key);
        Some(body)
    }

    /// The turn of the newest delivery that is noted.
    pub(super) fn deliveries(&self) -> u64 {
        self.state().index.deliveries
    }

    /// Forgets a task, unless a later delivery of it than this one is noted. It is written with the next record, or once
    /// nobody is about to write one.
    pub(super) fn ended(&self, task: &str, delivery: u64) {
        let key = self.keys.of(task.as_bytes());
        let mut state = self.state();
        if state.index.entry(key).is_some_and(|entry| entry.delivery > delivery) {
            return;
        }
        let Ok(length) = u8::try_from(task.len()) else { return };
        if state.index.end(key) && state.lazy.len() + task.len() < LAZY_MAX {
            state.lazy.push(length);
            state.lazy.extend_from_slice(task.as_bytes());
        }
        self.free(&mut state);
        if !state.has_leader {
            // Where it cannot be written it waits for the next record.
            drop(self.flush(&mut state));
        }
    }

    /// The body of a result that waits, and for how long it was refused in earlier runs; `None`: it is gone.
    pub(super) fn waiting(&self, key: Key) -> io::Result<Option<(Vec<u8>, u64)>> {
        let state = self.state();
        let Some(entry) = state.index.entry(key) else { return Ok(None) };
        let Some(kept) = entry.result.filter(|kept| kept.waits) else { return Ok(None) };
        let (refused_ms, file) = (entry.refused_ms, self.file(&state, kept.place.segment)?);
        drop(state);
        let bytes = read(&file, kept.place)?;
        match record::decode(kept.place.segment, &bytes) {
            Some(record) if record.kind == Kind::Result => Ok(Some((record.body.to_vec(), refused_ms))),
            Some(_) | None => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a record has changed on the disk"))
            }
        }
    }

    /// A record as it is on the disk, whatever it is worth.
    pub(super) fn raw(&self, key: Key) -> io::Result<Option<Vec<u8>>> {
        let state = self.state();
        let Some(kept) = state.index.entry(key).and_then(|entry| entry.result) else { return Ok(None) };
        let file = self.file(&state, kept.place.segment)?;
        drop(state);
        read(&file, kept.place).map(Some)
    }

    /// Forgets a task by its key; what its id was cannot be read any more.
    pub(super) fn drop_from_index(&self, key: Key) {
        self.state().index.end(key);
    }

    pub(super) fn file(&self, state: &State, segment: u64) -> io::Result<Arc<std::fs::File>> {
        match &state.active {
            Some(active) if active.number == segment => Ok(Arc::clone(&active.file)),
            Some(_) | None => {
                let path = segment::path(&self.directory, segment);
                place::regular(std::fs::OpenOptions::new().read(true), &path).map(Arc::new)
            }
        }
    }

    // ---------------------------------------------------------------- writing

    /// Writes a record, after those that were put off. `small`: it may use the room that is kept for such records.
    fn append(
        &self,
        state: &mut State,
        kind: Kind,
        task: &str,
        body: &[&[u8]],
        small: bool,
    ) -> io::Result<Place> {
        if state.active.as_ref().is_none_or(|active| active.end >= segment::LENGTH)
            && let Err(cause) = self.roll(state)
            && !(small && state.active.is_some())
        {
            return Err(cause);
        }
        self.write(state, Some((kind, task.as_bytes(), body)), small)
    }

    /// Writes what was put off.
    pub(super) fn flush(&self, state: &mut State) -> io::Result<()> {
        if state.lazy.is_empty() {
            return Ok(());
        }
        if state.active.is_none() {
            self.roll(state)?;
        }
        self.write(state, None, true).map(drop)
    }

    /// Writes what was put off and a record, by one call; returns where the record is.
    pub(super) fn write(
        &self,
        state: &mut State,
        record: Option<Fresh<'_>>,
        small: bool,
    ) -> io::Result<Place> {
        let State { active, scratch, lazy, number, index, .. } = state;
        let Some(segment) = active else { return Err(io::ErrorKind::StorageFull.into()) };
        scratch.clear();
        let mut rest = lazy.as_slice();
        while let Some((length, more)) = rest.split_first() {
            let (task, more) = more.split_at_checked(usize::from(*length)).unwrap_or((more, &[]));
            *number += 1;
            record::encode(scratch, segment.number, Kind::Ended, *number, task, &[]).map_err(of_size)?;
            rest = more;
        }
        let before = scratch.len();
        if let Some((kind, task, body)) = record {
            *number += 1;
            record::encode(scratch, segment.number, kind, *number, task, body).map_err(of_size)?;
        }
        let mut written = segment.append(scratch, small);
        if written.as_ref().is_err_and(is_full) && index.is_empty() && !segment.is_broken {
            // The disk is full of what does not count any more.
            segment.reset();
            written = segment.append(scratch, small);
        }
        let length = bytes(scratch.len() - before);
        // One large result must not cost so much memory for ever.
        scratch.shrink_to(64 << 10);
        match written {
            Ok(at) => {
                lazy.clear();
                Ok(Place { segment: segment.number, at: at + bytes(before), length })
            }
            Err(cause) => {
                if segment.is_broken {
                    // What a failed write has left is cut off, and nothing more is written there.
                    self.retire(state);
                }
                Err(cause)
            }
        }
    }

    /// Ends the segment that is written to.
    pub(super) fn retire(&self, state: &mut State) {
        let Some(active) = state.active.take() else { return };
        active.trim();
        if state.durable < state.written
            && let Err(cause) = self.sync(&active.file)
        {
            state.lose(&cause);
        }
        state.durable = state.written;
        state.index.retire(active.number, active.end);
        self.synced.notify_all();
    }

    // ---------------------------------------------------------------- making durable

    /// Returns once the result with this turn is durable, or the disk has refused to make it so.
    fn commit<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        turn: u64,
    ) -> (MutexGuard<'s, State>, io::Result<()>) {
        if state.gathers && state.has_enough() {
            self.gathered.notify_one();
        }
        let end = loop {
            if let Some(end) = state.end_of(turn) {
                break end;
            }
            state = if state.has_leader {
                self.synced.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.lead(state)
            };
        };
        state.waiters -= 1;
        if state.waiters == 0 {
            state.lost.clear();
        }
        (state, end)
    }

    /// Syncs for all whose results are written by then.
    fn lead<'s>(&'s self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        state.has_leader = true;
        state = self.gather(state);
        let upto = state.written;
        state.batch = 0;
        let file = state.active.as_ref().map(|active| Arc::clone(&active.file));
        // Without a segment there is nothing that waits: whoever ended it has seen to its results.
        if let Some(file) = file {
            drop(state);
            let end = self.sync(&file);
            state = self.state();
            match end {
                Ok(()) => state.durable = state.durable.max(upto),
                Err(cause) => {
                    // What is in memory of the file and what is on the disk may differ from here on.
                    state.lose(&cause);
                    self.retire(&mut state);
                }
            }
        }
        state.has_leader = false;
        drop(self.flush(&mut state));
        self.synced.notify_all();
        state
    }

    /// Lets more results come, where they come so quickly that it is worth it.
    fn gather<'s>(&'s self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let expected = state.gap.saturating_mul(u32::try_from(BATCH).unwrap_or(u32::MAX));
        if expected > GATHER {
            return state;
        }
        let until = self.clock.now().saturating_add(GATHER);
        state.gathers = true;
        while !state.has_enough() {
            let left = until.saturating_duration_since(self.clock.now());
            if left.is_zero() {
                break;
            }
            state = self.gathered.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.gathers = false;
        state
    }

    pub(super) fn sync(&self, file: &std::fs::File) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        #[cfg(test)]
        drop(lock(&self.disk));
        #[cfg(test)]
        if self.fails.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk is broken"));
        }
        file.sync_data()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        // Nobody can be told of a failure any more; the next start copes.
        drop(self.flush(&mut state));
        if let Some(active) = &state.active {
            active.trim();
        }
    }
}

pub(super) fn process(group: i32, started: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&group.to_le_bytes());
    bytes[4..].copy_from_slice(&started.to_le_bytes());
    bytes
}

pub(super) fn read(file: &std::fs::File, place: Place) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt as _;
    let mut bytes = vec![0; usize::try_from(place.length).map_err(|_| too_large())?];
    file.read_exact_at(&mut bytes, place.at)?;
    Ok(bytes)
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn too_large() -> io::Error {
    let text = format!("it is larger than {BODY_MAX} bytes, or an id or a name is too long");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

pub(super) fn of_size(_: TooLarge) -> io::Error {
    too_large()
}
