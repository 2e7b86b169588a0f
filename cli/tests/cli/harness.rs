//! A binary that is started, looked at and ended with its test.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use downbeat_server::http::{Options, Server, Status, TaskView, WorkflowStatus, WorkflowView};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The longest that anything is waited for.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// Waits until `look` sees something, within [`BOUND`].
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = now();
    // Nothing is ever sent: what is waited for is in another process and tells nobody.
    let (_silent, next_look) = std::sync::mpsc::channel::<()>();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(started.elapsed() < BOUND, "waited in vain: {what}");
        let _nothing = next_look.recv_timeout(Duration::from_millis(5));
    }
}

#[expect(clippy::disallowed_methods, reason = "a bound on waiting for another process")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A model server with definitions for the tasks that tests use.
pub(crate) fn server(tasks: &[&str]) -> Server {
    server_with(Options::default(), tasks)
}

pub(crate) fn server_with(options: Options, tasks: &[&str]) -> Server {
    let server = Server::start(options).unwrap();
    for task in tasks {
        let definition = format!(
            r#"{{"name":"{task}","ownerEmail":"tests@downbeat.invalid","retryCount":1,"retryLogic":"FIXED",
                "retryDelaySeconds":0,"timeoutSeconds":0,"responseTimeoutSeconds":60}}"#
        );
        server.define_task(&definition).unwrap();
    }
    server
}

/// Waits for the end of a workflow.
pub(crate) fn ended(server: &Server, id: &str) -> WorkflowView {
    wait_for("the workflow's end", || {
        server.workflow(id).filter(|workflow| workflow.status != WorkflowStatus::Running)
    })
}

/// The only task of a workflow that has ended.
pub(crate) fn only(workflow: &WorkflowView) -> &TaskView {
    let [task] = workflow.tasks.as_slice() else { panic!("not one task: {workflow:?}") };
    task
}

/// Waits until this many tasks of the workflows are in this status.
pub(crate) fn wait_for_tasks(server: &Server, ids: &[String], status: Status, count: usize) {
    wait_for("tasks in their status", || {
        let tasks = ids.iter().filter_map(|id| server.workflow(id)).flat_map(|workflow| workflow.tasks);
        (tasks.filter(|task| task.status == status).count() >= count).then_some(())
    });
}

/// A directory for what commands leave, and the log of the binary.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A pipe that commands wait at: `cat gate` ends when the gate is opened.
    pub(crate) fn gate(&self) -> Gate {
        let path = self.path("gate");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        Gate { path }
    }

    /// The names of what commands left.
    pub(crate) fn files(&self, prefix: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(prefix)).collect()
    }

    /// Starts the binary here, in a process group of its own as a shell does it.
    pub(crate) fn start(&self, args: &[&str], env: &[(&str, &str)]) -> Downbeat {
        let mut command = binary(args);
        command.envs(env.iter().copied());
        self.start_command(command)
    }

    /// The same for a command that ends up as the binary.
    pub(crate) fn start_command(&self, mut command: Command) -> Downbeat {
        let number = self.files("log-").len();
        let [log, out] = ["log", "out"].map(|name| self.path(&format!("{name}-{number}")));
        command.current_dir(self.dir.path()).process_group(0).stdin(Stdio::null());
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&log).unwrap());
        Downbeat { child: command.spawn().unwrap(), log, out }
    }
}

/// See [`Place::gate`].
pub(crate) struct Gate {
    path: PathBuf,
}

impl Gate {
    /// Lets through who waits now; who comes later waits for the next time.
    pub(crate) fn open(&self) {
        // Readers get past their own opening when there is a writer, and to the end when there is none any more.
        drop(File::options().read(true).write(true).open(&self.path).unwrap());
    }
}

/// The binary with nothing of this machine's own settings.
pub(crate) fn binary(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downbeat"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CONDUCTOR_") || text.starts_with("conductor.") || text == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

/// Runs the binary to its end: exit code, standard output, standard error.
pub(crate) fn finish(args: &[&str]) -> (Option<i32>, String, String) {
    let output = binary(args).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A running binary, killed with its test.
pub(crate) struct Downbeat {
    child: Child,
    log: PathBuf,
    out: PathBuf,
}

impl Downbeat {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// As the terminal does at Ctrl-C: to the whole foreground group.
    pub(crate) fn interrupt_group(&self) {
        kill_process_group(self.pid(), Signal::INT).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.wait_while(|| ())
    }

    /// Waits for the end, doing something now and then.
    pub(crate) fn wait_while(&mut self, mut meanwhile: impl FnMut()) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the binary's end", || {
            meanwhile();
            child.try_wait().unwrap()
        })
    }

    /// Asks it to end, and wants that it does so well.
    pub(crate) fn stop(&mut self) -> String {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        self.log()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it wrote to standard output.
    pub(crate) fn out(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// Waits for a line of the log that contains all of these, and gives it.
    pub(crate) fn wait_for_line(&self, parts: &[&str]) -> String {
        wait_for(&format!("a line with {parts:?}"), || {
            let log = self.log();
            log.lines().find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned)
        })
    }
}

impl Drop for Downbeat {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether a process is there and no zombie.
pub(crate) fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z"))
}
