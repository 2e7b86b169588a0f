//! Sends what is in the store, in the background, until the runner ends.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use downbeat_core::machine::{Clock, Fault, Policy};
use downbeat_core::wire::target;
use downbeat_core::wire::{CallKind, find};

use super::calls::Call;
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
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs until the runner has ended.
pub(crate) fn send_stored(shared: &Arc<Shared>) {
    let Some(store) = &shared.store else { return };
    let mut performer = Performer::new(Arc::clone(shared));
    let mut after = String::new();
    let mut pause = PAUSE.0;
    loop {
        // An unreachable server is the machine's to try: one connection at a time for the whole process.
        let reachable = shared.crew.look(|hub| hub.link_failures() == 0 && hub.token_generation().is_some());
        if reachable {
            let failed = round(&mut performer, shared, store, &mut after);
            pause = if failed.times == 0 { PAUSE.0 } else { pause.saturating_mul(2).min(PAUSE.1) };
            // The server's own word counts, as it does for the machine.
            pause = pause.max(failed.retry_after.min(RETRY_AFTER_MAX));
        }
        if shared.wait_over(pause) {
            return;
        }
    }
}

/// Sends what there is, beginning after where the last round ended, so that a result that always fails stands in
/// nobody's way. Answers what failed.
fn round(performer: &mut Performer, shared: &Arc<Shared>, store: &Store, after: &mut String) -> Failed {
    let mut failed = Failed::default();
    let mut names = match store.names() {
        Ok(names) => names,
        Err(cause) => {
            tracing::error!(%cause, store = %store.directory().display(), "the store cannot be read");
            return Failed { times: FAILURES_MAX, ..failed };
        }
    };
    let first = names.partition_point(|name| name <= after);
    names.rotate_left(first);
    for name in names {
        if failed.times >= FAILURES_MAX || !failed.retry_after.is_zero() || shared.is_over() {
            break;
        }
        if let Err(cause) = send(performer, shared, store, &name, &mut failed) {
            failed.times += 1;
            tracing::error!(%cause, file = name, "a stored result cannot be read or moved");
        }
        *after = name;
    }
    failed
}

/// What failed in a round.
#[derive(Default)]
struct Failed {
    times: usize,
    /// How long the server asked to be left alone; zero: it did not ask. It ends the round.
    retry_after: Duration,
}

fn send(
    performer: &mut Performer,
    shared: &Arc<Shared>,
    store: &Store,
    name: &str,
    failed: &mut Failed,
) -> std::io::Result<()> {
    let (body, last) = match store.read(name)? {
        Stored::Result { body, last } => (body, last),
        Stored::Gone => return Ok(()),
        Stored::Damaged => {
            tracing::error!(file = name, "a file in the store is no result; it is set aside in `damaged`");
            return Ok(());
        }
    };
    let deadline = shared.clock.now().after(CALL_TIMEOUT);
    let (meaning, _) = performer.plain_call(&Call::post(CallKind::Update, target::UPDATE, &body, deadline));
    match meaning {
        Ok(_) => {
            store.remove(name)?;
            count(&shared.counts.resent);
            tracing::info!(task = task_id(&body), "a stored result was taken by the server");
        }
        Err(trouble) if trouble.error.fault == Fault::Rejected => {
            store.move_to("dead", name)?;
            tracing::error!(task = task_id(&body), cause = %trouble, file = name,
                "the server will never take this result; it is among the dead letters now");
        }
        Err(trouble) => {
            failed.times += 1;
            failed.retry_after = trouble.error.retry_after.unwrap_or_default();
            let task = task_id(&body);
            tracing::debug!(task, cause = %trouble, file = name, "a stored result was not taken");
            // An unreachable server has said nothing about this result.
            if last && !trouble.is_of_link() {
                store.move_to("dead", name)?;
                tracing::error!(task, cause = %trouble, file = name,
                    "the server did not take this result within 24 hours; it is among the dead letters now");
            }
        }
    }
    Ok(())
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
