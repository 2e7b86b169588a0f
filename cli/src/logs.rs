//! The log: to standard error, as text or as JSON, coloured only on a terminal.

use std::io::{IsTerminal, stderr};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// Options that every command takes.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Log")]
pub(crate) struct Args {
    /// How the log is written to standard error: text or json.
    #[arg(long, global = true, value_enum, default_value_t = Form::Text, hide_possible_values = true, value_name = "FORM")]
    log: Form,

    /// What is logged: error, warn, info, debug or trace. RUST_LOG says it in detail.
    #[arg(long, global = true, value_enum, hide_possible_values = true, value_name = "LEVEL")]
    log_level: Option<Level>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    /// A person has to act now.
    Error,
    /// A person should look at it some day.
    Warn,
    /// The life of the process.
    Info,
    /// One line per task.
    Debug,
    /// One line per call.
    Trace,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Starts logging for the process; `unless` is the level if nobody asked for one.
pub(crate) fn start(args: &Args, unless: &str) {
    let of = |level: &str| EnvFilter::new(format!("warn,downbeat={level},downbeat_sim={level}"));
    let filter = match args.log_level {
        Some(level) => of(level.name()),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| of(unless)),
    };
    let colour = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(colour);
    // It fails if there is a log already: then that one is written.
    let started = match args.log {
        Form::Text => builder.with_target(false).try_init(),
        Form::Json => builder.json().flatten_event(true).try_init(),
    };
    drop(started);
}
