//! What is noted of a task in hand, and what is left of it after a crash.

use std::time::Duration;

use super::record::{Kind, Record, number};

/// A task that was just leased.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseNote<'a> {
    pub(crate) task_id: &'a str,
    pub(crate) workflow_id: &'a str,
    pub(crate) task_type: &'a str,
    pub(crate) worker_id: &'a str,
    /// The output with which it came, raw JSON: a give-back repeats it.
    pub(crate) polled_output: &'a str,
    /// Until when it may be given back, in milliseconds since 1970: later the server would end its workflow.
    pub(crate) give_back_until_ms: Option<i64>,
    /// How long the server waits for a sign of life; zero: there is no lease.
    pub(crate) lease: Duration,
    /// How often it had been delivered by then; 0: unknown.
    pub(crate) poll_count: u32,
}

/// A task that an earlier runner had in hand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Left {
    pub(crate) task_id: String,
    pub(crate) workflow_id: String,
    pub(crate) task_type: String,
    pub(crate) worker_id: String,
    pub(crate) polled_output: String,
    pub(crate) give_back_until_ms: Option<i64>,
    pub(crate) lease: Duration,
    pub(crate) poll_count: u32,
    /// When it was noted, by that runner's wall clock.
    pub(super) noted_ms: i64,
}

impl Left {
    /// The same note, to be written again.
    pub(crate) fn note(&self) -> LeaseNote<'_> {
        LeaseNote {
            task_id: &self.task_id,
            workflow_id: &self.workflow_id,
            task_type: &self.task_type,
            worker_id: &self.worker_id,
            polled_output: &self.polled_output,
            give_back_until_ms: self.give_back_until_ms,
            lease: self.lease,
            poll_count: self.poll_count,
        }
    }
}

/// Bytes of the numbers before the texts, and of those that format 1 had.
const HEAD: usize = 34;
const EARLY_HEAD: usize = 30;

impl LeaseNote<'_> {
    /// The numbers of a note; `None`: a name is too long.
    pub(super) fn head(&self, now_ms: i64) -> Option<[u8; HEAD]> {
        let mut head = [0; HEAD];
        let names = [self.workflow_id, self.task_type, self.worker_id];
        head[..8].copy_from_slice(&self.give_back_until_ms.unwrap_or(i64::MIN).to_le_bytes());
        head[8..16].copy_from_slice(&now_ms.to_le_bytes());
        let lease = u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX);
        head[16..24].copy_from_slice(&lease.to_le_bytes());
        head[EARLY_HEAD..].copy_from_slice(&self.poll_count.to_le_bytes());
        for (place, name) in head[24..EARLY_HEAD].chunks_exact_mut(2).zip(names) {
            place.copy_from_slice(&u16::try_from(name.len()).ok()?.to_le_bytes());
        }
        Some(head)
    }

    /// The texts of a note, after its numbers.
    pub(super) const fn texts(&self) -> [&[u8]; 4] {
        [
            self.workflow_id.as_bytes(),
            self.task_type.as_bytes(),
            self.worker_id.as_bytes(),
            self.polled_output.as_bytes(),
        ]
    }
}

impl Left {
    /// Reads the note in a record of one.
    pub(super) fn read(record: &Record<'_>) -> Option<Self> {
        let Record { kind, task, body, .. } = *record;
        let is_early = kind == Kind::EarlyLease;
        let until = i64::from_le_bytes(number(body, 0)?);
        let noted_ms = i64::from_le_bytes(number(body, 8)?);
        let lease = Duration::from_millis(u64::from_le_bytes(number(body, 16)?));
        let poll_count = if is_early { 0 } else { u32::from_le_bytes(number(body, EARLY_HEAD)?) };
        let mut rest = body.get(if is_early { EARLY_HEAD } else { HEAD }..)?;
        let mut names =
            [24, 26, 28].map(|at| Some(usize::from(u16::from_le_bytes(number(body, at)?)))).into_iter();
        let mut name = || {
            let (name, after) = rest.split_at_checked(names.next()??)?;
            rest = after;
            text(name)
        };
        let (workflow_id, task_type, worker_id) = (name()?, name()?, name()?);
        Some(Self {
            task_id: text(task)?,
            workflow_id,
            task_type,
            worker_id,
            polled_output: text(rest)?,
            give_back_until_ms: (until != i64::MIN).then_some(until),
            lease,
            poll_count,
            noted_ms,
        })
    }

    /// How long it may still be given back; zero: not any more, `None`: without a bound. A bound is trusted only while the
    /// wall clock has not gone back since.
    pub(crate) fn give_back_within(&self, now_ms: i64) -> Option<Duration> {
        let until = self.give_back_until_ms?;
        let left = if now_ms < self.noted_ms { 0 } else { until.saturating_sub(now_ms) };
        Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: LeaseNote<'static> = LeaseNote {
        task_id: "t",
        workflow_id: "workflow",
        task_type: "",
        worker_id: "host-1",
        polled_output: r#"{"a":1}"#,
        give_back_until_ms: Some(2_000),
        lease: Duration::from_millis(1_500),
        poll_count: 3,
    };

    fn bytes(note: &LeaseNote<'_>, now_ms: i64) -> Vec<u8> {
        let mut body = note.head(now_ms).unwrap().to_vec();
        note.texts().iter().for_each(|text| body.extend_from_slice(text));
        body
    }

    fn decode(kind: Kind, body: &[u8]) -> Option<Left> {
        Left::read(&Record { kind, number: 1, task: b"t", body, length: 0 })
    }

    fn read(note: &LeaseNote<'_>, now_ms: i64) -> Left {
        decode(Kind::Lease, &bytes(note, now_ms)).unwrap()
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let left = read(&NOTE, 1_000);
        assert_eq!((left.task_id.as_str(), left.workflow_id.as_str()), ("t", "workflow"));
        assert_eq!((left.task_type.as_str(), left.worker_id.as_str()), ("", "host-1"));
        assert_eq!((left.polled_output.as_str(), left.noted_ms), (r#"{"a":1}"#, 1_000));
        assert_eq!((left.give_back_until_ms, left.lease), (Some(2_000), Duration::from_millis(1_500)));
        assert_eq!(left.poll_count, 3);
        assert!(decode(Kind::Lease, &[0; 33]).is_none());
    }

    #[test]
    fn a_note_of_format_1_is_read_without_its_poll_count() {
        let mut body = bytes(&NOTE, 1_000);
        body.drain(EARLY_HEAD..HEAD);
        let left = decode(Kind::EarlyLease, &body).unwrap();
        assert_eq!(left, Left { poll_count: 0, ..read(&NOTE, 1_000) });
        assert!(decode(Kind::EarlyLease, &[0; 29]).is_none());
    }

    #[test]
    fn a_task_is_given_back_until_its_bound_and_not_by_a_clock_that_went_back() {
        let left = read(&NOTE, 1_000);
        for (now, millis) in [(999, 0), (1_000, 1_000), (1_999, 1), (2_000, 0), (2_001, 0)] {
            assert_eq!(left.give_back_within(now), Some(Duration::from_millis(millis)), "{now}");
        }
        let free = read(&LeaseNote { give_back_until_ms: None, ..NOTE }, 1_000);
        assert_eq!(free.give_back_within(0), None);
    }
}
