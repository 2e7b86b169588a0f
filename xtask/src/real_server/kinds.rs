//! The kinds of workflow, and the end that each must come to.

use serde_json::{Value, json};

use super::api::Api;
use crate::process::Failure;

/// A kind of workflow: its tasks in sequence, and how it must end.
pub(super) struct Kind {
    /// Its name, and that of its workflow definition.
    pub(super) name: &'static str,
    /// Its tasks' types, one after the other.
    pub(super) tasks: &'static [&'static str],
    /// How many of 1,000 workflows are of this kind; 0: all that the others leave.
    pub(super) share: u32,
    /// The workflow's last status.
    pub(super) status: &'static str,
    /// Every task that the server has of it in the end, retries included.
    pub(super) ends: &'static [End],
}

/// How one task must end.
pub(super) struct End {
    pub(super) status: &'static str,
    pub(super) retry_count: u64,
    /// How often it was delivered.
    pub(super) poll_count: u64,
    /// A part of its output or of its reason.
    pub(super) says: &'static str,
    /// The shortest time from its first delivery to its end, in milliseconds.
    pub(super) at_least_ms: u64,
}

const fn end(status: &'static str, says: &'static str) -> End {
    End { status, retry_count: 0, poll_count: 1, says, at_least_ms: 0 }
}

/// An integer that no 64 bits hold: it must come back as it went.
pub(super) const WIDE: &str = "123456789012345678901234567890";

const ECHO: End = end("COMPLETED", WIDE);

pub(super) const KINDS: &[Kind] = &[
    Kind { name: "completed", tasks: &["real_echo"], share: 0, status: "COMPLETED", ends: &[ECHO] },
    Kind {
        name: "chained",
        tasks: &["real_echo", "real_echo", "real_echo"],
        share: 100,
        status: "COMPLETED",
        ends: &[ECHO, ECHO, ECHO],
    },
    Kind {
        name: "retried",
        tasks: &["real_flaky"],
        share: 40,
        status: "COMPLETED",
        ends: &[end("FAILED", ""), End { retry_count: 1, ..end("COMPLETED", "second") }],
    },
    Kind {
        name: "terminal",
        tasks: &["real_doomed"],
        share: 40,
        status: "FAILED",
        ends: &[end("FAILED_WITH_TERMINAL_ERROR", "")],
    },
    Kind {
        name: "panicked",
        tasks: &["real_panic"],
        share: 40,
        status: "FAILED",
        ends: &[end("FAILED", super::workers::PANIC_TEXT)],
    },
    Kind {
        name: "called-back",
        tasks: &["real_callback"],
        share: 40,
        status: "COMPLETED",
        ends: &[End { poll_count: 2, at_least_ms: 1_000, ..end("COMPLETED", "done") }],
    },
    Kind {
        name: "lease-extended",
        tasks: &["real_slow"],
        share: 8,
        status: "COMPLETED",
        ends: &[End { at_least_ms: 16_000, ..end("COMPLETED", "slept") }],
    },
];

/// Which kinds are started, mixed as evenly as their shares allow, numbered from 0.
pub(super) fn plan(workflows: u32) -> Vec<(&'static Kind, u32)> {
    let mut plan: Vec<(u32, &'static Kind)> = Vec::new();
    let mut left = workflows;
    for kind in KINDS.iter().filter(|kind| kind.share > 0) {
        let count = (workflows * kind.share / 1_000).clamp(1, left.max(1)).min(left);
        left -= count;
        plan.extend((0..count).map(|at| (at * 1_000 / count.max(1), kind)));
    }
    let rest = KINDS.iter().filter(|kind| kind.share == 0);
    plan.extend(rest.flat_map(|kind| (0..left).map(move |at| (at * 1_000 / left.max(1), kind))));
    plan.sort_by_key(|(place, _)| *place);
    plan.into_iter().zip(0..).map(|((_, kind), number)| (kind, number)).collect()
}

/// The input of every workflow: a marker file of its own, and the wide integer.
pub(super) fn input(number: u32, marker: &str) -> String {
    // Text, for `Value` holds no more than 64 bits.
    format!("{{\"number\":{number},\"marker\":{marker:?},\"wide\":{WIDE}}}")
}

/// Registers every task and workflow definition.
pub(super) fn register(api: &Api) -> Result<(), Failure> {
    let task = |name: &str, retries: u32, response_timeout: u32| {
        json!({
            "name": name, "ownerEmail": "tests@downbeat.invalid", "retryCount": retries, "retryDelaySeconds": 1,
            "retryLogic": "FIXED", "timeoutSeconds": 0, "responseTimeoutSeconds": response_timeout,
        })
    };
    api.register_tasks(&json!([
        task("real_echo", 0, 60),
        task("real_flaky", 3, 60),
        task("real_doomed", 3, 60),
        task("real_panic", 0, 60),
        task("real_callback", 0, 60),
        // A fifth of it is left for the extension to arrive: a busy SQLite takes a second for a call.
        task("real_slow", 0, 8),
    ]))?;
    KINDS.iter().try_for_each(|kind| api.register_workflow(&workflow(kind)))
}

fn workflow(kind: &Kind) -> Value {
    let tasks = kind.tasks.iter().enumerate().map(|(at, name)| {
        json!({
            "name": name, "taskReferenceName": format!("step_{at}"), "type": "SIMPLE",
            "inputParameters": {
                "number": "${workflow.input.number}", "marker": "${workflow.input.marker}",
                "wide": "${workflow.input.wide}",
            },
        })
    });
    json!({
        "name": kind.name, "version": 1, "schemaVersion": 2, "ownerEmail": "tests@downbeat.invalid",
        "timeoutPolicy": "ALERT_ONLY", "timeoutSeconds": 0, "tasks": tasks.collect::<Vec<_>>(),
    })
}
