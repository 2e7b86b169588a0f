//! The configuration file: every mistake in it is told, with its line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use downbeat::TransportChoice;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::source::{Problem, Source, Sourced};
use super::value;

/// What a file says; nothing in it is required here.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) server: Server,
    pub(crate) runner: Runner,
    pub(crate) workers: Vec<Worker>,
}

/// `[server]`.
#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) url: Option<Sourced<String>>,
    pub(crate) auth_key: Option<Sourced<String>>,
    pub(crate) auth_key_env: Option<Sourced<String>>,
    pub(crate) auth_secret_env: Option<Sourced<String>>,
    pub(crate) auth_secret_file: Option<Sourced<PathBuf>>,
    pub(crate) ca_file: Option<Sourced<PathBuf>>,
}

/// `[runner]`.
#[derive(Debug, Default)]
pub(crate) struct Runner {
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
}

/// One `[[worker]]`.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    /// Where its table begins.
    pub(crate) source: Source,
    pub(crate) task: Option<Sourced<String>>,
    pub(crate) command: Option<Sourced<Vec<OsString>>>,
    pub(crate) slots: Option<Sourced<u16>>,
    pub(crate) domain: Option<Sourced<String>>,
    pub(crate) timeout: Option<Sourced<Duration>>,
    pub(crate) grace: Option<Sourced<Duration>>,
    pub(crate) paused: Option<Sourced<bool>>,
    pub(crate) poll_interval: Option<Sourced<Duration>>,
    pub(crate) worker_id: Option<Sourced<String>>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: Option<Sourced<PathBuf>>,
}

const TABLES: &[&str] = &["server", "runner", "worker"];
const SERVER: &[&str] =
    &["url", "auth_key", "auth_key_env", "auth_secret_env", "auth_secret_file", "ca_file"];
const RUNNER: &[&str] = &[
    "drain_timeout",
    "store",
    "store_max",
    "store_max_files",
    "max_task",
    "external_hosts",
    "worker_id",
    "max_calls",
    "admin",
    "transport",
];
const WORKER: &[&str] = &[
    "task",
    "command",
    "slots",
    "domain",
    "timeout",
    "grace",
    "paused",
    "poll_interval",
    "worker_id",
    "env",
    "cwd",
];

/// Reads a whole file; `name` is how messages call it.
pub(crate) fn parse(name: &str, text: &str) -> (File, Vec<Problem>) {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { name, text, problems: Vec::new() };
    for error in errors {
        let source = reader.source(&error.span().unwrap_or(0..0));
        // The message names what the grammar expects there, not what stands there.
        reader.problems.push(Problem { source, key: String::new(), text: one_line(error.message()) });
    }
    let mut file = File::default();
    if reader.problems.is_empty() {
        let root = root.get_ref();
        reader.keys(root, "", TABLES);
        if let Some(server) = reader.table(root, "server") {
            file.server = reader.server(server);
        }
        if let Some(runner) = reader.table(root, "runner") {
            file.runner = reader.runner(runner);
        }
        file.workers = reader.workers(root);
    }
    reader.problems.sort_by_key(|problem| match problem.source {
        Source::File { line, .. } => line,
        Source::Flag(_) | Source::Env(_) | Source::Default => 0,
    });
    (file, reader.problems)
}

struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    problems: Vec<Problem>,
}

type Table<'a> = DeTable<'a>;
type Value<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    fn server(&mut self, table: &Table<'_>) -> Server {
        self.keys(table, "server.", SERVER);
        Server {
            url: self.take(table, "server.", "url", value::url),
            auth_key: self.take(table, "server.", "auth_key", value::text),
            auth_key_env: self.take(table, "server.", "auth_key_env", value::text),
            auth_secret_env: self.take(table, "server.", "auth_secret_env", value::text),
            auth_secret_file: self.take(table, "server.", "auth_secret_file", value::path),
            ca_file: self.take(table, "server.", "ca_file", value::path),
        }
    }

    fn runner(&mut self, table: &Table<'_>) -> Runner {
        self.keys(table, "runner.", RUNNER);
        Runner {
            drain_timeout: self.take(table, "runner.", "drain_timeout", value::duration),
            store: self.take(table, "runner.", "store", value::path),
            store_max: self.take(table, "runner.", "store_max", value::store_size),
            store_max_files: self.number(table, "runner.", "store_max_files", value::STORE_FILES),
            max_task: self.take(table, "runner.", "max_task", value::task_size),
            external_hosts: self.hosts(table),
            worker_id: self.take(table, "runner.", "worker_id", value::text),
            max_calls: self.number(table, "runner.", "max_calls", value::MAX_CALLS),
            admin: self.take(table, "runner.", "admin", value::address),
            transport: self.take(table, "runner.", "transport", value::transport),
        }
    }

    fn workers(&mut self, root: &Table<'_>) -> Vec<Worker> {
        let Some(found) = root.get("worker") else { return Vec::new() };
        let Some(list) = found.get_ref().as_array() else {
            self.problem(found, "worker", "must be a list of tables: write `[[worker]]`, with two brackets");
            return Vec::new();
        };
        let mut workers = Vec::new();
        for (at, item) in list.iter().enumerate() {
            let path = format!("worker[{at}]");
            match item.get_ref().as_table() {
                Some(table) => workers.push(self.worker(table, item, &format!("{path}."))),
                None => self.problem(item, &path, "must be a table: write `[[worker]]`"),
            }
        }
        workers
    }

    fn worker(&mut self, table: &Table<'_>, item: &Value<'_>, path: &str) -> Worker {
        self.keys(table, path, WORKER);
        // The table of `[[worker]]` spans its header.
        Worker {
            source: self.source(&item.span()),
            task: self.take(table, path, "task", value::text),
            command: self.command(table, path),
            slots: self.number(table, path, "slots", value::SLOTS),
            domain: self.take(table, path, "domain", value::text),
            timeout: self.take(table, path, "timeout", value::time_limit),
            grace: self.take(table, path, "grace", value::duration),
            paused: self.flag(table, path, "paused"),
            poll_interval: self.take(table, path, "poll_interval", value::time_limit),
            worker_id: self.take(table, path, "worker_id", value::text),
            env: self.env(table, path),
            cwd: self.take(table, path, "cwd", value::path),
        }
    }

    fn command(&mut self, table: &Table<'_>, path: &str) -> Option<Sourced<Vec<OsString>>> {
        const ALLOWED: &str = r#"must be a list of texts: ["python3", "resize.py"]"#;
        let found = table.get("command")?;
        let words = found.get_ref().as_array().map(strings);
        match words {
            Some(Some(words)) if words.first().is_some_and(|program| !program.is_empty()) => {
                Some(Sourced::new(words, self.source(&found.span())))
            }
            Some(Some(_)) => self.refuse(found, &format!("{path}command"), "must name a program"),
            Some(None) | None => self.refuse(found, &format!("{path}command"), ALLOWED),
        }
    }

    fn env(&mut self, table: &Table<'_>, path: &str) -> BTreeMap<String, String> {
        let Some(found) = table.get("env") else { return BTreeMap::new() };
        let Some(members) = found.get_ref().as_table() else {
            self.problem(found, &format!("{path}env"), r#"must be a table of texts: { LANG = "C" }"#);
            return BTreeMap::new();
        };
        let mut env = BTreeMap::new();
        for (name, value) in members {
            let key = name.get_ref().to_string();
            let usable = !key.is_empty() && !key.contains(['=', '\0']);
            match value.get_ref().as_str() {
                Some(text) if usable && !text.contains('\0') => drop(env.insert(key, text.to_owned())),
                _ => self.problem(
                    value,
                    &format!("{path}env.{key}"),
                    "must be a text, and its name without `=`",
                ),
            }
        }
        env
    }

    fn flag(&mut self, table: &Table<'_>, path: &str, key: &str) -> Option<Sourced<bool>> {
        let found = table.get(key)?;
        match found.get_ref().as_bool() {
            Some(value) => Some(Sourced::new(value, self.source(&found.span()))),
            None => self.refuse(found, &format!("{path}{key}"), "must be true or false"),
        }
    }

    fn number<T: Copy + PartialOrd + fmt::Display + TryFrom<u64>>(
        &mut self,
        table: &Table<'_>,
        path: &str,
        key: &str,
        bounds: (T, T),
    ) -> Option<Sourced<T>> {
        let found = table.get(key)?;
        let number = found.get_ref().as_integer();
        let number = number.and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
        let number = number.and_then(|number| T::try_from(number).ok());
        match number.filter(|number| (bounds.0..=bounds.1).contains(number)) {
            Some(number) => Some(Sourced::new(number, self.source(&found.span()))),
            None => {
                self.refuse(found, &format!("{path}{key}"), &format!("must be {}", value::within(bounds)))
            }
        }
    }

    fn hosts(&mut self, table: &Table<'_>) -> Option<Sourced<Vec<String>>> {
        const ALLOWED: &str = r#"must be a list of hosts: ["storage.example", "minio:9000", "*.example"]"#;
        let found = table.get("external_hosts")?;
        let hosts: Option<Vec<String>> = found.get_ref().as_array().and_then(|list| {
            list.iter().map(|item| item.get_ref().as_str().and_then(|text| value::host(text).ok())).collect()
        });
        match hosts {
            Some(hosts) => Some(Sourced::new(hosts, self.source(&found.span()))),
            None => self.refuse(found, "runner.external_hosts", ALLOWED),
        }
    }

    fn take<T>(
        &mut self,
        table: &Table<'_>,
        path: &str,
        key: &str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<Sourced<T>> {
        let found = table.get(key)?;
        let parsed = match found.get_ref().as_str() {
            Some(text) => parse(text),
            // What a text of this key must be; no text is allowed that is empty.
            None => {
                parse("").and(Err("a text".to_owned())).map_err(|allowed| format!("{allowed}, in quotes"))
            }
        };
        match parsed {
            Ok(value) => Some(Sourced::new(value, self.source(&found.span()))),
            Err(allowed) => self.refuse(found, &format!("{path}{key}"), &format!("must be {allowed}")),
        }
    }

    fn table<'t, 'i>(&mut self, root: &'t Table<'i>, key: &str) -> Option<&'t Table<'i>> {
        let found = root.get(key)?;
        let table = found.get_ref().as_table();
        if table.is_none() {
            self.problem(found, key, &format!("must be a table: write `[{key}]`, with one pair of brackets"));
        }
        table
    }

    /// Names every key that is not known, and the one that was probably meant.
    fn keys(&mut self, table: &Table<'_>, path: &str, known: &[&str]) {
        for name in table.keys() {
            let key = name.get_ref();
            if known.contains(&key.as_ref()) {
                continue;
            }
            let text = match key.as_ref() {
                "auth_secret" => {
                    "a secret does not belong into a file that is passed around: name its variable \
                                  (auth_secret_env) or its own file (auth_secret_file)"
                        .to_owned()
                }
                _ => format!("is not known; {}", suggest(key, known)),
            };
            let source = self.source(&name.span());
            self.problems.push(Problem { source, key: format!("{path}{key}"), text });
        }
    }

    fn refuse<T>(&mut self, found: &Value<'_>, key: &str, text: &str) -> Option<T> {
        self.problem(found, key, text);
        None
    }

    fn problem(&mut self, found: &Value<'_>, key: &str, text: &str) {
        let source = self.source(&found.span());
        self.problems.push(Problem { source, key: key.to_owned(), text: text.to_owned() });
    }

    fn source(&self, span: &Range<usize>) -> Source {
        let before = self.text.as_bytes().get(..span.start).unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Source::File { name: self.name.to_owned(), line }
    }
}

fn strings(list: &DeArray<'_>) -> Option<Vec<OsString>> {
    let text =
        |item: &Value<'_>| item.get_ref().as_str().filter(|text| !text.contains('\0')).map(OsString::from);
    list.iter().map(text).collect()
}

/// `did you mean …?`, or the list of what is known.
fn suggest(key: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (strsim::damerau_levenshtein(&key.to_lowercase(), known), known));
    match near.min().filter(|(distance, known)| *distance <= 1 + known.len() / 4) {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => format!("allowed are {}", known.join(", ")),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
