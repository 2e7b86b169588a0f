//! Every setting, once: its key in the file, its option, its variable, its default, and what is said of it.
//!
//! The parser of files, the options of `downbeat run`, `downbeat explain` and the tables of docs/configuration.md are
//! made of these rows.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use downbeat::{Journal, OnLapse, TransportChoice};

use super::cell::{Cell, Slot, cell};
use super::kind;
use super::source::Source;

/// One setting of a section `S`.
pub(crate) struct Setting<S: 'static> {
    /// Its key in the file.
    pub(crate) key: &'static str,
    /// What it is: the option's help, and the document's first column after the key.
    pub(crate) what: &'static str,
    /// What the document says besides.
    pub(crate) more: &'static str,
    /// What holds if nothing sets it.
    pub(crate) default: Preset,
    /// Its option of `downbeat run`.
    pub(crate) option: Option<Flag>,
    /// Its variable.
    pub(crate) variable: Variable,
    /// Where its value is kept, and of which kind it is.
    pub(crate) cell: &'static dyn Cell<S>,
}

/// What holds if nothing sets a setting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Preset {
    /// This value, as an option spells it.
    Value(&'static str),
    /// No value; this is what happens.
    Nothing(&'static str),
}

/// An option of the command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// Its name with the dashes, or [`COMMAND`].
    pub(crate) name: &'static str,
    /// What its help calls the value.
    pub(crate) value: &'static str,
    /// An example of a value, for the help; empty if none is needed.
    pub(crate) like: &'static str,
}

/// The option that is the rest of the command line.
pub(crate) const COMMAND: &str = "-- COMMAND";

/// The variable of a setting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Variable {
    /// There is none.
    None,
    /// This one.
    Named(&'static str),
    /// Half of the credentials, which count as a pair.
    Credential(&'static str),
    /// Those that the library has for this property of a worker.
    OfWorker,
}

/// `[server]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    pub(crate) url: Slot<String>,
    pub(crate) auth_key: Slot<String>,
    pub(crate) auth_key_env: Slot<String>,
    pub(crate) auth_secret_env: Slot<String>,
    pub(crate) auth_secret_file: Slot<PathBuf>,
    pub(crate) ca_file: Slot<PathBuf>,
}

/// `[runner]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runner {
    pub(crate) drain_timeout: Slot<Duration>,
    pub(crate) store: Slot<PathBuf>,
    pub(crate) journal: Slot<Journal>,
    pub(crate) store_max: Slot<u64>,
    pub(crate) store_max_files: Slot<u32>,
    pub(crate) max_task: Slot<u64>,
    pub(crate) external_hosts: Slot<Vec<String>>,
    pub(crate) worker_id: Slot<String>,
    pub(crate) max_calls: Slot<u16>,
    pub(crate) admin: Slot<SocketAddr>,
    pub(crate) transport: Slot<TransportChoice>,
}

/// One `[[worker]]`, or that of the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Worker {
    /// Where it begins.
    pub(crate) source: Source,
    pub(crate) task: Slot<String>,
    pub(crate) command: Slot<Vec<OsString>>,
    pub(crate) slots: Slot<u16>,
    pub(crate) domain: Slot<String>,
    pub(crate) timeout: Slot<Duration>,
    pub(crate) grace: Slot<Duration>,
    pub(crate) paused: Slot<bool>,
    pub(crate) poll_interval: Slot<Duration>,
    /// `None` in it: never.
    pub(crate) ask_interval: Slot<Option<Duration>>,
    pub(crate) report_timeout: Slot<Duration>,
    pub(crate) store_after: Slot<Duration>,
    pub(crate) on_lapse: Slot<OnLapse>,
    pub(crate) worker_id: Slot<String>,
    pub(crate) env: Slot<BTreeMap<String, String>>,
    pub(crate) cwd: Slot<PathBuf>,
}

impl Variable {
    /// Returns the variables that set the setting `key` of a worker for `task`, the strongest first.
    ///
    /// Those of the credentials count as a pair and not by themselves.
    pub(crate) fn names(self, task: &str, key: &str) -> Vec<String> {
        match self {
            Self::None | Self::Credential(_) => Vec::new(),
            Self::Named(name) => vec![name.to_owned()],
            Self::OfWorker => downbeat::variables(task, key),
        }
    }
}

impl<S> Setting<S> {
    const fn new(key: &'static str, cell: &'static dyn Cell<S>, default: Preset, what: &'static str) -> Self {
        Self { key, what, more: "", default, option: None, variable: Variable::None, cell }
    }

    const fn more(self, more: &'static str) -> Self {
        Self { more, ..self }
    }

    const fn option(self, name: &'static str, value: &'static str) -> Self {
        Self { option: Some(Flag { name, value, like: "" }), ..self }
    }

    const fn option_like(self, name: &'static str, value: &'static str, like: &'static str) -> Self {
        Self { option: Some(Flag { name, value, like }), ..self }
    }

    const fn variable(self, variable: Variable) -> Self {
        Self { variable, ..self }
    }
}

use Preset::{Nothing, Value};
use Variable::{Credential, Named, OfWorker};

/// The settings of `[server]`.
pub(crate) const SERVER: &[Setting<Server>] = &[
    Setting::new("url", cell!(Server, kind::URL, url), Nothing("none: it must be named"), "The server's API")
        .more("without credentials in it")
        .option_like("--server", "URL", "http://localhost:8080/api")
        .variable(Named("CONDUCTOR_SERVER_URL")),
    Setting::new(
        "auth_key",
        cell!(Server, kind::TEXT, auth_key),
        Nothing("none: no authentication"),
        "The id of the application's key",
    )
    .variable(Credential("CONDUCTOR_AUTH_KEY")),
    Setting::new(
        "auth_key_env",
        cell!(Server, kind::TEXT, auth_key_env),
        Nothing("none"),
        "The variable that holds the key's id",
    ),
    Setting::new(
        "auth_secret_env",
        cell!(Server, kind::TEXT, auth_secret_env),
        Nothing("none"),
        "The variable that holds the key's secret",
    )
    .variable(Credential("CONDUCTOR_AUTH_SECRET")),
    Setting::new(
        "auth_secret_file",
        cell!(Server, kind::PATH, auth_secret_file),
        Nothing("none"),
        "The file that holds the key's secret",
    ),
    Setting::new(
        "ca_file",
        cell!(Server, kind::PATH, ca_file),
        Nothing("none: what this machine trusts"),
        "A PEM file with certificates that are trusted besides this machine's",
    )
    .option("--ca-file", "FILE")
    .variable(Named("CONDUCTOR_TLS_CA_PATH")),
];

/// The settings of `[runner]`.
pub(crate) const RUNNER: &[Setting<Runner>] = &[
    Setting::new(
        "drain_timeout",
        cell!(Runner, kind::TIME, drain_timeout),
        Value("25s"),
        "How long running tasks may take to finish once the process is asked to end",
    )
    .option("--drain-timeout", "TIME"),
    Setting::new(
        "store",
        cell!(Runner, kind::PATH, store),
        Nothing("none: results wait in memory"),
        "A directory from which results are sent again, also after a restart, until the server has taken them",
    )
    .more("one runner's and one server's ([runner.md](runner.md#the-store))")
    .option("--store", "DIR"),
    Setting::new(
        "journal",
        cell!(Runner, kind::JOURNAL, journal),
        Value("finish"),
        "When a result is written to the store: before it is reported (finish), when that fails (failure), when it has \
         failed for long (off)",
    )
    .option("--journal", "WHEN"),
    Setting::new(
        "store_max",
        cell!(Runner, kind::STORE_SIZE, store_max),
        Value("1GiB"),
        "The most that each of the store's three parts holds",
    )
    .more("see [runner.md](runner.md#the-store)"),
    Setting::new(
        "store_max_files",
        cell!(Runner, kind::STORE_FILES, store_max_files),
        Value("10000"),
        "The most results in each of these parts",
    ),
    Setting::new(
        "max_task",
        cell!(Runner, kind::TASK_SIZE, max_task),
        Value("64MiB"),
        "The largest task, and the largest input from external storage",
    ),
    Setting::new(
        "external_hosts",
        cell!(Runner, kind::HOSTS, external_hosts),
        Nothing("anywhere but this machine and its network link"),
        "Where inputs in external storage may come from",
    )
    .more("see [runner.md](runner.md#external-storage)"),
    Setting::new(
        "worker_id",
        cell!(Runner, kind::TEXT, worker_id),
        Nothing("host and process id"),
        "The name under which the workers poll",
    )
    .option("--worker-id", "NAME"),
    Setting::new(
        "max_calls",
        cell!(Runner, kind::MAX_CALLS, max_calls),
        Value("16"),
        "Calls to the server in flight at once",
    )
    .option("--max-calls", "N"),
    Setting::new(
        "admin",
        cell!(Runner, kind::ADDRESS, admin),
        Nothing("none"),
        "Where /metrics, /health and /ready are served",
    )
    .more("see [runner.md](runner.md#what-can-be-watched)")
    .option_like("--admin", "ADDRESS", "127.0.0.1:9090"),
    Setting::new(
        "transport",
        cell!(Runner, kind::TRANSPORT, transport),
        Value("auto"),
        "How requests travel: lean, ureq (for proxies), or auto, which is lean unless a proxy is set",
    )
    .option("--transport", "NAME"),
];

/// The settings of one `[[worker]]`.
pub(crate) const WORKER: &[Setting<Worker>] = &[
    Setting::new(
        "task",
        cell!(Worker, kind::TEXT, task),
        Nothing("none: it must be named"),
        "The task type that COMMAND serves",
    )
    .option("--task", "NAME"),
    Setting::new(
        "command",
        cell!(Worker, kind::WORDS, command),
        Nothing("none: it must be named"),
        "The command and its arguments",
    )
    .option(COMMAND, "COMMAND"),
    Setting::new("slots", cell!(Worker, kind::SLOTS, slots), Value("1"), "Tasks run at once")
        .option("--slots", "N")
        .variable(OfWorker),
    Setting::new(
        "domain",
        cell!(Worker, kind::TEXT, domain),
        Nothing("none"),
        "The domain of the task type that is polled",
    )
    .option("--domain", "NAME")
    .variable(OfWorker),
    Setting::new(
        "timeout",
        cell!(Worker, kind::LIMIT, timeout),
        Nothing("none"),
        "The longest that one task may take; then its whole process group is ended",
    )
    .option_like("--timeout", "TIME", "30s"),
    Setting::new(
        "grace",
        cell!(Worker, kind::TIME, grace),
        Value("5s"),
        "The time from SIGTERM to SIGKILL for a command that is stopped",
    )
    .option("--grace", "TIME"),
    Setting::new(
        "paused",
        cell!(Worker, kind::SWITCH, paused),
        Value("false"),
        "Whether the worker starts without polling",
    )
    .more("it polls after a restart without this")
    .variable(OfWorker),
    Setting::new(
        "poll_interval",
        cell!(Worker, kind::LIMIT, poll_interval),
        Value("100ms"),
        "The longest delay between polls of an empty queue; from then on the server holds the polls",
    )
    .variable(OfWorker),
    Setting::new(
        "ask_interval",
        cell!(Worker, kind::LIMIT_OR_NEVER, ask_interval),
        Value("10s"),
        "How often downbeat asks the server whether it still waits for a running task",
    )
    .more("see [runner.md](runner.md#cancelled)")
    .variable(OfWorker),
    Setting::new(
        "report_timeout",
        cell!(Worker, kind::LIMIT, report_timeout),
        Value("30s"),
        "How long a report of a result may take, and a poll beyond its wait; other calls have 10 s",
    )
    .variable(OfWorker),
    Setting::new(
        "store_after",
        cell!(Worker, kind::LIMIT, store_after),
        Value("75s"),
        "With a store, when a result that the server has not accepted leaves memory for it",
    )
    .more("four times with a journal (the default), else three times if the server refuses this very result")
    .variable(OfWorker),
    Setting::new(
        "on_lapse",
        cell!(Worker, kind::ON_LAPSE, on_lapse),
        Value("finish"),
        "What becomes of a run whose lease is over: it goes on (finish) or is ended (stop)",
    )
    .variable(OfWorker),
    Setting::new(
        "worker_id",
        cell!(Worker, kind::TEXT, worker_id),
        Nothing("the runner's"),
        "The name under which this worker polls",
    )
    .variable(OfWorker),
    Setting::new(
        "env",
        cell!(Worker, kind::VARIABLES, env),
        Nothing("nothing besides what is inherited"),
        "Variables that the command gets",
    ),
    Setting::new(
        "cwd",
        cell!(Worker, kind::PATH, cwd),
        Nothing("where downbeat runs"),
        "The directory that the command runs in",
    ),
];
