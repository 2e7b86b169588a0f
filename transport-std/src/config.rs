//! Settings from the environment, in the spellings of all of Conductor's SDKs.

use std::collections::BTreeMap;
use std::time::Duration;

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

const PREFIX: &str = "CONDUCTOR_WORKER_";
const DOTTED: &str = "conductor.worker.";

/// What other SDKs can be told and a Downbeat worker needs not be: accepted, without effect.
const WITHOUT_EFFECT: [&str; 6] = [
    "POLL_TIMEOUT",
    "LEASE_EXTEND_ENABLED",
    "LEASE_EXTEND_THRESHOLD",
    "REGISTER_TASK_DEF",
    "OVERWRITE_TASK_DEF",
    "STRICT_SCHEMA",
];

const PROPERTIES: [Property; 5] = [
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
        allowed: "whole milliseconds from 1 to 3600000",
        apply: |worker, value| {
            let millis = value.parse().ok().filter(|millis| (1..=3_600_000).contains(millis));
            millis.map(|millis| worker.policy.poll_interval = Duration::from_millis(millis))
        },
    },
    Property {
        name: "paused",
        spellings: &["PAUSED"],
        allowed: "true or false",
        apply: |worker, value| {
            worker.paused = match value.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" => true,
                "false" | "0" | "no" => false,
                _ => return None,
            };
            Some(())
        },
    },
];

impl Environment {
    /// Takes the process's variables that begin with `CONDUCTOR_` or `conductor.`.
    pub(crate) fn of_process() -> Self {
        Self::new(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    pub(crate) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = |name: &str| name.starts_with("CONDUCTOR_") || name.starts_with("conductor.");
        Self { variables: variables.into_iter().filter(|(name, _)| ours(name)).collect() }
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Applies what is set for the worker, and says what that was.
    ///
    /// Of several variables for one property the most specific counts: the worker's own, then `ALL`, then the
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
        let upper = upper(task);
        let upper_scopes = [format!("{PREFIX}{upper}_"), format!("{PREFIX}ALL_"), PREFIX.to_owned()];
        let dotted_scopes = [format!("{DOTTED}{task}."), format!("{DOTTED}all."), DOTTED.to_owned()];
        for (upper, dotted) in upper_scopes.iter().zip(&dotted_scopes) {
            let spelled = property.spellings.iter().map(|spelling| format!("{upper}{spelling}"));
            let dotted =
                property.spellings.iter().map(|spelling| format!("{dotted}{}", spelling.to_lowercase()));
            for name in spelled.chain(dotted) {
                if let Some((name, value)) = self.variables.get_key_value(&name) {
                    return Some((name, value));
                }
            }
        }
        None
    }

    /// The variables for workers that mean nothing here, given the task types that there are: likely mistakes.
    pub(crate) fn unknown<'a>(&'a self, tasks: &'a [String]) -> impl Iterator<Item = &'a str> {
        self.variables.keys().map(String::as_str).filter(move |name| {
            let known = |rest: &str, separator: char, same: &dyn Fn(&str) -> String| {
                let scopes = tasks.iter().map(|task| same(task)).chain([same("all"), String::new()]);
                let mut properties = scopes.filter_map(|scope| {
                    if scope.is_empty() {
                        return Some(rest);
                    }
                    rest.strip_prefix(scope.as_str())?.strip_prefix(separator)
                });
                properties.any(is_property)
            };
            if let Some(rest) = name.strip_prefix(PREFIX) {
                !known(rest, '_', &upper)
            } else if let Some(rest) = name.strip_prefix(DOTTED) {
                !known(rest, '.', &str::to_owned)
            } else {
                false
            }
        })
    }
}

fn is_property(name: &str) -> bool {
    let name = name.to_uppercase();
    let mut known = PROPERTIES.iter().flat_map(|property| property.spellings).chain(&WITHOUT_EFFECT);
    known.any(|spelling| *spelling == name)
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
