//! JSON as Conductor speaks it, without an allocator.
//!
//! - Reading tasks: [`tasks`] for an answer that is in memory, [`TaskFilter`] for one that arrives in pieces. Both
//!   cut a batch into elements, so that a bad one costs only itself, and leave input and output as raw spans.
//! - Reading what became of a task: [`read_status`], or [`TaskFilter::state`] for an answer in pieces.
//! - Reading the rest: [`read_token`], [`ServerError`], or any object by [`find`] and [`members`].
//! - Writing: [`TaskResult`], [`encode_extend`], [`encode_give_back`], [`encode_token_request`], into anything that
//!   is [`Out`].
//! - Asking: [`target`] has the path and query of every call that a worker makes.
//! - Understanding: [`classify()`] makes of a status what the machine has to know.
//!
//! The user's own types are decoded and encoded by serde: [`TaskView::decode`], [`TaskResult::encode_typed`].

mod answer;
mod classify;
mod field;
mod filter;
mod ids;
mod message;
mod misfit;
mod notice;
mod out;
mod result;
mod scan;
pub mod target;
mod task;
mod text;
mod track;
mod typed;
mod value;

pub use answer::{MESSAGE_MAX, ServerError, TokenError, read_token};
pub use classify::{Accepted, CallKind, PREFIX, classify};
pub(crate) use filter::Cutter;
pub use filter::TaskFilter;
pub use ids::{ID_MAX, Ids};
pub(crate) use message::{Message, Piece, message, put_message};
pub use misfit::{Misfit, REASON_MAX};
pub use notice::TaskState;
pub(crate) use out::put_number;
pub use out::{Buffer, Counter, Full, Out, SliceBuffer};
pub use result::{
    EncodeError, LOGS_MAX, Log, OUTPUT_LIMIT, Output, OutputError, REASON_CHARS, Status, TaskResult,
    encode_extend, encode_give_back, encode_string, encode_token_request, reason_instead,
};
pub use scan::{DEPTH_MAX, Mark, Scanner, SyntaxError, SyntaxKind, validate};
pub use task::{Element, TaskView, Tasks, read_status, tasks};
pub use text::{Chars, Text, TooLong, bounded};
pub(crate) use typed::EXTERNAL;
pub use typed::{InputError, Task};
pub(crate) use value::digits;
pub use value::{Members, Value, find, members};
