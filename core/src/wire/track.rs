//! Follows the scanner through a batch: where tasks begin and end, and which bytes of them are kept.

use super::field::Field;
use super::ids::{ID_MAX, Ids};
use super::misfit::Misfit;
use super::notice::{Notice, TaskState};
use super::scan::{DEPTH_MAX, Mark, Scanner, SyntaxError, SyntaxKind};
use super::text::Decoder;

/// Shared by the slice and the stream, so that both see the same.
#[derive(Clone, Debug)]
pub(super) struct Tracker {
    scanner: Scanner,
    /// The depth within a task: 1 for a single task (or `null`), 2 in an array, 0 before that is known.
    base: u32,
    place: Place,
    /// A member's name; and, in a value that is not kept, what is noticed there.
    name: Decoder,
    notice: Notice,
    task: Id,
    workflow: Id,
    /// A kept value was nested too deep.
    deep: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// Between the elements of the array, before or after the document.
    Outside,
    /// In an element that is no object.
    Alien,
    /// In a task, and in no member's name or value.
    Task,
    Name,
    /// After a name, before or in its value; `None` is an unknown member.
    Value {
        field: Option<Field>,
        begun: bool,
    },
}

/// What some bytes meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Nothing to keep.
    Skip,
    /// A task begins.
    Begin,
    /// The bytes belong to the value of a field, which begins with them if `first`.
    Keep { field: Field, first: bool },
    /// A task, or an element that is none, ended.
    End { alien: bool },
}

#[derive(Clone, Debug)]
struct Id {
    kind: IdKind,
    text: Decoder,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum IdKind {
    Absent,
    Text,
    Other,
}

impl Tracker {
    pub(super) const fn new() -> Self {
        Self {
            scanner: Scanner::new(),
            base: 0,
            place: Place::Outside,
            name: Decoder::new(),
            notice: Notice::new(),
            task: Id::new(),
            workflow: Id::new(),
            deep: false,
        }
    }

    /// Whether the answer is whole. One without a byte but white space is, and has no tasks in it.
    pub(super) fn finish(&self) -> Result<(), SyntaxError> {
        match self.scanner.finish() {
            Err(SyntaxError { kind: SyntaxKind::Ended, .. }) if self.base == 0 => Ok(()),
            ended => ended,
        }
    }

    /// Takes some of the bytes (at least one, if there is one) and says how many and what they are.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<(usize, Step), SyntaxError> {
        if let Place::Value { field, .. } = self.place
            && self.scanner.depth() > self.base
        {
            return self.nested(field, bytes);
        }
        let run = self.scanner.run(bytes);
        if run > 0 {
            let step = self.inside(bytes.get(..run).unwrap_or_default());
            return Ok((run, step));
        }
        let Some(byte) = bytes.first() else { return Ok((0, Step::Skip)) };
        let at = self.scanner.at();
        let mark = self.scanner.push(*byte)?;
        if self.base == 0 && mark != Mark::Space {
            self.base = match byte {
                b'{' | b'n' => 1,
                b'[' => 2,
                _ => return Err(self.scanner.fail(at, SyntaxKind::NotTasks)),
            };
            // `null` is no task: the scanner sees to the rest of the word.
            if *byte != b'{' {
                return Ok((1, Step::Skip));
            }
        }
        Ok((1, self.mark(mark, *byte)))
    }

    /// The ids of the task that just ended, or what is wrong with them.
    pub(super) fn ids(&self) -> Result<Ids, Misfit> {
        Ok(Ids { task: self.task.read(Field::TaskId)?, workflow: self.workflow.read(Field::WorkflowId)? })
    }

    /// The poll timeout of the task that just ended, in seconds, or 0 for none.
    pub(super) const fn poll_timeout(&self) -> u32 {
        self.notice.poll_timeout()
    }

    /// The state of the task that the answer is, if it is whole, and one task.
    pub(super) fn state(&self) -> TaskState {
        if self.base == 1 && self.scanner.finish().is_ok() { self.notice.state } else { TaskState::Unknown }
    }

    /// Whether a kept value of the task that just ended was nested too deep.
    pub(super) const fn is_deep(&self) -> bool {
        self.deep
    }

    /// Bytes within an array or object that is a member's value, up to its end: all of them are its own.
    fn nested(&mut self, field: Option<Field>, bytes: &[u8]) -> Result<(usize, Step), SyntaxError> {
        let mut rest = bytes;
        let notes = field.is_none() && self.notice.is_awake();
        while self.scanner.depth() > self.base {
            let run = self.scanner.run(rest);
            let (inside, after) = rest.split_at_checked(run).unwrap_or_default();
            rest = after;
            if notes {
                self.notice.inside(inside, &mut self.name);
            }
            let Some((byte, tail)) = rest.split_first() else { break };
            let mark = self.scanner.push(*byte)?;
            if notes {
                let level = self.scanner.depth().wrapping_sub(self.base);
                self.notice.byte(*byte, mark, level, &mut self.name);
            }
            self.deep = self.deep || (field.is_some() && self.scanner.depth() > DEPTH_MAX);
            rest = tail;
        }
        let taken = bytes.len().saturating_sub(rest.len());
        Ok((taken, field.map_or(Step::Skip, |field| Step::Keep { field, first: false })))
    }

    /// Bytes within a string.
    fn inside(&mut self, bytes: &[u8]) -> Step {
        match self.place {
            Place::Name => {
                self.name.push(bytes);
                Step::Skip
            }
            Place::Value { field: Some(field), .. } => {
                if let Some(id) = self.id(field) {
                    id.inside(bytes);
                }
                Step::Keep { field, first: false }
            }
            Place::Value { field: None, .. } => {
                self.notice.inside(bytes, &mut self.name);
                Step::Skip
            }
            Place::Outside | Place::Alien | Place::Task => Step::Skip,
        }
    }

    fn mark(&mut self, mark: Mark, byte: u8) -> Step {
        let level = self.scanner.depth().wrapping_sub(self.base);
        match (self.place, mark) {
            (_, Mark::Space) if level == 0 || self.place == Place::Outside => Step::Skip,
            (Place::Outside, Mark::Open) if byte == b'{' => self.begin(),
            (Place::Outside, Mark::Open | Mark::Text | Mark::Scalar) => {
                self.place = Place::Alien;
                Step::Skip
            }
            (Place::Outside, _) => Step::Skip,
            (Place::Alien, Mark::Comma | Mark::Close) if self.scanner.depth() < 2 => self.alien(mark),
            (Place::Alien, _) => Step::Skip,
            (Place::Task, Mark::Key) => {
                self.name.clear();
                self.place = Place::Name;
                Step::Skip
            }
            (Place::Name, Mark::KeyEnd) => {
                self.name.finish();
                let field = self.name.text().and_then(Field::by_name);
                self.notice.member(self.name.text());
                self.place = Place::Value { field, begun: false };
                Step::Skip
            }
            (Place::Name, _) => self.inside(&[byte]),
            (Place::Task | Place::Value { .. }, Mark::Close) if level == u32::MAX => {
                self.place = Place::Outside;
                Step::End { alien: false }
            }
            (Place::Value { .. }, Mark::Comma) if level == 0 => {
                self.place = Place::Task;
                Step::Skip
            }
            (Place::Value { begun: false, .. }, Mark::Colon) => Step::Skip,
            (Place::Value { field: Some(field), begun }, _) => self.keep(field, begun, mark, byte),
            (Place::Value { field: None, .. }, _) => {
                self.notice.byte(byte, mark, level, &mut self.name);
                Step::Skip
            }
            (Place::Task, _) => Step::Skip,
        }
    }

    fn begin(&mut self) -> Step {
        self.place = Place::Task;
        self.task.kind = IdKind::Absent;
        self.workflow.kind = IdKind::Absent;
        self.deep = false;
        self.notice = Notice::new();
        Step::Begin
    }

    /// A comma or a bracket after or in an element that is no task.
    fn alien(&mut self, mark: Mark) -> Step {
        // An array within the array ends at depth 1; what follows it ends the element.
        if mark == Mark::Close && self.scanner.depth() == 1 {
            return Step::Skip;
        }
        self.place = Place::Outside;
        Step::End { alien: true }
    }

    fn keep(&mut self, field: Field, begun: bool, mark: Mark, byte: u8) -> Step {
        self.place = Place::Value { field: Some(field), begun: true };
        self.deep = self.deep || self.scanner.depth() > DEPTH_MAX;
        if let Some(id) = self.id(field) {
            if !begun {
                id.begin(byte);
            } else if mark == Mark::TextEnd {
                id.text.finish();
            } else {
                id.inside(&[byte]);
            }
        }
        Step::Keep { field, first: !begun }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "two fields are ids; the rest is kept without a look")]
    const fn id(&mut self, field: Field) -> Option<&mut Id> {
        match field {
            Field::TaskId => Some(&mut self.task),
            Field::WorkflowId => Some(&mut self.workflow),
            _ => None,
        }
    }
}

impl Id {
    const fn new() -> Self {
        Self { kind: IdKind::Absent, text: Decoder::new() }
    }

    fn begin(&mut self, byte: u8) {
        self.text.clear();
        self.kind = match byte {
            b'"' => IdKind::Text,
            b'n' => IdKind::Absent,
            _ => IdKind::Other,
        };
    }

    fn inside(&mut self, bytes: &[u8]) {
        if self.kind == IdKind::Text {
            self.text.push(bytes);
        }
    }

    fn read(&self, field: Field) -> Result<heapless::String<ID_MAX>, Misfit> {
        match self.kind {
            IdKind::Absent => Err(Misfit::Missing { member: field.name() }),
            IdKind::Other => Err(Misfit::WrongType { member: field.name(), expected: "a string" }),
            IdKind::Text => match self.text.text() {
                Some("") => Err(Misfit::Missing { member: field.name() }),
                text => text
                    .and_then(|text| heapless::String::try_from(text).ok())
                    .ok_or_else(|| Misfit::IdTooLong { member: field.name() }),
            },
        }
    }
}
