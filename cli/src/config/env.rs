//! Settings from the environment, as Conductor's SDKs spell them.

use std::collections::BTreeMap;
use std::time::Duration;

use downbeat::{Context, RawValue, Runner, Worker};

use super::source::{Problem, Source, Sourced};
use super::value;

/// The server's address.
pub(crate) const SERVER_URL: &str = "CONDUCTOR_SERVER_URL";
/// A file with certificates that are trusted too.
pub(crate) const CA_FILE: &str = "CONDUCTOR_TLS_CA_PATH";
/// The id of the application's key.
pub(crate) const AUTH_KEY: &str = "CONDUCTOR_AUTH_KEY";
/// Its secret.
pub(crate) const AUTH_SECRET: &str = "CONDUCTOR_AUTH_SECRET";

/// How the SDKs spell a worker's slots.
pub(crate) const SLOTS: &[&str] = &["SLOTS", "THREAD_COUNT", "CONCURRENCY", "BATCH_SIZE"];
/// How the SDKs spell the cap of an empty queue's delay.
pub(crate) const POLL_INTERVAL: &[&str] = &["POLL_INTERVAL", "POLL_INTERVAL_MILLIS", "POLLING_INTERVAL"];

/// The variables, taken once. `Debug` shows their names alone.
#[derive(Clone, Default)]
pub(crate) struct Env {
    variables: BTreeMap<String, String>,
}

impl Env {
    /// The process's own.
    pub(crate) fn of_process() -> Self {
        let texts = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { variables: texts.collect() }
    }

    #[cfg(test)]
    pub(crate) fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { variables: variables.into_iter().collect() }
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A variable's value as a setting; what is not allowed there becomes a problem.
    pub(crate) fn take<T>(
        &self,
        name: &str,
        parse: fn(&str) -> Result<T, String>,
        problems: &mut Vec<Problem>,
    ) -> Option<Sourced<T>> {
        let source = Source::Env(name.to_owned());
        match parse(self.get(name)?) {
            Ok(value) => Some(Sourced::new(value, source)),
            Err(allowed) => {
                problems.push(Problem { source, key: String::new(), text: format!("must be {allowed}") });
                None
            }
        }
    }

    /// A worker's property: the worker's own variable before that of all, upper case before dotted.
    pub(crate) fn worker<T>(
        &self,
        task: &str,
        spellings: &[&str],
        parse: fn(&str) -> Result<T, String>,
        problems: &mut Vec<Problem>,
    ) -> Option<Sourced<T>> {
        let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let own: String = task.chars().map(upper).collect();
        let scopes = [
            (format!("CONDUCTOR_WORKER_{own}_"), format!("conductor.worker.{task}.")),
            ("CONDUCTOR_WORKER_ALL_".to_owned(), "conductor.worker.all.".to_owned()),
            ("CONDUCTOR_WORKER_".to_owned(), "conductor.worker.".to_owned()),
        ];
        for (upper, dotted) in scopes {
            let uppers = spellings.iter().map(|spelling| format!("{upper}{spelling}"));
            let dots = spellings.iter().map(|spelling| format!("{dotted}{}", spelling.to_lowercase()));
            if let Some(name) = uppers.chain(dots).find(|name| self.get(name).is_some()) {
                return self.take(&name, parse, problems);
            }
        }
        None
    }
}

/// What both spellings of a worker's variables begin with.
const OF_WORKERS: [&str; 2] = ["CONDUCTOR_WORKER_", "conductor.worker."];

impl Env {
    /// The variables for workers that mean nothing to workers for these task types. The library, whose names they
    /// are, knows; it takes them from the description of a runner.
    pub(crate) fn unknown<'a>(&self, tasks: impl Iterator<Item = &'a str>) -> Vec<String> {
        let of_workers = |name: &str| OF_WORKERS.iter().any(|prefix| name.starts_with(prefix));
        let variables = self.variables.iter().filter(|(name, _)| of_workers(name));
        let variables = variables.map(|(name, value)| (name.clone(), value.clone()));
        let server = (SERVER_URL.to_owned(), "http://localhost".to_owned());
        let idle = |task| Worker::new(task, |_: Box<RawValue>, _: &Context| Ok(()));
        let runner = Runner::from_variables(variables.chain([server]));
        runner
            .map(|runner| tasks.map(idle).fold(runner, Runner::worker).unknown_variables())
            .unwrap_or_default()
    }
}

/// `POLL_INTERVAL` is in milliseconds everywhere; a unit may be added.
pub(crate) fn millis(text: &str) -> Result<Duration, String> {
    if text.chars().all(|c| c.is_ascii_digit()) {
        return value::time_limit(&format!("{text}ms"));
    }
    value::time_limit(text)
}
