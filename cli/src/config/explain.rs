//! What is set, and by what.

use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use super::value::{show_size, transport_name};
use super::{Settings, Source, Sourced, Worker};
use crate::duration::show;

impl Settings {
    /// One line per setting: its key, its value, its source. Secrets are named, not shown.
    pub(crate) fn explain(&self) -> String {
        let mut rows = Rows::default();
        rows.add("server.url", &self.url.value, &self.url.source);
        match &self.auth {
            Some(auth) => {
                rows.add("server.auth_key", &"(set)", &auth.key.source);
                rows.add("server.auth_secret", &"(set)", &auth.secret.source);
            }
            None => rows.add("server.auth_key", &"none: the server asks for no token", &Source::Default),
        }
        let path = |path: &PathBuf| path.display().to_string();
        rows.or("server.ca_file", self.ca_file.as_ref(), path, "none: what this machine trusts");
        rows.or("runner.drain_timeout", self.drain_timeout.as_ref(), |time| show(*time), "25s");
        rows.or("runner.store", self.store.as_ref(), path, "none: results wait in memory");
        rows.or("runner.store_max", self.store_max.as_ref(), |size| show_size(*size), "1GiB");
        rows.or("runner.store_max_files", self.store_max_files.as_ref(), u32::to_string, "10000");
        rows.or("runner.max_task", self.max_task.as_ref(), |size| show_size(*size), "64MiB");
        rows.or(
            "runner.external_hosts",
            self.external_hosts.as_ref(),
            |hosts| hosts.join(", "),
            "all but what is local",
        );
        rows.or("runner.worker_id", self.worker_id.as_ref(), Clone::clone, "host and process id");
        rows.or("runner.max_calls", self.max_calls.as_ref(), u16::to_string, "16");
        rows.or("runner.admin", self.admin.as_ref(), SocketAddr::to_string, "none");
        rows.or("runner.transport", self.transport.as_ref(), |choice| transport_name(*choice), "auto");
        for worker in &self.workers {
            rows.worker(worker);
        }
        rows.to_string()
    }
}

#[derive(Default)]
struct Rows {
    rows: Vec<[String; 3]>,
}

impl Rows {
    fn add(&mut self, key: &str, value: &dyn fmt::Display, source: &Source) {
        self.rows.push([key.to_owned(), value.to_string(), source.to_string()]);
    }

    fn or<T>(&mut self, key: &str, value: Option<&Sourced<T>>, show: fn(&T) -> String, default: &str) {
        match value {
            Some(value) => self.add(key, &show(&value.value), &value.source),
            None => self.add(key, &default, &Source::Default),
        }
    }

    fn worker(&mut self, worker: &Worker) {
        let name = format!("worker {}", worker.task.value);
        let key = |property: &str| format!("{name}: {property}");
        self.add(&key("task"), &worker.task.value, &worker.task.source);
        let command = &worker.command;
        let words = std::iter::once(&command.program).chain(&command.args);
        let line = words.map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ");
        self.add(&key("command"), &line, &worker.command_source);
        self.add(&key("slots"), &worker.slots.value, &worker.slots.source);
        self.or(&key("domain"), worker.domain.as_ref(), Clone::clone, "none");
        self.or(&key("paused"), worker.paused.as_ref(), bool::to_string, "false");
        self.or(&key("poll_interval"), worker.poll_interval.as_ref(), |time| show(*time), "100ms");
        self.or(&key("worker_id"), worker.worker_id.as_ref(), Clone::clone, "the runner's");
        self.or(&key("timeout"), worker.timeout.as_ref(), |time| show(*time), "none");
        self.add(&key("grace"), &show(worker.grace.value), &worker.grace.source);
        self.or(&key("cwd"), worker.cwd.as_ref(), |path| path.display().to_string(), "where downbeat runs");
        if !command.env.is_empty() {
            let names = command.env.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            self.add(&key("env"), &format!("{names} (values not shown)"), &worker.command_source);
        }
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let (keys, values) = (width(0).unwrap_or(0), width(1).unwrap_or(0).min(50));
        for [key, value, source] in &self.rows {
            writeln!(f, "{key:<keys$}  {value:<values$}  {source}")?;
        }
        f.write_char('\n')
    }
}
