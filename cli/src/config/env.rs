//! Settings from the environment, as Conductor's SDKs spell them.

use std::collections::BTreeMap;
use std::time::Duration;

use downbeat::{Context, RawValue, Runner, Worker};

use super::value;

/// The server's address.
pub(crate) const SERVER_URL: &str = "CONDUCTOR_SERVER_URL";
/// The id of the application's key.
pub(crate) const AUTH_KEY: &str = "CONDUCTOR_AUTH_KEY";
/// Its secret.
pub(crate) const AUTH_SECRET: &str = "CONDUCTOR_AUTH_SECRET";

/// Java's older names of both, which count if neither of the usual ones is set.
pub(crate) const JAVA_AUTH: [&str; 2] = ["CONDUCTOR_SERVER_AUTH_KEY", "CONDUCTOR_SERVER_AUTH_SECRET"];

/// The variables, taken once. `Debug` shows only their names.
#[derive(Clone, Default)]
pub(crate) struct Env {
    variables: BTreeMap<String, String>,
}

impl Env {
    /// The process's own.
    pub(crate) fn from_process() -> Self {
        let texts = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { variables: texts.collect() }
    }

    #[cfg(test)]
    pub(crate) fn from_variables<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { variables: variables.into_iter().collect() }
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The first of these that is set, with its value.
    pub(crate) fn find<'n>(&self, names: &'n [String]) -> Option<(&'n str, &str)> {
        names.iter().find_map(|name| Some((name.as_str(), self.get(name)?)))
    }
}

impl Env {
    /// The variables for workers that mean nothing to workers for these task types. The library, whose names they
    /// are, knows; it takes them from the description of a runner.
    pub(crate) fn unknown<'a>(&self, tasks: impl Iterator<Item = &'a str>) -> Vec<String> {
        // What is no worker's is none of its affair: a half of the credentials, for one.
        let of_workers =
            |name: &str| name.to_ascii_lowercase().replace('.', "_").starts_with("conductor_worker_");
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

/// As [`millis`], or `never`.
pub(crate) fn millis_or_never(text: &str) -> Result<Option<Duration>, String> {
    if text.eq_ignore_ascii_case("never") {
        return Ok(None);
    }
    millis(text).map(Some).map_err(|allowed| format!("{allowed}, or never"))
}

/// `POLL_INTERVAL` is in milliseconds everywhere, in Python with a fraction; a unit may be added.
pub(crate) fn millis(text: &str) -> Result<Duration, String> {
    let millis = text.parse().ok().filter(|millis: &f64| (1.0..=3_600_000.0).contains(millis));
    let time = || value::time_limit(text).ok();
    let time = millis.map(|millis| Duration::from_secs_f64(millis / 1_000.0)).or_else(time);
    time.ok_or_else(|| {
        "milliseconds, from 1 to 3600000, or a time with its unit: 500ms, 30s, 5m or 1h".to_owned()
    })
}
