//! Sends what is in the store, in the background, until the runner ends.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use downbeat_core::machine::{Clock as _, Fault, Policy};
use downbeat_core::wire::target;
use downbeat_core::wire::{CallKind, find};

use super::answer::Trouble;
use super::calls::Call;
use super::condition::Condition;
use super::perform::Performer;
use super::shared::{Shared, count};
use crate::admin;
use crate::context::lock;
use crate::store::{Store, Stored};

/// The first and the longest time between two rounds.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Results that one round sees fail before it ends.
const FAILURES_MAX: usize = 3;
/// The longest `Retry-After` that is obeyed, as in the machine's policy.
const RETRY_AFTER_MAX: Duration = Policy::DEFAULT.retry_after_max;
/// Why a part of the store takes nothing more.
const BOUND: &str =
    "its bound is reached (`store_max`, `store_max_files`); look at what is there, then move or delete it";
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs until the runner has ended.
pub(crate) fn send_stored(shared: &Arc<Shared>) {
    let Some(store) = &shared.store else { return };
    let mut sender = Sender {
        performer: Performer::new(Arc::clone(shared)),
        shared,
        store,
        after: String::new(),
        hopeless: BTreeSet::new(),
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
    loop {
        // An unreachable server is the machine's to try: one connection at a time for the whole process.
        let reachable = shared.crew.look(|hub| hub.link_failures() == 0 && hub.token_generation().is_some());
        if reachable {
            let failed = sender.round();
            pause = if failed.times == 0 { PAUSE.0 } else { pause.saturating_mul(2).min(PAUSE.1) };
            // The server's own word counts, as it does for the machine.
            pause = pause.max(failed.retry_after.min(RETRY_AFTER_MAX));
        }
        shared.measure_store();
        if shared.wait_over(pause) {
            return;
        }
    }
}

struct Sender<'s> {
    performer: Performer,
    shared: &'s Arc<Shared>,
    store: &'s Store,
    /// Where the last round ended.
    after: String,
    /// What the server refuses and the dead letters have no room for. One of them is tried in a round.
    hopeless: BTreeSet<String>,
    /// Whether there is room for dead letters, and for damaged files.
    dead: Condition,
    damaged: Condition,
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
    /// nobody's way. Answers what failed.
    fn round(&mut self) -> Failed {
        let mut failed = Failed::default();
        let mut names = match self.store.names() {
            Ok(names) => names,
            Err(cause) => {
                tracing::error!(cause = self.store.said(&cause), "the store cannot be read");
                return Failed { times: FAILURES_MAX, ..failed };
            }
        };
        let first = names.partition_point(|name| *name <= self.after);
        names.rotate_left(first);
        let mut hopeless = 0;
        for name in names {
            if failed.times >= FAILURES_MAX || !failed.retry_after.is_zero() || self.shared.is_over() {
                break;
            }
            if self.hopeless.contains(&name) {
                hopeless += 1;
                if hopeless > 1 {
                    continue;
                }
            }
            if let Err(cause) = self.send(&name, &mut failed) {
                failed.times += 1;
                let cause = self.store.said(&cause);
                tracing::error!(cause, file = name, "a stored result cannot be read or moved");
            }
            self.after = name;
        }
        failed
    }

    fn send(&mut self, name: &str, failed: &mut Failed) -> std::io::Result<()> {
        let now = self.shared.clock.now();
        let was_hopeless = self.hopeless.remove(name);
        let (body, last) = match self.store.read(name)? {
            Stored::Result { body, last } => (body, last),
            Stored::Gone => return Ok(()),
            Stored::Damaged { aside: true } => {
                self.damaged.worked(now, "the store");
                tracing::error!(
                    file = name,
                    "a file in the store is no result; it is set aside in `damaged`"
                );
                return Ok(());
            }
            Stored::Damaged { aside: false } => {
                self.damaged.failed(now, "the store", BOUND);
                self.hopeless.insert(name.to_owned());
                return Ok(());
            }
        };
        let call = Call::post(CallKind::Update, target::UPDATE, &body, now.after(CALL_TIMEOUT));
        let (meaning, _) = self.performer.plain_call(&call);
        let task = task_id(&body);
        match meaning {
            Ok(_) => {
                self.store.remove(name, &body)?;
                count(&self.shared.counts.resent);
                tracing::info!(task, "a stored result was taken by the server");
                Ok(())
            }
            Err(trouble) if trouble.error.fault == Fault::Rejected => {
                self.retire(name, &body, &trouble, "the server will never take this result")
            }
            Err(trouble) => {
                failed.retry_after = trouble.error.retry_after.unwrap_or_default();
                tracing::debug!(task, cause = %trouble, file = name, "a stored result was not taken");
                // An unreachable server has said nothing about this result.
                if last && !trouble.is_of_link() {
                    failed.times += usize::from(!was_hopeless);
                    return self.retire(
                        name,
                        &body,
                        &trouble,
                        "the server did not take this result within 24 hours",
                    );
                }
                failed.times += 1;
                Ok(())
            }
        }
    }

    /// Moves a result among the dead letters, where there is room.
    fn retire(&mut self, name: &str, body: &[u8], trouble: &Trouble, why: &str) -> std::io::Result<()> {
        let now = self.shared.clock.now();
        if self.store.retire(name, body)? {
            self.dead.worked(now, "the store");
            tracing::error!(task = task_id(body), cause = %trouble, file = name,
                "{why}; it is among the dead letters now");
        } else {
            self.dead.failed(now, "the store", BOUND);
            self.hopeless.insert(name.to_owned());
        }
        Ok(())
    }
}

fn task_id(body: &[u8]) -> String {
    let value = find(body, "taskId").ok().flatten();
    value.and_then(|value| value.text()).map(|text| text.chars().collect()).unwrap_or_default()
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

    /// Ends what runs besides the crew; once is enough.
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
