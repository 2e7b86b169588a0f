//! The faults of the server, in rounds: each is ordered for so many hits, and the round lasts until it has had them.

use std::time::Duration;

use serde_json::{Value, json};

use super::bridge::Bridge;
use super::cases::{self, Case};
use super::model::Faults;
use super::qemu::Board;
use super::table::Row;
use crate::clock::{self, Stopwatch};
use crate::process::Failure;
use crate::real_server::api::Api;

/// How long a round may take; and after how long without an end there is more work, for what hits only work.
const ROUND_MAX: Duration = Duration::from_secs(60);
const MORE_AFTER: Duration = Duration::from_secs(10);

const POLL: &[&str] = &["poll"];
const UPDATE: &[&str] = &["update"];
const EXTEND: &[&str] = &["extend"];
const ALL: &[&str] = &["poll", "update", "extend"];

/// A fault of a poll that finds more tasks than it asks for: work is put in while the server is out of reach.
const MORE_THAN_ASKED: &str = "a task more than asked for";

/// The faults of one round are in force together.
const ROUNDS: &[&[Order]] = &[
    &[order("500", "500", 3, ALL), order("503, Retry-After 1 s", "503", 1, ALL).with("retry_after_s", 1)],
    &[order("429, Retry-After 1 s", "429", 2, ALL).with("retry_after_s", 1)],
    &[
        order("update lost on its way", "lost_request", 2, UPDATE),
        order("update's answer lost, after the effect", "lost_answer", 2, UPDATE),
    ],
    &[
        order("poll's answer lost, with a task in it", "lost_answer", 1, POLL).with_task(),
        order("answer cut, with a task in it", "cut", 2, ALL).with_task(),
    ],
    &[
        order("answer truncated, with a task in it", "truncated", 2, ALL).with_task(),
        order("answer no JSON", "garbage", 2, POLL),
        order("answer a proxy's page", "html", 2, ALL),
    ],
    &[
        order("answer slow by 0.8 s", "slow", 3, ALL).with("by_ms", 800),
        order("answer slower than the call's time", "slow", 1, UPDATE).with("by_ms", 4_000),
    ],
    &[order(MORE_THAN_ASKED, "over_deliver", 1, POLL), order("a task delivered twice", "duplicate", 2, POLL)],
    &[
        order("task with an input that is no object", "malformed_task", 1, ALL),
        order("task without an id", "no_id", 1, ALL),
        order("task of another type", "wrong_type", 1, ALL),
    ],
    &[
        order("lease's extension refused, 500", "500", 1, EXTEND),
        order("extension's answer lost", "lost_answer", 1, EXTEND),
    ],
];

/// A fault to order.
struct Order {
    name: &'static str,
    kind: &'static str,
    count: u64,
    calls: &'static [&'static str],
    with: Option<(&'static str, u64)>,
    with_task: bool,
}

const fn order(name: &'static str, kind: &'static str, count: u64, calls: &'static [&'static str]) -> Order {
    Order { name, kind, count, calls, with: None, with_task: false }
}

impl Order {
    const fn with(self, member: &'static str, value: u64) -> Self {
        Self { with: Some((member, value)), ..self }
    }

    const fn with_task(self) -> Self {
        Self { with_task: true, ..self }
    }

    fn json(&self) -> Value {
        let mut fault = json!({
            "kind": self.kind, "count": self.count, "calls": self.calls, "with_task": self.with_task,
        });
        if let Some((member, value)) = self.with {
            fault[member] = json!(value);
        }
        fault
    }
}

/// Drives every fault of [`ROUNDS`]; a row for each, and the workflows that were started for it.
pub(crate) fn run(
    faults: &Faults,
    api: &Api,
    bridge: &Bridge,
    board: &mut Board,
) -> Result<(Vec<Row>, Vec<Case>), Failure> {
    let (mut rows, mut cases) = (Vec::new(), Vec::new());
    for round in ROUNDS {
        let dammed = round.iter().any(|order| order.name == MORE_THAN_ASKED);
        let work = || {
            bridge.outage(dammed);
            let handful = cases::handful(api);
            bridge.outage(false);
            handful
        };
        let mut open = Vec::new();
        for order in *round {
            open.push((faults.order(&order.json())?, order));
        }
        cases.extend(work()?);
        let mut since = Stopwatch::start();
        let ended = clock::wait_for(ROUND_MAX, Duration::from_millis(100), || {
            if let Err(failure) = board.must_run() {
                return Some(Err(failure));
            }
            if since.elapsed() > MORE_AFTER {
                since = Stopwatch::start();
                match work() {
                    Ok(more) => cases.extend(more),
                    Err(failure) => return Some(Err(failure)),
                }
            }
            match faults.active() {
                Ok(active) => open.retain(|(id, _)| active.contains(id)),
                Err(failure) => return Some(Err(failure)),
            }
            open.is_empty().then_some(Ok(()))
        });
        ended.unwrap_or_else(|| {
            let names: Vec<&str> = open.iter().map(|(_, order)| order.name).collect();
            Err(Failure::new(format!(
                "the server's faults did not hit often enough within {} s: {}",
                ROUND_MAX.as_secs(),
                names.join("; ")
            )))
        })?;
        // A fault that has had its hits is in force no more.
        rows.extend(round.iter().map(|order| Row::new(order.name, order.count, order.count)));
    }
    Ok((rows, cases))
}

/// A token that ends by its age, and one that is refused, while no new one is to be had at first.
pub(crate) fn tokens(faults: &Faults, board: &mut Board) -> Result<Vec<Row>, Failure> {
    let expired = refusals(faults, board, 0, "its token's end")?;
    // Nothing else may ask for a token now: the checker's own calls would get the 500.
    let refused = faults.order(&json!({ "kind": "500", "count": 1, "calls": ["token"] }))?;
    faults.revoke_tokens()?;
    let revoked = refusals(faults, board, expired, "the end of all tokens")?;
    let hit = clock::wait_for(ROUND_MAX, Duration::from_millis(50), || match faults.active() {
        Ok(active) => (!active.contains(&refused)).then_some(Ok(())),
        Err(failure) => Some(Err(failure)),
    });
    hit.unwrap_or_else(|| Err(Failure::new("the firmware asked for no new token")))?;
    Ok(vec![
        Row::new("401, the token's time was over", 1, expired),
        Row::new("401, all tokens revoked", 1, revoked - expired),
        Row::new("token refused at first, 500", 1, 1),
    ])
}

/// Waits until more calls than `before` were answered by 401: the checker itself never is. How many were.
fn refusals(faults: &Faults, board: &mut Board, before: u64, what: &str) -> Result<u64, Failure> {
    let look = |board: &mut Board| {
        board.must_run()?;
        let refused = faults.stats()?["answers"]["401"].as_u64().unwrap_or(0);
        Ok((refused > before).then_some(refused))
    };
    let seen = clock::wait_for(ROUND_MAX, Duration::from_millis(50), || look(board).transpose());
    seen.unwrap_or_else(|| Err(Failure::new(format!("the firmware did not meet {what}"))))
}
