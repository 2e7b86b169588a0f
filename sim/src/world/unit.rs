//! One worker process: the machine, its clock, the tasks it holds, its token and its store. A driver, and the
//! smallest of the three: it performs actions by putting events into the world's queue.

use std::collections::VecDeque;
use std::time::Duration;

use downbeat_core::machine::mutant::Mutant;
use downbeat_core::machine::{CallId, Entry, Hub, Instant, Machine, Member, SlotId, TaskKey};

use super::call::Flight;
use crate::event::Report;

/// The machine as the simulator runs it.
pub(crate) type Box_<M> = Machine<Box<[Entry]>, M>;

/// A hub as the simulator runs it.
pub(crate) type Crew<M> = Hub<Box<[Member<Box<[Entry]>, M>]>, Box<[Entry]>, M>;

/// What runs in a unit.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "of a fleet most workers stand alone, and those are not boxed")]
pub(crate) enum Body<M> {
    /// Nothing.
    Gone,
    /// A worker that stands alone.
    Alone(Box_<M>),
    /// The hub of many workers.
    Hub(Box<Crew<M>>),
    /// A worker whose machine is in the hub of its process.
    Held,
}

/// The place of a worker in a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Seat {
    /// The number of the process's hub.
    pub(crate) hub: u32,
    /// The worker's index there.
    pub(crate) index: u16,
}

/// What the user's code will say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) report: Report,
    pub(crate) callback_after: Duration,
}

impl Verdict {
    /// A task that is given back.
    pub(crate) const GIVE_BACK: Self = Self { report: Report::Yield, callback_after: Duration::from_secs(1) };
}

/// A task in a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) slot: SlotId,
    pub(crate) key: TaskKey,
    /// `None`: the code runs.
    pub(crate) verdict: Option<Verdict>,
}

/// A result on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    /// Whose it was.
    pub(crate) worker: u32,
    pub(crate) key: TaskKey,
    pub(crate) verdict: Verdict,
}

/// A poll's answer that is being told to the machine, task by task.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    pub(crate) call: CallId,
    pub(crate) tasks: VecDeque<(TaskKey, Duration)>,
    pub(crate) end: downbeat_core::machine::Reply,
    /// The slot whose report this answers.
    pub(crate) slot: Option<SlotId>,
    /// The give-back that has to be answered first.
    pub(crate) refusing: Option<CallId>,
}

/// One worker with its process; or a worker in a process of many; or that process, with what its workers share.
#[derive(Debug)]
pub(crate) struct Unit<M> {
    /// Which group it is of; what all of its workers have in common is kept once, so that a large fleet is small.
    pub(crate) group: usize,
    pub(crate) body: Body<M>,
    /// `None`: it stands alone, or is a hub itself.
    pub(crate) seat: Option<Seat>,
    /// An operator has aborted it, or one of its workers.
    pub(crate) aborted: bool,
    /// Which life of the process this is: events of an earlier one are void.
    pub(crate) life: u32,
    /// When the earliest alarm in the queue rings; `FAR_FUTURE`: there is none.
    pub(crate) alarm: Instant,
    /// When the machine wants its next tick.
    pub(crate) wake: Option<Instant>,
    pub(crate) born: Instant,
    pub(crate) skew_ppm: i64,
    pub(crate) jumped: Duration,
    pub(crate) token: Option<u64>,
    pub(crate) paused: bool,
    /// What is in the slots, in the order of their indexes; few at a time.
    held: Vec<Held>,
    pub(crate) inboxes: Vec<Inbox>,
    /// Calls in flight, by their numbers; few at a time.
    pub(crate) flights: Vec<(u64, Flight)>,
    /// Calls of earlier lives that are still on the wire: life, number, call.
    pub(crate) ghosts: Vec<(u32, u64, Flight)>,
    /// Results on disk: they survive the process.
    pub(crate) store: VecDeque<Stored>,
    /// Whether the store's resender has a call in flight, and how often it failed in a row.
    pub(crate) resending: bool,
    pub(crate) resend_failures: u32,
    pub(crate) resends: u64,
    /// Told to drain, in any life.
    pub(crate) draining: bool,
    /// Drained, and not to start again.
    pub(crate) drained: bool,
}

impl<M: Mutant> Unit<M> {
    /// A worker that has not started.
    pub(crate) fn new(group: usize, skew_ppm: i64) -> Self {
        Self {
            group,
            body: Body::Gone,
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
            resending: false,
            resend_failures: 0,
            resends: 0,
            draining: false,
            drained: false,
        }
    }

    /// The process starts, with nothing but its store.
    pub(crate) fn begin_life(&mut self, at: Instant, body: Body<M>) {
        self.life += 1;
        self.born = at;
        self.jumped = Duration::ZERO;
        self.body = body;
    }

    /// Whether the process runs.
    pub(crate) fn runs(&self) -> bool {
        !matches!(self.body, Body::Gone)
    }

    /// The process ends; what is on the wire stays there.
    pub(crate) fn end_life(&mut self) {
        let life = self.life;
        self.ghosts.extend(self.flights.drain(..).map(|(bits, flight)| (life, bits, flight)));
        self.body = Body::Gone;
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
        Instant::from_micros(u64::try_from(skewed).unwrap_or(u64::MAX)).after(self.jumped)
    }

    /// The true time at which the worker's clock shows at least `local`.
    pub(crate) fn truly(&self, local: Instant) -> Instant {
        let skewed = i128::from(local.before(self.jumped).as_micros());
        let scale = 1_000_000 + i128::from(self.skew_ppm);
        let real = (skewed * 1_000_000 + scale - 1) / scale;
        let guess = u64::try_from(real).unwrap_or(u64::MAX).saturating_add(self.born.as_micros());
        let mut at = Instant::from_micros(guess);
        while self.local(at) < local && at < Instant::FAR_FUTURE {
            at = at.after(Duration::from_micros(1));
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

    /// The task in a slot, unless the slot has another one by now.
    pub(crate) fn held(&self, slot: SlotId) -> Option<Held> {
        self.held.iter().find(|held| held.slot == slot).copied()
    }

    /// As [`Unit::held`], to change it.
    pub(crate) fn held_mut(&mut self, slot: SlotId) -> Option<&mut Held> {
        self.held.iter_mut().find(|held| held.slot == slot)
    }

    /// Puts a task into a slot, whatever is in it.
    pub(crate) fn hold(&mut self, held: Held) {
        match self.held.binary_search_by_key(&held.slot.index(), |held| held.slot.index()) {
            Ok(at) => self.held.splice(at..=at, [held]).for_each(drop),
            Err(at) => self.held.insert(at, held),
        }
    }

    /// Empties a slot, unless it has another task by now.
    pub(crate) fn let_go(&mut self, slot: SlotId) {
        self.held.retain(|held| held.slot != slot);
    }

    /// The task of the first slot whose code runs.
    pub(crate) fn running(&self) -> Option<Held> {
        self.held.iter().find(|held| held.verdict.is_none()).copied()
    }
}
