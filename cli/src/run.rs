//! `run`: commands as workers.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use downbeat::{Context, Error, RawValue, Recording, Runner, Summary, TaskError, TransportChoice, Worker};
use signal_hook::consts::SIGCHLD;
use tracing::{error, info, warn};

use crate::config::{self, Env, FlagWorker, Flags, Settings, value};
use crate::exec::{self, Assignment, End, Report};
use crate::{logs, say};

/// Options of `run`.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP, group = clap::ArgGroup::new("what").required(true).args(["config", "task"]))]
pub(crate) struct Args {
    /// The configuration file: server and workers.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The server's API, like http://localhost:8080/api [else CONDUCTOR_SERVER_URL].
    #[arg(long, value_name = "URL", value_parser = value::url)]
    server: Option<String>,

    /// A PEM file with certificates that are trusted besides this machine's [else CONDUCTOR_TLS_CA_PATH].
    #[arg(long, value_name = "FILE", value_parser = value::path)]
    ca_file: Option<PathBuf>,

    /// The task type to serve with COMMAND.
    #[arg(long, value_name = "NAME", value_parser = value::text, requires = "command")]
    task: Option<String>,

    /// Tasks run at once [default: 1].
    #[arg(long, value_name = "N", value_parser = value::slots, requires = "task")]
    slots: Option<u16>,

    /// The domain of the task type that is polled.
    #[arg(long, value_name = "NAME", value_parser = value::text, requires = "task")]
    domain: Option<String>,

    /// The longest that one task may take, like 30s: then its whole process group is ended.
    #[arg(long, value_name = "TIME", value_parser = value::time_limit, requires = "task")]
    timeout: Option<Duration>,

    /// From SIGTERM to SIGKILL for a command that is stopped [default: 5s].
    #[arg(long, value_name = "TIME", value_parser = value::duration, requires = "task")]
    grace: Option<Duration>,

    /// A directory for results that the server does not take: they are sent again, also after a restart.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,

    /// Record what the workers are told and decide, for `downbeat-sim replay` and `view`; five files of 64 MiB at most.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    /// How long running tasks may take to finish once the process is asked to end [default: 25s].
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    drain_timeout: Option<Duration>,

    /// The name under which the workers poll [default: host and process id].
    #[arg(long, value_name = "NAME", value_parser = value::text)]
    worker_id: Option<String>,

    /// Calls to the server in flight at once [default: 16].
    #[arg(long, value_name = "N", value_parser = value::max_calls)]
    max_calls: Option<u16>,

    /// How requests travel: lean, ureq (proxies), or auto, which is lean unless a proxy is set [default: auto].
    #[arg(long, value_name = "NAME", value_parser = value::transport)]
    transport: Option<TransportChoice>,

    /// Serve /metrics, /health and /ready at this address, like 127.0.0.1:9090.
    #[arg(long, value_name = "ADDRESS", value_parser = value::address)]
    admin: Option<SocketAddr>,

    /// The command and its arguments, after `--`.
    #[arg(last = true, value_name = "COMMAND", requires = "task")]
    command: Vec<OsString>,
}

const HELP: &str = "\
The command gets the task's input, a JSON object, on standard input. What it writes to standard
output is the task's output, a JSON object too (nothing: {}); lines on standard error become the
task's log. Its exit code decides:
    0  COMPLETED
  100  FAILED_WITH_TERMINAL_ERROR: no retry
   75  IN_PROGRESS: called again when the file that DOWNBEAT_RESULT names says,
       like {\"callbackAfterSeconds\": 30}
 other FAILED: the server may retry

It finds DOWNBEAT_TASK_ID, DOWNBEAT_WORKFLOW_ID, DOWNBEAT_TASK_TYPE, DOWNBEAT_RETRY_COUNT and
DOWNBEAT_POLL_COUNT in its environment, and the credentials (CONDUCTOR_AUTH_KEY and
CONDUCTOR_AUTH_SECRET, which downbeat itself uses) not.

The first SIGTERM or Ctrl-C asks for no new tasks and lets what runs finish; the second ends at
once.

Examples:
  downbeat run --server http://localhost:8080/api --task resize --slots 4 -- python3 resize.py
  downbeat run --task mail --timeout 30s --store /var/lib/downbeat -- ./mail --smtp localhost
  downbeat run --config downbeat.toml --log json

Exit codes:
  0  drained, and every result is with the server or in the store
  1  a result was given up, or the system failed
  2  the command line or the configuration cannot be used";

pub(crate) fn run(args: Args, logs: &logs::Args) -> u8 {
    let record = args.record.clone();
    let settings = match config::resolve(args.into(), &Env::of_process()) {
        Ok(settings) => settings,
        Err(problems) => return say::problems(&problems),
    };
    logs::start(logs, "info");
    for variable in &settings.unknown_variables {
        warn!(variable, "{}", config::MEANS_NOTHING);
    }
    let store = settings.store.as_ref().map(|store| store.value.clone());
    let served = Scratch::new().map_err(Failure::Scratch).and_then(|scratch| {
        let scratch = Arc::new(scratch);
        let served = serve(settings, record, &scratch);
        // Whatever a command was still doing, its task is not ours any more.
        exec::end_all();
        scratch.remove();
        served
    });
    match served {
        Ok(summary) => finish(&summary, store.as_deref()),
        Err(failure) => {
            say::error(&failure);
            failure.code()
        }
    }
}

impl From<Args> for Flags {
    fn from(args: Args) -> Self {
        let Args { config, server, task, slots, domain, timeout, grace, store, drain_timeout, .. } = args;
        let Args { command, worker_id, max_calls, admin, transport, ca_file, .. } = args;
        let worker = task.map(|task| FlagWorker { task, command, slots, domain, timeout, grace });
        Self { config, server, ca_file, drain_timeout, store, worker_id, max_calls, admin, transport, worker }
    }
}

/// Why a run did not begin.
#[derive(Debug)]
enum Failure {
    Runner(Error),
    Scratch(io::Error),
    Signals(io::Error),
}

impl Failure {
    const fn code(&self) -> u8 {
        match self {
            Self::Runner(Error::System { .. }) | Self::Scratch(_) | Self::Signals(_) => say::FAILED,
            Self::Runner(_) => say::USAGE,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Runner(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "the system refused a signal handler: {error}"),
            Self::Scratch(error) => {
                write!(f, "no directory for the files of DOWNBEAT_RESULT could be made: {error}; set TMPDIR")
            }
        }
    }
}

/// Runs until drained.
fn serve(settings: Settings, record: Option<PathBuf>, scratch: &Arc<Scratch>) -> Result<Summary, Failure> {
    // A SIGCHLD that this process was started to ignore would have commands reaped before their exit codes are read;
    // any handler ends that.
    signal_hook::flag::register(SIGCHLD, Arc::default()).map_err(Failure::Signals)?;
    let slots = settings.workers.iter().map(|worker| u64::from(worker.slots.value)).sum();
    if let Err((needed, current)) = exec::allow(slots) {
        warn!(
            needed,
            current,
            "too few open files are allowed for all slots at once (`ulimit -Hn`); some tasks may fail"
        );
    }
    let server = settings.url.value.clone();
    let mut runner = described(&settings);
    if let Some(file) = record {
        runner = runner.record(Recording::new(file));
    }
    for settings in settings.workers {
        runner = runner.worker(worker(settings, scratch));
    }
    info!(server, pid = std::process::id(), "started; SIGTERM or Ctrl-C ends it gently");
    runner.run().map_err(Failure::Runner)
}

/// The runner that the settings describe, without its workers.
fn described(settings: &Settings) -> Runner {
    let mut runner = Runner::builder(settings.url.value.as_str());
    if let Some(auth) = &settings.auth {
        runner = runner.auth(auth.key.value.0.as_str(), auth.secret.value.0.as_str());
    }
    if let Some(file) = &settings.ca_file {
        runner = runner.ca_file(&file.value);
    }
    if let Some(timeout) = &settings.drain_timeout {
        runner = runner.drain_timeout(timeout.value);
    }
    if let Some(store) = &settings.store {
        runner = runner.store(&store.value);
    }
    if let Some(bytes) = &settings.store_max {
        runner = runner.store_max(bytes.value);
    }
    if let Some(files) = &settings.store_max_files {
        runner = runner.store_max_files(files.value.into());
    }
    if let Some(bytes) = &settings.max_task {
        runner = runner.max_task(usize::try_from(bytes.value).unwrap_or(usize::MAX));
    }
    if let Some(hosts) = &settings.external_hosts {
        runner = runner.external_hosts(hosts.value.iter().map(String::as_str));
    }
    if let Some(worker_id) = &settings.worker_id {
        runner = runner.worker_id(worker_id.value.as_str());
    }
    if let Some(max_calls) = &settings.max_calls {
        runner = runner.max_calls(max_calls.value);
    }
    if let Some(admin) = &settings.admin {
        runner = runner.admin(admin.value);
    }
    if let Some(transport) = &settings.transport {
        runner = runner.transport(transport.value);
    }
    runner
}

/// Runs each task as a process of `command`.
pub(crate) fn handler(
    command: exec::Command,
    scratch: Arc<Scratch>,
) -> impl Fn(Box<RawValue>, &Context) -> Result<Box<RawValue>, TaskError> + Send + Sync + 'static {
    move |input: Box<RawValue>, context: &Context| {
        let task = Assignment {
            task_id: context.task_id(),
            workflow_id: context.workflow_id(),
            task_type: context.task_type(),
            retry_count: context.retry_count(),
            poll_count: context.poll_count(),
            input: input.get().as_bytes(),
            result: &scratch.file(),
        };
        answer(exec::run(&command, task, &|| context.is_cancelled()), context)
    }
}

fn worker(settings: config::Worker, scratch: &Arc<Scratch>) -> Worker {
    let handler = handler(settings.command, Arc::clone(scratch));
    let mut worker = Worker::new(settings.task.value, handler).slots(settings.slots.value);
    if let Some(domain) = settings.domain {
        worker = worker.domain(domain.value);
    }
    if let Some(paused) = settings.paused {
        worker = worker.paused(paused.value);
    }
    if let Some(worker_id) = settings.worker_id {
        worker = worker.worker_id(worker_id.value);
    }
    if let Some(interval) = settings.poll_interval {
        worker = worker.policy(|policy| policy.poll_interval = interval.value);
    }
    worker
}

fn answer(report: Report, context: &Context) -> Result<Box<RawValue>, TaskError> {
    for line in report.log {
        context.log(line);
    }
    let error = match report.end {
        End::Completed => return Ok(report.output.unwrap_or_else(empty)),
        End::Failed(reason) => TaskError::retryable(reason),
        End::Terminal(reason) => TaskError::terminal(reason),
        End::InProgress(after) => TaskError::in_progress(after),
        End::Recalled => return Err(context.give_back()),
    };
    Err(match report.output {
        Some(output) => error.with_output(output),
        None => error,
    })
}

/// `{}`.
fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

/// The last words, and the exit code.
fn finish(summary: &Summary, store: Option<&Path>) -> u8 {
    let Summary {
        tasks,
        completed,
        failed,
        failed_terminally,
        in_progress,
        given_back,
        stored,
        given_up,
        ..
    } = *summary;
    info!(tasks, completed, failed, failed_terminally, in_progress, given_back, stored, "ended");
    let waiting = store.map_or(0, waiting);
    if waiting > 0 {
        warn!(waiting, "results wait in the store; the next run with this store sends them");
    }
    if given_up > 0 {
        error!(
            given_up,
            "results did not reach the server; the log above says which, why, and where they are kept"
        );
        return say::FAILED;
    }
    say::DONE
}

/// Results in a store, earlier runs' included: each is a file.
fn waiting(store: &Path) -> usize {
    let files = std::fs::read_dir(store).into_iter().flatten().flatten();
    files.filter(|file| file.path().extension().is_some_and(|end| end == "json")).count()
}

/// The directory of the files that `DOWNBEAT_RESULT` names, readable by this user alone; it ends with the run.
pub(crate) struct Scratch {
    dir: tempfile::TempDir,
    next: AtomicU64,
}

impl Scratch {
    pub(crate) fn new() -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("downbeat-").tempdir()?;
        Ok(Self { dir, next: AtomicU64::new(0) })
    }

    /// Removes the directory: threads that the runner did not wait for may own it until the process is gone.
    pub(crate) fn remove(&self) {
        drop(std::fs::remove_dir_all(self.dir.path()));
    }

    /// A name that no file has.
    fn file(&self) -> PathBuf {
        self.dir.path().join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}
