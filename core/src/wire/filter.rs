//! Tasks out of an answer that arrives in pieces.

use core::fmt;

use super::field::Spans;
use super::notice::TaskState;
use super::out::Buffer;
use super::scan::SyntaxError;
use super::task::{Element, element};
use super::track::{Step, Tracker};

/// Reads an answer as it arrives and keeps of each task only what a worker uses.
///
/// The buffer holds one task at a time: the values of the members that [`TaskView`](super::TaskView) has, and
/// nothing of the others (a task carries its definition twice). So it bounds what is kept, not what is sent.
/// A task that does not fit is not lost: the rest of it is skipped, its ids are read, and it comes out as
/// [`Element::Bad`] with [`Misfit::TooLarge`](super::Misfit::TooLarge), to be reported. Each of duplicate
/// members takes room, and the last counts.
///
/// Beside the buffer it takes about 800 bytes on a 64-bit machine, less on a 32-bit one.
///
/// Feeding the same bytes in other pieces, or giving them to [`tasks`](super::tasks) as a whole, yields the same.
///
/// ```
/// use downbeat_core::wire::{Element, SliceBuffer, TaskFilter};
/// let mut memory = [0; 64];
/// let mut filter = TaskFilter::new(SliceBuffer::new(&mut memory));
/// let mut seen = 0;
/// for piece in [r#"[{"taskId":"t1","workflowInst"#, r#"anceId":"w1","inputData":{"n":1}}]"#] {
///     let mut rest = piece.as_bytes();
///     while let Some(element) = filter.feed(&mut rest)? {
///         let Element::Task(task) = element else { panic!("a task") };
///         assert_eq!(task.input, br#"{"n":1}"#);
///         seen += 1;
///     }
/// }
/// filter.finish()?;
/// assert_eq!(seen, 1);
/// # Ok::<(), downbeat_core::wire::SyntaxError>(())
/// ```
pub struct TaskFilter<B> {
    buffer: B,
    cutter: Cutter,
}

/// The filter without its buffer: for whoever has no place to keep a borrowed one between two pieces.
#[derive(Clone, Debug)]
pub(crate) struct Cutter {
    tracker: Tracker,
    spans: Spans,
    /// Bytes of the current task that were to be kept.
    needed: usize,
    full: bool,
}

impl<B: Buffer> TaskFilter<B> {
    /// Starts at the beginning of an answer.
    pub fn new(mut buffer: B) -> Self {
        buffer.clear();
        Self { buffer, cutter: Cutter::new() }
    }

    /// Takes bytes off the front of `rest` up to the end of the next element, and returns that, or `None` if
    /// all are taken.
    ///
    /// Call it again with what is left. The element's memory is used again by the next call.
    ///
    /// # Errors
    /// The answer is not JSON, or not tasks, from here on: the elements before have been given. Every later call
    /// answers the same.
    pub fn feed(&mut self, rest: &mut &[u8]) -> Result<Option<Element<'_>>, SyntaxError> {
        self.cutter.feed(rest, &mut self.buffer)
    }

    /// Says whether the answer is whole; call it when the last piece was fed.
    ///
    /// # Errors
    /// It ended too early, or an earlier error again. An empty answer and a lone `null` are whole: no tasks.
    pub fn finish(&self) -> Result<(), SyntaxError> {
        self.cutter.finish()
    }

    /// Returns the state of the task that the answer of `GET /tasks/{id}` is; ask when the last piece was
    /// fed.
    ///
    /// [`TaskState::Unknown`] as long as the answer is not whole, and if it is not one task. A buffer of no
    /// bytes is enough, however large the task is.
    ///
    /// ```
    /// use downbeat_core::wire::{TaskFilter, TaskState};
    /// let mut filter = TaskFilter::new(heapless::Vec::<u8, 0>::new());
    /// for mut piece in [&br#"{"taskId":"t1","stat"#[..], br#"us":"CANCELED","inputData":{"status":"no"}}"#] {
    ///     while filter.feed(&mut piece)?.is_some() {}
    /// }
    /// assert_eq!(filter.state(), TaskState::Ended);
    /// # Ok::<(), downbeat_core::wire::SyntaxError>(())
    /// ```
    pub fn state(&self) -> TaskState {
        self.cutter.state()
    }

    /// Starts over with the next answer.
    pub fn reset(&mut self) {
        self.cutter.reset();
        self.buffer.clear();
    }

    /// Gives the buffer back.
    pub fn into_buffer(self) -> B {
        self.buffer
    }
}

impl Cutter {
    pub(crate) const fn new() -> Self {
        Self { tracker: Tracker::new(), spans: Spans::new(), needed: 0, full: false }
    }

    /// As [`TaskFilter::feed`], with the same buffer at each call, unchanged between them.
    pub(crate) fn feed<'b, B: Buffer>(
        &mut self,
        rest: &mut &[u8],
        buffer: &'b mut B,
    ) -> Result<Option<Element<'b>>, SyntaxError> {
        loop {
            let (taken, step) = self.tracker.step(rest)?;
            if taken == 0 {
                return Ok(None);
            }
            let (bytes, tail) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
            *rest = tail;
            match step {
                Step::Skip => {}
                Step::Begin => {
                    buffer.clear();
                    self.begin();
                }
                Step::Keep { field, first } => {
                    if first {
                        self.spans.begin(field, self.needed);
                    }
                    self.full = self.full || buffer.put(bytes).is_err();
                    self.needed = self.needed.saturating_add(taken);
                    self.spans.extend(field, self.needed);
                }
                Step::End { alien } => {
                    let overflow = self.full.then(|| (self.needed, B::room(buffer)));
                    let bytes = B::bytes(buffer);
                    return Ok(Some(element(bytes, &self.spans, &self.tracker, alien, overflow)));
                }
            }
        }
    }

    pub(crate) fn state(&self) -> TaskState {
        self.tracker.state()
    }

    pub(crate) fn finish(&self) -> Result<(), SyntaxError> {
        self.tracker.finish()
    }

    pub(crate) fn reset(&mut self) {
        self.tracker = Tracker::new();
        self.begin();
    }

    fn begin(&mut self) {
        self.spans = Spans::new();
        self.needed = 0;
        self.full = false;
    }
}

/// Shows nothing of what is kept: inputs may hold secrets.
impl<B> fmt::Debug for TaskFilter<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskFilter")
            .field("needed", &self.cutter.needed)
            .field("full", &self.cutter.full)
            .finish_non_exhaustive()
    }
}
