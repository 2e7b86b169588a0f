//! The options of `downbeat run`, made of the settings.

use std::ffi::{OsStr, OsString};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgMatches, Command, FromArgMatches};

use super::setting::{self, COMMAND, Flag, Preset, RUNNER, SERVER, Setting, Variable, WORKER};
use super::{Source, Sourced};

/// What the options of a command line set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) server: setting::Server,
    pub(crate) runner: setting::Runner,
    /// The worker that `--task` and the options beside it make.
    pub(crate) worker: Option<setting::Worker>,
}

impl clap::Args for Options {
    fn augment_args(command: Command) -> Command {
        let of_worker = args(WORKER).map(|arg| match arg.get_id().as_str() {
            "task" => arg.requires("command"),
            _ => arg.requires("task"),
        });
        command.args(args(SERVER)).args(of_worker).args(args(RUNNER))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// One argument for each setting with an option.
fn args<S>(settings: &'static [Setting<S>]) -> impl Iterator<Item = Arg> {
    settings.iter().filter_map(|setting| {
        let Flag { name, value, .. } = setting.option?;
        let arg = Arg::new(setting.key).value_name(value).help(help(setting));
        let Some(long) = name.strip_prefix("--").filter(|_| name != COMMAND) else {
            let words = arg.last(true).num_args(1..).value_parser(OsStringValueParser::new());
            return Some(words.help(format!("{}, after `--`", setting.what)));
        };
        let cell = setting.cell;
        let checked = move |text: OsString| cell.check(&text).map(|()| text);
        Some(arg.long(long).value_parser(OsStringValueParser::new().try_map(checked)))
    })
}

/// What an option's help says: the setting, an example, its variable and its default.
fn help<S>(setting: &Setting<S>) -> String {
    let mut help = setting.what.to_owned();
    if let Some(Flag { like, .. }) = setting.option.filter(|option| !option.like.is_empty()) {
        help = format!("{help} [example: {like}]");
    }
    if let Variable::Named(name) = setting.variable {
        help = format!("{help} [env: {name}]");
    }
    match setting.default {
        Preset::Value(default) => format!("{help} [default: {default}]"),
        Preset::Nothing(_) => help,
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options = Self::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        take(SERVER, &mut self.server, matches)?;
        take(RUNNER, &mut self.runner, matches)?;
        let mut worker = setting::Worker { source: Source::Flag("--task"), ..setting::Worker::default() };
        take(WORKER, &mut worker, matches)?;
        let words = matches.get_many("command").into_iter().flatten();
        let words: Vec<OsString> = words.cloned().collect();
        worker.command = Some(Sourced::new(words, Source::Flag(COMMAND)));
        self.worker = worker.task.is_some().then_some(worker);
        Ok(())
    }
}

/// Keeps what the options of one section say.
fn take<S>(settings: &[Setting<S>], section: &mut S, matches: &ArgMatches) -> Result<(), clap::Error> {
    for setting in settings {
        let Some(Flag { name, .. }) = setting.option.filter(|option| option.name != COMMAND) else {
            continue;
        };
        if let Some(text) = matches.get_one::<OsString>(setting.key) {
            let kept = setting.cell.option(section, OsStr::new(text), Source::Flag(name));
            kept.map_err(|allowed| clap::Error::raw(clap::error::ErrorKind::ValueValidation, allowed))?;
        }
    }
    Ok(())
}
