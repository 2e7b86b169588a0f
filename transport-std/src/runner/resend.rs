//! Sends what is in the store, in the background, until the runner ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use downbeat_core::machine::{Clock as _, Fault, Instant, Policy};
use downbeat_core::wire::{CallKind, TaskState, members, read_status, target};

use super::admin;
use super::calls::Call;
use super::condition::Condition;
use super::counts::count;
use super::performer::Performer;
use super::shared::Shared;
use crate::context::lock;
use crate::store::{Item, Store, Stored, task_id};

/// The first and the longest time between two rounds.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Results that one round sees fail in a row before it ends.
const FAILURES_MAX: usize = 3;
/// The longest `Retry-After` that is obeyed, as in the machine's policy.
const RETRY_AFTER_MAX: Duration = Policy::DEFAULT.retry_after_max;
/// Why a part of the store takes nothing more.
const BOUND: &str =
    "its bound is reached (`store_max`, `store_max_files`); look at what is there, then move or delete it";
/// Why a dead letter that was put back is one again.
const ENDED: &str = "the task had ended already";
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may refuse a result before it counts as dead, by the runner's own clock: from the first refusal that
/// it has seen on, what the runner was away for not included.
const LIFE: Duration = Duration::from_secs(24 * 3_600);
/// How often it is noted for later runs for how long a result was refused.
const NOTE: Duration = Duration::from_secs(600);
/// How often it is looked, until the first round, whether the server can be asked.
const SOON: Duration = Duration::from_millis(20);

/// Runs until the runner has ended.
pub(crate) fn send_stored(shared: &Arc<Shared>) {
    let Some(store) = &shared.store else { return };
    let mut sender = Sender {
        performer: Performer::new(Arc::clone(shared)),
        shared,
        store,
        after: None,
        hopeless: BTreeSet::new(),
        refused: BTreeMap::new(),
        dead: Condition::grave(
            "there is no room for more dead letters; what the server refuses stays with the results that wait",
            "there is room for dead letters again",
        ),
        damaged: Condition::grave(
            "there is no room for more damaged files; they stay with the results that wait",
            "there is room for damaged files again",
        ),
    };
    let mut pause = PAUSE.0;
    let mut is_first = true;
    loop {
        // An unreachable server is the machine's to try: one connection at a time for the whole process.
        let (fails, has_token) =
            shared.scheduler.look(|hub| (hub.link_failures() > 0, hub.token_generation().is_some()));
        if !fails && has_token {
            let failed = sender.round();
            pause = if failed.times == 0 { PAUSE.0 } else { pause.saturating_mul(2).min(PAUSE.1) };
            // The server's own word counts, as it does for the machine.
            pause = pause.max(failed.retry_after.min(RETRY_AFTER_MAX));
        }
        shared.measure_store();
        // What an earlier run has left goes first, as soon as there is a token; a server that does not answer is not
        // waited for.
        is_first = is_first && !fails && !has_token;
        if shared.wait_over(if is_first { SOON } else { pause }) {
            return;
        }
    }
}

struct Sender<'s> {
    performer: Performer,
    shared: &'s Arc<Shared>,
    store: &'s Store,
    /// Where the last round ended.
    after: Option<Item>,
    /// What the server refuses and the dead letters have no room for. One of them is tried in a round.
    hopeless: BTreeSet<Item>,
    /// What the server has refused, but not for good.
    refused: BTreeMap<Item, Refused>,
    /// Whether there is room for dead letters, and for damaged files.
    dead: Condition,
    damaged: Condition,
}

/// For how long a result is refused.
#[derive(Clone, Copy)]
struct Refused {
    /// In earlier runs.
    before: Duration,
    /// When this run saw it first.
    since: Instant,
    /// As it was noted last.
    noted: Duration,
}

impl Refused {
    const fn new(before_ms: u64, now: Instant) -> Self {
        let before = Duration::from_millis(before_ms);
        Self { before, since: now, noted: before }
    }

    const fn age(&self, now: Instant) -> Duration {
        self.before.saturating_add(now.saturating_duration_since(self.since))
    }

    const fn is_too_long(&self, now: Instant) -> bool {
        self.age(now).as_millis() >= LIFE.as_millis()
    }

    /// The age in milliseconds, when it is time to note it.
    fn note_due(&mut self, now: Instant) -> Option<u64> {
        let age = self.age(now);
        if age.saturating_sub(self.noted) < NOTE {
            return None;
        }
        self.noted = age;
        u64::try_from(age.as_millis()).ok()
    }
}

/// What failed in a round.
#[derive(Default)]
struct Failed {
    times: usize,
    /// How long the server asked to be left alone; zero: it did not ask. It ends the round.
    retry_after: Duration,
}

impl Sender<'_> {
    /// Sends what there is, beginning after where the last round ended, so that a result that always fails stands in
    /// nobody's way. Returns what failed.
    fn round(&mut self) -> Failed {
        let mut failed = Failed::default();
        let mut items = match self.store.items() {
            Ok(items) => items,
            Err(cause) => {
                tracing::error!(cause = self.store.said(&cause), "the store cannot be read");
                return Failed { times: FAILURES_MAX, ..failed };
            }
        };
        let first = items.partition_point(|item| Some(item) <= self.after.as_ref());
        items.rotate_left(first);
        let mut hopeless = 0;
        for item in items {
            if failed.times >= FAILURES_MAX || !failed.retry_after.is_zero() || self.shared.is_over() {
                break;
            }
            if self.hopeless.contains(&item) {
                hopeless += 1;
                if hopeless > 1 {
                    continue;
                }
            }
            if let Err(cause) = self.send(&item, &mut failed) {
                failed.times += 1;
                let cause = self.store.said(&cause);
                tracing::error!(cause, file = name(&item), "a stored result cannot be read or moved");
            }
            self.after = Some(item);
        }
        failed
    }

    fn send(&mut self, item: &Item, failed: &mut Failed) -> std::io::Result<()> {
        let now = self.shared.clock.now();
        let was_hopeless = self.hopeless.remove(item);
        let (body, refused_ms) = match self.store.read(item)? {
            Stored::Result { body, refused_ms } => (body, refused_ms),
            Stored::Gone => {
                self.refused.remove(item);
                return Ok(());
            }
            Stored::Damaged { aside: true } => {
                self.damaged.worked(now, "the store");
                let file = name(item);
                tracing::error!(file, "something in the store is no result; it is set aside in `damaged`");
                return Ok(());
            }
            Stored::Damaged { aside: false } => {
                self.damaged.failed(now, "the store", BOUND);
                self.hopeless.insert(item.clone());
                return Ok(());
            }
        };
        let task = task_id(&body);
        let is_put_back = self.store.is_put_back(item);
        if is_put_back && self.has_ended(&task) {
            return self.retire(item, &body, &"nothing was changed", ENDED);
        }
        let call = Call::post(CallKind::Update, target::UPDATE, &body, now.saturating_add(CALL_TIMEOUT));
        let (meaning, _) = self.performer.plain_call(&call);
        match meaning {
            Ok(_) => {
                self.store.remove(item, &body)?;
                self.refused.remove(item);
                // Others may be refused, or a server that refuses many may take some: it is not left alone for that.
                failed.times = 0;
                count(&self.shared.counts.resent);
                tracing::info!(task, "a stored result was taken by the server");
                Ok(())
            }
            Err(failure) if failure.error.fault == Fault::Gone && is_put_back => {
                self.retire(item, &body, &failure, "nothing was changed")
            }
            // The workflow was restarted, or is gone: nobody waits for it.
            Err(failure) if failure.error.fault == Fault::Gone => {
                self.refused.remove(item);
                self.store.remove(item, &body)
            }
            Err(failure) if matches!(failure.error.fault, Fault::Rejected | Fault::TooLarge) => {
                self.retire(item, &body, &failure, "the server will never take this result")
            }
            Err(failure) => {
                failed.retry_after = failure.error.retry_after.unwrap_or_default();
                tracing::debug!(task, cause = %failure, "a stored result was not taken");
                // An unreachable server has said nothing about this result.
                if !failure.is_of_link() && self.is_refused_too_long(item, &body, refused_ms) {
                    failed.times += usize::from(!was_hopeless);
                    let why = "the server did not take this result within 24 hours";
                    return self.retire(item, &body, &failure, why);
                }
                failed.times += 1;
                Ok(())
            }
        }
    }

    /// Whether the server says that a task has ended: it would answer well to a result of it, and change nothing.
    fn has_ended(&mut self, task: &str) -> bool {
        let Ok(target) = target::task::<2048>(task) else { return false };
        let deadline = self.shared.clock.now().saturating_add(CALL_TIMEOUT);
        let (meaning, body) = self.performer.plain_call(&Call::get(CallKind::Other, &target, 1, deadline));
        // Only the beginning of a large task is here: its status is there, before input and output.
        let status = members(&body).map_while(Result::ok).filter(|(name, _)| *name == *"status").last();
        let state = status.map(|(_, value)| [br#"{"status":"#, value.raw(), b"}"].concat());
        let state = state.map_or(TaskState::Unknown, |status| read_status(&status));
        meaning.is_ok() && matches!(state, TaskState::Ended | TaskState::TimedOut)
    }

    /// Whether the server has refused a result for so long that it is dead. Only the runner's own clock counts: the wall
    /// clock may be set later, or not at all.
    fn is_refused_too_long(&mut self, item: &Item, body: &[u8], before_ms: u64) -> bool {
        let now = self.shared.clock.now();
        let refused = self.refused.entry(item.clone()).or_insert_with(|| Refused::new(before_ms, now));
        if let Some(millis) = refused.note_due(now)
            && let Err(cause) = self.store.refused(item, body, millis)
        {
            tracing::debug!(cause = self.store.said(&cause), "the age of a refused result cannot be noted");
        }
        refused.is_too_long(now)
    }

    /// Moves a result among the dead letters, if there is room.
    fn retire(&mut self, item: &Item, body: &[u8], cause: &dyn Display, why: &str) -> std::io::Result<()> {
        let now = self.shared.clock.now();
        if self.store.retire(item, body, &format!("{why}: {cause}"))? {
            self.dead.worked(now, "the store");
            self.refused.remove(item);
            tracing::error!(task = task_id(body), %cause, "{why}; it is among the dead letters now");
        } else {
            self.dead.failed(now, "the store", BOUND);
            self.hopeless.insert(item.clone());
        }
        Ok(())
    }
}

/// What the log calls it.
fn name(item: &Item) -> &str {
    match item {
        Item::File(name) => name,
        Item::Record(..) => "journal",
    }
}

impl Shared {
    /// Waits; true as soon as the runner has ended.
    pub(crate) fn wait_over(&self, timeout: Duration) -> bool {
        let over = lock(&self.over);
        let (over, _) = self
            .over_changed
            .wait_timeout_while(over, timeout, |over| !*over)
            .unwrap_or_else(PoisonError::into_inner);
        *over
    }

    pub(crate) fn is_over(&self) -> bool {
        *lock(&self.over)
    }

    /// Ends what runs besides the scheduler's threads; once is enough.
    pub(crate) fn declare_over(&self) {
        if std::mem::replace(&mut *lock(&self.over), true) {
            return;
        }
        self.over_changed.notify_all();
        if let Some(signals) = self.signals.get() {
            signals.close();
        }
        if let Some(address) = self.admin {
            admin::wake(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn a_result_is_dead_after_24_hours_of_refusals_and_earlier_runs_count() {
        let first = Instant::ZERO.saturating_add(Duration::from_secs(7));
        for before in [Duration::ZERO, Duration::from_secs(23 * 3_600), LIFE - MILLI] {
            let refused = Refused::new(u64::try_from(before.as_millis()).unwrap(), first);
            let end = first.saturating_add(LIFE - before);
            assert!(
                !refused.is_too_long(
                    Instant::ZERO.saturating_add(
                        end.saturating_duration_since(first) + Duration::from_secs(7) - MILLI
                    )
                )
            );
            assert!(refused.is_too_long(end));
        }
    }

    #[test]
    fn an_age_is_noted_every_ten_minutes() {
        let mut refused = Refused::new(5_000, Instant::ZERO);
        assert_eq!(refused.note_due(Instant::ZERO.saturating_add(NOTE - MILLI)), None);
        assert_eq!(refused.note_due(Instant::ZERO.saturating_add(NOTE)), Some(605_000));
        assert_eq!(refused.note_due(Instant::ZERO.saturating_add(NOTE * 2 - MILLI)), None);
        assert_eq!(refused.note_due(Instant::ZERO.saturating_add(NOTE * 2)), Some(1_205_000));
    }
}
