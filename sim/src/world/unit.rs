//! One worker process: the machine, its clock, the tasks it holds, its token and its store. A driver, and the
//! smallest of the three: it performs actions by putting events into the world's queue.

use std::collections::VecDeque;
use std::time::Duration;

use downbeat_core::machine::{
    CallId, Entry, EntryId, Hub, Instant, Kind, Machine, Member, TaskKey, TaskMeta,
};

use super::call::Flight;
use super::ending::Ending;

/// The machine as the simulator runs it.
pub(crate) type Box_<M> = Machine<Box<[Entry]>, M>;

/// A hub as the simulator runs it.
pub(crate) type BoxedHub<M> = Hub<Box<[Member<Box<[Entry]>, M>]>, Box<[Entry]>, M>;

/// What runs in a unit.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "most workers of a fleet have no hub, and those are not boxed")]
pub(crate) enum ProcessState<M> {
    /// Nothing.
    Gone,
    /// A worker without a hub.
    Alone(Box_<M>),
    /// The hub of many workers.
    Hub(Box<BoxedHub<M>>),
    /// A worker whose machine is in the hub of its process.
    Held,
}

/// The place of a worker in a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct HubSeat {
    /// The number of the process's hub.
    pub(crate) hub: u32,
    /// The worker's index there.
    pub(crate) index: u16,
}

/// A task in an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldTask {
    pub(crate) entry: EntryId,
    pub(crate) key: TaskKey,
    /// `None`: the code runs, as far as the machine knows.
    pub(crate) ending: Option<Ending>,
    /// The code has ended, and its result is being written to the journal.
    pub(crate) writing: bool,
    /// The code was stopped for good: what it returns is nobody's.
    pub(crate) dropped: bool,
}

/// A task in the journal, which survives the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    /// Whose it is.
    pub(crate) worker: u32,
    pub(crate) key: TaskKey,
    /// Where it is held: a second delivery of the same task may be held elsewhere.
    pub(crate) entry: EntryId,
    pub(crate) state: Note,
    /// Until when it may be given back, in true time.
    pub(crate) give_back_until: Instant,
}

/// What the journal says of a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Note {
    /// It is here, and its code runs.
    Leased,
    /// It may have been given back.
    Yielding,
    /// Its result.
    Result(Ending),
}

/// A result on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    /// Whose it was.
    pub(crate) worker: u32,
    pub(crate) key: TaskKey,
    pub(crate) ending: Ending,
    /// Until when a task may be given back, in true time.
    pub(crate) until: Instant,
}

/// A poll's answer that is being told to the machine, task by task.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    pub(crate) call: CallId,
    pub(crate) tasks: VecDeque<TaskMeta>,
    pub(crate) end: downbeat_core::machine::Reply,
    /// The entry whose report this answers.
    pub(crate) entry: Option<EntryId>,
    /// That report took the place of an outcome.
    pub(crate) instead: bool,
    /// The give-back that has to be answered first.
    pub(crate) giving_back: Option<CallId>,
}

/// One worker with its process, a worker in a process of many, or that process, with what its workers share.
#[derive(Debug)]
pub(crate) struct Unit<M> {
    /// Which group it is of; what all of its workers have in common is kept once, so that a large fleet is small.
    pub(crate) group: usize,
    pub(crate) process_state: ProcessState<M>,
    /// `None` if it has no hub, or is one itself.
    pub(crate) seat: Option<HubSeat>,
    /// An operator has aborted it, or one of its workers.
    pub(crate) aborted: bool,
    /// Which life of the process this is: events of an earlier one are void.
    pub(crate) life: u32,
    /// When the earliest alarm in the queue rings, or `FAR_FUTURE` if there is none.
    pub(crate) alarm: Instant,
    /// When the machine wants its next tick.
    pub(crate) wake: Option<Instant>,
    pub(crate) born: Instant,
    pub(crate) skew_ppm: i64,
    pub(crate) jumped: Duration,
    pub(crate) token: Option<u64>,
    pub(crate) paused: bool,
    /// What is in the slots, in the order of their indexes; few at a time.
    held: Vec<HeldTask>,
    pub(crate) inboxes: Vec<Inbox>,
    /// Calls in flight, by their numbers; few at a time.
    pub(crate) flights: Vec<(u64, Flight)>,
    /// Calls of earlier lives that are still on the wire: life, number, call.
    pub(crate) ghosts: Vec<(u32, u64, Flight)>,
    /// Results on disk: they survive the process.
    pub(crate) store: VecDeque<Stored>,
    /// Tasks in the journal: likewise.
    pub(crate) journal: Vec<Noted>,
    /// Whether the store's sender has a call in flight, and how often it failed in a row.
    pub(crate) resending: bool,
    pub(crate) resend_failures: u32,
    pub(crate) resends: u64,
    /// Told to drain, in any life.
    pub(crate) draining: bool,
    /// Drained, and not to start again.
    pub(crate) drained: bool,
}

impl<M: Kind> Unit<M> {
    /// A worker that has not started.
    pub(crate) fn new(group: usize, skew_ppm: i64) -> Self {
        Self {
            group,
            process_state: ProcessState::Gone,
            seat: None,
            aborted: false,
            life: 0,
            alarm: Instant::FAR_FUTURE,
            wake: None,
            born: Instant::ZERO,
            skew_ppm,
            jumped: Duration::ZERO,
            token: None,
            paused: false,
            // Made together, so that they lie together.
            held: Vec::with_capacity(2),
            inboxes: Vec::new(),
            flights: Vec::with_capacity(2),
            ghosts: Vec::new(),
            store: VecDeque::new(),
            journal: Vec::new(),
            resending: false,
            resend_failures: 0,
            resends: 0,
            draining: false,
            drained: false,
        }
    }

    /// The process starts, with nothing but its store.
    pub(crate) fn begin_life(&mut self, at: Instant, process_state: ProcessState<M>) {
        self.life += 1;
        self.born = at;
        self.jumped = Duration::ZERO;
        self.process_state = process_state;
    }

    /// Whether the process runs.
    pub(crate) fn runs(&self) -> bool {
        !matches!(self.process_state, ProcessState::Gone)
    }

    /// The process ends; what is on the wire stays there.
    pub(crate) fn end_life(&mut self) {
        let life = self.life;
        self.ghosts.extend(self.flights.drain(..).map(|(bits, flight)| (life, bits, flight)));
        self.process_state = ProcessState::Gone;
        self.aborted = false;
        self.wake = None;
        self.token = None;
        self.held.clear();
        self.inboxes.clear();
        self.resending = false;
        self.resend_failures = 0;
    }

    /// The worker's clock at a true time: it starts at zero with the process, and runs fast or slow.
    pub(crate) fn local(&self, at: Instant) -> Instant {
        let real = i128::from(at.as_micros().saturating_sub(self.born.as_micros()));
        let skewed = real + real * i128::from(self.skew_ppm) / 1_000_000;
        Instant::from_micros(u64::try_from(skewed).unwrap_or(u64::MAX)).saturating_add(self.jumped)
    }

    /// The true time at which the worker's clock shows at least `local`.
    pub(crate) fn truly(&self, local: Instant) -> Instant {
        let skewed = i128::from(local.saturating_sub(self.jumped).as_micros());
        let scale = 1_000_000 + i128::from(self.skew_ppm);
        let real = (skewed * 1_000_000 + scale - 1) / scale;
        let guess = u64::try_from(real).unwrap_or(u64::MAX).saturating_add(self.born.as_micros());
        let mut at = Instant::from_micros(guess);
        while self.local(at) < local && at < Instant::FAR_FUTURE {
            at = at.saturating_add(Duration::from_micros(1));
        }
        at
    }

    /// Ends a call that is in flight.
    pub(crate) fn land(&mut self, call: CallId) -> Option<Flight> {
        let at = self.flights.iter().position(|(bits, _)| *bits == call.to_bits())?;
        Some(self.flights.swap_remove(at).1)
    }

    /// A call in flight.
    pub(crate) fn flight(&self, call: CallId) -> Option<Flight> {
        self.flights.iter().find(|(bits, _)| *bits == call.to_bits()).map(|(_, flight)| *flight)
    }

    /// The task in an entry, unless the entry has another one by now.
    pub(crate) fn held(&self, entry: EntryId) -> Option<HeldTask> {
        self.held.iter().find(|held| held.entry == entry).copied()
    }

    /// As [`Unit::held`], to change it.
    pub(crate) fn held_mut(&mut self, entry: EntryId) -> Option<&mut HeldTask> {
        self.held.iter_mut().find(|held| held.entry == entry)
    }

    /// Puts a task into an entry, whatever is in it.
    pub(crate) fn hold(&mut self, held: HeldTask) {
        match self.held.binary_search_by_key(&held.entry.index(), |held| held.entry.index()) {
            Ok(at) => self.held.splice(at..=at, [held]).for_each(drop),
            Err(at) => self.held.insert(at, held),
        }
    }

    /// What the journal says of a task, to change it.
    pub(crate) fn noted_mut(&mut self, key: TaskKey) -> Option<&mut Noted> {
        self.journal.iter_mut().find(|noted| noted.key == key)
    }

    /// Takes a task out of the journal.
    pub(crate) fn unnote(&mut self, key: TaskKey) {
        self.journal.retain(|noted| noted.key != key);
    }

    /// Empties an entry, unless it has another task by now.
    pub(crate) fn let_go(&mut self, entry: EntryId) {
        self.held.retain(|held| held.entry != entry);
    }

    /// The task of the first entry whose code runs.
    pub(crate) fn running(&self) -> Option<HeldTask> {
        self.held.iter().find(|held| held.ending.is_none()).copied()
    }
}
