//! The machine: its state, and the one method that drives it.

use core::marker::PhantomData;
use core::time::Duration;

use super::action::{Action, Loss, Why};
use super::auth::Auth;
use super::entry::{Entry, Heap, Phase, Storage};
use super::flaw::{self, Flaw};
use super::gate::{Gate, PollKind};
use super::ids::{CallId, CallKind, TaskKey};
use super::input::{Control, Input, TokenNews};
use super::kind::{Kind, Sound};
use super::lifecycle::{LifecycleKind, LifecycleState};
use super::link::Link;
use super::policy::{Policy, PolicyError, Rules};
use super::rng::Rng;
use super::table::{List, Table};
use super::time::Instant;

/// A worker with room for `N` tasks: running, or done and not yet reported.
pub type Worker<const N: usize> = Machine<[Entry; N]>;

/// One worker: decides what to do next, and does nothing itself.
///
/// `S` stores the table: an array if memory is fixed, a boxed slice if it is not. `M` is [`Sound`], or
/// [`Lean`](super::Lean) if code is dear; others are for the simulator's tests of its own oracles.
///
/// ```
/// use downbeat_core::machine::{Action, Answer, Input, Instant, Policy, Worker};
///
/// let mut worker = Worker::<8>::new(Policy::default(), 4711)?;
/// let start = Instant::ZERO;
/// let Action::Poll { call, count: 1, .. } = worker.step(start, Input::Tick) else { panic!() };
/// let reply = Input::Replied { call, reply: Ok(Answer::Done) };
/// let Action::Wait { until: Some(at), .. } = worker.step(Instant::from_millis(1), reply) else { panic!() };
/// assert_eq!(at.as_millis(), 2); // the queue was empty: 2 ms after the poll was sent
/// # Ok::<(), downbeat_core::machine::PolicyError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "record",
    serde(bound(serialize = "S: serde::Serialize", deserialize = "S: serde::Deserialize<'de>"))
)]
pub struct Machine<S, M = Sound> {
    pub(crate) policy: Policy,
    pub(crate) rng: Rng,
    pub(crate) now: Instant,
    #[cfg_attr(feature = "record", serde(rename = "mode"))]
    pub(crate) lifecycle: LifecycleState,
    pub(crate) serial: u32,
    /// Server calls in flight: poll, refresh, updates, extensions. Spills are not among them.
    pub(crate) calls: u16,
    /// Entries promised to updates in flight that may bring a task.
    pub(crate) promised: u16,
    /// How far the recall or the abort has gone through the table.
    pub(crate) cursor: u16,
    /// When `update-v2` may be used: the server did not know it when it was last asked.
    pub(crate) take_next_from: Instant,
    /// The latest report took so long that no task should travel in the answer to the next.
    pub(crate) slow: bool,
    /// When a result was accepted last, or `ZERO` for never.
    pub(crate) accepted: Instant,
    /// A hub decides when the server may be called.
    pub(crate) hubbed: bool,
    pub(crate) table: Table<S, M>,
    pub(crate) poll: Option<Poll>,
    #[cfg_attr(feature = "record", serde(rename = "refusal"))]
    pub(crate) give_back: Option<GiveBack>,
    pub(crate) gate: Gate,
    pub(crate) auth: Auth,
    pub(crate) link: Link,
    #[cfg_attr(feature = "record", serde(skip))]
    mutant: PhantomData<M>,
}

/// A poll in flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Poll {
    pub(crate) sent: Instant,
    pub(crate) serial: u32,
    pub(crate) count: u16,
    pub(crate) got: u16,
    /// A task that it brought was run: only then it has found something.
    pub(crate) ran: bool,
    pub(crate) token: u16,
    pub(crate) kind: PollKind,
}

/// A task that was given too much, on its way back. It shares the lane of the call that brought it, then inherits it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct GiveBack {
    pub(crate) key: TaskKey,
    pub(crate) due: Instant,
    /// When its lease ends, or the time in which it may be given back: it is kept after that.
    pub(crate) expires: Instant,
    pub(crate) serial: u32,
    /// The call that brought the task.
    pub(crate) with: u32,
    pub(crate) attempt: u16,
    pub(crate) token: u16,
    pub(crate) in_flight: bool,
    /// That call has been answered in the meantime, and its lane is this one's now.
    pub(crate) own_lane: bool,
}

/// What a hub lets a worker do in one step, and what that kept it from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Turn {
    pub(crate) calls: bool,
    pub(crate) polls: bool,
    /// A report may be a poll too.
    pub(crate) take_next: bool,
    pub(crate) longest_wait: Duration,
    /// What was due and not allowed.
    pub(crate) blocked: Option<Blocked>,
}

impl Turn {
    pub(crate) const ALL: Self =
        Self { calls: true, polls: true, take_next: true, longest_wait: Duration::MAX, blocked: None };
    pub(crate) const NONE: Self =
        Self { calls: false, polls: false, take_next: false, longest_wait: Duration::ZERO, blocked: None };
}

/// What was due in a step and not allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Blocked {
    Call,
    Poll,
}

impl<const N: usize> Machine<[Entry; N]> {
    /// Makes a worker whose table is an array.
    ///
    /// `seed` feeds the jitter: give every worker of a fleet another one, or they retry in step.
    ///
    /// # Errors
    /// Names the policy's field that is out of bounds.
    pub fn new(policy: Policy, seed: u64) -> Result<Self, PolicyError> {
        Self::from_entries([Entry::FREE; N], policy, seed)
    }
}

impl<S: Storage, M: Kind> Machine<S, M> {
    /// Makes a worker whose table is in `storage`: 1 to 65,534 entries, whatever was in them is forgotten.
    ///
    /// # Errors
    /// Names the policy's field that is out of bounds.
    pub fn with_storage(mut storage: S, policy: Policy, seed: u64) -> Result<Self, PolicyError> {
        storage.as_mut().fill(Entry::FREE);
        Self::from_entries(storage, policy, seed)
    }

    /// Makes a worker of free entries.
    pub(crate) fn from_entries(storage: S, policy: Policy, seed: u64) -> Result<Self, PolicyError> {
        policy.check(storage.as_ref().len())?;
        if !M::RUBY && policy.rules == Rules::RubySdk {
            return Err(PolicyError::new("rules", "Downbeat's, in a lean machine"));
        }
        if !M::STORE && policy.store {
            return Err(PolicyError::new("store", "false, in a lean machine"));
        }
        let seed = if M::Flaw::CONSTANT_SEED { 0 } else { seed };
        Ok(Self {
            rng: Rng::new(seed),
            now: Instant::ZERO,
            lifecycle: LifecycleState::new(LifecycleKind::Open),
            serial: 0,
            calls: 0,
            promised: 0,
            cursor: 0,
            take_next_from: Instant::ZERO,
            slow: false,
            accepted: Instant::ZERO,
            hubbed: false,
            table: Table::new(storage),
            poll: None,
            give_back: None,
            gate: Gate::OPEN,
            auth: Auth::new(policy.authenticated),
            link: Link::OPEN,
            policy,
            mutant: PhantomData,
        })
    }

    /// Tells the worker what happened and asks what to do next.
    ///
    /// `Leased` is answered at once for that very task; any other input by the next due action. Perform the action
    /// once, then step with [`Input::Tick`], until the answer is [`Action::Wait`] or [`Action::Stopped`]. A `now`
    /// earlier than one given before counts as that one (S15), and so does the end of time. Inputs that fit nothing
    /// here change nothing (S17).
    ///
    /// A step costs O(log N). None looks through the table, but for a lean machine's.
    pub fn step(&mut self, now: Instant, input: Input) -> Action {
        let mut turn = Turn::ALL;
        self.step_within(now, input, &mut turn)
    }

    /// Returns when the worker next wants a `Tick` if nothing else happens, and for what. `None` means that
    /// only an input brings work.
    ///
    /// It is what the last `Wait` said, and is meaningless before that. A later `Tick` is late, an earlier one is
    /// harmless.
    #[must_use]
    pub fn deadline(&self) -> Option<(Instant, Why)> {
        let (until, why) = self.next_deadline();
        until.map(|at| (at, why))
    }

    /// Returns the policy that the worker was made with.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn step_within(&mut self, now: Instant, input: Input, turn: &mut Turn) -> Action {
        // The end of time never comes: a deadline there is none.
        let now = now.min(Instant::LAST);
        self.now = if M::Flaw::WALL_CLOCK { now } else { self.now.max(now) };
        if M::Flaw::STATE_OUTSIDE {
            self.rng = Rng::new(flaw::outside());
        }
        if self.lifecycle.kind == LifecycleKind::Stopped {
            // A call that outlived its task still gives back its lane, which a hub lends to others.
            if let Input::Replied { call, reply } = &input {
                self.replied(*call, reply);
            }
            return Action::Stopped;
        }
        match &input {
            Input::Tick => {}
            Input::Leased { call, task } => return self.leased(*call, task),
            Input::Recovered { task } => return self.recovered(task),
            Input::Replied { call, reply } => self.replied(*call, reply),
            Input::Finished { entry, outcome } => self.finished(*entry, *outcome),
            Input::Token(news) => self.tell_token(*news),
            Input::Control(control) => self.control(*control),
        }
        self.next_action(turn)
    }

    /// Puts the worker under a hub, which owns the token and the calls from now on.
    pub(crate) fn join_hub(&mut self) {
        const { assert!(M::HUB, "a lean machine joins no hub: make its members of `Worker`s") };
        self.hubbed = true;
        self.auth.hand_to_hub();
    }

    pub(crate) fn is_hubbed(&self) -> bool {
        M::HUB && self.hubbed
    }

    pub(crate) fn has_store(&self) -> bool {
        M::STORE && self.policy.store
    }

    pub(crate) fn tell_token(&mut self, news: TokenNews) {
        if M::HUB {
            self.auth.news(news);
        }
    }

    pub(crate) fn control(&mut self, control: Control) {
        let was = self.lifecycle.kind;
        self.lifecycle = self.lifecycle.told(control, self.now, &self.policy);
        if self.lifecycle.kind == LifecycleKind::Aborted && was != LifecycleKind::Aborted {
            self.cursor = 0;
        }
    }

    // ---------------------------------------------------------------- what all parts ask

    pub(crate) fn next_call(&mut self, kind: CallKind) -> CallId {
        self.serial = self.serial.wrapping_add(1);
        CallId::new(kind, self.serial)
    }

    /// A call to the server leaves.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn server_call(&mut self, kind: CallKind) -> CallId {
        let call = self.next_call(kind);
        self.calls = self.calls.saturating_add(1);
        if !self.is_hubbed() {
            self.link.sent(call.to_bits());
        }
        call
    }

    /// Tasks that may still be asked for: entries free, less entries promised to calls in flight (S11).
    pub(crate) fn room(&self) -> u16 {
        let promised = if M::Flaw::NO_RESERVATION {
            0
        } else {
            self.poll
                .as_ref()
                .map_or(0, |poll| poll.count.saturating_sub(poll.got))
                .saturating_add(self.promised)
        };
        let busy = if self.policy.is_ruby::<M>() { self.table.held() } else { self.table.running() };
        let running = self.policy.concurrency.saturating_sub(busy);
        running.min(self.table.free()).saturating_sub(promised)
    }

    /// Files an entry under the time at which something becomes of it without the server.
    pub(crate) fn set_limit(&mut self, index: u16) {
        if self.table.get(index).is_none_or(|entry| entry.limit() == Instant::FAR_FUTURE) {
            self.table.unset(Heap::Limit, index);
        } else {
            self.table.set(Heap::Limit, index);
        }
    }

    /// Gives up the outcome of an entry; the next steps discard it.
    pub(crate) fn spend(&mut self, index: u16, why: Loss) {
        self.table.withdraw(index);
        if let Some(entry) = self.table.get_mut(index) {
            entry.phase = Phase::Spent(why);
            self.table.push(List::Spent, index);
        }
    }

    pub(crate) fn lanes_full(&self) -> bool {
        self.calls >= self.policy.max_calls
    }
}
