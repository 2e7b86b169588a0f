//! Texts mean what they say, however they are written.

use downbeat_core::wire::{Text, TooLong, bounded};
use proptest::prelude::*;

#[test]
fn escapes_are_decoded() {
    let table = [
        (r#"\"\\\/"#, "\"\\/"),
        (r"\b\f\n\r\t", "\u{8}\u{c}\n\r\t"),
        (r"\u0000\u00e9\u2028", "\0é\u{2028}"),
        (r"\ud83c\udf75", "🍵"),
        (r"\uD83C\uDF75\ud83c\udf75", "🍵🍵"),
        ("plain é 🍵", "plain é 🍵"),
    ];
    for (written, meant) in table {
        assert_eq!(Text::escaped(written), *meant, "{written}");
        assert_eq!(Text::escaped(written).to_string(), meant);
    }
}

#[test]
fn a_lone_surrogate_is_replaced() {
    let table = [
        (r"\ud83c", "\u{fffd}"),
        (r"\udf75", "\u{fffd}"),
        (r"\ud83cx", "\u{fffd}x"),
        (r"\ud83c\n", "\u{fffd}\n"),
        (r"\ud83c\u0041", "\u{fffd}A"),
        (r"\ud83c\ud83c\udf75", "\u{fffd}🍵"),
        (r"\udf75\ud83c", "\u{fffd}\u{fffd}"),
        (r"\ud83c\udf75\udf75", "🍵\u{fffd}"),
        (r"\ud83cé", "\u{fffd}é"),
    ];
    for (written, meant) in table {
        assert_eq!(Text::escaped(written), *meant, "{written}");
    }
}

#[test]
fn a_text_without_escapes_is_borrowed() {
    assert_eq!(Text::escaped("plain").plain(), Some("plain"));
    assert_eq!(Text::escaped(r"\n").plain(), None);
}

#[test]
fn decoding_is_bounded_by_bytes() {
    let text = Text::escaped(r"ab\u00e9");
    assert_eq!(text.decode::<4>().unwrap(), "abé");
    assert_eq!(text.decode::<3>(), Err(TooLong));
}

#[test]
fn bounded_text_is_cut_once_and_for_all() {
    assert_eq!(bounded::<4>(format_args!("{}{}", "abc", "🍵d")), "abc");
    assert_eq!(bounded::<4>(format_args!("abcd")), "abcd");
    assert_eq!(bounded::<4>(format_args!("abcde")), "abcd");
}

/// Any text, escaped as hard as JSON allows.
fn all_escaped(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decoding_agrees_with_serde_json(text in any::<String>()) {
        let written = serde_json::to_string(&text).unwrap();
        let content = &written[1..written.len() - 1];
        prop_assert_eq!(Text::escaped(content).to_string(), text.clone());
        prop_assert_eq!(Text::escaped(&all_escaped(&text)).to_string(), text);
    }

    #[test]
    fn lone_surrogates_decode_as_utf16_does(units in proptest::collection::vec(
        prop_oneof![0xd7f0..0xe010_u16, any::<u16>()], 0..20)
    ) {
        let written: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
        prop_assert_eq!(Text::escaped(&written).to_string(), String::from_utf16_lossy(&units));
    }

    #[test]
    fn anything_between_quotes_decodes_without_panic(text in any::<String>()) {
        let _ = Text::escaped(&text).to_string();
    }
}
