//! Sends what is in the store, in the background, until the runner ends.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use downbeat_core::machine::{Clock, Fault};
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
            let failures = round(&mut performer, shared, store, &mut after);
            pause = if failures == 0 { PAUSE.0 } else { pause.saturating_mul(2).min(PAUSE.1) };
        }
        if shared.wait_over(pause) {
            return;
        }
    }
}

/// Sends what there is, beginning after where the last round ended, so that a result that always fails stands in
/// nobody's way. Answers how many failed.
fn round(performer: &mut Performer, shared: &Arc<Shared>, store: &Store, after: &mut String) -> usize {
    let mut names = match store.names() {
        Ok(names) => names,
        Err(cause) => {
            tracing::error!(%cause, store = %store.directory().display(), "the store cannot be read");
            return FAILURES_MAX;
        }
    };
    let first = names.partition_point(|name| name <= after);
    names.rotate_left(first);
    let mut failures = 0;
    for name in names {
        if failures >= FAILURES_MAX || shared.is_over() {
            break;
        }
        if let Err(cause) = send(performer, shared, store, &name, &mut failures) {
            failures += 1;
            tracing::error!(%cause, file = name, "a stored result cannot be read or moved");
        }
        *after = name;
    }
    failures
}

fn send(
    performer: &mut Performer,
    shared: &Arc<Shared>,
    store: &Store,
    name: &str,
    failures: &mut usize,
) -> std::io::Result<()> {
    let body = match store.read(name)? {
        Stored::Result(body) => body,
        Stored::Gone => return Ok(()),
        Stored::Dead => {
            tracing::error!(
                file = name,
                "a result was not taken for 24 hours; it is among the dead letters now"
            );
            return Ok(());
        }
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
        Err(_) => *failures += 1,
    }
    Ok(())
}

fn task_id(body: &[u8]) -> String {
    let value = find(body, "taskId").ok().flatten();
    value.and_then(|value| value.text()).map(|text| text.chars().collect()).unwrap_or_default()
}

impl Shared {
    /// Waits; true as soon as the runner has ended.
    fn wait_over(&self, timeout: Duration) -> bool {
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

    /// Ends what runs besides the crew.
    pub(crate) fn declare_over(&self) {
        *lock(&self.over) = true;
        self.over_changed.notify_all();
        if let Some(address) = self.admin {
            admin::wake(address);
        }
    }
}
