//! The single-lane driver against a server that says anything.

use std::time::Duration;

use downbeat_core::drive::{Buffers, Config, Demand, Key, Session, Site};
use downbeat_core::machine::{Control, EntryId, Instant, Policy};
use downbeat_core::ports::{Assignment, Cause, End, Executor, Progress, Unfit};

use super::Source;

/// Whatever the line does, no demand is empty, none is made for ever, and after a drain the session stops.
pub fn drive_session(data: &[u8]) {
    let mut source = Source::new(data);
    let key = (source.below(2) == 1).then_some(Key { id: "k", secret: "s" });
    let site = Site { host: "h", base: "/api" };
    let config = Config { site, task_type: "t", worker_id: "w", domain: "", key };
    let (mut receive, mut send, mut token) = ([0; 640], [0; 1_100], [0; 32]);
    let buffers = Buffers { receive: &mut receive, send: &mut send, token: &mut token };
    let policy = Policy { concurrency: 1 + u16::from(source.below(2)), ..Policy::default() };
    let session = Session::<'_, 2, 64>::new(policy, 1, config, buffers);
    let mut session = session.expect("these sizes are large enough");
    let mut code = Code { steps: source.below(4), running: [None; 2] };
    let mut now = Instant::ZERO;
    for turn in 0_u32.. {
        assert!(turn < 100_000, "the session does not stop");
        if source.is_empty() {
            // A server that is not there: what is left takes as long as the drain may.
            session.control(Control::Drain);
            now = now.saturating_add(Duration::from_millis(50));
        }
        match session.next(now, &mut code) {
            Demand::Turn => now = now.saturating_add(Duration::from_millis(1)),
            Demand::Check => session.checked(source.below(8) == 0),
            Demand::Connect => {
                let connected = !source.is_empty() && source.below(8) > 0;
                session.connected(if connected { Ok(()) } else { Err(Cause::Connect) });
            }
            Demand::Write(bytes) => {
                assert!(!bytes.is_empty());
                let taken = usize::from(source.byte()) * 16;
                let wrote = if taken == 0 { Err(Cause::Closed) } else { Ok(taken.min(bytes.len())) };
                session.wrote(wrote);
            }
            Demand::Flush => session.flushed(Ok(())),
            Demand::Read(room) => {
                assert!(!room.is_empty() && room.len() <= 256);
                now = now.saturating_add(Duration::from_millis(1));
                let read = read(&mut source, room);
                session.received(read);
            }
            Demand::Wait { until } => {
                let until = until.unwrap_or_else(|| now.saturating_add(Duration::from_secs(1)));
                assert!(until > now, "waits for the past");
                now = until;
            }
            Demand::Stopped => return,
        }
    }
}

/// Answers that are whole are rare in noise, so that some are offered.
const ANSWERS: [&str; 6] = [
    "HTTP/1.1 200 \r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
    "HTTP/1.1 200 \r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
     4e\r\n[{\"taskId\":\"t1\",\"workflowInstanceId\":\"w1\",\"responseTimeoutSeconds\":1},\
     {\"taskId\":\r\n1e\r\n\"t2\",\"workflowInstanceId\":\"w\"}]\r\n0\r\n\r\n",
    "HTTP/1.1 200 \r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nt1",
    "HTTP/1.1 200 \r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"token\":\"tk\"}",
    "HTTP/1.1 401 \r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 500 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
];

fn read(source: &mut Source<'_>, room: &mut [u8]) -> Result<usize, Cause> {
    let kind = source.below(12);
    let bytes = match kind {
        0 => return Ok(0),
        1 => return Err(Cause::Timeout),
        2..=7 => ANSWERS[usize::from(kind - 2)].as_bytes(),
        _ => {
            let len = usize::from(source.byte()).min(source.data.len());
            let (front, back) = source.data.split_at(len);
            source.data = back;
            front
        }
    };
    let len = bytes.len().min(room.len());
    room[..len].copy_from_slice(&bytes[..len]);
    Ok(len)
}

struct Code {
    steps: u8,
    running: [Option<(EntryId, u8)>; 2],
}

impl Executor for Code {
    fn start(&mut self, entry: EntryId, task: &Assignment<'_>) -> Result<(), Unfit> {
        if task.input.len() > 20 {
            return Err(Unfit { reason: "too long" });
        }
        let before = self.running[usize::from(entry.index())].replace((entry, 0));
        assert!(before.is_none(), "an entry that runs is started again");
        Ok(())
    }

    fn step(&mut self, entry: EntryId, output: &mut [u8]) -> Progress {
        let place = &mut self.running[usize::from(entry.index())];
        let Some((running, steps)) = place else { panic!("an entry that does not run is stepped") };
        assert_eq!(*running, entry);
        if *steps < self.steps {
            *steps += 1;
            return Progress::Pending { wake: Instant::ZERO };
        }
        *place = None;
        output[..2].copy_from_slice(b"{}");
        Progress::Done { end: End::Completed, output: 2 }
    }

    fn cancel(&mut self, entry: EntryId) {
        let running = self.running[usize::from(entry.index())].take();
        assert_eq!(running.map(|(running, _)| running), Some(entry));
    }
}
