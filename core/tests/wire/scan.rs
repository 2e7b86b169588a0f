//! The scanner takes JSON and nothing else.

use downbeat_core::wire::{DEPTH_MAX, Scanner, SyntaxError, SyntaxKind, find, members, validate};
use proptest::prelude::*;
use serde::de::IgnoredAny;

use crate::golden;

fn json_says(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

#[test]
fn takes_what_is_json() {
    let documents = [
        "0",
        "-0",
        "12",
        "-12.50",
        "1e9",
        "1E+9",
        "0.1e-9",
        "123456789012345678901234567890",
        "true",
        "false",
        "null",
        r#""""#,
        r#""\"\\\/\b\f\n\r\t\u0000\uD83C\uDF75""#,
        r#""\ud800""#,
        "\"\u{7f} é 🍵 \u{10ffff}\"",
        "[]",
        "{}",
        " [ ] ",
        "\t{\n}\r",
        r#"{"a":[1,{"b":null}],"":"x"}"#,
        "[[],{},\"\",0]",
    ];
    for document in documents {
        assert_eq!(validate(document.as_bytes()), Ok(()), "{document}");
        assert!(json_says(document.as_bytes()), "serde_json on {document}");
    }
}

#[test]
fn names_the_byte_and_the_fault() {
    let table: [(&[u8], usize, SyntaxKind); 39] = [
        (b"", 0, SyntaxKind::Ended),
        (b"  ", 2, SyntaxKind::Ended),
        (b"[", 1, SyntaxKind::Ended),
        (b"{\"a\":", 5, SyntaxKind::Ended),
        (b"\"abc", 4, SyntaxKind::Ended),
        (b"tru", 3, SyntaxKind::Ended),
        (b"-", 1, SyntaxKind::Ended),
        (b"1.", 2, SyntaxKind::Ended),
        (b"1e", 2, SyntaxKind::Ended),
        (b"01", 1, SyntaxKind::Trailing),
        (b"+1", 0, SyntaxKind::Value),
        (b".5", 0, SyntaxKind::Value),
        (b"-a", 1, SyntaxKind::Number),
        (b"1.a", 2, SyntaxKind::Number),
        (b"[1e]", 3, SyntaxKind::Number),
        (b"[1.]", 3, SyntaxKind::Number),
        (b"[-]", 2, SyntaxKind::Number),
        (b"nulL", 3, SyntaxKind::Word),
        (b"True", 0, SyntaxKind::Value),
        (b"NaN", 0, SyntaxKind::Value),
        (b"[1,]", 3, SyntaxKind::Value),
        (b"[,1]", 1, SyntaxKind::Value),
        (b"[1 2]", 3, SyntaxKind::Separator),
        (b"[1}", 2, SyntaxKind::Separator),
        (b"{\"a\":1]", 6, SyntaxKind::Separator),
        (b"{\"a\":1,}", 7, SyntaxKind::Key),
        (b"{a:1}", 1, SyntaxKind::Key),
        (b"{1:1}", 1, SyntaxKind::Key),
        (b"{\"a\" 1}", 5, SyntaxKind::Colon),
        (b"{\"a\"}", 4, SyntaxKind::Colon),
        (b"[] x", 3, SyntaxKind::Trailing),
        (b"{}{}", 2, SyntaxKind::Trailing),
        (b"\"\\x\"", 2, SyntaxKind::Escape),
        (b"\"\\u12g4\"", 5, SyntaxKind::Escape),
        (b"\"\n\"", 1, SyntaxKind::Control),
        (b"\"\x1f\"", 1, SyntaxKind::Control),
        (b"\"\xc0\x80\"", 1, SyntaxKind::Utf8),
        (b"\"\xed\xa0\x80\"", 2, SyntaxKind::Utf8),
        (b"\xef\xbb\xbf[]", 0, SyntaxKind::Value),
    ];
    for (document, at, kind) in table {
        assert_eq!(validate(document), Err(SyntaxError { at, kind }), "{}", document.escape_ascii());
        assert!(!json_says(document), "serde_json on {}", document.escape_ascii());
    }
}

#[test]
fn an_error_stays() {
    let mut scanner = Scanner::new();
    scanner.push(b'[').unwrap();
    let error = scanner.push(b'}').unwrap_err();
    assert_eq!(scanner.push(b']'), Err(error));
    assert_eq!(scanner.finish(), Err(error));
}

#[test]
fn the_deepest_level_passes_and_one_more_does_not() {
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    let deepest = usize::try_from(DEPTH_MAX).unwrap();
    assert_eq!(validate(nested(deepest).as_bytes()), Ok(()));
    let error = validate(nested(deepest + 1).as_bytes()).unwrap_err();
    assert_eq!(error, SyntaxError { at: deepest, kind: SyntaxKind::TooDeep });
}

#[test]
fn beyond_the_deepest_level_the_way_back_is_found() {
    let depth = 100_000;
    let body =
        [r#"{"deep":"#, &r#"[{"]}":"#.repeat(depth), "1", &"}]".repeat(depth), r#","after":7}"#].concat();
    assert_eq!(find(body.as_bytes(), "after").unwrap().unwrap().integer(), Some(7));
}

#[test]
fn every_kind_of_error_has_a_text_with_its_place() {
    let text = validate(b"[1,]").unwrap_err().to_string();
    assert_eq!(text, "unfit JSON at byte 3: a value was expected");
}

#[test]
fn golden_answers_are_json() {
    for (name, body) in golden::ALL {
        assert!(json_says(body), "{name}");
        assert_eq!(validate(body).is_ok(), name != "too-deep", "{name}");
    }
}

#[test]
fn members_are_found_at_the_first_level_alone() {
    let body = br#" { "a" : {"b":1} , "b" : [ 1 , 2 ] , "\u0062":"last", "c": -1.5 } "#;
    assert_eq!(find(body, "b").unwrap().unwrap().text().unwrap(), *"last");
    assert_eq!(find(body, "a").unwrap().unwrap().raw(), br#"{"b":1}"#);
    assert_eq!(find(body, "c").unwrap().unwrap().raw(), b"-1.5");
    assert_eq!(find(body, "d").unwrap(), None);
    let names: Vec<_> = members(body).map(|member| member.unwrap().0.to_string()).collect();
    assert_eq!(names, ["a", "b", "b", "c"]);
    assert_eq!(members(b"{}").count(), 0);
}

#[test]
fn members_of_something_else_are_an_error() {
    for body in ["[]", "1", "\"a\"", "null"] {
        assert_eq!(find(body.as_bytes(), "a").unwrap_err().kind, SyntaxKind::NotObject, "{body}");
    }
    assert_eq!(find(b"{\"a\":1", "a").unwrap_err().kind, SyntaxKind::Ended);
}

#[test]
fn members_before_an_error_are_given() {
    let found: Vec<_> = members(br#"{"a":1,"b":2,"c":"cut of"#).collect();
    assert_eq!(found.len(), 3);
    assert!(found[0].is_ok() && found[1].is_ok() && found[2].is_err());
}

/// Any JSON value as text, with white space here and there.
pub(crate) fn json() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).expect("JSON")),
        prop_oneof![
            Just("\"\\ud83c\\udf75\""),
            Just("\"\\udf75 \\ud83c\""),
            Just("\"\\/\\u0041\""),
            Just("\"taskId\"")
        ]
        .prop_map(String::from),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        (any::<f64>()).prop_filter("finite", |f| f.is_finite()).prop_map(|f| format!("{f:e}")),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?",
        string.clone(),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let space = "[ \t\r\n]{0,2}";
        prop_oneof![
            (proptest::collection::vec(inner.clone(), 0..6), space)
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(&format!("{space},")))),
            (proptest::collection::vec((string.clone(), inner), 0..6), space).prop_map(|(items, space)| {
                let items: Vec<_> =
                    items.iter().map(|(key, value)| format!("{key}{space}:{value}")).collect();
                format!("{{{}{space}}}", items.join(&format!(",{space}")))
            }),
        ]
    })
}

/// A document with a few bytes changed, left out or put in.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop_oneof![any::<u8>(), proptest::sample::select(br#"{}[],:"\u0nte-.x "#.to_vec())];
    (json(), proptest::collection::vec((any::<proptest::sample::Index>(), 0..3_u8, bytes), 0..4)).prop_map(
        |(text, changes)| {
            let mut document = text.into_bytes();
            for (index, how, byte) in changes {
                if document.is_empty() {
                    break;
                }
                let at = index.index(document.len());
                match how {
                    0 => document[at] = byte,
                    1 => document.insert(at, byte),
                    _ => drop(document.remove(at)),
                }
            }
            document
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_serde_json(document in damaged()) {
        prop_assert_eq!(validate(&document).is_ok(), json_says(&document), "{}", document.escape_ascii());
    }

    #[test]
    fn any_bytes_are_taken_without_panic(document in proptest::collection::vec(any::<u8>(), 0..200)) {
        let valid = validate(&document).is_ok();
        prop_assert_eq!(valid, json_says(&document));
        let _ = members(&document).count();
        let _ = golden::told_all(&document);
    }

    #[test]
    fn members_agree_with_serde_json(
        members_in in proptest::collection::vec((any::<String>(), json()), 0..8),
    ) {
        let written: Vec<_> = members_in
            .iter()
            .map(|(key, value)| format!("{}:{value}", serde_json::to_string(key).unwrap()))
            .collect();
        let body = format!("{{{}}}", written.join(","));
        let read: Vec<_> = members(body.as_bytes())
            .map(|member| {
                let (key, value) = member.unwrap();
                (key.to_string(), String::from_utf8(value.raw().to_vec()).unwrap())
            })
            .collect();
        prop_assert_eq!(read, members_in);
    }
}
