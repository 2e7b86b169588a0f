//! A status and the beginning of a body are what the machine has to know, and nothing more.

use core::time::Duration;

use downbeat_core::machine::{CallError, Fault};
use downbeat_core::ports::Head;
use downbeat_core::wire::CallKind::{Other, Poll, Token, Update, UpdateV2};
use downbeat_core::wire::{Accepted, CallKind, PREFIX, classify};
use proptest::prelude::*;

const HTML: &str = "\n<html><body>Bad Gateway</body></html>";
const NO_TASK: &str =
    r#"{"status":404,"message":"No such task found by id: x","instance":"vm","retryable":false}"#;
/// R-UPDATE-14: a read says it in other words than a result.
const NOT_FOUND: &str =
    r#"{"status":404,"message":"Task not found for taskId: x","instance":"vm","retryable":false}"#;
const NO_WORKFLOW: &str = r#"{"status":404,"message":"No such workflow found by id: x","retryable":false}"#;
const NO_ROUTE: &str =
    r#"{"status":404,"message":"No static resource api/tasks/update-v2.","retryable":false}"#;
const GATEWAY: &str = r#"{"message":"no Route matched with those values"}"#;
const SPRING: &str =
    r#"{"timestamp":"2026-01-01T00:00:00.000+00:00","status":404,"error":"Not Found","path":"/tasks"}"#;
const METHOD: &str = r#"{"status":500,"message":"Request method 'POST' not supported","retryable":false}"#;
const METHOD_IS: &str = r#"{"status":405,"message":"Request method 'POST' is not supported"}"#;
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
        (Poll, 200, false, "", Ok(Accepted::Empty)),
        (Poll, 200, false, "null", Ok(Accepted::Empty)),
        (Poll, 200, false, "nul", Err(Fault::Unknown)),
        (UpdateV2, 200, true, "{", Ok(Accepted::Body)),
        (UpdateV2, 204, false, "", Ok(Accepted::Empty)),
        (UpdateV2, 200, false, "", Ok(Accepted::Empty)),
        (UpdateV2, 200, false, " \r\n", Ok(Accepted::Empty)),
        (UpdateV2, 200, true, "", Ok(Accepted::Body)),
        (UpdateV2, 200, true, " null\n", Ok(Accepted::Empty)),
        (UpdateV2, 200, false, "null", Ok(Accepted::Empty)),
        (UpdateV2, 200, false, "null and void", Err(Fault::Unknown)),
        (UpdateV2, 200, false, HTML, Err(Fault::Unknown)),
        (Token, 200, true, "{", Ok(Accepted::Body)),
        (Token, 200, false, HTML, Err(Fault::Unknown)),
        (Token, 200, false, "null", Err(Fault::Unknown)),
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
        for body in [HTML, "", EXPIRED, INVALID] {
            assert_eq!(said(kind, 401, false, body), Err(Fault::Unauthorized), "{kind:?} {body}");
        }
        for body in [HTML, "", r#"{"error":"ACCESS_DENIED"}"#, r#"{"message":"EXPIRED_TOKEN"}"#] {
            assert_eq!(said(kind, 403, true, body), Err(Fault::Forbidden), "{kind:?} {body}");
        }
        for body in [EXPIRED, INVALID] {
            for status in [400, 403, 405, 408, 413, 422] {
                assert_eq!(
                    said(kind, status, true, body),
                    Err(Fault::Unauthorized),
                    "{kind:?} {status} {body}"
                );
            }
            assert_eq!(said(kind, 500, true, body), Err(Fault::Internal), "{kind:?} {body}");
        }
        for status in [429, 503] {
            assert_eq!(said(kind, status, true, ""), Err(Fault::Throttled), "{kind:?} {status}");
            assert_eq!(said(kind, status, false, HTML), Err(Fault::Throttled), "{kind:?} {status}");
        }
        let envoy =
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination";
        assert_eq!(said(kind, 503, false, envoy), Err(Fault::Server), "{kind:?}");
        for status in [408, 425, 502, 504, 512, 599] {
            assert_eq!(said(kind, status, false, HTML), Err(Fault::Server), "{kind:?} {status}");
        }
        for status in [500, 501, 505, 511] {
            assert_eq!(said(kind, status, false, HTML), Err(Fault::Internal), "{kind:?} {status}");
        }
        for status in [400, 402, 406, 409, 410, 412, 414, 415, 422, 499] {
            assert_eq!(said(kind, status, true, "{}"), Err(Fault::Rejected), "{kind:?} {status}");
            assert_eq!(said(kind, status, false, HTML), Err(Fault::Rejected), "{kind:?} {status}");
        }
        assert_eq!(said(kind, 413, true, "{}"), Err(Fault::TooLarge), "{kind:?}");
        assert_eq!(said(kind, 413, false, HTML), Err(Fault::TooLarge), "{kind:?}");
        for status in [100, 199, 301, 302, 304, 307, 399, 600, 999] {
            assert_eq!(said(kind, status, false, HTML), Err(Fault::Unknown), "{kind:?} {status}");
        }
    }
}

#[test]
fn blank_lines_are_no_body_but_a_page_may_begin_with_them() {
    for (blanks, expected) in [(PREFIX - 1, Ok(Accepted::Empty)), (PREFIX, Err(Fault::Unknown))] {
        for kind in [Poll, UpdateV2] {
            assert_eq!(said(kind, 200, false, &"\n".repeat(blanks)), expected, "{kind:?} {blanks}");
        }
    }
}

#[test]
fn not_found_depends_on_who_says_it_and_of_what() {
    for json in [true, false] {
        for kind in [Poll, Update, UpdateV2, Other] {
            for body in [NO_TASK, NO_WORKFLOW, NOT_FOUND] {
                assert_eq!(said(kind, 404, json, body), Err(Fault::Gone), "{kind:?} {body}");
            }
            assert_eq!(said(kind, 404, json, EXPIRED), Err(Fault::Unauthorized), "{kind:?}");
        }
        for body in [NO_ROUTE, GATEWAY, SPRING, HTML, "", "{}", "No such task"] {
            for kind in [Poll, Update, Other] {
                assert_eq!(said(kind, 404, json, body), Err(Fault::Server), "{kind:?} {body}");
            }
            assert_eq!(said(UpdateV2, 404, json, body), Err(Fault::Unsupported), "{body}");
        }
        for body in [NO_TASK, NO_ROUTE, HTML, EXPIRED, ""] {
            assert_eq!(said(Token, 404, json, body), Ok(Accepted::NoAuth), "{body}");
        }
    }
    // The words count only with a 404.
    assert_eq!(said(Update, 400, true, NO_TASK), Err(Fault::Rejected));
    assert_eq!(said(Update, 500, true, NO_TASK), Err(Fault::Internal));
}

#[test]
fn only_update_v2_can_be_unsupported() {
    assert_eq!(said(UpdateV2, 405, true, "{}"), Err(Fault::Unsupported));
    for body in [METHOD, METHOD_IS] {
        for status in [400, 404, 405, 500, 501, 503] {
            assert_eq!(said(UpdateV2, status, true, body), Err(Fault::Unsupported), "{status} {body}");
        }
    }
    for kind in [Poll, Update, Token, Other] {
        assert_eq!(said(kind, 405, true, METHOD_IS), Err(Fault::Rejected), "{kind:?}");
        assert_eq!(said(kind, 500, true, METHOD), Err(Fault::Internal), "{kind:?}");
    }
    let other = r#"{"message":"Content-Type 'text/plain' is not supported"}"#;
    assert_eq!(said(UpdateV2, 500, true, other), Err(Fault::Internal));
    assert_eq!(said(UpdateV2, 415, true, other), Err(Fault::Rejected));
}

#[test]
fn a_retry_after_is_passed_on_with_429_5xx_and_a_404_of_somebody_else_alone() {
    let retry_after = Some(Duration::from_secs(7));
    for kind in ALL {
        for status in [429, 500, 503] {
            let error = classify(kind, &Head { status, retry_after, json: false }, b"").unwrap_err();
            assert_eq!(error.retry_after, retry_after, "{kind:?} {status}");
        }
        for status in [401, 403, 408, 409, 413, 425] {
            let error = classify(kind, &Head { status, retry_after, json: false }, b"").unwrap_err();
            assert_eq!(error, CallError::new(error.fault), "{kind:?} {status}");
        }
    }
    for kind in [Poll, Update, Other] {
        let error = classify(kind, &Head { status: 404, retry_after, json: true }, GATEWAY.as_bytes());
        assert_eq!(error, Err(CallError { fault: Fault::Server, retry_after }), "{kind:?}");
    }
    for (status, body, fault) in [(404, NO_TASK, Fault::Gone), (500, METHOD, Fault::Unsupported)] {
        let error = classify(UpdateV2, &Head { status, retry_after, json: true }, body.as_bytes());
        assert_eq!(error, Err(CallError::new(fault)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_is_too_strange(status in any::<u16>(), json in any::<bool>(), body in any::<Vec<u8>>()) {
        for kind in ALL {
            let said = classify(kind, &Head { status, retry_after: None, json }, &body);
            prop_assert!(said.is_err() || status == 404 || (200..300).contains(&status));
        }
    }
}
