//! The tables of docs/configuration.md, made of the settings.

use super::setting::{COMMAND, Preset, RUNNER, SERVER, Setting, Variable, WORKER};

/// Returns every setting that exists: a Markdown table for each section of the file.
pub(crate) fn tables() -> String {
    let [server, runner, worker] = [table(SERVER), table(RUNNER), table(WORKER)];
    format!("## `[server]`\n\n{server}\n## `[runner]`\n\n{runner}\n## `[[worker]]`\n\n{worker}")
}

fn table<S>(settings: &[Setting<S>]) -> String {
    let head = "| key | what it is | takes | default | option | environment |\n| --- | --- | --- | --- | --- | --- |\n";
    let rows = settings.iter().map(|setting| {
        let Setting { key, what, more, .. } = setting;
        let more = if more.is_empty() { String::new() } else { format!("; {more}") };
        let cells =
            [setting.cell.allowed(), default(setting), option(setting), variables(setting)].map(|cell| {
                // An empty cell is one space wide.
                if cell.is_empty() { " ".to_owned() } else { format!(" {cell} ") }
            });
        format!("| `{key}` | {what}{more} |{}|\n", cells.join("|"))
    });
    std::iter::once(head.to_owned()).chain(rows).collect()
}

/// The default, as a file spells it.
fn default<S>(setting: &Setting<S>) -> String {
    match setting.default {
        Preset::Value(value) if setting.cell.is_quoted() => format!("`\"{value}\"`"),
        Preset::Value(value) => format!("`{value}`"),
        Preset::Nothing(what) => what.to_owned(),
    }
}

fn option<S>(setting: &Setting<S>) -> String {
    match setting.option.map(|option| option.name) {
        None => String::new(),
        Some(COMMAND) => "after `--`".to_owned(),
        Some(name) => format!("`{name}`"),
    }
}

/// The setting's variable; those of a worker without their common beginning.
fn variables<S>(setting: &Setting<S>) -> String {
    const TASK: &str = "T";
    const PREFIX: &str = "CONDUCTOR_WORKER_T_";
    let names = match setting.variable {
        Variable::Credential(name) => vec![name.to_owned()],
        variable @ (Variable::None | Variable::Named(_) | Variable::OfWorker) => {
            variable.names(TASK, setting.key)
        }
    };
    let mut shown: Vec<String> = Vec::new();
    for name in names {
        let short = match (setting.variable, name.strip_prefix(PREFIX)) {
            (Variable::OfWorker, None) => continue,
            (Variable::OfWorker, Some(short)) => format!("`…_{short}`"),
            _ => format!("`{name}`"),
        };
        if !shown.contains(&short) {
            shown.push(short);
        }
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::config::Source;
    use crate::exec;

    const DOCUMENT: &str = include_str!("../../../docs/configuration.md");
    const EXAMPLE: &str = include_str!("../../../downbeat.example.toml");

    #[test]
    fn the_document_has_every_setting_as_the_program_takes_it() {
        for (section, table) in
            [("server", table(SERVER)), ("runner", table(RUNNER)), ("[worker]", table(WORKER))]
        {
            let (_, document) = DOCUMENT.split_once(&format!("## `[{section}]`\n")).unwrap();
            let rows = document.lines().skip_while(|line| !line.starts_with('|'));
            let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
            assert_eq!(
                rows,
                table.lines().collect::<Vec<_>>(),
                "`downbeat explain --settings` prints the tables of docs/configuration.md"
            );
        }
    }

    fn all_of<S: Default>(settings: &[Setting<S>]) {
        for Setting { key, default, cell, .. } in settings {
            let given = format!("{key} = ");
            assert!(EXAMPLE.contains(&given), "downbeat.example.toml has no `{key}`");
            let Preset::Value(text) = default else { continue };
            let mut section = S::default();
            cell.option(&mut section, OsStr::new(text), Source::Default).unwrap();
            assert_eq!(cell.shown(&section).unwrap().0, *text, "{key}");
        }
    }

    #[test]
    fn every_setting_is_in_the_example_file_and_every_default_is_allowed() {
        all_of(SERVER);
        all_of(RUNNER);
        all_of(WORKER);
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let mut worker = crate::config::setting::Worker::default();
        for setting in WORKER {
            if let Preset::Value(text) = setting.default {
                setting.cell.option(&mut worker, OsStr::new(text), Source::Default).unwrap();
            }
        }
        let policy = downbeat::Policy::default();
        assert_eq!(worker.slots.unwrap().value, policy.concurrency);
        assert_eq!(worker.poll_interval.unwrap().value, policy.poll_interval);
        assert_eq!(worker.ask_interval.unwrap().value, policy.ask_interval);
        assert_eq!(worker.report_timeout.unwrap().value, policy.report_timeout);
        assert_eq!(worker.store_after.unwrap().value, policy.store_after);
        assert_eq!(worker.on_lapse.unwrap().value, policy.on_lapse);
        assert_eq!(worker.grace.unwrap().value, exec::GRACE);
    }
}
