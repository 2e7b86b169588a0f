//! A transport that follows a script.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use downbeat_core::machine::{Clock, Instant};
use downbeat_core::ports::{Cause, Failure, Head, Method, Reach, Request, Sink, Transport};

use crate::answer::Answer;
use crate::clock::ManualClock;
use crate::expect::{Expect, word};

/// Bytes of a body that a complaint shows.
const SHOWN: usize = 200;

/// A transport that expects requests in an order and answers each as the script says, on a hand-driven clock.
///
/// A request that is not the expected one fails the test at once, and tells both. What is expected and never comes
/// fails it when the last clone is dropped, or earlier by [`ScriptedTransport::finish`]. Each exchange moves the
/// clock by its latency; one that would last beyond the request's deadline ends there with [`Cause::Timeout`].
///
/// Clones share the script: give one to the driver and keep one to look at.
#[derive(Clone, Debug)]
pub struct ScriptedTransport {
    shared: Arc<Mutex<Script>>,
}

/// A step of a script under construction: answered by 200 and nothing, at once, unless it is told otherwise.
#[derive(Debug)]
pub struct Exchange<'s> {
    transport: &'s ScriptedTransport,
    /// Which request it is for, counted from 0.
    number: usize,
}

/// A request that was made.
#[derive(Clone, Eq, PartialEq)]
pub struct Made {
    /// When it was sent.
    pub at: Instant,
    /// Until when the driver would have waited.
    pub deadline: Instant,
    /// Its method.
    pub method: Method,
    /// Its path and query, as they were sent.
    pub target: String,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether it carried a token.
    pub authorized: bool,
}

#[derive(Debug)]
struct Script {
    clock: ManualClock,
    steps: VecDeque<Step>,
    made: Vec<Made>,
    /// A complaint has been made: a second one would hide it.
    failed: bool,
}

#[derive(Debug)]
struct Step {
    expect: Expect,
    answer: Answer,
    latency: Duration,
}

impl ScriptedTransport {
    /// Makes a transport that expects nothing yet, on this clock.
    #[must_use]
    pub fn new(clock: &ManualClock) -> Self {
        let script = Script { clock: clock.clone(), steps: VecDeque::new(), made: Vec::new(), failed: false };
        Self { shared: Arc::new(Mutex::new(script)) }
    }

    /// Expects this request after all that are expected already.
    ///
    /// ```
    /// use std::time::Duration;
    /// use downbeat_core::ports::{Content, Method, Request, Transport};
    /// use downbeat_core::machine::Instant;
    /// use downbeat_mock::{Answer, Collector, Expect, ManualClock, ScriptedTransport};
    ///
    /// let clock = ManualClock::new();
    /// let mut transport = ScriptedTransport::new(&clock);
    /// transport.expect(Expect::poll("greet").count(1)).answer(Answer::no_tasks()).after(Duration::from_millis(3));
    ///
    /// let target = "/tasks/poll/batch/greet?workerid=w&count=1&timeout=0";
    /// let request = Request { method: Method::Get, target, content: Content::None, body: b"", token: None };
    /// let mut sink = Collector::new();
    /// let head = transport.exchange(&request, Instant::from_secs(1), &mut sink).unwrap();
    /// assert_eq!((head.status, sink.body()), (200, &b"[]"[..]));
    /// transport.finish();
    /// ```
    pub fn expect(&self, expect: Expect) -> Exchange<'_> {
        let mut script = self.lock();
        let number = script.made.len() + script.steps.len();
        let answer = Answer::text(200, "");
        script.steps.push_back(Step { expect, answer, latency: Duration::ZERO });
        Exchange { transport: self, number }
    }

    /// The requests made so far, in their order.
    #[must_use]
    pub fn made(&self) -> Vec<Made> {
        self.lock().made.clone()
    }

    /// How many requests are still expected.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.lock().steps.len()
    }

    /// Fails the test unless every expected request was made.
    ///
    /// # Panics
    /// Names what is missing.
    #[track_caller]
    pub fn finish(&self) {
        let complaint = self.lock().unmet();
        if let Some(complaint) = complaint {
            self.lock().failed = true;
            panic!("{complaint}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange<'_> {
    /// The request is answered like this.
    pub fn answer(self, answer: Answer) -> Self {
        self.change(|step| step.answer = answer);
        self
    }

    /// The answer, or the failure, comes this long after the request.
    pub fn after(self, latency: Duration) -> Self {
        self.change(|step| step.latency = latency);
        self
    }

    /// Nothing, where the request has been made already.
    fn change(&self, change: impl FnOnce(&mut Step)) {
        let mut script = self.transport.lock();
        let made = script.made.len();
        if let Some(step) = self.number.checked_sub(made).and_then(|at| script.steps.get_mut(at)) {
            change(step);
        }
    }
}

impl Transport for ScriptedTransport {
    /// # Panics
    /// When the request is not the one that is expected.
    fn exchange(
        &mut self,
        request: &Request<'_>,
        deadline: Instant,
        sink: &mut dyn Sink,
    ) -> Result<Head, Failure> {
        let (answer, in_time) = match self.lock().take(request, deadline) {
            Ok(step) => step,
            Err(complaint) => panic!("{complaint}"),
        };
        if !in_time {
            return Err(Failure { reach: Reach::Sent, cause: Cause::Timeout });
        }
        give(&answer, sink)
    }
}

fn give(answer: &Answer, sink: &mut dyn Sink) -> Result<Head, Failure> {
    let Some(head) = answer.head else {
        return Err(answer.failure.unwrap_or(Failure { reach: Reach::Sent, cause: Cause::Closed }));
    };
    sink.head(&head);
    for piece in answer.body.chunks(answer.piece) {
        sink.chunk(piece).map_err(|_| Failure::TOO_LARGE)?;
    }
    answer.failure.map_or(Ok(head), Err)
}

impl Script {
    /// The step that this request fulfils, with the clock moved to its end.
    fn take(&mut self, request: &Request<'_>, deadline: Instant) -> Result<(Answer, bool), String> {
        let at = self.clock.now();
        let step = self.steps.pop_front();
        let number = self.made.len() + 1;
        self.made.push(Made {
            at,
            deadline,
            method: request.method,
            target: request.target.to_owned(),
            body: request.body.to_vec(),
            authorized: request.token.is_some(),
        });
        let shown = Shown(request);
        let at_ms = Millis(at);
        let Some(step) = step else {
            self.failed = true;
            return Err(format!(
                "at {at_ms}: request {number} is one more than expected:\n     got: {shown}"
            ));
        };
        if let Some(mismatch) = step.expect.mismatch(request) {
            self.failed = true;
            let expect = &step.expect;
            return Err(format!(
                "at {at_ms}: request {number} is not the expected one:\nexpected: {expect}\n     got: {shown}\n   wrong: {mismatch}"
            ));
        }
        let end = at.saturating_add(step.latency);
        self.clock.set(end.min(deadline));
        Ok((step.answer, end <= deadline))
    }

    fn unmet(&self) -> Option<String> {
        if self.steps.is_empty() || self.failed {
            return None;
        }
        let mut text = format!(
            "{} expected requests were never made (at {}, after {} others):",
            self.steps.len(),
            Millis(self.clock.now()),
            self.made.len()
        );
        for (step, number) in self.steps.iter().zip(self.made.len() + 1..) {
            text.push_str(&format!("\n{number:>8}: {}", step.expect));
        }
        Some(text)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if let Some(complaint) = self.unmet() {
            panic!("{complaint}");
        }
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {} ({} bytes)", Millis(self.at), word(self.method), self.target, self.body.len())
    }
}

/// A request for people: without its token, the body cut.
struct Shown<'a>(&'a Request<'a>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(request) = self;
        write!(f, "{} {}", word(request.method), request.target)?;
        if request.target == downbeat_core::wire::target::TOKEN {
            return f.write_str(", a body that holds the secret");
        }
        if !request.body.is_empty() {
            let shown = request.body.get(..SHOWN).unwrap_or(request.body);
            let rest = if shown.len() < request.body.len() { "…" } else { "" };
            write!(f, ", {} bytes: {}{rest}", request.body.len(), String::from_utf8_lossy(shown))?;
        }
        Ok(())
    }
}

/// A time in milliseconds, with microseconds behind the point.
struct Millis(Instant);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} ms", self.0.as_millis(), self.0.as_micros() % 1_000)
    }
}
