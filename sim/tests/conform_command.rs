//! `downbeat-sim conform`: what it prints, and how it exits.

#![expect(clippy::unwrap_used, reason = "a command that cannot be started fails the test")]

use std::path::Path;
use std::process::{Command, Output};

fn conform(file: &Path) -> (Option<i32>, String, String) {
    let command = Command::new(env!("CARGO_BIN_EXE_downbeat-sim")).arg("conform").arg(file).output();
    let Output { status, stdout, stderr } = command.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn conform_text(name: &str, text: &str) -> (Option<i32>, String, String) {
    let file = std::env::temp_dir().join(format!("downbeat-{}-{name}.json", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let said = conform(&file);
    std::fs::remove_file(&file).unwrap();
    said
}

#[test]
fn conform_counts_what_passed_and_fails_where_one_failed() {
    let vectors = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/ruby-traces.json"));
    assert_eq!(conform(vectors), (Some(0), "19 passed, 0 failed\n".into(), String::new()));
    assert_eq!(conform_text("none", "[]"), (Some(0), "0 passed, 0 failed\n".into(), String::new()));
    let polls = r#"[{"name":"early","poll_interval_ms":100,"until_ms":3,
        "trace":[{"at_ms":0,"call":"poll"},{"at_ms":1,"call":"poll"}]},
        {"name":"right","poll_interval_ms":100,"until_ms":2,"trace":[{"at_ms":0,"call":"poll"}]}]"#;
    let (code, out, err) = conform_text("failing", polls);
    assert_eq!((code, err.as_str()), (Some(1), ""));
    assert_eq!(out, "FAIL early: call 1: expected 1 ms poll, got 2 ms poll\n1 passed, 1 failed\n");
}

#[test]
fn conform_names_the_line_of_a_file_that_it_cannot_use() {
    let malformed = [
        ("syntax", "[\n{\"name\":\n]", ":3: "),
        ("shape", "{\"cases\":[]}", ":1: "),
        ("missing", "[\n{\"name\":\"x\",\"until_ms\":1,\"trace\":[]}]", "`poll_interval_ms`"),
        (
            "word",
            "[{\"name\":\"x\",\"poll_interval_ms\":1,\"until_ms\":1,\"trace\":[],\n\"polls\":[{\"ms\":1,\"outcome\":\"maybe\"}]}]",
            "`maybe`",
        ),
        ("empty", "", ":1: "),
    ];
    for (name, text, said) in malformed {
        let (code, out, err) = conform_text(name, text);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{name}");
        assert!(err.starts_with("downbeat-sim: ") && err.contains(said), "{name}: {err}");
    }
    let (code, _, err) = conform(Path::new("/nowhere/at-all.json"));
    assert_eq!(code, Some(2));
    assert!(err.contains("/nowhere/at-all.json cannot be read"), "{err}");
}
