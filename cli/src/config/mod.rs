//! The settings of `downbeat run`: options before the environment before the file before defaults.

mod cell;
mod document;
mod env;
mod explain;
mod file;
mod kind;
mod options;
mod reader;
pub(crate) mod setting;
mod source;
#[cfg(test)]
mod tests;
pub(crate) mod value;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::exec;
use setting::{Preset, RUNNER, SERVER, Setting, WORKER};

pub(crate) use document::tables;
pub(crate) use env::Env;
pub(crate) use options::Options;
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
    pub(crate) server: setting::Server,
    pub(crate) runner: setting::Runner,
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
    pub(crate) slots: u16,
    pub(crate) settings: setting::Worker,
    pub(crate) command: exec::Command,
}

/// What the command line says.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    pub(crate) config: Option<PathBuf>,
    pub(crate) server: setting::Server,
    pub(crate) runner: setting::Runner,
    /// The one worker of a run without a file.
    pub(crate) worker: Option<setting::Worker>,
}

/// Puts the settings together; all problems are found at once.
pub(crate) fn resolve(flags: Flags, env: &Env) -> Result<Settings, Vec<Problem>> {
    let mut problems = Vec::new();
    let file = flags.config.as_deref().map(|path| read(path, &mut problems)).unwrap_or_default();
    // What a file is said to lack may be what is misspelled in it.
    let whole_file = problems.is_empty();
    let (mut server, mut runner) = (flags.server, flags.runner);
    complete(SERVER, &mut server, (env, ""), file.server, &mut problems);
    complete(RUNNER, &mut runner, (env, ""), file.runner, &mut problems);
    ca_problem(server.ca_file.as_ref(), &mut problems);
    // The commands do not get the runner's secret, under whatever name it comes.
    let hidden = [&server.auth_key_env, &server.auth_secret_env];
    let hidden: Vec<String> = hidden.into_iter().flatten().map(|name| name.value.clone()).collect();
    let auth = auth(&mut problems, env, server.clone());
    let mut workers = Vec::new();
    let of_flags = flags.worker.map(|worker| (worker, setting::Worker::default()));
    let of_file = file.workers.into_iter().map(|worker| {
        let source = worker.source.clone();
        (setting::Worker { source, task: worker.task.clone(), ..setting::Worker::default() }, worker)
    });
    for (given, file) in of_flags.into_iter().chain(of_file) {
        workers.extend(worker(given, file, env, whole_file, &mut problems));
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
    if problems.is_empty() && server.url.is_none() {
        problems.push(whole(
            "no server is named: give `--server http://localhost:8080/api`, set CONDUCTOR_SERVER_URL, or set `url` \
             in `[server]`",
        ));
    }
    let (Some(url), true) = (server.url.clone(), problems.is_empty()) else { return Err(problems) };
    let unknown_variables = env.unknown(workers.iter().map(|worker| worker.task.value.as_str()));
    Ok(Settings { url, auth, server, runner, workers, unknown_variables })
}

/// Completes what the options say: the first of environment, file and default that has a setting sets it.
///
/// `task` is the worker's task type. A variable that is not allowed becomes a problem.
fn complete<S>(
    settings: &[Setting<S>],
    section: &mut S,
    (env, task): (&Env, &str),
    mut file: S,
    problems: &mut Vec<Problem>,
) {
    for Setting { key, variable, default, cell, .. } in settings {
        if cell.is_set(section) {
            continue;
        }
        if let Some((name, text)) = env.find(&variable.names(task, key)) {
            let source = Source::Env(name.to_owned());
            if let Err(allowed) = cell.variable(section, text, source.clone()) {
                problems.push(Problem { source, key: String::new(), text: format!("must be {allowed}") });
            }
        }
        if !cell.is_set(section) {
            cell.take(section, &mut file);
        }
        if let (Preset::Value(text), false) = (default, cell.is_set(section)) {
            // A default is allowed; a test takes them all.
            drop(cell.option(section, OsStr::new(text), Source::Default));
        }
    }
}

/// The store that a file names.
pub(crate) fn store(file: &Path) -> Result<Option<PathBuf>, Vec<Problem>> {
    let mut problems = Vec::new();
    let file = read(file, &mut problems);
    if problems.is_empty() { Ok(file.runner.store.map(|store| store.value)) } else { Err(problems) }
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

fn auth(problems: &mut Vec<Problem>, env: &Env, file: setting::Server) -> Option<Auth> {
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
        None => file.auth_key.map(|key| key.map(Secret)).or_else(|| named(file.auth_key_env, "auth_key_env")),
    };
    let secret = match own_secret {
        Some(secret) => Some(secret),
        None => named(file.auth_secret_env, "auth_secret_env"),
    };
    let secret = secret.or_else(|| secret_file(file.auth_secret_file?, problems));
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

/// One worker with all its settings; `None` if something is wrong with it, which is then told.
fn worker(
    mut given: setting::Worker,
    file: setting::Worker,
    env: &Env,
    whole_file: bool,
    problems: &mut Vec<Problem>,
) -> Option<Worker> {
    let known = problems.len();
    let mut missing = |key: &str, example: &str| {
        let text = format!("this worker has no `{key}`: {key} = {example}");
        problems.push(Problem { source: given.source.clone(), key: String::new(), text });
    };
    if given.task.is_none() && whole_file {
        missing("task", "\"resize\"");
    }
    if given.command.is_none() && file.command.is_none() && whole_file {
        missing("command", "[\"python3\", \"resize.py\"]");
    }
    let task = given.task.clone()?;
    if given.command.is_none() && file.command.is_none() {
        return None;
    }
    complete(WORKER, &mut given, (env, &task.value), file, problems);
    let command = given.command.clone()?;
    let mut words = command.value.into_iter();
    let run = exec::Command {
        program: words.next().unwrap_or_default(),
        args: words.collect(),
        env: given.env.clone().map(|env| env.value).unwrap_or_default(),
        hidden: Vec::new(),
        cwd: given.cwd.as_ref().map(|cwd| cwd.value.clone()),
        timeout: given.timeout.as_ref().map(|timeout| timeout.value),
        grace: given.grace.as_ref().map_or(exec::GRACE, |grace| grace.value),
        output_max: exec::OUTPUT_MAX,
    };
    if let Err(text) = exec::find(&run) {
        let key = format!("command of `{}`", task.value);
        problems.push(Problem { source: command.source, key, text });
    }
    let slots = given.slots.as_ref().map_or(1, |slots| slots.value);
    (problems.len() == known).then_some(Worker { task, slots, settings: given, command: run })
}

/// Two workers for the same queue would share it without anybody seeing why.
fn duplicates(workers: &[Worker], problems: &mut Vec<Problem>) {
    let queue = |worker: &Worker| {
        (worker.task.value.clone(), worker.settings.domain.as_ref().map(|domain| domain.value.clone()))
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
