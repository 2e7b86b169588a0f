//! The tasks that are held: their ids, their outputs, and the user's code that runs for them.

use core::time::Duration;

use heapless::Vec;

use crate::machine::{Action, CallId, EntryId, Input, Instant, LeanWorker, Outcome, TaskKey, TaskMeta};
use crate::ports::{End, Executor, Progress};
use crate::wire::{
    EXTERNAL, Element, Ids, Message, Misfit, Output, Piece, Status, TaskResult, TaskView, message,
    put_message,
};

/// The machine and, under the same indexes, what the server must be told of each task.
pub(super) struct Slots<const N: usize, const R: usize> {
    pub(super) worker: LeanWorker<N>,
    slots: [Slot<R>; N],
    /// A task that was given too much, until it is given back.
    pub(super) given_back: Option<GivenBack<R>>,
    /// Where the search for the next step of the user's code begins, so that all get their turn.
    turn: usize,
    /// Elements of answers that no report could be made about.
    pub(super) unreportable: u32,
}

struct Slot<const R: usize> {
    ids: Ids,
    /// How long the task's lease is, or zero if it has none.
    lease: Duration,
    stage: Stage,
    /// The polled output while the code runs; then its output, or the reason of [`Ended::Reason`].
    bytes: Vec<u8, R>,
}

#[derive(Clone, Copy)]
enum Stage {
    Free,
    Running { entry: EntryId, wake: Instant },
    Ended { entry: EntryId, ended: Ended, told: bool },
}

#[derive(Clone, Copy)]
enum Ended {
    /// The user's code said so, or its input did not fit.
    Code(End),
    /// It failed before the code could run, or by what it put out; the reason is in the slot's bytes.
    Reason { terminal: bool },
}

pub(super) struct GivenBack<const R: usize> {
    pub(super) ids: Ids,
    pub(super) key: TaskKey,
    pub(super) polled: Vec<u8, R>,
    /// The give-back that is to be sent as soon as the line is free.
    pub(super) call: Option<CallId>,
}

impl<const N: usize, const R: usize> Slots<N, R> {
    pub(super) fn new(worker: LeanWorker<N>) -> Self {
        let slots = core::array::from_fn(|_| Slot {
            ids: Ids::default(),
            lease: Duration::ZERO,
            stage: Stage::Free,
            bytes: Vec::new(),
        });
        Self { worker, slots, given_back: None, turn: 0, unreportable: 0 }
    }

    // ---------------------------------------------------------------- a task arrives

    /// Takes an element of the answer to `call`.
    #[inline(never)]
    pub(super) fn arrived<E: Executor + ?Sized>(
        &mut self,
        now: Instant,
        call: CallId,
        element: &Element<'_>,
        task_type: &str,
        executor: &mut E,
    ) {
        match element {
            Element::Task(task) => self.task(now, call, task, task_type, executor),
            Element::Bad { ids, misfit } => self.bad(now, call, ids, *misfit),
            Element::Unreportable { .. } => self.unreportable = self.unreportable.saturating_add(1),
        }
    }

    fn task<E: Executor + ?Sized>(
        &mut self,
        now: Instant,
        call: CallId,
        task: &TaskView<'_>,
        task_type: &str,
        executor: &mut E,
    ) {
        if task.output.len() > R {
            // What cannot be kept cannot be echoed, and a give-back without it would lose it.
            let misfit = Misfit::TooLarge { needed: task.output.len(), room: R };
            return self.bad(now, call, &task.ids, misfit);
        }
        let action = self.worker.step(now, Input::Leased { call, task: task.meta() });
        let length = task.response_timeout.unwrap_or_default();
        let Some((entry, slot)) = self.lease(action, &task.ids, length, task.output) else { return };
        if task.external_input.is_some() {
            return slot.fail(entry, true, &message(&[Piece::Text(EXTERNAL)]));
        }
        slot.stage = match executor.start(entry, &task.assignment(task_type)) {
            Ok(()) => Stage::Running { entry, wake: Instant::ZERO },
            Err(unfit) => {
                slot.bytes.clear();
                let ended = Ended::Code(End::Terminal { reason: unfit.reason });
                Stage::Ended { entry, ended, told: false }
            }
        };
    }

    /// A task that cannot be run here: it is leased, and fails at once.
    fn bad(&mut self, now: Instant, call: CallId, ids: &Ids, misfit: Misfit) {
        let meta = TaskMeta::new(ids.key(), None);
        let action = self.worker.step(now, Input::Leased { call, task: meta });
        if let Some((entry, slot)) = self.lease(action, ids, Duration::ZERO, b"") {
            slot.fail(entry, false, &misfit.message());
        }
    }

    /// What the machine says of a task: it is run in this slot, or given back, or nothing is done.
    fn lease(
        &mut self,
        action: Action,
        ids: &Ids,
        length: Duration,
        polled: &[u8],
    ) -> Option<(EntryId, &mut Slot<R>)> {
        if let Action::GiveBack { call, key } = action {
            self.give_back(call, key, ids, polled);
            return None;
        }
        let (Action::Run { entry, .. } | Action::Adopt { entry, .. }) = action else { return None };
        let slot = self.slots.get_mut(usize::from(entry.index()))?;
        slot.ids.clone_from(ids);
        slot.lease = length;
        if matches!(action, Action::Adopt { .. }) {
            // The code runs on; what is told of it from now on is told of the new task.
            return None;
        }
        slot.bytes.clear();
        // It fits: the caller has looked.
        let _ = slot.bytes.extend_from_slice(polled);
        Some((entry, slot))
    }

    fn give_back(&mut self, call: CallId, key: TaskKey, ids: &Ids, polled: &[u8]) {
        // One give-back at a time; a second surplus task waits for its lease to end, as the contract has it.
        if self.given_back.as_ref().is_some_and(|given_back| given_back.call.is_some()) {
            return;
        }
        let fresh = GivenBack { ids: Ids::default(), key, polled: Vec::new(), call: Some(call) };
        let given_back = self.given_back.insert(fresh);
        given_back.ids.clone_from(ids);
        let _ = given_back.polled.extend_from_slice(polled);
    }

    // ---------------------------------------------------------------- the user's code

    /// When the user's code wants its next step, or `FAR_FUTURE` if nothing runs.
    pub(super) fn next_wake(&self) -> Instant {
        self.slots
            .iter()
            .fold(Instant::FAR_FUTURE, |first, slot| slot.wake().map_or(first, |at| first.min(at)))
    }

    /// Gives one entry whose time has come a step, `memory` as room for its output; whether there was one.
    #[inline(never)]
    pub(super) fn step_code<E: Executor + ?Sized>(
        &mut self,
        now: Instant,
        executor: &mut E,
        memory: &mut [u8],
    ) -> bool {
        for _ in 0..N {
            if self.turn >= N {
                self.turn = 0;
            }
            let Some(slot) = self.slots.get_mut(self.turn) else { return false };
            self.turn = self.turn.saturating_add(1);
            if slot.wake().is_some_and(|wake| wake <= now) {
                slot.step(executor, memory);
                return true;
            }
        }
        false
    }

    /// Stops the code of an entry, which is then given back with its polled output.
    pub(super) fn recall<E: Executor + ?Sized>(&mut self, entry: EntryId, executor: &mut E) {
        let Some(slot) = self.slots.get_mut(usize::from(entry.index())) else { return };
        if let Stage::Running { entry: running, .. } = slot.stage
            && running == entry
        {
            executor.cancel(entry);
            let ended = Ended::Code(End::InProgress { callback_after: Duration::from_secs(1) });
            slot.stage = Stage::Ended { entry, ended, told: false };
        }
    }

    /// Forgets an entry.
    pub(super) fn discard<E: Executor + ?Sized>(&mut self, entry: EntryId, executor: &mut E) {
        let Some(slot) = self.slots.get_mut(usize::from(entry.index())) else { return };
        if matches!(slot.stage, Stage::Running { .. }) {
            executor.cancel(entry);
        }
        slot.stage = Stage::Free;
    }

    /// Returns the next end that the machine has not been told of.
    pub(super) fn next_end(&mut self) -> Option<(EntryId, Outcome)> {
        self.slots.iter_mut().find_map(Slot::tell)
    }

    pub(super) fn has_end(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot.stage, Stage::Ended { told: false, .. }))
    }

    // ---------------------------------------------------------------- reports

    /// The ids of an entry's task, and how long its lease is.
    pub(super) fn lease_of(&self, entry: EntryId) -> Option<(&Ids, Duration)> {
        self.slots.get(usize::from(entry.index())).map(|slot| (&slot.ids, slot.lease))
    }

    /// Whether what is to be reported of an entry is a yield.
    pub(super) fn yields(&self, entry: EntryId) -> bool {
        let slot = self.slots.get(usize::from(entry.index()));
        slot.is_some_and(|slot| {
            matches!(slot.stage, Stage::Ended { ended: Ended::Code(End::InProgress { .. }), .. })
        })
    }

    /// What is to be reported of an entry.
    pub(super) fn report<'d>(&'d self, entry: EntryId, worker_id: &'d str) -> Option<TaskResult<'d>> {
        let slot = self.slots.get(usize::from(entry.index()))?;
        let Stage::Ended { ended, .. } = slot.stage else { return None };
        let (status, output) = match ended {
            Ended::Code(end) => (Status::from(end), Output::kept(&slot.bytes)),
            Ended::Reason { terminal } => {
                let reason = str::from_utf8(&slot.bytes).unwrap_or_default();
                let status =
                    if terminal { Status::FailedTerminal { reason } } else { Status::Failed { reason } };
                (status, Output::EMPTY)
            }
        };
        Some(TaskResult {
            task_id: &slot.ids.task,
            workflow_id: &slot.ids.workflow,
            worker_id,
            status,
            output,
            logs: &[],
        })
    }
}

impl<const R: usize> Slot<R> {
    fn wake(&self) -> Option<Instant> {
        match self.stage {
            Stage::Running { wake, .. } => Some(wake),
            Stage::Free | Stage::Ended { .. } => None,
        }
    }

    fn fail(&mut self, entry: EntryId, terminal: bool, reason: &Message) {
        self.bytes.clear();
        put_message(reason, &mut self.bytes);
        self.stage = Stage::Ended { entry, ended: Ended::Reason { terminal }, told: false };
    }

    fn step<E: Executor + ?Sized>(&mut self, executor: &mut E, memory: &mut [u8]) {
        let Stage::Running { entry, .. } = self.stage else { return };
        match executor.step(entry, memory) {
            Progress::Pending { wake } => self.stage = Stage::Running { entry, wake },
            Progress::Done { end, output } => match memory.get(..output).map(Output::new) {
                _ if output == 0 => self.end(entry, end, b""),
                Some(Ok(sound)) => self.end(entry, end, sound.raw()),
                Some(Err(error)) => self.fail(entry, true, &error.message()),
                None => {
                    let (has, room) =
                        (Piece::Text("the output has "), Piece::Text(" bytes and this worker has room for "));
                    self.fail(entry, true, &message(&[has, Piece::Number(output), room, Piece::Number(R)]));
                }
            },
        }
    }

    fn end(&mut self, entry: EntryId, end: End, output: &[u8]) {
        self.bytes.clear();
        // It fits: the executor was given as many bytes as the slot has.
        let _ = self.bytes.extend_from_slice(output);
        self.stage = Stage::Ended { entry, ended: Ended::Code(end), told: false };
    }

    fn tell(&mut self) -> Option<(EntryId, Outcome)> {
        let Stage::Ended { entry, ended, told: false } = self.stage else { return None };
        self.stage = Stage::Ended { entry, ended, told: true };
        let outcome = match ended {
            Ended::Code(End::InProgress { callback_after }) => Outcome::Yield { callback_after },
            Ended::Code(End::Completed | End::Failed { .. } | End::Terminal { .. })
            | Ended::Reason { .. } => Outcome::Final,
        };
        Some((entry, outcome))
    }
}
