//! `check` and `explain`: the settings of a run, without the run.

use std::path::PathBuf;

use crate::config::{self, Env, Flags, Settings};
use crate::say;

/// Options of `check` and `explain`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  downbeat check --config downbeat.toml\n  downbeat explain --config downbeat.toml"
)]
pub(crate) struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(crate) fn check(args: Args) -> u8 {
    let name = args.config.display().to_string();
    with_settings(args, |settings| {
        let workers = settings.workers.iter().map(|worker| worker.task.value.as_str());
        let workers = workers.collect::<Vec<_>>().join(", ");
        format!("{name} is good: {} for {}\n", workers, settings.url.value)
    })
}

pub(crate) fn explain(args: Args) -> u8 {
    with_settings(args, |settings| settings.explain())
}

fn with_settings(args: Args, show: impl FnOnce(&Settings) -> String) -> u8 {
    let flags = Flags { config: Some(args.config), ..Flags::default() };
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
