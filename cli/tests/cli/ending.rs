//! Signals: what runs may finish, what cannot is given back, and nothing is lost or left behind.

use std::io::Write;

use downbeat_server::http::{Server, Status, WorkflowStatus};
use rustix::process::Signal;

use super::harness::{Place, ended, is_alive, only, server, wait_for, wait_for_tasks};

const TASKS: usize = 100;

fn schedule(server: &Server, count: usize) -> Vec<String> {
    (0..count).map(|_| server.schedule("job", "{}").unwrap()).collect()
}

#[test]
fn sigterm_during_a_hundred_running_tasks_lets_them_finish() {
    let server = server(&["job"]);
    let (place, url) = (Place::new(), server.url());
    // Each task waits at the gate, so that all of them run when the signal comes.
    let gate = place.gate();
    let script = r#"cat gate; echo "{\"done\":true}""#;
    let ids = schedule(&server, TASKS);
    let args = ["run", "--server", &url, "--task", "job", "--slots", "100", "--", "sh", "-c", script];
    let mut downbeat = place.start(&args, &[]);
    wait_for_tasks(&server, &ids, Status::InProgress, TASKS);
    let late = schedule(&server, 5);
    downbeat.signal(Signal::TERM);
    downbeat.wait_for_line(&["drain"]);
    assert_eq!(downbeat.wait_while(|| gate.open()).code(), Some(0), "{}", downbeat.log());
    for id in &ids {
        let workflow = server.workflow(id).unwrap();
        assert_eq!((workflow.status, only(&workflow).polls), (WorkflowStatus::Completed, 1), "{workflow:?}");
    }
    // What came after the signal was not asked for.
    for id in &late {
        assert_eq!(only(&server.workflow(id).unwrap()).status, Status::Scheduled);
    }
    let counts = server.stats().tasks;
    assert_eq!((counts.completed, counts.ended, counts.ignored_reports), (100, 100, 0), "{counts:?}");
}

#[test]
fn what_does_not_finish_in_time_is_given_back_and_run_by_another() {
    let server = server(&["job"]);
    let (place, url) = (Place::new(), server.url());
    let ids = schedule(&server, TASKS);
    let run = ["run", "--server", &url, "--task", "job", "--slots", "100", "--drain-timeout", "300ms", "--"];
    let script = r#"echo $$ > pid-$$; sleep 600"#;
    let args: Vec<&str> = run.into_iter().chain(["sh", "-c", script]).collect();
    let mut first = place.start(&args, &[]);
    wait_for_tasks(&server, &ids, Status::InProgress, TASKS);
    wait_for("all commands", || (place.files("pid-").len() == TASKS).then_some(()));
    first.signal(Signal::TERM);
    let status = first.wait();
    assert_eq!(status.code(), Some(0), "{}", first.log());
    for file in place.files("pid-") {
        let pid = file.trim_start_matches("pid-").to_owned();
        wait_for("the end of a command", || (!is_alive(&pid)).then_some(()));
    }
    let args: Vec<&str> = run.into_iter().chain(["cat"]).collect();
    let mut second = place.start(&args, &[]);
    for id in &ids {
        let workflow = ended(&server, id);
        assert_eq!((workflow.status, only(&workflow).polls), (WorkflowStatus::Completed, 2), "{workflow:?}");
    }
    second.stop();
    let counts = server.stats().tasks;
    assert_eq!((counts.completed, counts.ended, counts.timed_out), (100, 100, 0), "{counts:?}");
}

#[test]
fn the_first_ctrl_c_does_not_reach_the_commands() {
    let server = server(&["job"]);
    let (place, url) = (Place::new(), server.url());
    let id = server.schedule("job", "{}").unwrap();
    let script =
        r#"trap 'touch interrupted' INT; touch up; while [ ! -e go ]; do sleep 0.05; done; echo "{}""#;
    let mut downbeat =
        place.start(&["run", "--server", &url, "--task", "job", "--", "sh", "-c", script], &[]);
    wait_for("the command", || place.path("up").exists().then_some(()));
    downbeat.interrupt_group();
    downbeat.wait_for_line(&["drain"]);
    place.write("go", "");
    assert_eq!(downbeat.wait().code(), Some(0), "{}", downbeat.log());
    assert_eq!(server.workflow(&id).unwrap().status, WorkflowStatus::Completed);
    assert!(!place.path("interrupted").exists(), "the command saw the Ctrl-C");
}

#[test]
fn the_second_ctrl_c_ends_at_once_and_leaves_no_command() {
    let server = server(&["job"]);
    let (place, url) = (Place::new(), server.url());
    let id = server.schedule("job", "{}").unwrap();
    let script = "trap '' TERM INT; echo $$ > pid-$$; while :; do sleep 600; done";
    let mut downbeat =
        place.start(&["run", "--server", &url, "--task", "job", "--", "sh", "-c", script], &[]);
    let pid = wait_for("the command", || place.files("pid-").pop());
    downbeat.interrupt_group();
    downbeat.wait_for_line(&["drain"]);
    downbeat.interrupt_group();
    downbeat.wait();
    let pid = pid.trim_start_matches("pid-").to_owned();
    wait_for("the end of the command", || (!is_alive(&pid)).then_some(()));
    assert_eq!(server.workflow(&id).unwrap().status, WorkflowStatus::Running);
}

#[test]
fn a_signal_during_the_start_ends_the_run_well() {
    let server = server(&["job"]);
    let (place, url) = (Place::new(), server.url());
    let id = server.schedule("job", "{}").unwrap();
    // The start waits for its configuration until somebody writes it.
    let pipe = place.path("downbeat.toml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let [scratch, file] = ["scratch", "downbeat.toml"].map(|name| place.path(name).display().to_string());
    std::fs::create_dir(&scratch).unwrap();
    let mut downbeat = place.start(&["run", "--config", &file], &[("TMPDIR", &scratch)]);
    // It opens as soon as somebody reads.
    let mut configuration = std::fs::File::options().write(true).open(&pipe).unwrap();
    downbeat.signal(Signal::TERM);
    let text = format!("[server]\nurl = \"{url}\"\n[[worker]]\ntask = \"job\"\ncommand = [\"cat\"]\n");
    // Without a reader there is nothing to write to.
    drop(configuration.write_all(text.as_bytes()));
    drop(configuration);
    let status = downbeat.wait();
    assert!(downbeat.log().contains("a signal came before the workers had begun"), "{}", downbeat.log());
    assert_eq!(status.code(), Some(0), "{status:?}: {}", downbeat.log());
    assert_eq!(server.workflow(&id).unwrap().tasks[0].status, Status::Scheduled);
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "a directory of this run is left behind");
}

#[test]
fn an_idle_worker_ends_at_once() {
    let server = server(&["job"]);
    let (place, url) = (Place::new(), server.url());
    let scratch = place.path("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let args = ["run", "--server", &url, "--task", "job", "--", "cat"];
    let mut downbeat = place.start(&args, &[("TMPDIR", scratch.to_str().unwrap())]);
    wait_for("a poll", || (server.stats().requests_to("poll_batch") > 0).then_some(()));
    let log = downbeat.stop();
    assert!(log.contains("INFO ended"), "{log}");
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "a directory of this run is left behind");
}
