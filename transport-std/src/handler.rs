//! Typed handlers behind one face: raw JSON in, an outcome out.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use downbeat_core::wire::{OUTPUT_LIMIT, Output};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::error::{TaskError, TaskErrorKind};

/// How a handler ended, ready to be reported.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ending {
    pub(crate) status: EndStatus,
    /// Raw JSON, an object within the server's limit.
    pub(crate) output: Vec<u8>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum EndStatus {
    Completed,
    Failed(String),
    Terminal(String),
    InProgress(Duration),
    /// It goes back as it came.
    GivenBack,
}

impl Ending {
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self { status: EndStatus::Failed(reason.into()), output: b"{}".to_vec() }
    }

    pub(crate) fn terminal(reason: impl Into<String>) -> Self {
        Self { status: EndStatus::Terminal(reason.into()), output: b"{}".to_vec() }
    }
}

/// A handler whose types are erased.
pub(crate) trait Handler: Send + Sync {
    /// Runs the user's code on an input (raw JSON). A panic of it is caught, and is a failure.
    fn call(&self, input: &[u8], context: &Context) -> Ending;
}

/// A closure with its types.
pub(crate) struct Typed<I, O, F> {
    handler: F,
    types: std::marker::PhantomData<fn(I) -> O>,
}

impl<I, O, F> Typed<I, O, F> {
    pub(crate) const fn new(handler: F) -> Self {
        Self { handler, types: std::marker::PhantomData }
    }
}

impl<I, O, F> Handler for Typed<I, O, F>
where
    I: DeserializeOwned,
    O: Serialize,
    F: Fn(I, &Context) -> Result<O, TaskError> + Send + Sync,
{
    fn call(&self, input: &[u8], context: &Context) -> Ending {
        let input = match decode::<I>(input) {
            Ok(input) => input,
            Err(reason) => return Ending::terminal(reason),
        };
        // The closure is not seen again by this call, and what it shares with other calls is its own affair.
        match catch_unwind(AssertUnwindSafe(|| (self.handler)(input, context).map(|o| encode(&o)))) {
            Ok(Ok(output)) => ending(EndStatus::Completed, output),
            Ok(Err(error)) => failure(error, context),
            Err(panic) => Ending::failed(format!("the handler panicked: {}", panic_text(&*panic))),
        }
    }
}

fn failure(error: TaskError, context: &Context) -> Ending {
    let output = match (error.output, &error.kind) {
        (Some(output), _) => output.and_then(|raw| checked(raw.get().as_bytes().to_vec())),
        // A report replaces the output, so progress without a new one repeats what was there.
        (None, TaskErrorKind::InProgress(_) | TaskErrorKind::GiveBack) => {
            Ok(context.polled_output().as_bytes().to_vec())
        }
        (None, _) => Ok(b"{}".to_vec()),
    };
    let status = match error.kind {
        TaskErrorKind::Retryable(reason) => EndStatus::Failed(reason),
        TaskErrorKind::Terminal(reason) => EndStatus::Terminal(reason),
        TaskErrorKind::InProgress(after) => EndStatus::InProgress(after),
        TaskErrorKind::GiveBack => EndStatus::GivenBack,
    };
    ending(status, output)
}

/// An output that cannot be reported would not be better the next time: that is terminal.
fn ending(status: EndStatus, output: Result<Vec<u8>, String>) -> Ending {
    match output {
        Ok(output) => Ending { status, output },
        Err(reason) => Ending::terminal(reason),
    }
}

fn encode<O: Serialize>(output: &O) -> Result<Vec<u8>, String> {
    let raw =
        serde_json::to_vec(output).map_err(|cause| format!("the output could not be encoded: {cause}"))?;
    // `()` has nothing to say.
    if raw == b"null" { Ok(b"{}".to_vec()) } else { checked(raw) }
}

fn checked(raw: Vec<u8>) -> Result<Vec<u8>, String> {
    match Output::new(&raw).and_then(|output| output.within(OUTPUT_LIMIT)) {
        Ok(_) => Ok(raw),
        Err(error) => Err(error.to_string()),
    }
}

/// Decodes the input; the reason of a failure names the place and the type, and holds nothing of the input.
fn decode<I: DeserializeOwned>(input: &[u8]) -> Result<I, String> {
    let error = match serde_json::from_slice::<I>(input) {
        Ok(input) => return Ok(input),
        Err(error) => error,
    };
    // Once more, slower, for the place in the input.
    let mut deserializer = serde_json::Deserializer::from_slice(input);
    let place = match serde_path_to_error::deserialize::<_, I>(&mut deserializer) {
        Err(error) if error.path().iter().len() > 0 => format!("at `{}`: ", error.path()),
        Ok(_) | Err(_) => String::new(),
    };
    Err(format!("the task's input is not what this worker takes: {place}{}", without_values(&error)))
}

/// What serde says, less the values that it quotes: those may be secrets.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rfind(" at line ").and_then(|end| text.get(..end)).unwrap_or(&text);
    if text.starts_with("missing field `") || text.starts_with("duplicate field `") {
        return text.to_owned();
    }
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => "the value there does not fit".to_owned(),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no text)")
}
