//! `check` and `explain`: the settings of a run, without the run.

use std::path::PathBuf;

use crate::config::{self, Env, Flags, Settings};
use crate::say;

/// Options of `check` and `explain`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  downbeat check downbeat.toml\n  downbeat explain --config downbeat.toml"
)]
pub(crate) struct Args {
    /// The configuration file.
    #[arg(value_name = "FILE", required_unless_present = "config")]
    file: Option<PathBuf>,

    /// The same, as `run` has it.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
}

impl Args {
    fn file(&self) -> PathBuf {
        self.config.as_ref().or(self.file.as_ref()).cloned().unwrap_or_default()
    }
}

pub(crate) fn check(args: &Args) -> u8 {
    let name = args.file().display().to_string();
    with_settings(args, |settings| {
        let workers = settings.workers.iter().map(|worker| worker.task.value.as_str());
        let workers = workers.collect::<Vec<_>>().join(", ");
        format!("{name} is good: {} for {}\n", workers, settings.url.value)
    })
}

pub(crate) fn explain(args: &Args) -> u8 {
    with_settings(args, |settings| settings.explain())
}

fn with_settings(args: &Args, show: impl FnOnce(&Settings) -> String) -> u8 {
    let flags = Flags { config: Some(args.file()), ..Flags::default() };
    match config::resolve(flags, &Env::of_process()) {
        Ok(settings) => {
            for variable in &settings.unknown_variables {
                say::error(&format!("warning: environment {variable}: {}", config::MEANS_NOTHING));
            }
            say::out(&show(&settings));
            say::DONE
        }
        Err(problems) => say::problems(&problems),
    }
}
