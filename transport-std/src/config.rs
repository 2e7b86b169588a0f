//! Settings from the environment, in the spellings of all of Conductor's SDKs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use downbeat_core::machine::OnLapse;

use crate::error::Error;
use crate::worker::Worker;

/// Where a setting came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The environment variable.
    pub variable: String,
}

/// A setting of a worker that the environment made, for a command that explains it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting {
    /// The worker's task type.
    pub task: String,
    /// The property, as spelled here: `slots`, `domain` and so on.
    pub property: &'static str,
    /// The value as written.
    pub value: String,
    /// Which variable won.
    pub origin: Origin,
}

/// The variables that matter, taken once.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
}

/// A property that a worker can be given, its spellings (upper case; the first that is set wins), and what it takes.
struct Property {
    name: &'static str,
    spellings: &'static [&'static str],
    allowed: &'static str,
    /// `None`: the value is not allowed.
    apply: fn(&mut Worker, &str) -> Option<()>,
}

/// What the names of workers' variables begin with; in the first the property is in upper case.
const PREFIXES: [&str; 3] = ["CONDUCTOR_WORKER_", "conductor.worker.", "conductor_worker_"];

/// What other SDKs can be told and a Downbeat worker needs not be: accepted, without effect.
const WITHOUT_EFFECT: [&str; 9] = [
    "EXECUTOR",
    "ISOLATION",
    "NON_BLOCKING_ASYNC",
    "POLL_TIMEOUT",
    "LEASE_EXTEND_ENABLED",
    "LEASE_EXTEND_THRESHOLD",
    "REGISTER_TASK_DEF",
    "OVERWRITE_TASK_DEF",
    "STRICT_SCHEMA",
];

const PROPERTIES: [Property; 9] = [
    Property {
        name: "slots",
        spellings: &["SLOTS", "THREAD_COUNT", "CONCURRENCY", "BATCH_SIZE"],
        allowed: "a whole number from 1 to 32767",
        apply: |worker, value| {
            let slots = value.parse().ok().filter(|slots| (1..=32_767).contains(slots));
            slots.map(|slots| worker.policy.concurrency = slots)
        },
    },
    Property {
        name: "domain",
        spellings: &["DOMAIN"],
        allowed: "a domain's name; empty: none",
        apply: |worker, value| {
            worker.domain = Some(value.to_owned()).filter(|domain| !domain.is_empty());
            Some(())
        },
    },
    Property {
        name: "worker_id",
        spellings: &["WORKER_ID"],
        allowed: "a name; empty: the runner's",
        apply: |worker, value| {
            worker.worker_id = Some(value.to_owned()).filter(|id| !id.is_empty());
            Some(())
        },
    },
    Property {
        name: "poll_interval",
        spellings: &["POLL_INTERVAL", "POLL_INTERVAL_MILLIS", "POLLING_INTERVAL"],
        allowed: "milliseconds from 1 to 3600000",
        apply: |worker, value| millis(value).map(|interval| worker.policy.poll_interval = interval),
    },
    Property {
        name: "ask_interval",
        spellings: &["ASK_INTERVAL"],
        allowed: "milliseconds from 1 to 3600000, or never",
        apply: |worker, value| {
            let interval = if value.eq_ignore_ascii_case("never") { None } else { Some(millis(value)?) };
            worker.policy.ask_interval = interval;
            Some(())
        },
    },
    Property {
        name: "report_timeout",
        spellings: &["REPORT_TIMEOUT"],
        allowed: "milliseconds from 1 to 3600000",
        apply: |worker, value| millis(value).map(|timeout| worker.policy.report_timeout = timeout),
    },
    Property {
        name: "store_after",
        spellings: &["STORE_AFTER"],
        allowed: "milliseconds from 1 to 3600000",
        apply: |worker, value| millis(value).map(|time| worker.policy.store_after = time),
    },
    Property {
        name: "on_lapse",
        spellings: &["ON_LAPSE"],
        allowed: "finish or stop",
        apply: |worker, value| {
            worker.policy.on_lapse = match value.to_ascii_lowercase().as_str() {
                "finish" => OnLapse::Finish,
                "stop" => OnLapse::Stop,
                _ => return None,
            };
            Some(())
        },
    },
    Property {
        name: "paused",
        spellings: &["PAUSED"],
        allowed: "true or false",
        apply: |worker, value| {
            worker.paused = match value.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => true,
                "false" | "0" | "no" | "off" => false,
                _ => return None,
            };
            Some(())
        },
    },
];

/// A time as the SDKs write it; Python's takes 100.0.
fn millis(value: &str) -> Option<Duration> {
    let millis = value.parse().ok().filter(|millis: &f64| (1.0..=3_600_000.0).contains(millis));
    millis.map(|millis| Duration::from_secs_f64(millis / 1_000.0))
}

impl Environment {
    /// Takes the process's variables that begin with `CONDUCTOR_`, `conductor.` or `conductor_`.
    pub(crate) fn from_process() -> Self {
        Self::new(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    pub(crate) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = |name: &str| {
            ["CONDUCTOR_", "conductor.", "conductor_"].iter().any(|prefix| name.starts_with(prefix))
        };
        Self { variables: variables.into_iter().filter(|(name, _)| ours(name)).collect() }
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Applies what is set for the worker, and says what that was.
    ///
    /// The most specific of several variables for one property counts: the worker's own, then `ALL`, then the
    /// legacy one without a name; at equal rank the upper-case spelling before the dotted one.
    pub(crate) fn apply(&self, worker: &mut Worker, settings: &mut Vec<Setting>) -> Result<(), Error> {
        for property in &PROPERTIES {
            let Some((variable, value)) = self.find(&worker.task, property) else { continue };
            (property.apply)(worker, value.trim()).ok_or_else(|| Error::Setting {
                variable: variable.to_owned(),
                value: value.to_owned(),
                allowed: property.allowed,
            })?;
            settings.push(Setting {
                task: worker.task.clone(),
                property: property.name,
                value: value.trim().to_owned(),
                origin: Origin { variable: variable.to_owned() },
            });
        }
        Ok(())
    }

    fn find(&self, task: &str, property: &Property) -> Option<(&str, &str)> {
        let found = names(task, property.spellings).find_map(|name| self.variables.get_key_value(&name))?;
        Some((found.0, found.1))
    }

    /// The variables for workers that mean nothing here, given the task types that there are: likely mistakes.
    pub(crate) fn unknown(&self, tasks: &[String]) -> impl Iterator<Item = &str> {
        let of_workers = |name: &&str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let spellings: Vec<&str> = spellings().collect();
        let any = self.variables.keys().map(String::as_str).any(|name| of_workers(&name));
        let tasks = if any { tasks } else { &[] };
        let known: BTreeSet<String> =
            tasks.iter().map(String::as_str).flat_map(|task| names(task, &spellings)).collect();
        let named = self.variables.keys().map(String::as_str).filter(of_workers);
        named.filter(move |name| !known.contains(*name))
    }
}

/// The environment variables that set a property of a worker for this task type, the strongest first, in the spellings
/// of all of Conductor's SDKs. Properties: `slots`, `domain`, `worker_id`, `poll_interval`, `ask_interval`,
/// `report_timeout`, `store_after`, `on_lapse`, `paused`; of another one there are none.
///
/// ```
/// let names = downbeat::variables("resize-it", "slots");
/// assert_eq!(names[0], "CONDUCTOR_WORKER_RESIZE_IT_SLOTS");
/// assert!(names.contains(&"conductor.worker.resize-it.thread_count".to_owned()));
/// ```
#[must_use]
pub fn variables(task: &str, property: &str) -> Vec<String> {
    let property = PROPERTIES.iter().find(|known| known.name == property);
    property.into_iter().flat_map(|property| names(task, property.spellings)).collect()
}

/// The names of variables for these spellings, the strongest first: the worker's own, those of all, those without a name;
/// at equal rank the upper case first.
fn names<'s>(task: &str, spellings: &'s [&'s str]) -> impl Iterator<Item = String> + use<'s> {
    let [shell, dotted, lower] = PREFIXES;
    let prefixes = [
        format!("{shell}{}_", upper(task)),
        // As Python writes it: with what no shell takes, but a container's description does.
        format!("{shell}{}_", task.to_uppercase()),
        format!("{dotted}{task}."),
        format!("{lower}{task}_"),
        format!("{shell}ALL_"),
        format!("{dotted}all."),
        format!("{lower}all_"),
        shell.to_owned(),
        dotted.to_owned(),
        lower.to_owned(),
    ];
    prefixes.into_iter().flat_map(move |prefix| {
        let is_upper = prefix.starts_with(shell);
        spellings.iter().map(move |spelling| {
            if is_upper {
                format!("{prefix}{spelling}")
            } else {
                format!("{prefix}{}", spelling.to_lowercase())
            }
        })
    })
}

/// All spellings of all properties, those without effect too.
fn spellings() -> impl Iterator<Item = &'static str> {
    let known = PROPERTIES.iter().flat_map(|property| property.spellings).chain(&WITHOUT_EFFECT);
    known.copied()
}

/// A task type as it stands in a variable's name: upper case, and `_` for what no variable can have.
fn upper(task: &str) -> String {
    task.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// Shows names alone: values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}
