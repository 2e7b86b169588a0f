//! The settings of `downbeat run`: options before the environment before the file before defaults.

mod env;
mod explain;
mod file;
mod source;
#[cfg(test)]
mod tests;
pub(crate) mod value;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use downbeat::TransportChoice;

use crate::exec;
pub(crate) use env::Env;
pub(crate) use source::{Problem, Secret, Source, Sourced};

/// The largest configuration file that is read, in bytes.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// What is said of a variable in [`Settings::unknown_variables`].
pub(crate) const MEANS_NOTHING: &str =
    "means nothing to any worker here; check its task type and its property in docs/configuration.md";

/// Everything that a run needs, with the source of each value.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) url: Sourced<String>,
    pub(crate) auth: Option<Auth>,
    pub(crate) ca_file: Option<Sourced<PathBuf>>,
    pub(crate) drain_timeout: Option<Sourced<Duration>>,
    pub(crate) store: Option<Sourced<PathBuf>>,
    pub(crate) store_max: Option<Sourced<u64>>,
    pub(crate) store_max_files: Option<Sourced<u32>>,
    pub(crate) max_task: Option<Sourced<u64>>,
    pub(crate) external_hosts: Option<Sourced<Vec<String>>>,
    pub(crate) worker_id: Option<Sourced<String>>,
    pub(crate) max_calls: Option<Sourced<u16>>,
    pub(crate) admin: Option<Sourced<SocketAddr>>,
    pub(crate) transport: Option<Sourced<TransportChoice>>,
    pub(crate) workers: Vec<Worker>,
    /// Variables for workers that mean nothing to these: likely mistakes.
    pub(crate) unknown_variables: Vec<String>,
}

/// Key and secret.
#[derive(Debug)]
pub(crate) struct Auth {
    pub(crate) key: Sourced<Secret>,
    pub(crate) secret: Sourced<Secret>,
}

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) task: Sourced<String>,
    pub(crate) slots: Sourced<u16>,
    pub(crate) domain: Option<Sourced<String>>,
    pub(crate) paused: Option<Sourced<bool>>,
    pub(crate) poll_interval: Option<Sourced<Duration>>,
    pub(crate) worker_id: Option<Sourced<String>>,
    pub(crate) timeout: Option<Sourced<Duration>>,
    pub(crate) grace: Sourced<Duration>,
    pub(crate) cwd: Option<Sourced<PathBuf>>,
    pub(crate) command: exec::Command,
    pub(crate) command_source: Source,
}

/// What the command line says.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    pub(crate) config: Option<PathBuf>,
    pub(crate) server: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) drain_timeout: Option<Duration>,
    pub(crate) store: Option<PathBuf>,
    pub(crate) worker_id: Option<String>,
    pub(crate) max_calls: Option<u16>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) transport: Option<TransportChoice>,
    /// The one worker of a run without a file.
    pub(crate) worker: Option<FlagWorker>,
}

/// `--task NAME … -- COMMAND`.
#[derive(Debug, Default)]
pub(crate) struct FlagWorker {
    pub(crate) task: String,
    pub(crate) command: Vec<OsString>,
    pub(crate) slots: Option<u16>,
    pub(crate) domain: Option<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Option<Duration>,
}

/// Puts the settings together; all problems are found at once.
pub(crate) fn resolve(flags: Flags, env: &Env) -> Result<Settings, Vec<Problem>> {
    let mut problems = Vec::new();
    let file = flags.config.as_deref().map(|path| read(path, &mut problems)).unwrap_or_default();
    // What a file is said to lack may be what is misspelled in it.
    let whole_file = problems.is_empty();
    let url = flags.server.map(|url| Sourced::new(url, Source::Flag("--server")));
    let url = url.or_else(|| env.take(env::SERVER_URL, value::url, &mut problems)).or(file.server.url);
    let ca_file = flag(flags.ca_file, "--ca-file");
    let ca_file =
        ca_file.or_else(|| env.take(env::CA_FILE, value::path, &mut problems)).or(file.server.ca_file);
    ca_problem(ca_file.as_ref(), &mut problems);
    // The commands do not get the runner's secret, under whatever name it comes.
    let hidden = [&file.server.auth_key_env, &file.server.auth_secret_env];
    let hidden: Vec<String> = hidden.into_iter().flatten().map(|name| name.value.clone()).collect();
    let auth = auth(
        &mut problems,
        env,
        AuthFile {
            key: file.server.auth_key,
            key_env: file.server.auth_key_env,
            secret_env: file.server.auth_secret_env,
            secret_file: file.server.auth_secret_file,
        },
    );
    let mut workers = Vec::new();
    for part in flags.worker.map(of_flags).into_iter().chain(file.workers) {
        workers.extend(worker(part, env, whole_file, &mut problems));
    }
    for worker in &mut workers {
        worker.command.hidden.clone_from(&hidden);
    }
    duplicates(&workers, &mut problems);
    let whole = |text: &str| Problem { source: Source::Default, key: String::new(), text: text.to_owned() };
    if problems.is_empty() && workers.is_empty() {
        problems
            .push(whole("there is no worker: give `--task NAME -- COMMAND`, or a `[[worker]]` in the file"));
    }
    if problems.is_empty() && url.is_none() {
        problems.push(whole(
            "no server is named: give `--server http://localhost:8080/api`, set CONDUCTOR_SERVER_URL, or set `url` \
             in `[server]`",
        ));
    }
    let (Some(url), true) = (url, problems.is_empty()) else { return Err(problems) };
    Ok(Settings {
        url,
        auth,
        ca_file,
        store_max: file.runner.store_max,
        store_max_files: file.runner.store_max_files,
        max_task: file.runner.max_task,
        external_hosts: file.runner.external_hosts,
        drain_timeout: flag(flags.drain_timeout, "--drain-timeout").or(file.runner.drain_timeout),
        store: flag(flags.store, "--store").or(file.runner.store),
        worker_id: flag(flags.worker_id, "--worker-id").or(file.runner.worker_id),
        max_calls: flag(flags.max_calls, "--max-calls").or(file.runner.max_calls),
        admin: flag(flags.admin, "--admin").or(file.runner.admin),
        transport: flag(flags.transport, "--transport").or(file.runner.transport),
        unknown_variables: env.unknown(workers.iter().map(|worker| worker.task.value.as_str())),
        workers,
    })
}

fn flag<T>(value: Option<T>, name: &'static str) -> Option<Sourced<T>> {
    value.map(|value| Sourced::new(value, Source::Flag(name)))
}

fn read(path: &Path, problems: &mut Vec<Problem>) -> file::File {
    let name = path.display().to_string();
    let mut problem = |text: String| {
        problems.push(Problem {
            source: Source::Default,
            key: String::new(),
            text: format!("{name} {text}"),
        });
        file::File::default()
    };
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return problem("is a directory; name a file".to_owned()),
        Ok(meta) if meta.len() > FILE_MAX => return problem(format!("is larger than {FILE_MAX} bytes")),
        Ok(_) => {}
        Err(error) => return problem(format!("cannot be read: {error}")),
    }
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => {
            let (file, found) = file::parse(&name, &text);
            problems.extend(found);
            file
        }
        Ok(Err(error)) => {
            let at = error.utf8_error().valid_up_to();
            problem(format!("is not UTF-8 text: byte {at} is wrong"))
        }
        Err(error) => problem(format!("cannot be read: {error}")),
    }
}

struct AuthFile {
    key: Option<Sourced<String>>,
    key_env: Option<Sourced<String>>,
    secret_env: Option<Sourced<String>>,
    secret_file: Option<Sourced<PathBuf>>,
}

fn auth(problems: &mut Vec<Problem>, env: &Env, file: AuthFile) -> Option<Auth> {
    let secret_of = |name: &str| {
        let value = env.get(name)?;
        Some(Sourced::new(Secret(value.to_owned()), Source::Env(name.to_owned())))
    };
    let mut named = |name: Option<Sourced<String>>, key: &str| {
        let name = name?;
        let found = secret_of(&name.value);
        if found.is_none() {
            let text = format!("the environment variable {} is not set", name.value);
            problems.push(Problem { source: name.source, key: format!("server.{key}"), text });
        }
        found
    };
    let usual = [env::AUTH_KEY, env::AUTH_SECRET];
    let names = if usual.iter().any(|name| env.get(name).is_some()) { usual } else { env::JAVA_AUTH };
    let [own_key, own_secret] = names.map(secret_of);
    let key = match own_key {
        Some(key) => Some(key),
        None => file.key.map(|key| key.map(Secret)).or_else(|| named(file.key_env, "auth_key_env")),
    };
    let secret = match own_secret {
        Some(secret) => Some(secret),
        None => named(file.secret_env, "auth_secret_env"),
    };
    let secret = secret.or_else(|| secret_file(file.secret_file?, problems));
    let half = |present: &Sourced<Secret>, missing: &str| Problem {
        source: present.source.clone(),
        key: String::new(),
        text: format!("sets only one half of the credentials; set {missing} too, or neither"),
    };
    match (key, secret) {
        (Some(key), Some(secret)) => return Some(Auth { key, secret }),
        (Some(key), None) if problems.is_empty() => problems.push(half(&key, env::AUTH_SECRET)),
        (None, Some(secret)) if problems.is_empty() => problems.push(half(&secret, env::AUTH_KEY)),
        _ => {}
    }
    None
}

fn secret_file(path: Sourced<PathBuf>, problems: &mut Vec<Problem>) -> Option<Sourced<Secret>> {
    let key = "server.auth_secret_file".to_owned();
    let shown = path.value.display().to_string();
    match std::fs::read_to_string(&path.value) {
        Ok(text) if !text.trim().is_empty() => Some(path.map(|_| Secret(text.trim().to_owned()))),
        Ok(_) => {
            problems.push(Problem { source: path.source, key, text: format!("{shown} is empty") });
            None
        }
        Err(error) => {
            let text = format!("{shown} cannot be read: {error}");
            problems.push(Problem { source: path.source, key, text });
            None
        }
    }
}

/// A file of certificates must be there; what they are worth is seen at the start.
fn ca_problem(file: Option<&Sourced<PathBuf>>, problems: &mut Vec<Problem>) {
    let Some(Sourced { value: path, source }) = file else { return };
    let text = match std::fs::read_to_string(path) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => return,
        Ok(_) => "has no certificate in it (-----BEGIN CERTIFICATE-----)".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    let text = format!("{} {text}", path.display());
    problems.push(Problem { source: source.clone(), key: "server.ca_file".to_owned(), text });
}

/// A worker of the command line in the form of the file's.
fn of_flags(worker: FlagWorker) -> file::Worker {
    file::Worker {
        source: Source::Flag("--task"),
        task: flag(Some(worker.task), "--task"),
        command: flag(Some(worker.command), "-- COMMAND"),
        slots: flag(worker.slots, "--slots"),
        domain: flag(worker.domain, "--domain"),
        timeout: flag(worker.timeout, "--timeout"),
        grace: flag(worker.grace, "--grace"),
        ..file::Worker::default()
    }
}

/// One worker with all its settings; `None` if something is wrong with it, which is then told.
fn worker(part: file::Worker, env: &Env, whole_file: bool, problems: &mut Vec<Problem>) -> Option<Worker> {
    let known = problems.len();
    let mut missing = |key: &str, example: &str| {
        let text = format!("this worker has no `{key}`: {key} = {example}");
        problems.push(Problem { source: part.source.clone(), key: String::new(), text });
    };
    if part.task.is_none() && whole_file {
        missing("task", "\"resize\"");
    }
    if part.command.is_none() && whole_file {
        missing("command", "[\"python3\", \"resize.py\"]");
    }
    let (task, command) = (part.task?, part.command?);
    let name = task.value.clone();
    let slots = over(part.slots, || env.worker(&name, "slots", value::slots, problems));
    let domain = over(part.domain, || env.worker(&name, "domain", value::text, problems));
    let paused = over(part.paused, || env.worker(&name, "paused", value::switch, problems));
    let interval = over(part.poll_interval, || env.worker(&name, "poll_interval", env::millis, problems));
    let worker_id = over(part.worker_id, || env.worker(&name, "worker_id", value::text, problems));
    let grace = part.grace.unwrap_or_else(|| Sourced::default(exec::GRACE));
    let mut words = command.value.into_iter();
    let run = exec::Command {
        program: words.next().unwrap_or_default(),
        args: words.collect(),
        env: part.env,
        hidden: Vec::new(),
        cwd: part.cwd.as_ref().map(|cwd| cwd.value.clone()),
        timeout: part.timeout.as_ref().map(|timeout| timeout.value),
        grace: grace.value,
        output_max: exec::OUTPUT_MAX,
    };
    if let Err(text) = exec::find(&run) {
        let key = format!("command of `{name}`");
        problems.push(Problem { source: command.source.clone(), key, text });
    }
    (problems.len() == known).then(|| Worker {
        task,
        slots: slots.unwrap_or(Sourced::default(1)),
        domain,
        paused,
        poll_interval: interval,
        worker_id,
        timeout: part.timeout,
        grace,
        cwd: part.cwd,
        command: run,
        command_source: command.source,
    })
}

/// A flag before the environment before the file.
fn over<T>(given: Option<Sourced<T>>, env: impl FnOnce() -> Option<Sourced<T>>) -> Option<Sourced<T>> {
    match given {
        Some(Sourced { source: Source::Flag(_), .. }) => given,
        _ => env().or(given),
    }
}

/// Two workers for the same queue would share it without anybody seeing why.
fn duplicates(workers: &[Worker], problems: &mut Vec<Problem>) {
    let queue = |worker: &Worker| {
        (worker.task.value.clone(), worker.domain.as_ref().map(|domain| domain.value.clone()))
    };
    for (at, worker) in workers.iter().enumerate() {
        let Some(first) = workers.iter().take(at).find(|first| queue(first) == queue(worker)) else {
            continue;
        };
        let text = format!(
            "`{}` is served already ({}); raise its `slots`, or give one a `domain`",
            worker.task.value, first.task.source
        );
        problems.push(Problem { source: worker.task.source.clone(), key: "task".to_owned(), text });
    }
}
