//! The session: all of the single-lane driver but its I/O.

use super::call::{self, Call, Kept, Purpose, Token};
use super::config::{Buffers, Config, SetupError, WINDOW};
use super::slots::Slots;
use crate::http::{Event, Exchange, Inbox, Want};
use crate::machine::{
    Action, CallError, CallId, Control, Fault, Input, Instant, LeanWorker, OnLapse, Policy, Reply,
};
use crate::ports::{Cause, Executor, Failure};
use crate::wire::{Cutter, Out, TaskState};

/// A worker with `N` slots, each with room for a result of `R` bytes, on one connection.
///
/// Ask [`Session::next`] what it needs, give it that, and tell what came of it by the method that the [`Demand`]
/// names; until [`Demand::Stopped`]. Nothing is lost by asking twice.
pub struct Session<'b, const N: usize, const R: usize> {
    slots: Slots<N, R>,
    config: Config<'b>,
    receive: &'b mut [u8],
    send: &'b mut [u8],
    token: Token<'b>,
    cutter: Cutter,
    /// There is a connection that the next call may use.
    open: bool,
    call: Option<Call>,
    /// The call in flight has ended so, and the machine is told next.
    ended: Option<(CallId, Reply)>,
    control: Option<Control>,
    /// A call has ended since the user's code had its last step: calls in a row must not starve it.
    owes_step: bool,
    counts: Counts,
}

/// What a session needs now.
#[derive(Debug, Eq, PartialEq)]
pub enum Demand<'s> {
    /// Nothing but to be asked again: a step of the user's code was run.
    Turn,
    /// Whether the kept connection is stale: [`Session::checked`].
    Check,
    /// A new connection: [`Session::connected`].
    Connect,
    /// These bytes written, or the first of them: [`Session::wrote`].
    Write(&'s [u8]),
    /// What was written flushed: [`Session::flushed`].
    Flush,
    /// Bytes read into this room: [`Session::received`].
    Read(&'s mut [u8]),
    /// Nothing until then, or until a [`Session::control`].
    Wait {
        /// `None`: only a control brings work.
        until: Option<Instant>,
    },
    /// Nothing any more.
    Stopped,
}

/// What a session met, for a status line; numbers saturate.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Requests that were begun.
    pub calls: u32,
    /// Exchanges without a whole answer.
    pub failures: u32,
    /// Why the last of them failed.
    pub last_failure: Option<Failure>,
    /// Responses with a fault, such as a 5xx, or a body that could not be read.
    pub faults: u32,
    /// Elements of answers that were no tasks, or had no ids: nothing could be reported about them.
    pub unreportable: u32,
}

/// What a session needs, before its memory is lent out.
enum Need {
    Turn,
    Check,
    Connect,
    Write { from: usize, to: usize },
    Flush,
    Read,
    Wait(Option<Instant>),
    Stopped,
}

impl<'b, const N: usize, const R: usize> Session<'b, N, R> {
    /// Makes a session. The session sets three members of `policy`: `max_calls` to 1, `store` to false, and
    /// `authenticated` to whether there is a key. `seed` feeds the jitter, another for every device.
    ///
    /// # Errors
    /// Names what does not fit, and the size that would; or the policy's field that a
    /// [`LeanWorker`] cannot keep.
    pub fn new(
        policy: Policy,
        seed: u64,
        config: Config<'b>,
        buffers: Buffers<'b>,
    ) -> Result<Self, SetupError> {
        let mut policy = policy;
        Self::check(&mut policy, &config, &buffers)?;
        let worker = LeanWorker::new(policy, seed).map_err(SetupError::Policy)?;
        Ok(Self::from_worker(worker, config, buffers))
    }

    /// Makes a session as [`Session::new`] does, in a place that is given: on a small stack there is no room
    /// to make a session there and move it.
    ///
    /// # Errors
    /// As there; the place is then as it was.
    pub fn place<'s>(
        place: &'s mut Option<Self>,
        policy: Policy,
        seed: u64,
        config: Config<'b>,
        buffers: Buffers<'b>,
    ) -> Result<&'s mut Self, SetupError> {
        let mut policy = policy;
        Self::check(&mut policy, &config, &buffers)?;
        Self::fill(place, &policy, seed, config, buffers)
    }

    #[inline(never)]
    fn fill<'s>(
        place: &'s mut Option<Self>,
        policy: &Policy,
        seed: u64,
        config: Config<'b>,
        buffers: Buffers<'b>,
    ) -> Result<&'s mut Self, SetupError> {
        let worker = LeanWorker::new(*policy, seed).map_err(SetupError::Policy)?;
        Ok(place.insert(Self::from_worker(worker, config, buffers)))
    }

    /// Checks what it is made of, and sets of the policy what is not for the caller to choose.
    #[inline(never)]
    fn check(policy: &mut Policy, config: &Config<'b>, buffers: &Buffers<'b>) -> Result<(), SetupError> {
        let authenticated = config.key.is_some();
        let needed = config.send_needed(R, if authenticated { buffers.token.len() } else { 0 })?;
        buffers.check(needed.max(R), authenticated)?;
        policy.max_calls = 1;
        policy.store = false;
        policy.authenticated = authenticated;
        Ok(())
    }

    #[inline(always)]
    fn from_worker(worker: LeanWorker<N>, config: Config<'b>, buffers: Buffers<'b>) -> Self {
        Self {
            slots: Slots::new(worker),
            config,
            receive: buffers.receive,
            send: buffers.send,
            token: Token { memory: buffers.token, len: 0 },
            cutter: Cutter::new(),
            open: false,
            call: None,
            ended: None,
            control: None,
            owes_step: false,
            counts: Counts::default(),
        }
    }

    /// Returns the machine, to look at.
    #[must_use]
    pub const fn worker(&self) -> &LeanWorker<N> {
        &self.slots.worker
    }

    /// Returns what was met so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        Counts { unreportable: self.slots.unreportable, ..self.counts }
    }

    /// Tells a decision from outside. It takes effect once the call in flight has ended; of two before that, the
    /// last counts, but for a drain or an abort, which stay.
    pub const fn control(&mut self, control: Control) {
        self.control = match (self.control, control) {
            (Some(Control::Abort), _) => Some(Control::Abort),
            (Some(Control::Drain), Control::Pause | Control::Resume) => Some(Control::Drain),
            _ => Some(control),
        };
    }

    /// Returns until when the I/O that is needed now may take; the end of time if none is.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.call.as_ref().map_or(Instant::FAR_FUTURE, |call| call.deadline)
    }

    /// Goes on, and says what is needed.
    pub fn next<E: Executor + ?Sized>(&mut self, now: Instant, executor: &mut E) -> Demand<'_> {
        match self.advance(now, executor) {
            Need::Turn => Demand::Turn,
            Need::Check => Demand::Check,
            Need::Connect => Demand::Connect,
            Need::Write { from, to } => Demand::Write(self.send.get(from..to).unwrap_or_default()),
            Need::Flush => Demand::Flush,
            Need::Read => Demand::Read(self.room()),
            Need::Wait(until) => Demand::Wait { until },
            Need::Stopped => Demand::Stopped,
        }
    }

    // ---------------------------------------------------------------- what came of a demand

    /// Tells that the kept connection was looked at.
    pub fn checked(&mut self, stale: bool) {
        if let Some(call) = &mut self.call {
            call.exchange.checked(stale);
        }
    }

    /// Tells whether a new connection was made.
    pub fn connected(&mut self, result: Result<(), Cause>) {
        let failed = self.call.as_mut().and_then(|call| call.exchange.connected(result).err());
        self.fail(failed);
    }

    /// Tells that so many bytes were written, or none and the stream failed.
    pub fn wrote(&mut self, result: Result<usize, Cause>) {
        let failed = self.call.as_mut().and_then(|call| call.exchange.wrote(result).err());
        self.fail(failed);
    }

    /// Tells whether all was flushed.
    pub fn flushed(&mut self, result: Result<(), Cause>) {
        let failed = self.call.as_mut().and_then(|call| call.exchange.flushed(result).err());
        self.fail(failed);
    }

    /// Tells that so many bytes were read; 0 means that the connection has ended.
    pub fn received(&mut self, result: Result<usize, Cause>) {
        let Some(call) = &mut self.call else { return };
        let ended = match result {
            Ok(0) => call.exchange.ended(Ok(())),
            Ok(count) => {
                call.inbox.filled(count);
                Ok(())
            }
            Err(cause) => call.exchange.ended(Err(cause)),
        };
        self.fail(ended.err());
    }

    fn fail(&mut self, failure: Option<Failure>) {
        let (Some(failure), Some(call)) = (failure, &self.call) else { return };
        self.counts.failures = self.counts.failures.saturating_add(1);
        self.counts.last_failure = Some(failure);
        let id = call.id;
        self.end(id, Err(CallError::new(failure.fault())));
    }

    /// The call in flight is over.
    fn end(&mut self, id: CallId, reply: Reply) {
        self.open = self.call.as_ref().is_some_and(|c| c.exchange.keeps_connection() && c.inbox.is_empty());
        if let Some(Call { purpose: Purpose::GiveBack, .. }) = self.call
            && !matches!(reply, Err(CallError { fault: Fault::NotSent, .. }))
        {
            self.slots.given_back = None;
        }
        self.call = None;
        self.owes_step = true;
        self.ended = Some((id, reply));
    }

    // ---------------------------------------------------------------- the loop

    fn advance<E: Executor + ?Sized>(&mut self, now: Instant, executor: &mut E) -> Need {
        loop {
            if self.call.is_some() {
                if let Some(need) = self.exchange(now, executor) {
                    return need;
                }
                continue;
            }
            if let Some(id) = self.give_back_due() {
                self.begin(now, id, Purpose::GiveBack);
                continue;
            }
            if core::mem::take(&mut self.owes_step) && self.step_code(now, executor) {
                return Need::Turn;
            }
            let input = self.next_input();
            let action = self.slots.worker.step(now, input);
            if let Some(need) = self.perform(now, action, executor) {
                return need;
            }
        }
    }

    /// A give-back is sent when the machine has heard how the poll that brought the task ended.
    fn give_back_due(&mut self) -> Option<CallId> {
        if self.ended.is_some() {
            return None;
        }
        self.slots.given_back.as_mut()?.call.take()
    }

    /// How the last call ended is told last: it may begin the next, and all else that is known counts for that.
    fn next_input(&mut self) -> Input {
        if let Some(control) = self.control.take() {
            return Input::Control(control);
        }
        if let Some((entry, outcome)) = self.slots.next_end() {
            return Input::Finished { entry, outcome };
        }
        match self.ended.take() {
            Some((call, reply)) => Input::Replied { call, reply },
            None => Input::Tick,
        }
    }

    fn perform<E: Executor + ?Sized>(
        &mut self,
        now: Instant,
        action: Action,
        executor: &mut E,
    ) -> Option<Need> {
        let (call, purpose) = match action {
            Action::Poll { call, count, wait } => {
                (call, Purpose::Poll { count, wait: now.until_within(self.slots.next_wake(), wait) })
            }
            Action::Update { call, entry, take_next, instead, .. } => {
                (call, Purpose::Update { entry, take_next, instead })
            }
            Action::Extend { call, entry } => (call, Purpose::Extend { entry }),
            Action::Ask { call, entry } => (call, Purpose::Ask { entry }),
            Action::Refresh { call } => (call, Purpose::Refresh),
            Action::GiveBack { call, key } => {
                if self.slots.given_back.as_ref().is_none_or(|given_back| given_back.key != key) {
                    self.ended = Some((call, Err(CallError::new(Fault::Rejected))));
                    return None;
                }
                (call, Purpose::GiveBack)
            }
            Action::Recall { entry, .. } => {
                self.slots.recall(entry, executor);
                return None;
            }
            Action::Discard { entry, .. } => {
                self.slots.discard(entry, executor);
                return None;
            }
            // `Slots` asks for the answers to `Leased` itself, and a lean machine has no store.
            Action::Run { .. } | Action::Adopt { .. } | Action::Ignore { .. } | Action::Spill { .. } => {
                return None;
            }
            // That a lease is over is seen by whoever looks at the worker.
            Action::Lapsed { .. } => return None,
            Action::Wait { until, .. } => return self.idle(now, until, executor),
            Action::Stopped => return Some(Need::Stopped),
        };
        self.begin(now, call, purpose);
        None
    }

    fn idle<E: Executor + ?Sized>(
        &mut self,
        now: Instant,
        until: Option<Instant>,
        executor: &mut E,
    ) -> Option<Need> {
        if self.ended.is_some() || self.control.is_some() || self.slots.has_end() {
            return None;
        }
        if self.step_code(now, executor) {
            return Some(Need::Turn);
        }
        let wake = self.slots.next_wake();
        let until = until.map_or(wake, |at| at.min(wake));
        Some(Need::Wait(Some(until).filter(|at| *at < Instant::FAR_FUTURE)))
    }

    /// Returns a step of the user's code if one is due. The send buffer is free then, and takes its output.
    fn step_code<E: Executor + ?Sized>(&mut self, now: Instant, executor: &mut E) -> bool {
        let memory = self.send.get_mut(..R).unwrap_or_default();
        self.slots.step_code(now, executor, memory)
    }

    // ---------------------------------------------------------------- one call

    #[inline(never)]
    fn begin(&mut self, now: Instant, id: CallId, purpose: Purpose) {
        self.counts.calls = self.counts.calls.saturating_add(1);
        // Nothing is received now: its memory is free.
        let written =
            call::write(purpose, &self.config, self.token.text(), &self.slots, self.send, self.receive);
        let Ok((head, body)) = written else {
            // `new` has made sure that it fits; what was asked for is not here any more.
            self.ended = Some((id, Err(CallError::new(Fault::Rejected))));
            return;
        };
        self.cutter.reset();
        let policy = self.slots.worker.policy();
        let limit = if purpose.is_long(&self.slots) { policy.report_timeout } else { policy.call_timeout };
        self.call = Some(Call {
            id,
            purpose,
            deadline: now.saturating_add(limit).saturating_add(purpose.held()),
            exchange: Exchange::new(self.open, head, body),
            request: head.saturating_add(body),
            inbox: Inbox::new(),
            head: None,
            kept: 0,
        });
    }

    /// Goes on with the call in flight. Returns `None` if it has ended.
    fn exchange<E: Executor + ?Sized>(&mut self, now: Instant, executor: &mut E) -> Option<Need> {
        let call = self.call.as_mut()?;
        let need = match call.exchange.want() {
            Want::Check => Need::Check,
            Want::Connect => Need::Connect,
            Want::Write { from } => Need::Write { from, to: call.request },
            Want::Flush => Need::Flush,
            Want::Nothing => {
                self.answered();
                return None;
            }
            Want::Read => {
                if let Err(failure) = self.take(now, executor) {
                    self.fail(Some(failure));
                    return None;
                }
                if self.call.as_ref()?.exchange.want() == Want::Nothing {
                    return None;
                }
                Need::Read
            }
        };
        // What has come in counts, however late it is; nothing more is waited for.
        let call = self.call.as_ref()?;
        let late = (now >= call.deadline).then_some(Cause::Timeout);
        let full = matches!(need, Need::Read) && self.room().is_empty();
        let Some(cause) = late.or_else(|| full.then_some(Cause::Protocol)) else { return Some(need) };
        let failure = self.call.as_mut()?.exchange.fail(cause);
        self.fail(Some(failure));
        None
    }

    /// Takes what was read, up to where more is needed or the answer ends.
    #[inline(never)]
    fn take<E: Executor + ?Sized>(&mut self, now: Instant, executor: &mut E) -> Result<(), Failure> {
        let Some(call) = &mut self.call else { return Ok(()) };
        let window = self.receive.len().saturating_sub(WINDOW);
        if call.head.is_none() {
            let (taken, event) = call.exchange.next(call.inbox.bytes(self.receive))?;
            call.inbox.take(taken);
            let Event::Head(head) = event else { return Ok(()) };
            call.head = Some(head);
            // What was read beyond the head is at most a window: no read was larger.
            let rest = call.inbox.len().min(WINDOW);
            let from = call.inbox.from();
            if from.saturating_add(rest) <= self.receive.len() {
                self.receive.copy_within(from..from.saturating_add(rest), window);
            }
            call.inbox = Inbox::at(0, rest);
        }
        let tasks = call.head.is_some_and(|head| call.purpose.reads_tasks(&head));
        let (kept, raw) = self.receive.split_at_mut(window);
        let mut kept = Kept { memory: kept, len: &mut call.kept };
        loop {
            let (taken, event) = call.exchange.next(call.inbox.bytes(raw))?;
            call.inbox.take(taken);
            let Event::Chunk(mut bytes) = event else { return Ok(()) };
            if !tasks {
                let room = kept.memory.len().saturating_sub(*kept.len);
                let _ = kept.put(bytes.get(..room).unwrap_or(bytes));
                continue;
            }
            loop {
                // An element is large, and stays where it is.
                match &self.cutter.feed(&mut bytes, &mut kept) {
                    // What was asked about is here already.
                    Ok(Some(_)) if matches!(call.purpose, Purpose::Ask { .. }) => {}
                    Ok(Some(element)) => {
                        self.slots.arrived(now, call.id, element, self.config.task_type, executor);
                    }
                    Ok(None) => break,
                    Err(_) => return Err(call.exchange.fail(Cause::Protocol)),
                }
            }
        }
    }

    /// Where the next bytes are read to.
    fn room(&mut self) -> &mut [u8] {
        let window = self.receive.len().saturating_sub(WINDOW);
        let Some(call) = &mut self.call else { return &mut [] };
        let memory = if call.head.is_some() {
            self.receive.get_mut(window..).unwrap_or_default()
        } else {
            &mut *self.receive
        };
        let room = call.inbox.room(memory, 0);
        let len = room.len().min(WINDOW);
        room.get_mut(..len).unwrap_or_default()
    }

    #[inline(never)]
    fn answered(&mut self) {
        let Some(call) = &self.call else { return };
        let (id, purpose) = (call.id, call.purpose);
        let Some(head) = call.head else {
            return self.end(id, Err(CallError::new(Fault::Unknown)));
        };
        let kept = self.receive.get(..call.kept).unwrap_or_default();
        let over = match self.cutter.state() {
            TaskState::Ended => true,
            // Its lease is over: what becomes of such a run is for the policy to say.
            TaskState::TimedOut => self.slots.worker.policy().on_lapse == OnLapse::Stop,
            TaskState::InProgress | TaskState::Scheduled | TaskState::Unknown => false,
        };
        let tasks = self.cutter.finish().is_ok().then_some(over);
        let reply = call::understand(purpose, &head, kept, tasks, &mut self.token);
        if reply.is_err() {
            self.counts.faults = self.counts.faults.saturating_add(1);
        }
        self.end(id, reply);
    }
}
