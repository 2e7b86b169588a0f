//! A status and the beginning of a body are what the machine has to know, and nothing more.

use core::time::Duration;

use downbeat_core::machine::{CallError, Fault};
use downbeat_core::ports::Head;
use downbeat_core::wire::CallKind::{Other, Poll, Token, Update, UpdateV2};
use downbeat_core::wire::{Accepted, CallKind, classify};

const HTML: &str = "\n<html><body>Bad Gateway</body></html>";
const NO_TASK: &str =
    r#"{"status":404,"message":"No such task found by id: x","instance":"vm","retryable":false}"#;
const NO_WORKFLOW: &str = r#"{"status":404,"message":"No such workflow found by id: x","retryable":false}"#;
const NO_ROUTE: &str =
    r#"{"status":404,"message":"No static resource api/tasks/update-v2.","retryable":false}"#;
const EXPIRED: &str = r#"{"error":"EXPIRED_TOKEN","message":"expired"}"#;
const INVALID: &str = r#"{"message":"bad","error":"INVALID_TOKEN"}"#;
const ALL: [CallKind; 5] = [Poll, Update, UpdateV2, Token, Other];

fn said(kind: CallKind, status: u16, json: bool, body: &str) -> Result<Accepted, Fault> {
    let head = Head { status, retry_after: None, json };
    classify(kind, &head, body.as_bytes()).map_err(|error| error.fault)
}

#[test]
fn success_is_what_the_call_must_bring() {
    let table = [
        (Poll, 200, true, "[]", Ok(Accepted::Body)),
        (Poll, 200, true, "", Ok(Accepted::Body)),
        (Poll, 204, false, "", Ok(Accepted::Empty)),
        (Poll, 200, false, HTML, Err(Fault::Unknown)),
        (Poll, 200, false, "", Err(Fault::Unknown)),
        (UpdateV2, 200, true, "{", Ok(Accepted::Body)),
        (UpdateV2, 204, false, "", Ok(Accepted::Empty)),
        (UpdateV2, 200, false, "", Ok(Accepted::Empty)),
        (UpdateV2, 200, false, HTML, Err(Fault::Unknown)),
        (Token, 200, true, "{", Ok(Accepted::Body)),
        (Token, 200, false, HTML, Err(Fault::Unknown)),
        (Token, 204, true, "", Err(Fault::Unknown)),
        (Update, 200, false, "7b49c1d2-90ab-4f3e-8a55-000000000001", Ok(Accepted::Empty)),
        (Update, 200, true, "\"7b49\"", Ok(Accepted::Empty)),
        (Update, 200, false, "", Ok(Accepted::Empty)),
        (Update, 204, false, "", Ok(Accepted::Empty)),
        (Update, 200, false, HTML, Err(Fault::Unknown)),
        (Other, 200, false, "", Ok(Accepted::Empty)),
        (Other, 200, false, HTML, Err(Fault::Unknown)),
    ];
    for (kind, status, json, body, expected) in table {
        assert_eq!(said(kind, status, json, body), expected, "{kind:?} {status} json={json} {body}");
    }
}

#[test]
fn failures_are_told_apart() {
    for kind in ALL {
        for status in [401, 403] {
            assert_eq!(said(kind, status, false, HTML), Err(Fault::Unauthorized), "{kind:?} {status}");
        }
        for body in [EXPIRED, INVALID] {
            assert_eq!(said(kind, 400, true, body), Err(Fault::Unauthorized), "{kind:?} {body}");
        }
        assert_eq!(said(kind, 429, true, ""), Err(Fault::Throttled), "{kind:?}");
        for status in [408, 425, 500, 501, 502, 503, 504, 599] {
            assert_eq!(said(kind, status, false, HTML), Err(Fault::Server), "{kind:?} {status}");
        }
        for status in [400, 402, 406, 409, 410, 413, 415, 422, 499] {
            assert_eq!(said(kind, status, true, "{}"), Err(Fault::Rejected), "{kind:?} {status}");
            assert_eq!(said(kind, status, false, HTML), Err(Fault::Rejected), "{kind:?} {status}");
        }
        for status in [100, 199, 301, 302, 304, 307, 399, 600, 999] {
            assert_eq!(said(kind, status, false, HTML), Err(Fault::Unknown), "{kind:?} {status}");
        }
    }
}

#[test]
fn not_found_depends_on_who_says_it_and_of_what() {
    let table = [
        (UpdateV2, NO_TASK, true, Err(Fault::Rejected)),
        (UpdateV2, NO_WORKFLOW, true, Err(Fault::Rejected)),
        (UpdateV2, NO_ROUTE, true, Err(Fault::Unsupported)),
        (UpdateV2, HTML, false, Err(Fault::Unsupported)),
        (UpdateV2, "", false, Err(Fault::Unsupported)),
        (UpdateV2, EXPIRED, true, Err(Fault::Unauthorized)),
        (Update, NO_TASK, true, Err(Fault::Rejected)),
        (Update, HTML, false, Err(Fault::Server)),
        (Poll, NO_ROUTE, true, Err(Fault::Rejected)),
        (Poll, HTML, false, Err(Fault::Server)),
        (Other, NO_TASK, true, Err(Fault::Rejected)),
        (Token, NO_ROUTE, true, Ok(Accepted::NoAuth)),
        (Token, HTML, false, Ok(Accepted::NoAuth)),
    ];
    for (kind, body, json, expected) in table {
        assert_eq!(said(kind, 404, json, body), expected, "{kind:?} {body}");
    }
}

#[test]
fn only_update_v2_can_be_unsupported() {
    assert_eq!(said(UpdateV2, 405, true, "{}"), Err(Fault::Unsupported));
    for kind in [Poll, Update, Token, Other] {
        assert_eq!(said(kind, 405, true, "{}"), Err(Fault::Rejected), "{kind:?}");
    }
}

#[test]
fn a_retry_after_is_passed_on_with_429_and_5xx_alone() {
    let retry_after = Some(Duration::from_secs(7));
    for kind in ALL {
        for status in [429, 500, 503] {
            let error = classify(kind, &Head { status, retry_after, json: false }, b"").unwrap_err();
            assert_eq!(error.retry_after, retry_after, "{kind:?} {status}");
        }
        for status in [401, 408, 409] {
            let error = classify(kind, &Head { status, retry_after, json: false }, b"").unwrap_err();
            assert_eq!(error, CallError::new(error.fault), "{kind:?} {status}");
        }
    }
}
