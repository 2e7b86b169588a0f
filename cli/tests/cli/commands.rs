//! Commands as workers: what each end of a command makes of its task, as the server has it.

use downbeat_server::http::{Options, Server, Status, WorkflowStatus, WorkflowView};

use super::harness::{Place, ended, is_alive, only, server, server_with, wait_for};

/// Runs `script` as the worker of one task, to the end of its workflow.
fn run(script: &str, options: &[&str], input: &str) -> WorkflowView {
    let server = server(&["job"]);
    run_on(&server, script, options, input)
}

fn run_on(server: &Server, script: &str, options: &[&str], input: &str) -> WorkflowView {
    let place = Place::new();
    let url = server.url();
    let id = server.schedule("job", input).unwrap();
    let mut args = vec!["run", "--server", &url, "--task", "job"];
    args.extend(options);
    args.extend(["--", "sh", "-c", script]);
    let mut downbeat = place.start(&args, &[]);
    let workflow = ended(server, &id);
    downbeat.stop();
    workflow
}

#[test]
fn a_command_completes_its_task_and_numbers_of_any_size_pass_unchanged() {
    let input = r#"{"wide":123456789012345678901234567890,"fine":0.10000000000000000000001}"#;
    let workflow = run("cat; echo one >&2; echo two >&2", &[], input);
    assert_eq!(workflow.status, WorkflowStatus::Completed);
    let task = only(&workflow);
    assert!(task.output.contains("123456789012345678901234567890"), "{}", task.output);
    assert!(task.output.contains("0.10000000000000000000001"), "{}", task.output);
    assert_eq!(task.logs, ["one", "two"]);
}

#[test]
fn a_failure_is_retried_and_a_terminal_one_is_not() {
    let script =
        r#"[ "$DOWNBEAT_RETRY_COUNT" = 1 ] || { echo "not yet" >&2; exit 7; }; echo "{\"done\":true}""#;
    let workflow = run(script, &[], "{}");
    assert_eq!(workflow.status, WorkflowStatus::Completed);
    let [first, second] = workflow.tasks.as_slice() else { panic!("{workflow:?}") };
    assert_eq!((first.status, second.status), (Status::Failed, Status::Completed));
    assert_eq!(first.reason.as_deref(), Some("the command ended with exit code 7: not yet"));
    let workflow = run("echo beyond repair >&2; exit 100", &[], "{}");
    assert_eq!(workflow.status, WorkflowStatus::Failed);
    assert_eq!(only(&workflow).status, Status::FailedWithTerminalError);
}

#[test]
fn a_task_in_progress_is_called_again() {
    let script = r#"
        if [ "$DOWNBEAT_POLL_COUNT" = 1 ]; then
          echo '{"callbackAfterSeconds":1,"output":{"phase":"waiting"}}' > "$DOWNBEAT_RESULT"; exit 75
        fi
        echo "{\"polls\":$DOWNBEAT_POLL_COUNT}""#;
    let workflow = run(script, &[], "{}");
    let task = only(&workflow);
    assert_eq!((task.status, task.polls, task.attempt), (Status::Completed, 2, 0));
    assert_eq!(task.output.replace(' ', ""), r#"{"polls":2}"#);
}

#[test]
fn output_that_is_no_json_fails_without_showing_it() {
    let workflow = run("echo s3cret", &[], "{}");
    assert_eq!(workflow.status, WorkflowStatus::Failed);
    for task in &workflow.tasks {
        let reason = task.reason.as_deref().unwrap_or_default();
        assert!(reason.contains("7 bytes are not JSON") && !reason.contains("s3cret"), "{reason}");
    }
    assert_eq!(workflow.tasks.len(), 2, "it is retried");
}

#[test]
fn a_hundred_megabytes_of_output_fail_the_task_for_good_with_the_limit() {
    let workflow = run("yes 0123456789 | head -c 104857600", &[], "{}");
    let task = only(&workflow);
    assert_eq!(task.status, Status::FailedWithTerminalError);
    assert!(task.reason.as_deref().unwrap_or_default().contains("10485760 bytes"), "{:?}", task.reason);
}

#[test]
fn a_command_that_never_ends_is_ended_with_all_its_group() {
    let script = "sleep 600 & echo $! >&2; sleep 600";
    let workflow = run(script, &["--timeout", "300ms"], "{}");
    assert_eq!(workflow.status, WorkflowStatus::Failed);
    for task in &workflow.tasks {
        assert!(
            task.reason.as_deref().unwrap_or_default().contains("time limit of 300ms"),
            "{:?}",
            task.reason
        );
        wait_for("the end of the grandchild", || (!is_alive(&task.logs[0])).then_some(()));
    }
}

#[test]
fn children_that_a_command_leaves_behind_are_ended() {
    let workflow = run(r#"sleep 600 & echo $! >&2; echo "{\"done\":true}""#, &[], "{}");
    let task = only(&workflow);
    assert_eq!(task.status, Status::Completed);
    wait_for("the end of the child", || (!is_alive(&task.logs[0])).then_some(()));
}

#[test]
fn a_command_that_disappears_is_named_in_the_failure() {
    let server = server(&["job"]);
    let place = Place::new();
    let url = server.url();
    let script = place.write("job.sh", "#!/bin/sh\necho '{}'\n");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut downbeat = place.start(&["run", "--server", &url, "--task", "job", "--", "./job.sh"], &[]);
    let first = server.schedule("job", "{}").unwrap();
    assert_eq!(ended(&server, &first).status, WorkflowStatus::Completed);
    std::fs::remove_file(script).unwrap();
    let second = ended(&server, &server.schedule("job", "{}").unwrap());
    assert_eq!(second.status, WorkflowStatus::Failed);
    assert!(second.tasks[0].reason.as_deref().unwrap_or_default().contains("`./job.sh`"), "{second:?}");
    downbeat.stop();
}

#[test]
fn exit_codes_are_seen_also_where_the_end_of_children_is_ignored_by_inheritance() {
    let server = server(&["job"]);
    let (place, url) = (Place::new(), server.url());
    let id = server.schedule("job", r#"{"is":"seen"}"#).unwrap();
    let mut shell = std::process::Command::new("sh");
    let line = r#"trap "" CHLD; exec "$DOWNBEAT" run --server "$URL" --task job -- cat"#;
    shell.args(["-c", line]).env("DOWNBEAT", env!("CARGO_BIN_EXE_downbeat")).env("URL", url);
    let mut downbeat = place.start_command(shell);
    let workflow = ended(&server, &id);
    assert_eq!(workflow.status, WorkflowStatus::Completed, "{workflow:?}");
    downbeat.stop();
}

#[test]
fn a_file_makes_many_workers_of_one_process() {
    let server = server(&["first", "second"]);
    let place = Place::new();
    let text = format!(
        "[server]\nurl = \"{}\"\n[[worker]]\ntask = \"first\"\ncommand = [\"cat\"]\nslots = 4\n[[worker]]\ntask = \
         \"second\"\ncommand = [\"sh\", \"-c\", \"echo \\\"{{\\\\\\\"is\\\\\\\":\\\\\\\"$WHO\\\\\\\"}}\\\"\"]\nenv = {{ WHO = \"second\" }}\n",
        server.url()
    );
    let file = place.write("downbeat.toml", &text).display().to_string();
    let ids: Vec<String> = (0..20)
        .map(|at| server.schedule(if at % 2 == 0 { "first" } else { "second" }, r#"{"is":"first"}"#).unwrap())
        .collect();
    let mut downbeat = place.start(&["run", "--config", &file], &[]);
    for (at, id) in ids.iter().enumerate() {
        let workflow = ended(&server, id);
        let expected = if at % 2 == 0 { "first" } else { "second" };
        assert!(only(&workflow).output.contains(expected), "{workflow:?}");
    }
    downbeat.stop();
}

#[test]
fn a_domain_is_another_queue() {
    let server = server(&["job"]);
    let id = server.schedule_in("job", Some("eu"), "{}").unwrap();
    let (place, url) = (Place::new(), server.url());
    let mut downbeat =
        place.start(&["run", "--server", &url, "--task", "job", "--domain", "eu", "--", "cat"], &[]);
    assert_eq!(ended(&server, &id).status, WorkflowStatus::Completed);
    downbeat.stop();
}

#[test]
fn an_input_in_external_storage_is_fetched_or_named_and_never_taken_for_an_empty_one() {
    let input = format!(r#"{{"text":"{}"}}"#, "x".repeat(2_000));
    let small = Options { input_inline_max: 1_000, ..Options::default() };
    let readable = server_with(small.clone(), &["job"]);
    let workflow = run_on(&readable, "cat", &[], &input);
    assert_eq!(only(&workflow).status, Status::Completed, "{workflow:?}");
    assert!(only(&workflow).output.contains("xxxxxxxx"), "{workflow:?}");
    // Another name for the same server than the one that it gives for its storage.
    let id = readable.schedule("job", &input).unwrap();
    let url = readable.url().replace("127.0.0.1", "localhost");
    let place = Place::new();
    let mut downbeat = place.start(&["run", "--server", &url, "--task", "job", "--", "cat"], &[]);
    assert_eq!(only(&ended(&readable, &id)).status, Status::Completed);
    downbeat.stop();
    let hidden = server_with(Options { external_readable: false, ..small }, &["job"]);
    let workflow = run_on(&hidden, "cat", &[], &input);
    let task = only(&workflow);
    assert_eq!(task.status, Status::FailedWithTerminalError, "{workflow:?}");
    assert!(task.reason.as_deref().unwrap_or_default().contains(".json"), "{workflow:?}");
}

#[test]
fn the_first_failure_is_in_the_log_and_no_reason_is() {
    let server = server(&["job"]);
    let (place, url) = (Place::new(), server.url());
    let ids: Vec<String> = (0..2).map(|_| server.schedule("job", "{}").unwrap()).collect();
    let script = "echo s3cret >&2; exit 100";
    let mut downbeat =
        place.start(&["run", "--server", &url, "--task", "job", "--", "sh", "-c", script], &[]);
    for id in &ids {
        assert_eq!(ended(&server, id).status, WorkflowStatus::Failed);
    }
    let log = downbeat.stop();
    assert_eq!(log.matches("the first task failed; the server has the reason").count(), 1, "{log}");
    assert!(log.contains("FAILED_WITH_TERMINAL_ERROR") && !log.contains("s3cret"), "{log}");
}
