use std::cell::Cell;
use std::time::Instant;

use super::*;
use crate::clock;

/// How long a test may take if it waits for the end of something that must not take long.
const BOUND: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Command {
    Command {
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        env: BTreeMap::new(),
        hidden: Vec::new(),
        cwd: None,
        timeout: None,
        grace: Duration::from_millis(300),
        output_max: OUTPUT_MAX,
    }
}

fn run_with(command: &Command, input: &str, recalled: &dyn Fn() -> bool) -> Report {
    run_until(command, input, &|| recalled().then_some(Recall::Drain))
}

fn run_until(command: &Command, input: &str, recalled: &dyn Fn() -> Option<Recall>) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let task = Assignment {
        task_id: "task-1",
        workflow_id: "workflow-1",
        task_type: "greet",
        retry_count: 2,
        poll_count: 3,
        input: input.as_bytes(),
        result: &dir.path().join("result"),
    };
    let report = run(command, task, Hooks { recalled, started: &|_, _| {} });
    assert!(!task.result.exists(), "the result file stays");
    report
}

fn run_script(script: &str) -> Report {
    run_with(&shell(script), r#"{"name":"ada"}"#, &|| false)
}

fn failed(report: &Report) -> &str {
    match &report.end {
        End::Failed(reason) | End::Terminal(reason) => reason,
        End::Completed | End::InProgress(_) | End::GivenBack | End::Cancelled => {
            panic!("not failed: {:?}", report.end)
        }
    }
}

fn output(report: &Report) -> &str {
    report.output.as_ref().map_or("none", |output| output.get())
}

/// Whether a process is still there, zombies of the test's own reaper aside.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z"))
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = clock::now() + BOUND;
    while !condition() {
        assert!(clock::now() < end, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn exit_0_completes_with_the_output_unchanged() {
    let report = run_script(r#"cat >/dev/null; echo ' {"wide":123456789012345678901234567890, "pi":3.10} '"#);
    assert_eq!(report.end, End::Completed);
    assert_eq!(output(&report), r#"{"wide":123456789012345678901234567890, "pi":3.10}"#);
}

#[test]
fn the_input_is_on_standard_input() {
    let wide = r#"{"wide":123456789012345678901234567890}"#;
    let report = run_with(&shell("cat"), wide, &|| false);
    assert_eq!((report.end.clone(), output(&report)), (End::Completed, wide));
}

#[test]
fn an_input_larger_than_a_pipe_goes_through() {
    let input = format!(r#"{{"text":"{}"}}"#, "x".repeat(3_000_000));
    let report = run_with(&shell("cat"), &input, &|| false);
    assert_eq!((report.end.clone(), output(&report).len()), (End::Completed, input.len()));
}

#[test]
fn a_command_that_does_not_read_its_input_is_no_error() {
    let input = format!(r#"{{"text":"{}"}}"#, "x".repeat(3_000_000));
    let report = run_with(&shell(r#"echo '{"done":true}'"#), &input, &|| false);
    assert_eq!((report.end.clone(), output(&report)), (End::Completed, r#"{"done":true}"#));
}

#[test]
fn nothing_on_standard_output_is_an_empty_object() {
    let report = run_script("exit 0");
    assert_eq!((report.end.clone(), output(&report)), (End::Completed, "none"));
}

#[test]
fn exit_100_is_terminal_and_other_codes_are_not() {
    let report = run_script(r#"echo 'beyond repair' >&2; echo '{"partial":1}'; exit 100"#);
    assert_eq!(report.end, End::Terminal("the command ended with exit code 100: beyond repair".to_owned()));
    assert_eq!(output(&report), r#"{"partial":1}"#);
    for code in [1, 2, 74, 76, 99, 101, 255] {
        let report = run_script(&format!("exit {code}"));
        assert_eq!(report.end, End::Failed(format!("the command ended with exit code {code}")));
    }
}

#[test]
fn exit_75_asks_to_be_called_again() {
    let report = run_script(
        r#"echo '{"callbackAfterSeconds":30,"output":{"phase":1}}' > "$DOWNBEAT_RESULT"; exit 75"#,
    );
    assert_eq!(report.end, End::InProgress(Duration::from_secs(30)));
    assert_eq!(output(&report), r#"{"phase":1}"#);
    let report = run_script(r#"echo '{"callbackAfterSeconds":30}' > "$DOWNBEAT_RESULT"; exit 75"#);
    assert_eq!((report.end.clone(), output(&report)), (End::InProgress(Duration::from_secs(30)), "none"));
}

#[test]
fn exit_75_without_a_usable_file_fails_and_says_what_is_expected() {
    let missing = run_script("exit 75");
    assert!(failed(&missing).contains("was not written"), "{missing:?}");
    for file in [r#"{"callbackAfterSeconds":-1}"#, r#"{"callback":"secret"}"#, "secret", "[]", ""] {
        let report = run_script(&format!(r#"printf %s '{file}' > "$DOWNBEAT_RESULT"; exit 75"#));
        assert!(failed(&report).contains("callbackAfterSeconds"), "{report:?}");
        assert!(!failed(&report).contains("secret"), "{report:?}");
    }
    let report = run_script(r#"echo '{"callbackAfterSeconds":1,"output":[]}' > "$DOWNBEAT_RESULT"; exit 75"#);
    assert!(failed(&report).contains("an array, not an object"), "{report:?}");
}

#[test]
fn a_command_killed_by_a_signal_fails_and_names_it() {
    let report = run_script("kill -SEGV $$");
    assert_eq!(report.end, End::Failed("the command was killed by SIGSEGV (signal 11)".to_owned()));
}

#[test]
fn output_that_is_no_json_object_fails_without_its_content() {
    for (text, says) in [
        ("secret", "6 bytes are not JSON"),
        (r#"{"secret":"#, "10 bytes are not JSON"),
        (r#"{"secret":1} x"#, "14 bytes are not JSON"),
        (r#"["secret"]"#, "10 bytes are an array"),
        (r#""secret""#, "8 bytes are a string"),
        ("12", "2 bytes are a number"),
        ("null", "4 bytes are null"),
    ] {
        let report = run_script(&format!("printf %s '{text}'"));
        assert!(failed(&report).contains(says), "{text}: {report:?}");
        assert!(!failed(&report).contains("secret"), "{text}: {report:?}");
        assert_eq!(report.end, End::Failed(failed(&report).to_owned()));
    }
}

#[test]
fn deeply_nested_output_passes_unchanged() {
    let report = run_script(
        "printf '{\"a\":'; head -c 200000 /dev/zero | tr '\\0' '['; head -c 200000 /dev/zero | tr '\\0' ']'; printf '}'",
    );
    assert_eq!((report.end.clone(), output(&report).len()), (End::Completed, 400_006));
}

#[test]
fn too_much_output_ends_the_group_and_the_task() {
    let mut command = shell("yes x | head -c 104857600");
    command.output_max = 1_000;
    let report = run_with(&command, "{}", &|| false);
    assert_eq!(
        report.end,
        End::Terminal(
            "the output is larger than the 1000 bytes that the server takes; the command was stopped"
                .to_owned()
        )
    );
    let endless = run_with(&shell("yes"), "{}", &|| false);
    assert!(failed(&endless).contains("larger than the 10485760 bytes"), "{:?}", endless.end);
}

#[test]
fn output_at_the_limit_is_taken_and_one_byte_more_is_not() {
    let mut command = shell(r#"printf '{"a":12}'"#);
    command.output_max = 8;
    assert_eq!(run_with(&command, "{}", &|| false).end, End::Completed);
    command.output_max = 7;
    assert!(matches!(run_with(&command, "{}", &|| false).end, End::Terminal(_)));
}

#[test]
fn the_time_limit_ends_the_whole_group_at_once_when_it_obeys() {
    let mut command = shell("sleep 600 & echo $! >&2; sleep 600");
    command.timeout = Some(Duration::from_millis(200));
    command.grace = Duration::from_secs(600);
    let start = clock::now();
    let report = run_with(&command, "{}", &|| false);
    assert!(failed(&report).contains("longer than its time limit of 200ms"), "{report:?}");
    assert!(start.elapsed() < BOUND);
    let pid = report.log.first().unwrap();
    wait_until("the grandchild is still there", || !is_alive(pid));
}

#[test]
fn a_group_that_ignores_sigterm_is_killed_after_the_grace() {
    let mut command = shell("trap '' TERM; echo $$ >&2; while :; do sleep 1; done");
    command.timeout = Some(Duration::from_millis(200));
    let report = run_with(&command, "{}", &|| false);
    assert!(failed(&report).contains("time limit"), "{report:?}");
    wait_until("the command is still there", || !is_alive(report.log.first().unwrap()));
}

#[test]
fn children_left_behind_are_ended_and_the_result_stands() {
    let report = run_script(r#"sleep 600 & echo $! >&2; echo '{"done":true}'"#);
    assert_eq!((report.end.clone(), output(&report)), (End::Completed, r#"{"done":true}"#));
    wait_until("the child is still there", || !is_alive(report.log.first().unwrap()));
}

#[test]
fn a_recall_stops_the_command_and_leaves_no_result() {
    let asked = Cell::new(0_u32);
    let recalled = || {
        asked.set(asked.get() + 1);
        asked.get() > 2
    };
    let report = run_with(&shell("echo $$ >&2; sleep 600"), "{}", &recalled);
    assert_eq!(report.end, End::GivenBack);
    wait_until("the command is still there", || !is_alive(report.log.first().unwrap()));
}

#[test]
fn a_command_that_finishes_when_recalled_keeps_its_result() {
    let start = clock::now();
    let recalled = || start.elapsed() > Duration::from_millis(300);
    let script = r#"trap 'echo "{\"saved\":true}"; exit 0' TERM; while :; do sleep 0.05; done"#;
    let report = run_with(&shell(script), "{}", &recalled);
    assert_eq!((report.end.clone(), output(&report)), (End::Completed, r#"{"saved":true}"#));
}

#[test]
fn a_missing_command_is_named() {
    let command = Command { program: "no-such-program-here".into(), ..shell("") };
    assert_eq!(find(&command), Err("there is no program `no-such-program-here` in PATH".to_owned()));
    let line = Command { program: "python3 resize.py".into(), ..shell("") };
    let told = find(&line).unwrap_err();
    assert!(told.ends_with("in PATH; program and arguments are words of their own, not one"), "{told}");
    let report = run_with(&command, "{}", &|| false);
    assert!(failed(&report).contains("`no-such-program-here` could not be run"), "{report:?}");
    let nowhere = Command { cwd: Some("/no/such/place".into()), ..shell("") };
    assert_eq!(find(&nowhere), Err("there is no directory /no/such/place".to_owned()));
    assert!(failed(&run_with(&nowhere, "{}", &|| false)).contains("/no/such/place"));
    let data = Command { program: "/etc/passwd".into(), ..shell("") };
    assert!(find(&data).unwrap_err().contains("not an executable file"));
    assert_eq!(find(&shell("")), Ok(()));
}

#[test]
fn standard_error_becomes_at_most_ten_lines() {
    let report = run_script("for i in $(seq 1 30); do echo line $i >&2; done");
    let log = [
        "line 1",
        "line 2",
        "line 3",
        "line 4",
        "line 5",
        "… (21 lines left out)",
        "line 27",
        "line 28",
        "line 29",
        "line 30",
    ];
    assert_eq!(report.log, log);
    let ten = run_script("for i in $(seq 1 10); do echo line $i >&2; done");
    assert_eq!(ten.log, (1..=10).map(|i| format!("line {i}")).collect::<Vec<_>>());
    let long = run_script("head -c 5000 /dev/zero | tr '\\0' x >&2");
    assert!(long.log[0].ends_with("x … (3000 bytes more)"), "{:?}", long.log);
}

#[test]
fn the_task_is_in_the_environment_and_the_credentials_are_not() {
    let mut command = shell(
        r#"echo "$DOWNBEAT_TASK_ID $DOWNBEAT_WORKFLOW_ID $DOWNBEAT_TASK_TYPE $DOWNBEAT_RETRY_COUNT $DOWNBEAT_POLL_COUNT $OWN $PWD [$CONDUCTOR_AUTH_SECRET]" >&2"#,
    );
    command.env.insert("OWN".to_owned(), "own".to_owned());
    command.cwd = Some("/".into());
    let report = run_with(&command, "{}", &|| false);
    assert_eq!(report.log, ["task-1 workflow-1 greet 2 3 own / []"]);
}

#[test]
fn nothing_waits_for_a_slice_when_a_command_ends() {
    let start: Instant = clock::now();
    for _ in 0..20 {
        assert_eq!(run_script("exit 0").end, End::Completed);
    }
    // Twenty slices would be 2 s.
    assert!(start.elapsed() < Duration::from_millis(1_500), "{:?}", start.elapsed());
}

#[test]
fn after_a_recall_only_a_complete_output_or_a_written_result_is_a_result() {
    let recalled = |script: &str| {
        let start = clock::now();
        let recalled = move || start.elapsed() > Duration::from_millis(200);
        let script = format!("trap '{script}' TERM; while :; do sleep 0.02; done");
        run_with(&shell(&script), "{}", &recalled).end
    };
    for none in ["exit 0", "exit 1", "exit 100", "exit 75", "exit 130", "exit 143", "echo \"[]\"; exit 0"] {
        assert_eq!(recalled(none), End::GivenBack, "{none}");
    }
    for none in ["printf \"{\"; exit 0", "echo \"{}\"; exit 1", "echo \"{}\"; exit 143"] {
        assert_eq!(recalled(none), End::GivenBack, "{none}");
    }
    assert_eq!(recalled("echo \"{}\"; exit 0"), End::Completed);
    assert!(matches!(recalled("echo \"{}\"; exit 100"), End::Terminal(_)));
    let again = r#"echo "{\"callbackAfterSeconds\":7}" > "$DOWNBEAT_RESULT"; exit 75"#;
    assert_eq!(recalled(again), End::InProgress(Duration::from_secs(7)));
}

#[test]
fn a_cancelled_command_has_all_its_grace_and_a_drained_one_less_than_a_second() {
    for (why, end, has_cleaned) in
        [(Recall::Cancelled, End::Cancelled, true), (Recall::Drain, End::GivenBack, false)]
    {
        let dir = tempfile::tempdir().unwrap();
        let cleaned = dir.path().join("cleaned");
        let clean = format!("sleep 1.2; touch {}; echo \"{{}}\"; exit 0", cleaned.display());
        let mut command = shell(&format!("trap '{clean}' TERM; while :; do sleep 0.02; done"));
        command.grace = Duration::from_secs(60);
        let start = clock::now();
        let recalled = || (start.elapsed() > Duration::from_millis(200)).then_some(why);
        let report = run_until(&command, "{}", &recalled);
        assert_eq!((report.end, report.output.is_none()), (end, true));
        assert_eq!(cleaned.exists(), has_cleaned, "{why:?}");
        assert!(start.elapsed() < BOUND);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_group_and_its_start_are_told() {
    let told = Cell::new(None);
    let dir = tempfile::tempdir().unwrap();
    let task = Assignment {
        task_id: "task-1",
        workflow_id: "workflow-1",
        task_type: "greet",
        retry_count: 0,
        poll_count: 1,
        input: b"{}",
        result: &dir.path().join("result"),
    };
    let started = |group, tick| told.set(Some((group, tick)));
    let script = "echo $$ >&2; cut -d ' ' -f 22 /proc/$$/stat >&2";
    let report = run(&shell(script), task, Hooks { recalled: &|| None, started: &started });
    let (group, tick): (i32, Option<u64>) = told.get().unwrap();
    assert_eq!(report.log, [group.to_string(), tick.unwrap().to_string()]);
}

#[test]
fn an_end_by_a_signal_is_held_until_it_is_known_whom_it_was_meant_for() {
    for (script, after, given_back) in [
        ("kill -TERM $$", 150, true),
        ("kill -INT $$", 150, true),
        ("kill -HUP $$", 150, true),
        ("exit 143", 150, true),
        ("exit 130", 150, true),
        ("kill -TERM $$", 5_000, false),
        ("exit 143", 5_000, false),
        ("kill -KILL $$", 150, false),
        ("exit 1", 150, false),
    ] {
        let start = clock::now();
        let recalled = || start.elapsed() > Duration::from_millis(after);
        let report = run_with(&shell(script), "{}", &recalled);
        assert_eq!(report.end == End::GivenBack, given_back, "{script} {after}: {report:?}");
        assert!(start.elapsed() < Duration::from_secs(4), "{script} was held too long");
    }
}
