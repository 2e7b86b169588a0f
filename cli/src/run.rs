//! `run`: commands as workers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use downbeat::store::Part;
use downbeat::{CancelReason, Context, Error, RawValue, Recording, Runner, Summary, TaskError, Worker};
use signal_hook::consts::SIGCHLD;
use tracing::{error, info, warn};

use crate::config::{self, Env, Flags, Options, Settings};
use crate::exec::{self, Assignment, End, Hooks, Recall, Report, Short};
use crate::scratch::{self, Scratch};
use crate::{logs, output};

/// Options of `run`.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP, group = clap::ArgGroup::new("what").required(true).args(["config", "task"]))]
pub(crate) struct Args {
    /// The configuration file, with server and workers.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    options: Options,

    /// Record what the workers are told and decide, for `downbeat-sim replay` and `view`; five files of 64 MiB at most.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

const HELP: &str = "\
The command gets the task's input, a JSON object, on standard input. What it writes to standard
output is the task's output, a JSON object too, or {} if it writes nothing. Lines on standard error
become the task's log. The exit code decides:
    0  COMPLETED
  100  FAILED_WITH_TERMINAL_ERROR: no retry
   75  IN_PROGRESS: called again when the file that DOWNBEAT_RESULT names says,
       like {\"callbackAfterSeconds\": 30}
 other FAILED: the server may retry

The command finds DOWNBEAT_TASK_ID, DOWNBEAT_WORKFLOW_ID, DOWNBEAT_TASK_TYPE, DOWNBEAT_RETRY_COUNT
and DOWNBEAT_POLL_COUNT in its environment. It does not find the credentials that downbeat uses
(CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET).

Whatever a command leaves running ends with it. After the first SIGTERM or Ctrl-C downbeat asks for
no new tasks and lets what runs finish; the second ends it at once. If downbeat has to stop a command
to end, and the command prints no JSON object, downbeat gives its task back to the server.

Examples:
  downbeat run --server http://localhost:8080/api --task resize --slots 4 -- python3 resize.py
  downbeat run --task mail --timeout 30s --store /var/lib/downbeat -- ./mail --smtp localhost
  downbeat run --config downbeat.toml --log json

Exit codes:
  0  drained, and every result is with the server or in the store
  1  a result was given up, or the system failed
  2  the command line or the configuration cannot be used";

pub(crate) fn run(args: Args, logs: &logs::Args) -> u8 {
    // Taken before anything else, so that a signal that comes during the start ends the run as well as a later one.
    let starting = match exec::note_signals() {
        Ok(starting) => starting,
        Err(cause) => {
            output::error(&Failure::Signals(cause));
            return output::FAILED;
        }
    };
    let record = args.record.clone();
    let settings = match config::resolve(args.into(), &Env::from_process()) {
        Ok(settings) => settings,
        Err(problems) => return output::problems(&problems),
    };
    logs::start(logs, "info");
    for variable in &settings.unknown_variables {
        warn!(variable, "{}", config::MEANS_NOTHING);
    }
    let store = settings.runner.store.as_ref().map(|store| store.value.clone());
    // Beside the start: a process that heeds no SIGTERM takes its two seconds.
    let cleaning = std::thread::spawn(scratch::clean);
    let served = Scratch::new().map_err(Failure::Scratch).and_then(|scratch| {
        let scratch = Arc::new(scratch);
        let served = serve(settings, record, &scratch, starting);
        // Whatever a command was still doing, its task is not ours any more.
        exec::end_all();
        scratch.remove();
        drop(cleaning.join());
        served
    });
    match served {
        Ok(Some(summary)) => finish(&summary, store.as_deref()),
        Ok(None) => {
            info!("ended: a signal came before the workers had begun");
            output::DONE
        }
        Err(failure) => {
            output::error(&failure);
            failure.code()
        }
    }
}

impl From<Args> for Flags {
    fn from(args: Args) -> Self {
        let Args { config, options: Options { server, runner, worker }, .. } = args;
        Self { config, server, runner, worker }
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
            Self::Runner(Error::System { .. }) | Self::Scratch(_) | Self::Signals(_) => output::FAILED,
            Self::Runner(_) => output::USAGE,
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

/// Runs until drained. Returns `None` if a signal came before it had begun.
fn serve(
    mut settings: Settings,
    record: Option<PathBuf>,
    scratch: &Arc<Scratch>,
    starting: exec::Starting,
) -> Result<Option<Summary>, Failure> {
    // A SIGCHLD that this process was started to ignore would have commands reaped before their exit codes are read;
    // any handler ends that.
    signal_hook::flag::register(SIGCHLD, Arc::default()).map_err(Failure::Signals)?;
    exec::adopt(scratch.path().to_path_buf()).map_err(Failure::Signals)?;
    exec::arm_watchdog(scratch.path().to_path_buf());
    fit(&mut settings);
    let server = settings.url.value.clone();
    let mut runner = described(&settings);
    if let Some(file) = record {
        runner = runner.record(Recording::new(file));
    }
    for worker in settings.workers {
        runner = runner.worker(described_worker(worker, scratch));
    }
    if exec::is_told() {
        return Ok(None);
    }
    info!(server, pid = std::process::id(), "started; SIGTERM or Ctrl-C ends it gently");
    let running = runner.start().map_err(Failure::Runner)?;
    // The runner heeds these signals by now; of one that came before it knows nothing.
    starting.end();
    if exec::is_told() {
        running.handle().drain();
    }
    Ok(Some(running.join()))
}

/// Sees to file descriptors for all slots at once, or lowers the slots to what there are descriptors for.
fn fit(settings: &mut Settings) {
    let slots: Vec<u16> = settings.workers.iter().map(|worker| worker.slots).collect();
    let all = slots.iter().copied().map(u64::from).sum();
    let calls = settings.runner.max_calls.as_ref().map_or(0, |calls| u64::from(calls.value));
    let Err(Short { needed, limit, fits }) = exec::allow(all, calls) else { return };
    warn!(
        needed,
        limit,
        fits,
        "too few open files are allowed for all slots at once (`ulimit -Hn`, systemd's LimitNOFILE): slots are lowered"
    );
    let shares = exec::shares(&slots, fits);
    for ((worker, asked), slots) in settings.workers.iter_mut().zip(slots).zip(shares) {
        worker.slots = slots;
        warn!(task = worker.task.value, asked, slots, "a worker has fewer slots than it was given");
    }
}

/// The runner that the settings describe, without its workers.
fn described(settings: &Settings) -> Runner {
    let mut runner = Runner::builder(settings.url.value.as_str());
    if let Some(auth) = &settings.auth {
        runner = runner.auth(auth.key.value.0.as_str(), auth.secret.value.0.as_str());
    }
    if let Some(file) = &settings.server.ca_file {
        runner = runner.ca_file(&file.value);
    }
    if let Some(timeout) = &settings.runner.drain_timeout {
        runner = runner.drain_timeout(timeout.value);
    }
    if let Some(store) = &settings.runner.store {
        runner = runner.store(&store.value);
    }
    runner = runner.on_leftover_process(|process_group, start_tick| {
        if exec::end_leftover(process_group, start_tick) {
            info!(process_group, "a command that an earlier run had left behind is ended");
        }
    });
    if let Some(journal) = &settings.runner.journal {
        runner = runner.journal(journal.value);
    }
    if let Some(bytes) = &settings.runner.store_max {
        runner = runner.store_max(bytes.value);
    }
    if let Some(files) = &settings.runner.store_max_files {
        runner = runner.store_max_files(files.value.into());
    }
    if let Some(bytes) = &settings.runner.max_task {
        runner = runner.max_task(usize::try_from(bytes.value).unwrap_or(usize::MAX));
    }
    if let Some(hosts) = &settings.runner.external_hosts {
        runner = runner.external_hosts(hosts.value.iter().map(String::as_str));
    }
    if let Some(worker_id) = &settings.runner.worker_id {
        runner = runner.worker_id(worker_id.value.as_str());
    }
    if let Some(max_calls) = &settings.runner.max_calls {
        runner = runner.max_calls(max_calls.value);
    }
    if let Some(admin) = &settings.runner.admin {
        runner = runner.admin(admin.value);
    }
    if let Some(transport) = &settings.runner.transport {
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
        let hooks = Hooks {
            recalled: &|| recalled(context.cancel_reason()?),
            // Without its start another process could be taken for it later.
            started: &|process_group, start_tick| {
                if let Some(start_tick) = start_tick {
                    context.note_process(process_group, start_tick);
                }
            },
        };
        answer(exec::run(&command, task, hooks), context)
    }
}

/// What a command whose task is to end early is ended for.
fn recalled(why: CancelReason) -> Option<Recall> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not exhaustive")]
    match why {
        CancelReason::WorkflowEnded | CancelReason::LeaseLapsed => Some(Recall::Cancelled),
        // Another reason is one more for which the task is wanted no longer here, and is wanted elsewhere.
        _ => Some(Recall::Drain),
    }
}

fn described_worker(worker: config::Worker, scratch: &Arc<Scratch>) -> Worker {
    let handler = handler(worker.command, Arc::clone(scratch));
    let settings = worker.settings;
    let mut worker = Worker::new(worker.task.value, handler).slots(worker.slots);
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
    if let Some(interval) = settings.ask_interval {
        worker = worker.ask_interval(interval.value);
    }
    if let Some(timeout) = settings.report_timeout {
        worker = worker.report_timeout(timeout.value);
    }
    if let Some(time) = settings.store_after {
        worker = worker.store_after(time.value);
    }
    if let Some(on_lapse) = settings.on_lapse {
        worker = worker.on_lapse(on_lapse.value);
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
        // Nothing is reported about a task that the server has ended, whatever is said here.
        End::GivenBack | End::Cancelled => return Err(context.give_back()),
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
        late,
        stored,
        given_up,
        ..
    } = *summary;
    info!(tasks, completed, failed, failed_terminally, in_progress, given_back, late, stored, "ended");
    let waiting = store.map_or(0, waiting);
    if waiting > 0 {
        warn!(waiting, "results wait in the store; the next run with this store sends them");
    }
    if given_up > 0 {
        error!(
            given_up,
            "results did not reach the server; the log above says which, why, and where they are kept"
        );
        return output::FAILED;
    }
    output::DONE
}

/// Results in a store, earlier runs' included.
fn waiting(store: &Path) -> usize {
    let listing = downbeat::store::list(store);
    let letters = listing.into_iter().flat_map(|listing| listing.letters);
    letters.filter(|letter| letter.part == Part::Waiting).count()
}
