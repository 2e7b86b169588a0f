//! What is noticed of a task in passing, without keeping it.

use super::scan::Mark;
use super::text::Decoder;

/// Whether the server still waits for a task's result.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TaskState {
    /// `IN_PROGRESS`: a worker has it.
    InProgress,
    /// `SCHEDULED`: it is in the queue, new or given back.
    Scheduled,
    /// Over: `COMPLETED`, `COMPLETED_WITH_ERRORS`, `FAILED`, `FAILED_WITH_TERMINAL_ERROR`, `CANCELED` or `SKIPPED`.
    Ended,
    /// Over as well: `TIMED_OUT`. Its lease has ended, and there may be a retry of it, which is the same work.
    TimedOut,
    /// The answer says something else, or cannot be read: to be taken for one that is waited for.
    #[default]
    Unknown,
}

impl TaskState {
    fn from_word(word: &str) -> Self {
        match word {
            "IN_PROGRESS" => Self::InProgress,
            "SCHEDULED" => Self::Scheduled,
            "TIMED_OUT" => Self::TimedOut,
            _ if ENDED.contains(&word) => Self::Ended,
            _ => Self::Unknown,
        }
    }
}

const ENDED: [&str; 6] =
    ["COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED", "FAILED_WITH_TERMINAL_ERROR", "CANCELED", "SKIPPED"];

/// Reads two values of a task as its bytes go by: `status`, and `pollTimeoutSeconds` of the definition that it carries.
///
/// Each is counted anew if a member comes again, so that the last counts.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub(super) state: TaskState,
    /// Seconds in `taskDefinition`, and in `workflowTask.taskDefinition`, or 0 for none.
    timeouts: [u32; 2],
    member: Member,
    /// Levels of names, from the member's own down, that lead to what is looked for.
    led: u32,
    look: Look,
}

/// Which member of the task is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Member {
    Other,
    Status,
    /// The definition is at this many levels: 1 for the member itself.
    Definition(u32),
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Look {
    Away,
    Name,
    Number,
}

impl Notice {
    pub(super) const fn new() -> Self {
        let (state, member, look) = (TaskState::Unknown, Member::Other, Look::Away);
        Self { state, timeouts: [0; 2], member, led: 0, look }
    }

    /// The poll timeout in seconds, or 0 if there is none.
    pub(super) const fn poll_timeout(&self) -> u32 {
        let [own, workflows] = self.timeouts;
        if own > 0 { own } else { workflows }
    }

    /// A member of the task, of this name, begins.
    pub(super) fn member(&mut self, name: Option<&str>) {
        self.member = match name {
            Some("status") => Member::Status,
            Some("taskDefinition") => Member::Definition(1),
            Some("workflowTask") => Member::Definition(2),
            _ => Member::Other,
        };
        match self.member {
            Member::Other => {}
            Member::Status => self.state = TaskState::Unknown,
            Member::Definition(_) => self.forget(),
        }
        self.led = 1;
        self.look = Look::Away;
    }

    /// Whether there is something to notice in the member.
    pub(super) fn is_awake(&self) -> bool {
        self.member != Member::Other
    }

    /// Bytes within a string, of the member's value or deeper.
    pub(super) fn inside(&self, bytes: &[u8], text: &mut Decoder) {
        if self.look == Look::Name {
            text.push(bytes);
        }
    }

    /// A byte of the member's value: what it is, and how deep, after it, in that value.
    pub(super) fn byte(&mut self, byte: u8, mark: Mark, level: u32, text: &mut Decoder) {
        match (mark, self.member) {
            (_, Member::Other) => {}
            (Mark::Text, Member::Status) if level == 0 => self.name(text),
            (Mark::TextEnd, Member::Status) if level == 0 => {
                text.finish();
                self.state = text.text().map(TaskState::from_word).unwrap_or_default();
                self.look = Look::Away;
            }
            (Mark::Key, Member::Definition(_)) if level <= self.led => {
                self.led = level;
                self.name(text);
            }
            (Mark::KeyEnd, Member::Definition(at)) if self.look == Look::Name => {
                text.finish();
                self.look = Look::Away;
                match text.text() {
                    Some("pollTimeoutSeconds") if level == at => {
                        self.forget();
                        self.look = Look::Number;
                    }
                    Some("taskDefinition") if level < at => {
                        self.forget();
                        self.led = at;
                    }
                    _ => {}
                }
            }
            (Mark::Colon | Mark::Space, _) => {}
            (Mark::Scalar | Mark::Inside, _) if self.look == Look::Number => self.digit(byte),
            (Mark::Inside, _) => self.inside(&[byte], text),
            _ => self.look = Look::Away,
        }
    }

    fn name(&mut self, text: &mut Decoder) {
        text.clear();
        self.look = Look::Name;
    }

    fn digit(&mut self, byte: u8) {
        if byte.is_ascii_digit() {
            if let Some(seconds) = self.timeout() {
                *seconds = seconds.saturating_mul(10).saturating_add(u32::from(byte & 15));
            }
        } else {
            // A fraction, a word, or below zero: no timeout.
            self.forget();
            self.look = Look::Away;
        }
    }

    fn forget(&mut self) {
        if let Some(seconds) = self.timeout() {
            *seconds = 0;
        }
    }

    fn timeout(&mut self) -> Option<&mut u32> {
        match self.member {
            Member::Definition(1) => self.timeouts.first_mut(),
            Member::Definition(_) | Member::Other | Member::Status => self.timeouts.last_mut(),
        }
    }
}
