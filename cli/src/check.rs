//! `check` and `explain`: the settings of a run, without the run.

use std::path::PathBuf;

use crate::config::{self, Env, Flags, Settings};
use crate::output;

/// Options of `explain`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  downbeat explain --config downbeat.toml\n  downbeat explain --settings",
    group = clap::ArgGroup::new("what").required(true).args(["file", "config", "settings"])
)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    file: File,

    /// Show every setting that exists, as the tables of docs/configuration.md.
    #[arg(long)]
    settings: bool,
}

/// Options of `check`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  downbeat check downbeat.toml",
    group = clap::ArgGroup::new("what").required(true).args(["file", "config"])
)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    file: File,
}

/// A configuration file.
#[derive(clap::Args, Debug)]
struct File {
    /// The configuration file.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// The same, as `run` has it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl File {
    fn path(&self) -> PathBuf {
        self.config.as_ref().or(self.file.as_ref()).cloned().unwrap_or_default()
    }
}

/// Says whether a configuration file is good.
pub(crate) fn check(CheckArgs { file }: &CheckArgs) -> u8 {
    with_settings(file, |settings| {
        let workers = settings.workers.iter().map(|worker| worker.task.value.as_str());
        let workers = workers.collect::<Vec<_>>().join(", ");
        format!("{} is good: {workers} for {}\n", file.path().display(), settings.url.value)
    })
}

/// Shows what is set and by what, or what can be set.
pub(crate) fn explain(ExplainArgs { file, settings }: &ExplainArgs) -> u8 {
    if *settings {
        output::out(&config::tables());
        return output::DONE;
    }
    with_settings(file, Settings::explain)
}

fn with_settings(file: &File, show: impl FnOnce(&Settings) -> String) -> u8 {
    let flags = Flags { config: Some(file.path()), ..Flags::default() };
    match config::resolve(flags, &Env::from_process()) {
        Ok(settings) => {
            for variable in &settings.unknown_variables {
                output::error(&format!("warning: environment {variable}: {}", config::MEANS_NOTHING));
            }
            output::out(&show(&settings));
            output::DONE
        }
        Err(problems) => output::problems(&problems),
    }
}
