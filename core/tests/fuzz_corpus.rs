//! The corpus that fuzzing has found, replayed on the stable toolchain; fuzz/README.md says how it grows.
#![expect(unreachable_pub, reason = "the module is a crate of its own where it is fuzzed")]

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("a corpus for each target")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(files.len() >= 10, "{} has {} inputs", folder.display(), files.len());
    for file in files {
        target(&std::fs::read(file).expect("a readable input"));
    }
}

#[test]
fn http_answers() {
    replay("http_answer", targets::http_answer);
}

#[test]
fn wire_tasks() {
    replay("wire_tasks", targets::wire_tasks);
}

#[test]
fn machine_inputs() {
    replay("machine_inputs", targets::machine_inputs);
}

#[test]
fn drive_sessions() {
    replay("drive_session", targets::drive_session);
}
