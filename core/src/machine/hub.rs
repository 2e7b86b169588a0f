//! Many workers, one server: the token they share, the calls they share, and whose turn it is.

use core::marker::PhantomData;
use core::time::Duration;

use super::action::{Action, Why};
use super::auth::Auth;
use super::backoff::Backoff;
use super::cx::{Cx, cx};
use super::entry::Storage;
use super::flaw::Flaw;
use super::ids::{CallId, CallKind};
use super::input::{Control, Fault, Input, Reply, TokenNews};
use super::kind::{Kind, Sound};
use super::link::Link;
use super::policy::{AuthPolicy, Policy, PolicyError};
use super::rng::Rng;
use super::time::Instant;
use super::worker::{Blocked, Machine, Turn};

/// What the workers of a hub share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct HubPolicy {
    /// Calls in flight at once, over all workers; at least 2. A quarter of them, at least one, is kept for leases,
    /// results and the token: polls never use them (L6). Default 16.
    pub max_calls: u16,
    /// The server wants a token. Default false.
    pub authenticated: bool,
    /// Delays after failed authorisation. Default 2 s to 60 s.
    pub auth: Backoff,
    /// Delays between tries to reach an unreachable server. Default 250 ms to 5 s.
    pub failing: Backoff,
    /// How long a token is good for if the server does not say. Default 45 min.
    #[cfg_attr(feature = "record", serde(with = "crate::record::span"))]
    pub token_life: Duration,
    /// The longest `Retry-After` of a refresh that is obeyed. Default 5 min.
    #[cfg_attr(feature = "record", serde(with = "crate::record::span"))]
    pub retry_after_max: Duration,
}

impl Default for HubPolicy {
    fn default() -> Self {
        Self {
            max_calls: 16,
            authenticated: false,
            auth: Policy::DEFAULT.auth,
            failing: Policy::DEFAULT.failing,
            token_life: Policy::DEFAULT.token_life,
            retry_after_max: Policy::DEFAULT.retry_after_max,
        }
    }
}

impl AuthPolicy for HubPolicy {
    fn auth(&self) -> &Backoff {
        &self.auth
    }

    fn failing(&self) -> &Backoff {
        &self.failing
    }

    fn token_life(&self) -> Duration {
        self.token_life
    }

    fn retry_after_max(&self) -> Duration {
        self.retry_after_max
    }
}

/// A worker and its place in the hub's queues.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Member<S, M = Sound> {
    machine: Machine<S, M>,
    /// When it wants a tick, or `FAR_FUTURE` for never.
    wake: Instant,
    /// For each queue: whether the member is in it, and who is behind.
    queued: [bool; 3],
    next: [u16; 3],
    stopped: bool,
}

/// Queues of members, served in this order. A member may be in several: being stepped for nothing is harmless.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
enum Queue {
    /// Has an obligation that waits for a lane.
    Urgent = 0,
    /// To be stepped.
    Ready = 1,
    /// Wants to poll.
    Polling = 2,
}

const NIL: u16 = u16::MAX;

impl<S: Storage, M: Kind> Member<S, M> {
    /// Makes a member of a worker that has not been stepped yet. Its token and its link are the hub's from now on.
    #[must_use]
    pub fn new(mut machine: Machine<S, M>) -> Self {
        machine.join_hub();
        Self { machine, wake: Instant::FAR_FUTURE, queued: [false; 3], next: [NIL; 3], stopped: false }
    }

    /// Returns the worker, to look at.
    #[must_use]
    pub const fn machine(&self) -> &Machine<S, M> {
        &self.machine
    }
}

/// What a hub is told. As [`Input`], with the worker it is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
pub enum HubInput {
    /// Time passed, or the driver asks for the next action.
    Tick,
    /// Something happened to one worker (its index in the hub's storage).
    Worker {
        /// Which worker.
        worker: u16,
        /// What happened.
        input: Input,
    },
    /// The refresh of the shared token ended.
    Refreshed {
        /// The call.
        call: CallId,
        /// How it ended.
        reply: Reply,
    },
    /// A decision about all workers.
    Control(Control),
}

/// What a hub asks for. As [`Action`], with the worker it is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(rename_all = "snake_case"))]
#[must_use = "an action is given once; if it is not performed, its entry or call waits for ever"]
pub enum HubAction {
    /// Something for one worker; never `Wait`, `Stopped` or `Refresh`.
    Worker {
        /// Which worker.
        worker: u16,
        /// What to do.
        action: Action,
    },
    /// Get the token that all share; answer with [`HubInput::Refreshed`].
    Refresh {
        /// The call.
        call: CallId,
    },
    /// Nothing to do until then, or until another input.
    Wait {
        /// When to `Tick` at the latest; later than now.
        until: Option<Instant>,
        /// What the wait is for.
        why: Why,
    },
    /// All workers are finished.
    Stopped,
}

/// Many workers under one token and one budget of calls.
///
/// The contract is the machine's: perform each action once, and after any input step with `Tick` until `Wait`
/// or `Stopped`. An answer to [`Input::Leased`] is for that task. Polls are allowed in turn: a worker that
/// has polled goes behind all others that want to (no starvation, whatever one hot queue does). If more
/// workers poll than the budget allows, long polls are shortened in proportion.
///
/// `H` stores the members: an array, or a boxed slice, of 1 to 65,534.
///
/// A step costs what the step of its worker costs. One that wakes sleepers, or ends in `Wait`, looks at each
/// member once besides. That suits hundreds of workers in a process; for many thousands, use several hubs.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Hub<H, S, M = Sound> {
    policy: HubPolicy,
    members: H,
    rng: Rng,
    now: Instant,
    serial: u32,
    calls: u16,
    polls: u16,
    auth: Auth,
    link: Link,
    heads: [u16; 3],
    tails: [u16; 3],
    running: u16,
    /// No member wants to be woken before this.
    earliest: Instant,
    /// What the workers were told of the token.
    told: TokenNews,
    /// A worker has lost its token, and has to be told how it stands.
    lost: bool,
    #[cfg_attr(feature = "record", serde(skip))]
    members_of: PhantomData<(S, M)>,
}

impl<H, S, M> Hub<H, S, M>
where
    H: AsRef<[Member<S, M>]> + AsMut<[Member<S, M>]>,
    S: Storage,
    M: Kind,
{
    /// Makes a hub of members that have not been stepped yet.
    ///
    /// # Errors
    /// Names the field that is out of bounds.
    pub fn new(members: H, policy: HubPolicy, seed: u64) -> Result<Self, PolicyError> {
        let wrong = |field, allowed| Err(PolicyError { field, allowed });
        let len = members.as_ref().len();
        let Some(running) = u16::try_from(len).ok().filter(|len| (1..NIL).contains(len)) else {
            return wrong("members", "1 to 65,534 workers");
        };
        if policy.max_calls < 2 {
            return wrong("max_calls", "at least 2 for a hub");
        }
        if !(policy.auth.is_sound() && policy.failing.is_sound()) {
            return wrong("auth, failing", "0 < base <= cap, jitter 0 to 50 %");
        }
        let mut hub = Self {
            members,
            rng: Rng::new(seed),
            now: Instant::ZERO,
            serial: 0,
            calls: 0,
            polls: 0,
            auth: Auth::new(policy.authenticated),
            link: Link::OPEN,
            heads: [NIL; 3],
            tails: [NIL; 3],
            running,
            earliest: Instant::FAR_FUTURE,
            told: TokenNews::Missing,
            lost: false,
            policy,
            members_of: PhantomData,
        };
        for index in 0..running {
            hub.enqueue(Queue::Ready, index);
        }
        Ok(hub)
    }

    /// Tells the hub what happened and asks what to do next. Same contract as [`Machine::step`].
    pub fn step(&mut self, now: Instant, input: HubInput) -> HubAction {
        let now = now.min(Instant::LAST);
        self.now = if M::Flaw::WALL_CLOCK { now } else { self.now.max(now) };
        match input {
            HubInput::Tick => {}
            HubInput::Worker { worker, input } => {
                if let Some(action) = self.worker_input(worker, input) {
                    return action;
                }
            }
            HubInput::Refreshed { call, reply } => self.refreshed(call, &reply),
            HubInput::Control(control) => {
                // An earlier time counts as the latest one seen, for a drain's limit too (S15).
                let now = self.now;
                for index in 0..self.len() {
                    let Some(member) = self.member(index) else { continue };
                    member.machine.now = member.machine.now.max(now);
                    member.machine.control(control);
                    self.enqueue(Queue::Ready, index);
                }
            }
        }
        self.next_action()
    }

    /// Returns when the hub next wants a `Tick` if nothing else happens; meaningful after a `Wait`.
    #[must_use]
    pub fn deadline(&self) -> Option<(Instant, Why)> {
        let asleep = self.members.as_ref().iter().map(|member| (member.wake, Why::InFlight));
        let link = (!self.link.is_probing()).then_some(self.link.gate());
        let refresh = link.map(|link| (self.auth.refresh_at::<M>().max(link), Why::Auth));
        let blocked = self.is_waiting(Queue::Urgent) || self.is_waiting(Queue::Polling);
        let probe = link.filter(|_| blocked).map(|at| (at, Why::Unreachable));
        let gate = (!self.auth.is_missing()).then_some((self.auth.gate(), Why::Auth));
        asleep
            .chain(refresh)
            .chain(probe)
            .chain(gate)
            .filter(|(at, _)| *at > self.now && *at < Instant::FAR_FUTURE)
            .min_by_key(|(at, _)| *at)
    }

    /// Returns the members, in the order of their indexes.
    #[must_use]
    pub fn members(&self) -> &[Member<S, M>] {
        self.members.as_ref()
    }

    /// Returns what the hub was made with.
    #[must_use]
    pub const fn policy(&self) -> &HubPolicy {
        &self.policy
    }

    /// Returns how many server calls are in flight, over all workers.
    #[must_use]
    pub const fn calls_in_flight(&self) -> u16 {
        self.calls
    }

    /// Returns the generation of the present token, or `None` if a token is wanted and not there.
    #[must_use]
    pub const fn token_generation(&self) -> Option<u16> {
        if self.auth.is_missing() { None } else { Some(self.auth.generation()) }
    }

    /// Failures to reach the server in a row.
    #[must_use]
    pub const fn link_failures(&self) -> u32 {
        self.link.failures()
    }

    // ---------------------------------------------------------------- inputs

    /// Steps one worker with an input, without allowing a call: those are given in turn. `Some`: to be done now.
    fn worker_input(&mut self, worker: u16, input: Input) -> Option<HubAction> {
        let before = match input {
            Input::Replied { call, .. } => {
                let machine = &self.member(worker)?.machine;
                (machine.token_of(call), machine.occupies_lane(call))
            }
            Input::Tick
            | Input::Leased { .. }
            | Input::Recovered { .. }
            | Input::Finished { .. }
            | Input::Token(_)
            | Input::Control(_) => (None, false),
        };
        let action = self.step_member(worker, input, Turn::NONE)?;
        match input {
            Input::Replied { call, reply } => self.observe(worker, call, before, &reply),
            // A stopped worker has no answer, and another's must not be taken for one.
            Input::Leased { task, .. } | Input::Recovered { task } if action.is_none() => {
                return Some(HubAction::Worker { worker, action: Action::Ignore { key: task.key } });
            }
            Input::Tick
            | Input::Leased { .. }
            | Input::Recovered { .. }
            | Input::Finished { .. }
            | Input::Token(_)
            | Input::Control(_) => {}
        }
        action
    }

    /// What a reply to a worker says about link and token. `token` is the generation that the call was sent with, or
    /// `None` if the worker knows no such call. A give-back in another call's lane says nothing of the link.
    fn observe(&mut self, worker: u16, call: CallId, (token, has_lane): (Option<u16>, bool), reply: &Reply) {
        let call = tag(worker, call);
        // A worker that was aborted has forgotten its calls; one of them may be the probe that all others wait for.
        if has_lane || self.link.awaits(call) {
            self.link.replied(&mut cx!(self), call, reply);
        }
        if let Some(generation) = token.filter(|_| has_lane || !M::Flaw::SHARED_UNAUTHORIZED_UNHEARD) {
            self.auth.replied(&mut cx!(self), generation, reply);
            self.lost |= matches!(reply, Err(error) if error.fault == Fault::Unauthorized);
        }
    }

    fn refreshed(&mut self, call: CallId, reply: &Reply) {
        if self.auth.refreshed(&mut cx!(self), call.serial(), reply) {
            self.calls = self.calls.saturating_sub(1);
            self.link.replied(&mut cx!(self), call.to_bits(), reply);
        }
    }

    /// Tells every worker how the token stands, if that has changed, and has each stepped. The gate that 401s
    /// close on a server without tokens is told in the same words.
    fn spread_token(&mut self) {
        let open = self.auth.allows(self.now);
        let news =
            if open { TokenNews::Fresh { generation: self.auth.generation() } } else { TokenNews::Missing };
        if news == self.told && !(open && self.lost) {
            return;
        }
        self.lost = false;
        self.told = news;
        for index in 0..self.len() {
            if let Some(member) = self.member(index) {
                member.machine.tell_token(news);
            }
            self.enqueue(Queue::Ready, index);
        }
    }

    // ---------------------------------------------------------------- turns

    fn next_action(&mut self) -> HubAction {
        self.spread_token();
        self.wake_sleepers();
        if self.auth.refresh_at::<M>() <= self.now && self.may_call() {
            self.serial = self.serial.wrapping_add(1);
            let call = CallId::new(CallKind::Refresh, self.serial);
            self.auth.refresh_sent(call.serial());
            self.calls = self.calls.saturating_add(1);
            self.link.sent(call.to_bits());
            return HubAction::Refresh { call };
        }
        while let Some((worker, turn)) = self.next_turn() {
            if let Some(Some(action)) = self.step_member(worker, Input::Tick, turn) {
                return action;
            }
        }
        if self.running == 0 {
            return HubAction::Stopped;
        }
        match self.deadline() {
            Some((at, why)) => HubAction::Wait { until: Some(at), why },
            None => HubAction::Wait { until: None, why: self.obstacle() },
        }
    }

    /// Whose turn it is, and what it may do: obligations first, then whoever has news, then polls in turn.
    fn next_turn(&mut self) -> Option<(u16, Turn)> {
        let may_call = self.may_call();
        let may_poll = may_call && (self.polls < self.poll_lanes() || M::Flaw::BUDGET_IGNORED);
        let longest_wait = self.longest_wait();
        let urgent = may_call.then(|| self.dequeue(Queue::Urgent)).flatten();
        if let Some(worker) = urgent.or_else(|| self.dequeue(Queue::Ready)) {
            // A poll out of turn, also one inside an update, is for times when nobody waits for a turn. Whoever has not
            // been stepped yet may owe something, and that comes first (L6).
            let take_next = may_poll && !self.is_waiting(Queue::Polling);
            let owed = self.is_waiting(Queue::Urgent) || self.is_waiting(Queue::Ready);
            let polls = take_next && (!owed || M::Flaw::POLLS_BEFORE_DEBTS);
            return Some((worker, Turn { calls: may_call, polls, take_next, longest_wait, ..Turn::ALL }));
        }
        let turn = Turn { longest_wait, ..Turn::ALL };
        if may_poll { self.dequeue(Queue::Polling).map(|worker| (worker, turn)) } else { None }
    }

    /// Steps a member and files it under what it waits for. The outer `None`: there is no such member.
    fn step_member(&mut self, worker: u16, input: Input, mut turn: Turn) -> Option<Option<HubAction>> {
        let now = self.now;
        let member = self.member(worker)?;
        let before = (member.machine.calls, u16::from(member.machine.poll.is_some()));
        let action = member.machine.step_within(now, input, &mut turn);
        let after = (member.machine.calls, u16::from(member.machine.poll.is_some()));
        self.calls = self.calls.saturating_sub(before.0).saturating_add(after.0);
        self.polls = self.polls.saturating_sub(before.1).saturating_add(after.1);
        if let Action::Wait { until, .. } = action {
            let member = self.member(worker)?;
            let wake = until.unwrap_or(Instant::FAR_FUTURE);
            member.wake = wake;
            self.earliest = self.earliest.min(wake);
            match turn.blocked {
                Some(Blocked::Call) => self.enqueue(Queue::Urgent, worker),
                Some(Blocked::Poll) => self.enqueue(Queue::Polling, worker),
                None => {}
            }
            return Some(None);
        }
        if action == Action::Stopped {
            let member = self.member(worker)?;
            member.wake = Instant::FAR_FUTURE;
            if !core::mem::replace(&mut member.stopped, true) {
                self.running = self.running.saturating_sub(1);
            }
            return Some(None);
        }
        self.note_sent(worker, action);
        self.enqueue(Queue::Ready, worker);
        Some(Some(HubAction::Worker { worker, action }))
    }

    fn note_sent(&mut self, worker: u16, action: Action) {
        // A give-back that shares the lane of an answered call is no call of its own yet.
        let Some(call) = action.call() else { return };
        if self.member(worker).is_some_and(|member| member.machine.occupies_lane(call)) {
            self.link.sent(tag(worker, call));
        }
    }

    fn wake_sleepers(&mut self) {
        let now = self.now;
        if self.earliest > now {
            return;
        }
        self.earliest = Instant::FAR_FUTURE;
        for index in 0..self.len() {
            let Some(member) = self.member(index) else { return };
            if member.wake <= now {
                member.wake = Instant::FAR_FUTURE;
                self.enqueue(Queue::Ready, index);
            } else {
                let wake = member.wake;
                self.earliest = self.earliest.min(wake);
            }
        }
    }

    fn may_call(&self) -> bool {
        let has_lane = self.calls < self.policy.max_calls || M::Flaw::BUDGET_IGNORED;
        has_lane && (self.link.allows(self.now) || M::Flaw::LINK_NOT_SHARED)
    }

    /// Lanes that polls may use: three quarters, and never all.
    fn poll_lanes(&self) -> u16 {
        let kept = if M::Flaw::POLLS_TAKE_ALL_LANES { 0 } else { (self.policy.max_calls / 4).max(1) };
        self.policy.max_calls.saturating_sub(kept).max(1)
    }

    /// If more workers poll than there are lanes, a long poll must leave its lane to the next in time: they
    /// share a second. A probe must be answered at once.
    fn longest_wait(&self) -> Duration {
        if self.link.failures() > 0 {
            return Duration::ZERO;
        }
        let (lanes, workers) = (u64::from(self.poll_lanes()), u64::from(self.running));
        if workers <= lanes {
            return Duration::MAX;
        }
        Duration::from_micros(lanes.saturating_mul(1_000_000).checked_div(workers).unwrap_or(0))
    }

    fn obstacle(&self) -> Why {
        if self.calls >= self.policy.max_calls {
            Why::Busy
        } else if self.link.failures() > 0 {
            Why::Unreachable
        } else if self.auth.is_missing() {
            Why::Auth
        } else {
            Why::InFlight
        }
    }

    // ---------------------------------------------------------------- queues

    fn len(&self) -> u16 {
        u16::try_from(self.members.as_ref().len()).unwrap_or(NIL)
    }

    fn member(&mut self, index: u16) -> Option<&mut Member<S, M>> {
        self.members.as_mut().get_mut(usize::from(index))
    }

    fn is_waiting(&self, queue: Queue) -> bool {
        self.heads.get(queue as usize).is_some_and(|head| *head != NIL)
    }

    /// Puts a member at the end of a queue; one that is in that queue already keeps its turn.
    fn enqueue(&mut self, queue: Queue, index: u16) {
        let which = queue as usize;
        let Some(member) = self.member(index) else { return };
        let Some(queued) = member.queued.get_mut(which) else { return };
        if core::mem::replace(queued, true) {
            return;
        }
        if M::Flaw::UNFAIR_TURNS && queue == Queue::Polling && self.is_waiting(queue) {
            let head = self.heads.get_mut(which).map(|head| core::mem::replace(head, index));
            if let (Some(head), Some(member)) = (head, self.member(index)) {
                set(&mut member.next, which, head);
            }
            return;
        }
        let tail = self.tails.get_mut(which).map(|tail| core::mem::replace(tail, index));
        match tail.and_then(|tail| self.member(tail)) {
            Some(last) => set(&mut last.next, which, index),
            None => set(&mut self.heads, which, index),
        }
    }

    fn dequeue(&mut self, queue: Queue) -> Option<u16> {
        let which = queue as usize;
        let index = self.heads.get(which).copied().filter(|head| *head != NIL)?;
        let member = self.member(index)?;
        let next = member.next.get_mut(which).map_or(NIL, |next| core::mem::replace(next, NIL));
        if let Some(queued) = member.queued.get_mut(which) {
            *queued = false;
        }
        set(&mut self.heads, which, next);
        if next == NIL {
            set(&mut self.tails, which, NIL);
        }
        Some(index)
    }
}

fn set(links: &mut [u16; 3], which: usize, to: u16) {
    if let Some(link) = links.get_mut(which) {
        *link = to;
    }
}

/// Tells the calls of all workers apart, and from the hub's own.
fn tag(worker: u16, call: CallId) -> u64 {
    u64::from(worker).saturating_add(1) << 40 | u64::from(call.serial())
}
