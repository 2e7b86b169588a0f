//! What is set, and by what.

use std::fmt::{self, Write};

use super::setting::{Preset, RUNNER, SERVER, Setting, WORKER};
use super::{Settings, Source};

impl Settings {
    /// Returns one line per setting: its key, its value, its source. Secrets are named, not shown.
    pub(crate) fn explain(&self) -> String {
        let mut rows = Rows::default();
        for setting in SERVER {
            match setting.key {
                // Which of these counts depends on the variables of both.
                "auth_key" => self.explain_credentials(&mut rows),
                "auth_key_env" | "auth_secret_env" | "auth_secret_file" => {}
                _ => rows.setting("server.", setting, &self.server),
            }
        }
        for setting in RUNNER {
            rows.setting("runner.", setting, &self.runner);
        }
        for worker in &self.workers {
            for setting in WORKER {
                rows.setting(&format!("worker {}: ", worker.task.value), setting, &worker.settings);
            }
        }
        rows.to_string()
    }

    fn explain_credentials(&self, rows: &mut Rows) {
        let Some(auth) = &self.auth else {
            return rows.add("server.auth_key", "none: the server asks for no token", &Source::Default);
        };
        rows.add("server.auth_key", "(set)", &auth.key.source);
        rows.add("server.auth_secret", "(set)", &auth.secret.source);
    }
}

#[derive(Default)]
struct Rows {
    rows: Vec<[String; 3]>,
}

impl Rows {
    fn add(&mut self, key: &str, value: &str, source: &Source) {
        self.rows.push([key.to_owned(), value.to_owned(), source.to_string()]);
    }

    fn setting<S>(&mut self, section: &str, setting: &Setting<S>, settings: &S) {
        let key = format!("{section}{}", setting.key);
        let (Preset::Value(default) | Preset::Nothing(default)) = setting.default;
        match setting.cell.shown(settings) {
            Some((value, source)) => self.add(&key, &value, &source),
            None => self.add(&key, default, &Source::Default),
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
