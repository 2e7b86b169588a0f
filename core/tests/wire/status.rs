//! What became of a task, whatever the size of its answer and of the pieces.

use downbeat_core::wire::TaskState::{Ended, InProgress, Scheduled, TimedOut, Unknown};
use downbeat_core::wire::{TaskFilter, TaskState, read_status};
use proptest::prelude::*;

use crate::golden;
use crate::scan::json;

/// What a filter without a byte of memory says of an answer in pieces.
fn state(body: &[u8], size: usize) -> TaskState {
    let mut filter = TaskFilter::new(heapless::Vec::<u8, 0>::new());
    for mut piece in body.chunks(size) {
        while let Ok(Some(_)) = filter.feed(&mut piece) {}
    }
    filter.state()
}

#[test]
fn each_status_is_open_ended_or_unknown() {
    let table = [
        ("IN_PROGRESS", InProgress),
        ("SCHEDULED", Scheduled),
        ("COMPLETED", Ended),
        ("COMPLETED_WITH_ERRORS", Ended),
        ("FAILED", Ended),
        ("FAILED_WITH_TERMINAL_ERROR", Ended),
        ("CANCELED", Ended),
        ("TIMED_OUT", TimedOut),
        ("SKIPPED", Ended),
        ("", Unknown),
        ("FAILE", Unknown),
        ("FAILED_", Unknown),
        ("failed", Unknown),
        ("READY_FOR_RERUN", Unknown),
    ];
    for (status, expected) in table {
        let body = format!(r#"{{"taskId":"t","status" : "{status}","inputData":{{"status":"x"}}}}"#);
        assert_eq!(read_status(body.as_bytes()), expected, "{status}");
        let first = status.chars().next().map_or(String::new(), |c| format!("\\u{:04x}", u32::from(c)));
        let body = format!(r#" {{"status":"{first}{}"}} "#, status.get(1..).unwrap_or_default());
        assert_eq!(read_status(body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn only_the_tasks_own_status_counts_and_of_duplicates_the_last() {
    for (body, expected) in [
        (r#"{"inputData":{"status":"FAILED"},"x":[{"status":"FAILED"}]}"#, Unknown),
        (r#"{"status":"IN_PROGRESS","workflowTask":{"status":"FAILED"}}"#, InProgress),
        (r#"{"status":"FAILED","status":"IN_PROGRESS"}"#, InProgress),
        (r#"{"status":"FAILED","status":null}"#, Unknown),
        (r#"{"status":"FAILED","st\u0061tus":7}"#, Unknown),
        (r#"{"status":{"a":"FAILED"}}"#, Unknown),
        (r#"{"status":["FAILED"]}"#, Unknown),
        (r#"{"a":"status","b":"FAILED"}"#, Unknown),
    ] {
        assert_eq!(read_status(body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn what_is_not_one_whole_task_is_unknown() {
    for body in [
        "",
        "null",
        "7",
        "<html>",
        "{}",
        r#"[{"status":"FAILED"}]"#,
        r#"{"status":"FAILED""#,
        r#"{"status":"FAILED"}}"#,
        r#"{"status":"FAILED"}{"status":"FAILED"}"#,
        r#"{"status":"FAILED",}"#,
    ] {
        assert_eq!(read_status(body.as_bytes()), Unknown, "{body}");
        assert_eq!(state(body.as_bytes(), 1), Unknown, "{body}");
    }
}

#[test]
fn a_large_task_says_its_status_without_a_byte_of_memory() {
    let large = "x".repeat(1 << 20);
    let body = format!(r#"{{"outputData":{{"a":"{large}"}},"taskId":"t","status":"CANCELED"}}"#);
    assert_eq!((read_status(body.as_bytes()), state(body.as_bytes(), 1_400)), (Ended, Ended));
}

#[test]
fn golden_tasks_are_open_in_pieces_of_any_size() {
    for name in ["task", "yielded", "external", "poll-timeout"] {
        for size in 1..golden::body(name).len() {
            assert_eq!(state(golden::body(name), size), InProgress, "{name} by {size}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_say_what_the_whole_says(
        before in json(),
        after in json(),
        status in "\"(FAILED|IN_PROGRESS|SKIPPED|F[a-z]*)\"|null|7",
        damage in proptest::option::weighted(0.3, (any::<proptest::sample::Index>(), any::<u8>())),
        piece in 1..40_usize,
    ) {
        let mut body = format!(r#"{{"a":{before},"status":{status},"b" : {after} }}"#).into_bytes();
        if let Some((at, byte)) = damage {
            let at = at.index(body.len());
            body[at] = byte;
        } else {
            let expected = match &*status {
                "\"FAILED\"" | "\"SKIPPED\"" => Ended,
                "\"IN_PROGRESS\"" => InProgress,
                _ => Unknown,
            };
            prop_assert_eq!(read_status(&body), expected);
        }
        prop_assert_eq!(state(&body, piece), read_status(&body));
    }

    #[test]
    fn noise_is_unknown(body in any::<Vec<u8>>(), piece in 1..40_usize) {
        prop_assert_eq!(read_status(&body), Unknown);
        prop_assert_eq!(state(&body, piece), Unknown);
    }
}
