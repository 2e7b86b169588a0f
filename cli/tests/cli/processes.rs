//! Processes: nothing that a command started outlives its task, no command its runner, and no zombie anybody.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use downbeat_server::http::{Server, Status, WorkflowStatus};
use rustix::process::{Pid, Signal, kill_process};

use super::harness::{Downbeat, Place, ended, is_alive, now, only, server, wait_for, wait_for_tasks};

/// What `/proc` says of a process: number, state, parent.
fn processes() -> Vec<(i32, char, i32)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let stat = |name: String| {
        let pid = name.parse().ok()?;
        let text = std::fs::read_to_string(Path::new("/proc").join(name).join("stat")).ok()?;
        let (_, after) = text.rsplit_once(')')?;
        let mut fields = after.split_ascii_whitespace();
        Some((pid, fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
    };
    entries.filter_map(|entry| stat(entry.file_name().into_string().ok()?)).collect()
}

/// A process and all that descend from it: what a service manager signals at once.
fn family(root: Pid) -> Vec<i32> {
    let all = processes();
    let mut family = vec![root.as_raw_nonzero().get()];
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        family.extend(all.iter().filter(|(_, _, its)| *its == parent).map(|(pid, ..)| *pid));
        at += 1;
    }
    family
}

fn signal_all(pids: &[i32], signal: Signal) {
    for pid in pids {
        // It may have ended.
        let _gone = kill_process(Pid::from_raw(*pid).unwrap(), signal);
    }
}

/// The watchdog of a runner.
fn watchdog(runner: Pid) -> Option<Pid> {
    let is_one = |pid: i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("watch-commands")
    };
    let parent = runner.as_raw_nonzero().get();
    processes()
        .into_iter()
        .find(|(pid, state, its)| *its == parent && *state != 'Z' && is_one(*pid))
        .and_then(|(pid, ..)| Pid::from_raw(pid))
}

fn zombies_of(parent: Pid) -> usize {
    let parent = parent.as_raw_nonzero().get();
    processes().iter().filter(|(_, state, its)| *its == parent && *state == 'Z').count()
}

fn start(place: &Place, server: &Server, options: &[&str], script: &str) -> Downbeat {
    let url = server.url();
    let args: Vec<&str> = ["run", "--server", &url, "--task", "job"]
        .into_iter()
        .chain(options.iter().copied())
        .chain(["--", "sh", "-c", script])
        .collect();
    let scratch = place.path("scratch");
    drop(std::fs::create_dir(&scratch));
    place.start(&args, &[("TMPDIR", scratch.to_str().unwrap())])
}

/// What commands wrote into files of this prefix, once there are so many.
fn pids(place: &Place, prefix: &str, count: usize) -> Vec<String> {
    wait_for("the commands", || {
        let files = place.files(prefix);
        let texts: Vec<String> =
            files.iter().map(|file| std::fs::read_to_string(place.path(file)).unwrap()).collect();
        (texts.len() == count && texts.iter().all(|text| text.ends_with('\n'))).then_some(texts)
    })
}

fn wait_for_end(pids: &[String]) {
    for pid in pids {
        wait_for("the end of a process", || (!is_alive(pid)).then_some(()));
    }
}

/// The task was given back without a retry, and the next runner completes it.
fn is_run_again(server: &Server, id: &str) {
    let place = Place::new();
    let mut second = start(&place, server, &[], "cat");
    let workflow = ended(server, id);
    second.stop();
    let task = only(&workflow);
    assert_eq!((task.status, task.polls, task.attempt), (Status::Completed, 2, 0), "{workflow:?}");
}

// -------------------------------------------------------------------- stops

#[test]
fn what_ends_without_a_result_after_a_recall_is_given_back_whatever_its_exit_code() {
    for end in
        ["exit 0", "exit 1", "exit 100", "exit 130", "exit 143", "printf '{\"half\":'; exit 0", "exit 75"]
    {
        let (server, place) = (server(&["job"]), Place::new());
        let id = server.schedule("job", "{}").unwrap();
        let script =
            format!("trap 'echo Traceback >&2; {end}' TERM; echo $$ > pid; while :; do sleep 0.02; done");
        let mut downbeat = start(&place, &server, &["--drain-timeout", "100ms"], &script);
        pids(&place, "pid", 1);
        downbeat.stop();
        assert_eq!(server.workflow(&id).unwrap().status, WorkflowStatus::Running, "{end}");
        is_run_again(&server, &id);
    }
}

#[test]
fn a_stop_of_all_processes_at_once_gives_tasks_back_and_uses_up_no_retry() {
    let trap = |end: &str| format!("trap '{end}' TERM; echo $$ > pid; while :; do sleep 0.02; done");
    for (script, commands_first) in [
        ("echo $$ > pid; sleep 600".to_owned(), true),
        ("echo $$ > pid; sleep 600".to_owned(), false),
        (trap("exit 143"), true),
        (trap("exit 0"), false),
        (trap("echo KeyboardInterrupt >&2; exit 1"), false),
    ] {
        let (server, place) = (server(&["job"]), Place::new());
        let id = server.schedule("job", "{}").unwrap();
        let mut downbeat = start(&place, &server, &[], &script);
        pids(&place, "pid", 1);
        let mut all = family(downbeat.pid());
        if commands_first {
            all.reverse();
        }
        signal_all(&all, Signal::TERM);
        assert_eq!(downbeat.wait().code(), Some(0), "{}", downbeat.log());
        assert_eq!(server.workflow(&id).unwrap().status, WorkflowStatus::Running, "{script}");
        is_run_again(&server, &id);
    }
}

#[test]
fn a_command_that_somebody_else_ends_fails_while_its_runner_goes_on() {
    let (server, place) = (server(&["job"]), Place::new());
    let id = server.schedule("job", "{}").unwrap();
    let script = "echo $$ > pid; [ $DOWNBEAT_RETRY_COUNT = 1 ] || { cat gate; kill -TERM $$; }";
    let gate = place.gate();
    let mut downbeat = start(&place, &server, &[], script);
    pids(&place, "pid", 1);
    // A signal to only the watchdog says nothing of the runner.
    kill_process(wait_for("the watchdog", || watchdog(downbeat.pid())), Signal::TERM).unwrap();
    wait_for("the failure", || {
        gate.open();
        server.workflow(&id).filter(|workflow| workflow.tasks[0].status == Status::Failed)
    });
    let workflow = ended(&server, &id);
    downbeat.stop();
    let [first, second] = workflow.tasks.as_slice() else { panic!("{workflow:?}") };
    assert_eq!((first.status, second.status), (Status::Failed, Status::Completed));
    assert_eq!(first.reason.as_deref(), Some("the command was killed by SIGTERM (signal 15)"));
}

#[test]
fn a_command_that_says_nothing_completes_also_during_a_drain() {
    let (server, place) = (server(&["job"]), Place::new());
    let gate = place.gate();
    let id = server.schedule("job", "{}").unwrap();
    let mut downbeat = start(&place, &server, &[], "echo $$ > pid; cat gate");
    pids(&place, "pid", 1);
    downbeat.signal(Signal::TERM);
    downbeat.wait_for_line(&["drain"]);
    assert_eq!(downbeat.wait_while(|| gate.open()).code(), Some(0), "{}", downbeat.log());
    let workflow = ended(&server, &id);
    assert_eq!((only(&workflow).status, only(&workflow).polls), (Status::Completed, 1));
}

// -------------------------------------------------------------------- shortage

#[test]
fn too_few_descriptors_for_all_slots_lower_the_slots_and_fail_no_task() {
    let (server, place) = (server(&["job"]), Place::new());
    let ids: Vec<String> = (0..300).map(|_| server.schedule("job", "{}").unwrap()).collect();
    let mut shell = Command::new("sh");
    let line = r#"ulimit -n 512; exec "$DOWNBEAT" run --server "$URL" --task job --slots 1000 -- sh -c 'sleep 0.1; cat'"#;
    shell.args(["-c", line]).env("DOWNBEAT", env!("CARGO_BIN_EXE_downbeat")).env("URL", server.url());
    let mut downbeat = place.start_command(shell);
    downbeat.wait_for_line(&["too few open files", "fits=54"]);
    downbeat.wait_for_line(&["task=\"job\"", "asked=1000", "slots=54"]);
    for id in &ids {
        assert_eq!(ended(&server, id).status, WorkflowStatus::Completed);
    }
    downbeat.stop();
    let counts = server.stats().tasks;
    assert_eq!((counts.completed, counts.ended), (300, 300), "{counts:?}");
}

/// The limit of open files under which a process can open two more.
#[cfg(target_os = "linux")]
fn limit_with_two_to_spare(process: Pid) -> u64 {
    let files = std::fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())).unwrap();
    let open: BTreeSet<u64> =
        files.filter_map(|file| file.unwrap().file_name().to_str()?.parse().ok()).collect();
    (0..).filter(|number| !open.contains(number)).nth(2).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn tasks_that_cannot_be_started_wait_or_are_given_back_and_run_once_they_can() {
    use rustix::process::{Resource, Rlimit, prlimit};

    let (server, place) = (server(&["job"]), Place::new());
    let first = server.schedule("job", "{}").unwrap();
    let mut downbeat = start(&place, &server, &["--slots", "4"], "cat");
    assert_eq!(ended(&server, &first).status, WorkflowStatus::Completed);
    let limit = |current| {
        let limit = Rlimit { current: Some(current), maximum: Some(20_000) };
        prlimit(Some(downbeat.pid()), Resource::Nofile, limit).unwrap()
    };
    // What is open stays open. A connection that ends can be made anew, but no command has its pipes.
    let before = limit(limit_with_two_to_spare(downbeat.pid()));
    let ids: Vec<String> = (0..8).map(|_| server.schedule("job", "{}").unwrap()).collect();
    downbeat.wait_for_line(&["commands cannot be started", "Too many open files"]);
    wait_for("a task that is given back", || {
        let tasks = ids.iter().filter_map(|id| server.workflow(id)).flat_map(|workflow| workflow.tasks);
        tasks.into_iter().any(|task| task.polls > 1).then_some(())
    });
    prlimit(Some(downbeat.pid()), Resource::Nofile, before).unwrap();
    for id in &ids {
        let workflow = ended(&server, id);
        assert_eq!(
            (workflow.status, only(&workflow).attempt),
            (WorkflowStatus::Completed, 0),
            "{workflow:?}"
        );
    }
    downbeat.stop();
}

// -------------------------------------------------------------------- orphans

#[test]
fn children_that_leave_the_group_end_with_their_task_and_those_of_another_do_not() {
    let (server, place) = (server(&["job", "other"]), Place::new());
    let other_place = Place::new();
    let url = server.url();
    let text = format!(
        "[server]\nurl = \"{url}\"\n[[worker]]\ntask = \"job\"\ncommand = [\"sh\", \"job\"]\n\
         [[worker]]\ntask = \"other\"\ncommand = [\"sh\", \"other\"]\n"
    );
    let file = place.write("downbeat.toml", &text).display().to_string();
    place.write("job", "sh leave; env -i sh leave; touch left; cat");
    place.write("leave", "(setsid sh -c 'echo $$ > gone-$$; sleep 600 & echo $! > gone-$!; wait' &) \n");
    place.write(
        "other",
        "(setsid sh -c 'echo $$ > stays; sleep 600' &) ; while [ ! -e go ]; do sleep 0.02; done; cat",
    );
    let long = server.schedule("other", "{}").unwrap();
    let mut downbeat = place.start(&["run", "--config", &file], &[]);
    let stays = pids(&place, "stays", 1);
    let id = server.schedule("job", "{}").unwrap();
    let gone = pids(&place, "gone-", 4);
    assert_eq!(only(&ended(&server, &id)).status, Status::Completed);
    drop(other_place);
    // The two with an environment at once; the two without once no command is older than they.
    assert!(stays.iter().all(|pid| is_alive(pid)), "the other command's child was ended");
    place.write("go", "");
    assert_eq!(only(&ended(&server, &long)).status, Status::Completed);
    wait_for_end(&gone);
    wait_for_end(&stays);
    wait_for("no zombie", || (zombies_of(downbeat.pid()) == 0).then_some(()));
    downbeat.stop();
}

#[test]
fn orphans_that_end_while_their_task_runs_are_reaped() {
    let (server, place) = (server(&["job"]), Place::new());
    let id = server.schedule("job", "{}").unwrap();
    let script = "for i in 1 2 3 4 5; do (sh -c 'echo $PPID > /dev/null; true' &); done; \
                  (setsid sh -c 'echo $$ > orphan' &); echo $$ > pid; cat gate";
    let gate = place.gate();
    let mut downbeat = start(&place, &server, &[], script);
    let orphans = pids(&place, "orphan", 1);
    wait_for("the orphan's end and its reaping", || {
        (!Path::new("/proc").join(orphans[0].trim()).exists() && zombies_of(downbeat.pid()) == 0)
            .then_some(())
    });
    let workflow = wait_for("the workflow's end", || {
        gate.open();
        server.workflow(&id).filter(|workflow| workflow.status != WorkflowStatus::Running)
    });
    assert_eq!(only(&workflow).status, Status::Completed);
    downbeat.stop();
}

#[test]
fn a_child_of_the_shell_that_became_the_runner_is_left_alone_and_reaped_at_its_own_end() {
    let (server, place) = (server(&["job"]), Place::new());
    let ids: Vec<String> = (0..3).map(|_| server.schedule("job", "{}").unwrap()).collect();
    let mut shell = Command::new("sh");
    let line = r#"sleep 600 & echo $! > sidecar; (sleep 600 & echo $! > orphan);
                  exec "$DOWNBEAT" run --server "$URL" --task job -- sh -c '(setsid sleep 600 & echo $! > left-$$); cat'"#;
    shell.args(["-c", line]).env("DOWNBEAT", env!("CARGO_BIN_EXE_downbeat")).env("URL", server.url());
    let mut downbeat = place.start_command(shell);
    for id in &ids {
        assert_eq!(only(&ended(&server, id)).status, Status::Completed);
    }
    wait_for_end(&pids(&place, "left-", 3));
    let others = [pids(&place, "sidecar", 1), pids(&place, "orphan", 1)].concat();
    assert!(others.iter().all(|pid| is_alive(pid)), "a process of somebody else was ended");
    let sidecar = others[0].trim();
    signal_all(&[sidecar.parse().unwrap()], Signal::KILL);
    wait_for("its reaping", || (!Path::new("/proc").join(sidecar).exists()).then_some(()));
    downbeat.stop();
    assert!(is_alive(&others[1]));
    signal_all(&[others[1].trim().parse().unwrap()], Signal::KILL);
}

#[test]
fn as_process_1_there_is_no_zombie_either() {
    let inside = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let may = Command::new("unshare").args(inside).arg("true").stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("no namespace of processes may be made here");
        return;
    }
    let (server, place) = (server(&["job"]), Place::new());
    let ids: Vec<String> = (0..20).map(|_| server.schedule("job", "{}").unwrap()).collect();
    let mut command = Command::new("unshare");
    let script = "(setsid sleep 0.1 &); (sleep 0.1 &); ls /proc | grep -c '^[0-9]' >&2; cat";
    command.args(inside).arg(env!("CARGO_BIN_EXE_downbeat"));
    command.args(["run", "--server", &server.url(), "--task", "job", "--", "sh", "-c", script]);
    let downbeat = place.start_command(command);
    for id in &ids {
        assert_eq!(ended(&server, id).status, WorkflowStatus::Completed, "{}", downbeat.log());
    }
    let count = |id: &String| server.workflow(id).unwrap().tasks[0].logs[0].parse::<usize>().unwrap();
    // The runner, its watchdog, the command, its children, `ls` and `grep`: and none of twenty zombies.
    assert!(ids.iter().all(|id| count(id) <= 10), "{:?}", ids.iter().map(count).collect::<Vec<_>>());
    let own = family(downbeat.pid())[1];
    wait_for("no zombie", || (zombies_of(Pid::from_raw(own).unwrap()) == 0).then_some(()));
}

#[test]
fn two_thousand_commands_leave_nothing_behind() {
    let (server, place) = (server(&["job"]), Place::new());
    let ids: Vec<String> =
        (0..2_000).map(|at| server.schedule("job", &format!(r#"{{"at":{at}}}"#)).unwrap()).collect();
    let script =
        r#"read -r input; case $input in *0}) setsid sleep 1000 & echo $! > left-$!;; esac; echo "$input""#;
    let started = now();
    let mut downbeat = start(&place, &server, &["--slots", "16"], script);
    for id in &ids {
        assert_eq!(ended(&server, id).status, WorkflowStatus::Completed);
    }
    eprintln!("2,000 commands in {:?}", started.elapsed());
    wait_for_end(&pids(&place, "left-", 200));
    wait_for("no zombie", || (zombies_of(downbeat.pid()) == 0).then_some(()));
    assert_eq!(family(downbeat.pid()).len(), 2, "the runner and its watchdog: {:?}", processes());
    downbeat.stop();
    assert_eq!(place_scratch(&place), Vec::<String>::new());
}

/// What is in the directory for temporary files.
fn place_scratch(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path("scratch")).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

// -------------------------------------------------------------------- killed runners

/// A command that ignores SIGTERM, with a child in another session.
const STUBBORN: &str = "trap '' TERM; (setsid sh -c 'echo $$ > child-$$; sleep 600' &); echo $$ > pid-$$; \
                        while :; do sleep 0.1; done";

#[test]
fn a_kill_of_the_runner_ends_its_commands_within_five_seconds() {
    let (server, place) = (server(&["job"]), Place::new());
    let ids: Vec<String> = (0..4).map(|_| server.schedule("job", "{}").unwrap()).collect();
    let mut downbeat = start(&place, &server, &["--slots", "4"], STUBBORN);
    wait_for_tasks(&server, &ids, Status::InProgress, 4);
    let all = [pids(&place, "pid-", 4), pids(&place, "child-", 4)].concat();
    downbeat.signal(Signal::KILL);
    downbeat.wait();
    // How long that takes is what `cargo xtask kill` measures.
    wait_for_end(&all);
    wait_for("an empty directory for temporary files", || place_scratch(&place).is_empty().then_some(()));
}

/// Whether a process ignores or catches SIGTERM: one that has just started does not yet.
fn heeds_no_sigterm(pid: Pid) -> bool {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        u64::from_str_radix(line.trim(), 16).unwrap_or(0)
    };
    (mask("SigIgn:") | mask("SigCgt:")) & (1 << 14) != 0
}

#[test]
fn a_watchdog_that_is_killed_is_replaced_and_signals_do_not_end_it() {
    let (server, place) = (server(&["job"]), Place::new());
    let id = server.schedule("job", "{}").unwrap();
    let mut downbeat = start(&place, &server, &[], STUBBORN);
    wait_for_tasks(&server, std::slice::from_ref(&id), Status::InProgress, 1);
    let all = [pids(&place, "pid-", 1), pids(&place, "child-", 1)].concat();
    let first = wait_for("the watchdog", || watchdog(downbeat.pid()).filter(|pid| heeds_no_sigterm(*pid)));
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        kill_process(first, signal).unwrap();
    }
    kill_process(first, Signal::KILL).unwrap();
    let second = wait_for("another watchdog, which heeds no signals", || {
        watchdog(downbeat.pid()).filter(|pid| *pid != first && heeds_no_sigterm(*pid))
    });
    wait_for("no zombie", || (zombies_of(downbeat.pid()) == 0).then_some(()));
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        kill_process(second, signal).unwrap();
    }
    downbeat.signal(Signal::KILL);
    downbeat.wait();
    wait_for_end(&all);
    wait_for("the watchdog's end", || (!is_alive(&second.as_raw_nonzero().to_string())).then_some(()));
}

#[test]
fn what_a_killed_runner_left_in_the_temporary_directory_is_removed_at_the_next_start() {
    let (server, place) = (server(&["job"]), Place::new());
    let id = server.schedule("job", "{}").unwrap();
    let mut first = start(&place, &server, &[], "echo $$ > pid; sleep 600");
    let command = pids(&place, "pid", 1);
    // All at once, as when a container is killed.
    signal_all(&family(first.pid())[1..], Signal::STOP);
    first.signal(Signal::STOP);
    let all = family(first.pid());
    signal_all(&all, Signal::KILL);
    first.wait();
    wait_for_end(&command);
    let left = place_scratch(&place);
    assert_eq!(left.len(), 1, "{left:?}");
    let mut second = start(&place, &server, &[], "cat");
    second.wait_for_line(&["directories of runs that were killed are removed", "removed=1"]);
    assert!(!place_scratch(&place).contains(&left[0]));
    // Before that line SIGTERM is not heeded yet.
    second.wait_for_line(&["started; SIGTERM or Ctrl-C ends it gently"]);
    second.stop();
    assert_eq!(place_scratch(&place), Vec::<String>::new());
    drop(id);
}

#[test]
fn a_nul_byte_on_standard_error_does_not_keep_a_task_from_completing() {
    let (server, place) = (server(&["job"]), Place::new());
    let id = server.schedule("job", "{}").unwrap();
    let mut downbeat = start(&place, &server, &[], r"printf 'a\0b\n' >&2; cat");
    let workflow = ended(&server, &id);
    downbeat.stop();
    assert_eq!(only(&workflow).status, Status::Completed);
    assert_eq!(only(&workflow).logs.len(), 1);
}
