//! What is wrong with a task that a poll brought.

use core::fmt;

use heapless::String;

use super::ids::ID_MAX;
use super::message::{Message, Piece, message, show};
use super::scan::DEPTH_MAX;
use super::text::bounded;

/// Bytes of the longest [`Misfit::reason`].
pub const REASON_MAX: usize = 256;

/// What keeps an element from being run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Misfit {
    /// The element is not an object.
    NotObject,
    /// A member that must be there is missing, `null` or empty.
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member has another type than Conductor's model says.
    WrongType {
        /// Its name.
        member: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// An id is longer than [`ID_MAX`] bytes.
    IdTooLong {
        /// The member's name.
        member: &'static str,
    },
    /// A member that is kept is nested deeper than [`DEPTH_MAX`], batch and task included.
    TooDeep,
    /// What is kept of the task does not fit into the buffer.
    TooLarge {
        /// Bytes that would be kept.
        needed: usize,
        /// Bytes of the buffer.
        room: usize,
    },
}

impl Misfit {
    /// Returns the reason to report, at most [`REASON_MAX`] bytes, without any of the task's content.
    #[must_use]
    pub fn reason(&self) -> String<REASON_MAX> {
        bounded(format_args!("{self}"))
    }
}

impl Misfit {
    /// What is said of it.
    pub(crate) fn message(&self) -> Message {
        let its = Piece::Text("the polled task's `");
        match self {
            Self::NotObject => {
                message(&[Piece::Text("the polled element is not a task but another JSON value")])
            }
            Self::Missing { member } => {
                message(&[Piece::Text("the polled task has no `"), Piece::Text(member), Piece::Text("`")])
            }
            Self::WrongType { member, expected } => {
                message(&[its, Piece::Text(member), Piece::Text("` is not "), Piece::Text(expected)])
            }
            Self::IdTooLong { member } => {
                let longer = Piece::Text("` is longer than ");
                [its, Piece::Text(member), longer, Piece::Number(ID_MAX), Piece::Text(" bytes")]
            }
            Self::TooDeep => message(&[
                Piece::Text("the polled task is nested deeper than "),
                Piece::Number(DEPTH_MAX as usize),
                Piece::Text(" levels; pass the data flatter, or as a string"),
            ]),
            Self::TooLarge { needed, room } => [
                Piece::Text("the polled task needs "),
                Piece::Number(*needed),
                Piece::Text(" bytes, and this worker has room for "),
                Piece::Number(*room),
                Piece::Text("; enlarge the worker's task buffer, or give the task less input"),
            ],
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.message(), f)
    }
}
