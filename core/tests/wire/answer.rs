//! Tokens and errors, as far as they can be read.

use downbeat_core::wire::{MESSAGE_MAX, ServerError, TokenError, read_token};
use proptest::prelude::*;

#[test]
fn a_token_is_read_and_the_rest_skipped() {
    let body = br#" {"userId":"u","more":{"token":"no"},"token":"eyJhbGciOi.J9-_x.y","expires":[1]} "#;
    assert_eq!(read_token(body).unwrap().plain(), Some("eyJhbGciOi.J9-_x.y"));
}

#[test]
fn what_is_no_token_is_an_error_without_its_content() {
    let table = [
        (r#"{"message":"hunter2"}"#, TokenError::Missing),
        (r#"{"token":null}"#, TokenError::Missing),
        (r#"{"token":""}"#, TokenError::Missing),
        (r#"{"token":["hunter2"]}"#, TokenError::Missing),
        (r#"{"token":"hunter2 "}"#, TokenError::Unfit),
        (r#"{"token":"hunter2\r\nHost: evil"}"#, TokenError::Unfit),
        (r#"{"token":"hünter2"}"#, TokenError::Unfit),
    ];
    for (body, expected) in table {
        let error = read_token(body.as_bytes()).unwrap_err();
        assert_eq!(error, expected, "{body}");
        assert!(!error.to_string().contains("nter2"), "{error}");
    }
    for body in ["", "<html>", "[]", "\"hunter2\"", "{\"token\":\"hunter2\""] {
        let error = read_token(body.as_bytes()).unwrap_err();
        assert!(matches!(error, TokenError::Syntax(_)), "{body}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn an_error_is_read_as_far_as_it_goes() {
    let body =
        br#"{"status":500,"message":"JSON parse error:\n line two","instance":"vm","retryable":false}"#;
    let error = ServerError::read(body);
    assert_eq!(error.message, "JSON parse error:  line two");
    assert_eq!(error.retryable, Some(false));
    assert_eq!(error.to_string(), "JSON parse error:  line two");

    let orkes = ServerError::read(br#"{"error":"EXPIRED_TOKEN","message":"Token has expired","status":401}"#);
    assert_eq!(orkes.to_string(), "EXPIRED_TOKEN: Token has expired");

    let cut = ServerError::read(br#"{"status":500,"message":"whole","instance":"v"#);
    assert_eq!(cut.message, "whole");
    for body in ["", "<html>", "[1]", "{\"message\":7}"] {
        assert_eq!(ServerError::read(body.as_bytes()), ServerError::default(), "{body}");
    }
    assert_eq!(ServerError::default().to_string(), "no message");
}

#[test]
fn a_long_message_is_cut_on_a_characters_boundary() {
    let body = format!(r#"{{"message":"{}"}}"#, "é".repeat(MESSAGE_MAX));
    assert_eq!(ServerError::read(body.as_bytes()).message.chars().count(), MESSAGE_MAX / 2);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_taken_without_panic(body in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = read_token(&body);
        let _ = ServerError::read(&body);
    }
}
