//! Tasks whose input is a type of the user's.

use core::fmt;

use serde::Deserialize;

use super::result::Output;
use super::task::TaskView;

/// A task with its input decoded. `Debug` does not show the input, which may hold secrets.
#[derive(Clone, PartialEq)]
pub struct Task<'a, I> {
    /// The task as it was sent.
    pub view: TaskView<'a>,
    /// Its input.
    pub input: I,
}

impl<I> fmt::Debug for Task<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("view", &self.view).finish_non_exhaustive()
    }
}

impl<'a> TaskView<'a> {
    /// Decodes the input by serde, without an allocator.
    ///
    /// Members that the type does not know are skipped. A text with escapes is decoded in `scratch`, which
    /// must be as long as the longest of them (it may be empty if none is expected). It needs a place of its
    /// own in the type, such as `heapless::String<N>`; a `&'a str` takes only texts without escapes. The
    /// decoder is serde-json-core's: it knows no `deserialize_any` (untagged enums, `flatten`), no maps of
    /// unknown keys without a `heapless` map, and refuses characters that are written as a pair of `\u`
    /// escapes. If that is too little, decode [`TaskView::input`] with another library.
    ///
    /// # Errors
    /// See [`InputError`]; report the task `FAILED_WITH_TERMINAL_ERROR` with its text.
    ///
    /// ```
    /// use downbeat_core::wire::{Element, tasks};
    /// #[derive(serde::Deserialize)]
    /// struct Greeting<'a> { name: &'a str, times: u32 }
    ///
    /// let body = br#"{"taskId":"t1","workflowInstanceId":"w1","inputData":{"name":"Ada","times":2}}"#;
    /// let Some(Ok(Element::Task(task))) = tasks(body).next() else { panic!("a task") };
    /// let task = task.decode::<Greeting>(&mut []).unwrap();
    /// assert_eq!((task.input.name, task.input.times), ("Ada", 2));
    /// ```
    pub fn decode<I: Deserialize<'a>>(self, scratch: &mut [u8]) -> Result<Task<'a, I>, InputError> {
        if self.external_input.is_some() {
            return Err(InputError::External);
        }
        match serde_json_core::from_slice_escaped(self.input, scratch) {
            Ok((input, _)) => Ok(Task { view: self, input }),
            Err(cause) => Err(InputError::Unfit(cause)),
        }
    }

    /// Reads the polled output, for a give-back that echoes it.
    #[must_use]
    pub const fn polled_output(&self) -> Output<'a> {
        Output::scanned(self.output)
    }
}

/// An input that the worker's type cannot take. The text holds nothing of the input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InputError {
    /// It is not what the type expects.
    Unfit(serde_json_core::de::Error),
    /// The server keeps the input elsewhere, and sent only its path: `{}` is not it.
    External,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit(cause) => write!(f, "the task's input is not what this worker takes: {cause}"),
            Self::External => f.write_str(EXTERNAL),
        }
    }
}

/// The text of [`InputError::External`].
pub(crate) const EXTERNAL: &str =
    "the task's input is in external storage, which this worker cannot read; give the task less input";

impl core::error::Error for InputError {}
