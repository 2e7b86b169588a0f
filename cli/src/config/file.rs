//! The configuration file: every mistake in it is told, with its line.

use toml::de::DeTable;

use super::reader::{Reader, Table, Value};
use super::setting::{RUNNER, Runner, SERVER, Server, Setting, WORKER, Worker};
use super::source::{Problem, Source};

/// What a file says; nothing in it is required here.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) server: Server,
    pub(crate) runner: Runner,
    pub(crate) workers: Vec<Worker>,
}

const TABLES: &[&str] = &["server", "runner", "worker"];

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
            file.server = reader.section(SERVER, server, "server.");
        }
        if let Some(runner) = reader.table(root, "runner") {
            file.runner = reader.section(RUNNER, runner, "runner.");
        }
        file.workers = reader.workers(root);
    }
    reader.problems.sort_by_key(|problem| match problem.source {
        Source::File { line, .. } => line,
        Source::Flag(_) | Source::Env(_) | Source::Default => 0,
    });
    (file, reader.problems)
}

impl Reader<'_> {
    /// Every setting of one table of the file.
    fn section<S: Default>(&mut self, settings: &[Setting<S>], table: &Table<'_>, path: &str) -> S {
        let known: Vec<&str> = settings.iter().map(|setting| setting.key).collect();
        self.keys(table, path, &known);
        let mut section = S::default();
        for setting in settings {
            if let Some(found) = table.get(setting.key) {
                setting.cell.read(&mut section, self, found, &format!("{path}{}", setting.key));
            }
        }
        section
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
        // The table of `[[worker]]` spans its header.
        Worker { source: self.source(&item.span()), ..self.section(WORKER, table, path) }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
