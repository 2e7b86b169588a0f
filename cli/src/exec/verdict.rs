//! What a command's end means for its task.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Command, End, Finished, Recall, Report, Stop};

/// Exit code: the task is completed.
const COMPLETED: i32 = 0;
/// Exit code: deliver the task again (`EX_TEMPFAIL` of sysexits.h).
const IN_PROGRESS: i32 = 75;
/// Exit code: the task failed, and no retry mends it.
const TERMINAL: i32 = 100;
/// How much of the last line of standard error a reason quotes, in characters.
const QUOTED: usize = 300;

/// The file that `DOWNBEAT_RESULT` names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Again {
    callback_after_seconds: u64,
    output: Option<Box<RawValue>>,
}

pub(super) fn judge(command: &Command, result: &Path, finished: Finished) -> Report {
    let Finished { status, stop, output, log } = finished;
    let report = |end, output| Report { end, output, log: Vec::new() };
    let judged = match stop {
        Some(Stop::TooMuchOutput) => {
            let max = command.output_max;
            let text = format!(
                "the output is larger than the {max} bytes that the server takes; the command was stopped"
            );
            report(End::Terminal(text), None)
        }
        Some(Stop::TimeLimit(limit)) => {
            let text = format!("the command ran longer than its time limit of {limit:?} and was stopped");
            report(End::Failed(text), None)
        }
        Some(Stop::Recalled(Recall::Cancelled)) => report(End::Cancelled, None),
        // A command that ended with a result although it was asked to stop has a result.
        Some(Stop::Recalled(Recall::Drain) | Stop::Elsewhere) if !has_result(status, &output, result) => {
            report(End::GivenBack, None)
        }
        Some(Stop::Recalled(Recall::Drain) | Stop::Elsewhere) | None => match status.code() {
            Some(COMPLETED) => match object(&output) {
                Ok(output) => report(End::Completed, output),
                Err(reason) => report(End::Failed(reason), None),
            },
            Some(IN_PROGRESS) => match again(result, command.output_max) {
                Ok(again) => {
                    let after = Duration::from_secs(again.callback_after_seconds);
                    report(End::InProgress(after), again.output)
                }
                Err(reason) => report(End::Failed(reason), None),
            },
            Some(TERMINAL) => report(
                End::Terminal(reason("the command ended with exit code 100", &log)),
                object(&output).ok().flatten(),
            ),
            Some(code) => {
                let text = format!("the command ended with exit code {code}");
                report(End::Failed(reason(&text, &log)), object(&output).ok().flatten())
            }
            None => {
                let text =
                    format!("the command was killed by {}", signal(status.signal().unwrap_or_default()));
                report(End::Failed(reason(&text, &log)), None)
            }
        },
    };
    Report { log, ..judged }
}

/// Whether the end of a command that was asked to stop is a result: it said so by its exit code, and said it
/// with a complete output or the file of `DOWNBEAT_RESULT`. Exit code 0 without an output is what many a
/// program makes of SIGTERM.
pub(super) fn is_result(finished: &Finished, result: &Path) -> bool {
    has_result(finished.status, &finished.output, result)
}

fn has_result(status: ExitStatus, output: &[u8], result: &Path) -> bool {
    match status.code() {
        Some(COMPLETED | TERMINAL) => matches!(object(output), Ok(Some(_))),
        Some(IN_PROGRESS) => again(result, super::OUTPUT_MAX).is_ok(),
        _ => false,
    }
}

/// Whether a command was ended by one of the signals that ask for it, or by its own handler of it as shells tell.
pub(super) fn is_asked_to_end(status: ExitStatus) -> bool {
    /// SIGHUP, SIGINT, SIGTERM.
    const ASKING: [i32; 3] = [1, 2, 15];
    let number = status.signal().or_else(|| status.code().map(|code| code - 128));
    number.is_some_and(|number| ASKING.contains(&number))
}

/// Standard output as an output: nothing is `{}`.
fn object(output: &[u8]) -> Result<Option<Box<RawValue>>, String> {
    if output.trim_ascii().is_empty() {
        return Ok(None);
    }
    let bytes = output.len();
    match serde_json::from_slice::<Box<RawValue>>(output) {
        Ok(json) if json.get().starts_with('{') => Ok(Some(json)),
        Ok(json) => Err(format!(
            "standard output must be a JSON object, but its {bytes} bytes are {}",
            kind(json.get())
        )),
        // The message of a syntax error has a place and no content.
        Err(error) => {
            Err(format!("standard output must be a JSON object, but its {bytes} bytes are not JSON: {error}"))
        }
    }
}

fn again(result: &Path, max: usize) -> Result<Again, String> {
    const ASKS: &str = "exit code 75 asks to be called again, but the file that DOWNBEAT_RESULT names";
    let mut text = Vec::new();
    let read = File::open(result).and_then(|file| {
        let limit = u64::try_from(max).unwrap_or(u64::MAX);
        file.take(limit.saturating_add(1)).read_to_end(&mut text)
    });
    match read {
        Ok(_) if text.len() > max => return Err(format!("{ASKS} is larger than {max} bytes")),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("{ASKS} was not written; it says when: {{\"callbackAfterSeconds\": 30}}"));
        }
        Err(error) => return Err(format!("{ASKS} cannot be read: {error}")),
    }
    let again: Again = serde_json::from_slice(&text).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        format!(
            "{ASKS} must be like {{\"callbackAfterSeconds\": 30, \"output\": {{}}}}, and is not ({place})"
        )
    })?;
    match &again.output {
        Some(output) if !output.get().starts_with('{') => {
            Err(format!("{ASKS} has an output that is {}, not an object", kind(output.get())))
        }
        _ => Ok(again),
    }
}

/// What a JSON text is, without its content.
fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(b'{') => "an object",
        _ => "a number",
    }
}

/// What happened, and the last word of the command.
fn reason(what: &str, log: &[String]) -> String {
    match log.last() {
        Some(line) => {
            let quoted: String = line.chars().take(QUOTED).collect();
            format!("{what}: {quoted}")
        }
        None => what.to_owned(),
    }
}

fn signal(number: i32) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return format!("signal {number}"),
    };
    format!("{name} (signal {number})")
}
