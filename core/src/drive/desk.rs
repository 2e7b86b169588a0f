//! The tasks that are held: their ids, their outputs, and the user's code that runs for them.

use core::time::Duration;

use heapless::Vec;

use crate::machine::{Action, CallId, Input, Instant, LeanWorker, Outcome, SlotId, TaskKey, TaskMeta};
use crate::ports::{End, Executor, Progress};
use crate::wire::{
    EXTERNAL, Element, Ids, Message, Misfit, Output, Piece, Status, TaskResult, TaskView, message,
    put_message,
};

/// The machine and, under the same indexes, what the server must be told of each task.
pub(super) struct Desk<const N: usize, const R: usize> {
    pub(super) worker: LeanWorker<N>,
    slots: [Place<R>; N],
    /// A task that was given too much, until it is given back.
    pub(super) refused: Option<Refused<R>>,
    /// Where the search for the next step of the user's code begins, so that all get their turn.
    turn: usize,
    /// Elements of answers that no report could be made about.
    pub(super) unreportable: u32,
}

struct Place<const R: usize> {
    ids: Ids,
    stage: Stage,
    /// The polled output while the code runs; then its output, or the reason of [`Ended::Reason`].
    bytes: Vec<u8, R>,
}

#[derive(Clone, Copy)]
enum Stage {
    Free,
    Running { slot: SlotId, wake: Instant },
    Ended { slot: SlotId, ended: Ended, told: bool },
}

#[derive(Clone, Copy)]
enum Ended {
    /// The user's code said so, or its input did not fit.
    Code(End),
    /// It failed before the code could run, or by what it put out; the reason is in the place's bytes.
    Reason { terminal: bool },
}

pub(super) struct Refused<const R: usize> {
    pub(super) ids: Ids,
    pub(super) key: TaskKey,
    pub(super) polled: Vec<u8, R>,
    /// The give-back that is to be sent as soon as the line is free.
    pub(super) call: Option<CallId>,
}

impl<const N: usize, const R: usize> Desk<N, R> {
    pub(super) fn new(worker: LeanWorker<N>) -> Self {
        let slots =
            core::array::from_fn(|_| Place { ids: Ids::default(), stage: Stage::Free, bytes: Vec::new() });
        Self { worker, slots, refused: None, turn: 0, unreportable: 0 }
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
        let Some((slot, place)) = self.lease(action, &task.ids, task.output) else { return };
        if task.external_input.is_some() {
            return place.fail(slot, true, &message(&[Piece::Text(EXTERNAL)]));
        }
        place.stage = match executor.start(slot, &task.assignment(task_type)) {
            Ok(()) => Stage::Running { slot, wake: Instant::ZERO },
            Err(unfit) => {
                place.bytes.clear();
                let ended = Ended::Code(End::Terminal { reason: unfit.reason });
                Stage::Ended { slot, ended, told: false }
            }
        };
    }

    /// A task that cannot be run here: it is leased, and fails at once.
    fn bad(&mut self, now: Instant, call: CallId, ids: &Ids, misfit: Misfit) {
        let meta = TaskMeta { key: ids.key(), response_timeout: None };
        let action = self.worker.step(now, Input::Leased { call, task: meta });
        if let Some((slot, place)) = self.lease(action, ids, b"") {
            place.fail(slot, false, &misfit.message());
        }
    }

    /// What the machine says of a task: it is run in this place, or given back, or nothing is done.
    fn lease(&mut self, action: Action, ids: &Ids, polled: &[u8]) -> Option<(SlotId, &mut Place<R>)> {
        if let Action::Refuse { call, key } = action {
            self.refuse(call, key, ids, polled);
            return None;
        }
        let Action::Run { slot, .. } = action else { return None };
        let place = self.slots.get_mut(usize::from(slot.index()))?;
        place.ids.clone_from(ids);
        place.bytes.clear();
        // It fits: the caller has looked.
        let _ = place.bytes.extend_from_slice(polled);
        Some((slot, place))
    }

    fn refuse(&mut self, call: CallId, key: TaskKey, ids: &Ids, polled: &[u8]) {
        // One give-back at a time; a second surplus task waits for its lease to end, as the contract has it.
        if self.refused.as_ref().is_some_and(|refused| refused.call.is_some()) {
            return;
        }
        let fresh = Refused { ids: Ids::default(), key, polled: Vec::new(), call: Some(call) };
        let refused = self.refused.insert(fresh);
        refused.ids.clone_from(ids);
        let _ = refused.polled.extend_from_slice(polled);
    }

    // ---------------------------------------------------------------- the user's code

    /// When the user's code wants its next step; `FAR_FUTURE`: nothing runs.
    pub(super) fn next_wake(&self) -> Instant {
        self.slots
            .iter()
            .fold(Instant::FAR_FUTURE, |first, place| place.wake().map_or(first, |at| first.min(at)))
    }

    /// Gives one slot whose time has come a step, `memory` as room for its output; whether there was one.
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
            let Some(place) = self.slots.get_mut(self.turn) else { return false };
            self.turn = self.turn.saturating_add(1);
            if place.wake().is_some_and(|wake| wake <= now) {
                place.step(executor, memory);
                return true;
            }
        }
        false
    }

    /// Stops the code of a slot, which is then given back with its polled output.
    pub(super) fn recall<E: Executor + ?Sized>(&mut self, slot: SlotId, executor: &mut E) {
        let Some(place) = self.slots.get_mut(usize::from(slot.index())) else { return };
        if let Stage::Running { slot: running, .. } = place.stage
            && running == slot
        {
            executor.cancel(slot);
            let ended = Ended::Code(End::InProgress { callback_after: Duration::from_secs(1) });
            place.stage = Stage::Ended { slot, ended, told: false };
        }
    }

    /// Forgets a slot.
    pub(super) fn discard<E: Executor + ?Sized>(&mut self, slot: SlotId, executor: &mut E) {
        let Some(place) = self.slots.get_mut(usize::from(slot.index())) else { return };
        if matches!(place.stage, Stage::Running { .. }) {
            executor.cancel(slot);
        }
        place.stage = Stage::Free;
    }

    /// The next end that the machine has not been told of.
    pub(super) fn next_end(&mut self) -> Option<(SlotId, Outcome)> {
        self.slots.iter_mut().find_map(Place::tell)
    }

    pub(super) fn has_end(&self) -> bool {
        self.slots.iter().any(|place| matches!(place.stage, Stage::Ended { told: false, .. }))
    }

    // ---------------------------------------------------------------- reports

    pub(super) fn ids(&self, slot: SlotId) -> Option<&Ids> {
        self.slots.get(usize::from(slot.index())).map(|place| &place.ids)
    }

    /// What is to be reported of a slot.
    pub(super) fn report<'d>(&'d self, slot: SlotId, worker_id: &'d str) -> Option<TaskResult<'d>> {
        let place = self.slots.get(usize::from(slot.index()))?;
        let Stage::Ended { ended, .. } = place.stage else { return None };
        let (status, output) = match ended {
            Ended::Code(end) => (Status::from(end), Output::new(&place.bytes).unwrap_or_default()),
            Ended::Reason { terminal } => {
                let reason = str::from_utf8(&place.bytes).unwrap_or_default();
                let status =
                    if terminal { Status::FailedTerminal { reason } } else { Status::Failed { reason } };
                (status, Output::EMPTY)
            }
        };
        Some(TaskResult {
            task_id: &place.ids.task,
            workflow_id: &place.ids.workflow,
            worker_id,
            status,
            output,
            logs: &[],
        })
    }
}

impl<const R: usize> Place<R> {
    fn wake(&self) -> Option<Instant> {
        match self.stage {
            Stage::Running { wake, .. } => Some(wake),
            Stage::Free | Stage::Ended { .. } => None,
        }
    }

    fn fail(&mut self, slot: SlotId, terminal: bool, reason: &Message) {
        self.bytes.clear();
        put_message(reason, &mut self.bytes);
        self.stage = Stage::Ended { slot, ended: Ended::Reason { terminal }, told: false };
    }

    fn step<E: Executor + ?Sized>(&mut self, executor: &mut E, memory: &mut [u8]) {
        let Stage::Running { slot, .. } = self.stage else { return };
        match executor.step(slot, memory) {
            Progress::Pending { wake } => self.stage = Stage::Running { slot, wake },
            Progress::Done { end, output } => match memory.get(..output).map(Output::new) {
                _ if output == 0 => self.end(slot, end, b""),
                Some(Ok(sound)) => self.end(slot, end, sound.raw()),
                Some(Err(error)) => self.fail(slot, true, &error.message()),
                None => {
                    let (has, room) =
                        (Piece::Text("the output has "), Piece::Text(" bytes and this worker has room for "));
                    self.fail(slot, true, &message(&[has, Piece::Number(output), room, Piece::Number(R)]));
                }
            },
        }
    }

    fn end(&mut self, slot: SlotId, end: End, output: &[u8]) {
        self.bytes.clear();
        // It fits: the executor was given as many bytes as the place has.
        let _ = self.bytes.extend_from_slice(output);
        self.stage = Stage::Ended { slot, ended: Ended::Code(end), told: false };
    }

    fn tell(&mut self) -> Option<(SlotId, Outcome)> {
        let Stage::Ended { slot, ended, told: false } = self.stage else { return None };
        self.stage = Stage::Ended { slot, ended, told: true };
        let outcome = match ended {
            Ended::Code(End::InProgress { callback_after }) => Outcome::Yield { callback_after },
            Ended::Code(End::Completed | End::Failed { .. } | End::Terminal { .. })
            | Ended::Reason { .. } => Outcome::Final,
        };
        Some((slot, outcome))
    }
}
