//! What is wrong with a command line or a file is said at once, and nothing is run.

use super::harness::{Place, binary, finish};

const USAGE: Option<i32> = Some(2);

#[test]
fn a_command_line_that_cannot_be_used_ends_with_2() {
    for args in [
        &["run"] as &[&str],
        &["run", "--task", "a"],
        &["run", "--task", "a", "--config", "b", "--", "cat"],
        &["run", "--task", "a", "--slots", "0", "--", "cat"],
        &["run", "--task", "a", "--server", "localhost", "--", "cat"],
        &["run", "--task", "a", "--timeout", "soon", "--", "cat"],
        &["run", "--", "cat"],
        &["no-such-command"],
        &[],
    ] {
        let (code, out, _) = finish(args);
        assert_eq!((code, out.as_str()), (USAGE, ""), "{args:?}");
    }
}

#[test]
fn no_server_is_an_error_that_says_how_to_name_one() {
    let (code, _, err) = finish(&["run", "--task", "a", "--", "cat"]);
    assert_eq!(code, USAGE);
    assert!(err.contains("--server http://localhost:8080/api"), "{err}");
    assert!(err.contains("CONDUCTOR_SERVER_URL"), "{err}");
}

#[test]
fn a_missing_command_is_an_error_at_start() {
    let url = "http://127.0.0.1:1/api";
    let (code, _, err) = finish(&["run", "--server", url, "--task", "a", "--", "no-such-program"]);
    assert_eq!(
        (code, err.trim()),
        (USAGE, "downbeat: -- COMMAND: command of `a`: there is no program `no-such-program` in PATH")
    );
}

#[test]
fn every_mistake_of_a_file_is_told_with_file_line_key_and_what_is_allowed() {
    let place = Place::new();
    let file = place.write(
        "downbeat.toml",
        "[server]\nurl = \"http://127.0.0.1:1/api\"\n\n[[worker]]\ntask = \"a\"\ncomand = [\"cat\"]\nslots = 0\n",
    );
    let file = file.display().to_string();
    for command in ["run", "check", "explain"] {
        let (code, out, err) = finish(&[command, "--config", &file]);
        assert_eq!((code, out.as_str()), (USAGE, ""), "{command}");
        let lines: Vec<&str> = err.lines().collect();
        assert_eq!(
            lines,
            [
                format!("downbeat: {file}:6: worker[0].comand: is not known; did you mean `command`?"),
                format!("downbeat: {file}:7: worker[0].slots: must be a whole number from 1 to 1000"),
            ],
            "{command}"
        );
    }
}

#[test]
fn the_example_file_is_good_and_explained() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../downbeat.example.toml");
    for args in [&["check", "--config", file] as &[&str], &["check", file]] {
        let (code, out, err) = finish(args);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    }
    let mut explain = binary(&["explain", "--config", file]);
    let output = explain.env("CONDUCTOR_WORKER_GREET_THREAD_COUNT", "9").output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("environment CONDUCTOR_WORKER_GREET_THREAD_COUNT"), "{out}");
    let mut check = binary(&["check", "--config", file]);
    let output = check.env("CONDUCTOR_WORKER_GREET_TREAD_COUNT", "9").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.starts_with("downbeat: warning: environment CONDUCTOR_WORKER_GREET_TREAD_COUNT: "), "{err}");
}

#[test]
fn the_settings_that_exist_are_shown_without_a_file() {
    let (code, out, err) = finish(&["explain", "--settings"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("## `[server]`\n") && out.contains("| `on_lapse` |"), "{out}");
    for args in [&["explain"] as &[&str], &["check"], &["explain", "--settings", "a.toml"]] {
        assert_eq!(finish(args).0, USAGE, "{args:?}");
    }
}

#[test]
fn half_of_the_credentials_are_an_error_that_does_not_show_them() {
    let mut command = binary(&["run", "--server", "http://127.0.0.1:1/api", "--task", "a", "--", "cat"]);
    let output = command.env("CONDUCTOR_AUTH_SECRET", "s3cret").output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), USAGE, "{err}");
    assert!(err.contains("CONDUCTOR_AUTH_KEY") && !err.contains("s3cret"), "{err}");
}

#[test]
fn completions_and_manual_page_are_written() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = finish(&["completions", shell]);
        assert_eq!(code, Some(0));
        assert!(out.contains("downbeat") && out.contains("drain-timeout"), "{shell}");
    }
    let (code, out, _) = finish(&["man"]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with(".ie") && out.contains("DOWNBEAT_RESULT") && out.contains("demo"), "{out}");
}

#[test]
fn the_unit_for_systemd_is_one_and_leaves_time_to_drain() {
    let unit = include_str!("../../../docs/downbeat.service");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap();
    assert_eq!(value("KillMode"), "mixed");
    assert!(value("TimeoutStopSec").parse::<u32>().unwrap() > 25 + 4);
    // Only what is really there may be started, for systemd.
    let start = value("ExecStart");
    let (program, args) = start.split_once(' ').unwrap();
    let place = Place::new();
    let unit = unit.replace(program, env!("CARGO_BIN_EXE_downbeat"));
    let file = place.write("downbeat.service", &unit);
    let (code, _, err) = finish(&[args.split(' ').next().unwrap(), "--help"]);
    assert_eq!(code, Some(0), "{err}");
    match std::process::Command::new("systemd-analyze").arg("verify").arg(file).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => eprintln!("no systemd-analyze here: {error}"),
    }
}
