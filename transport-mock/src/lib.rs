//! Mocks, a scripted transport and a hand-driven clock: for the tests of people who embed `downbeat-core`.
//!
//! | to test | take |
//! | --- | --- |
//! | a driver over a [`Transport`](downbeat_core::ports::Transport) | [`ScriptedTransport`] and [`ManualClock`]: which requests are made when, and what comes of each answer, failure and latency |
//! | the use of a machine without any transport | [`Bench`] and [`actions`]: say what happened, take apart what it asks for |
//! | a transport of your own | [`Collector`], a sink that checks the order of its calls; [`MockSink`] |
//! | how your code calls one of core's traits | [`MockTransport`], [`MockExecutor`], [`MockClock`], [`MockSink`], by mockall |
//! | what your driver understands and writes | [`TaskBuilder`], [`poll_answer`], [`error_body`], [`ResultBuilder`]: bodies as the server and a worker write them |
//!
//! # How to test a driver
//!
//! Write the conversation down: each request in its order with [`ScriptedTransport::expect`], what the server makes
//! of it with [`Exchange::answer`], and how long that takes with [`Exchange::after`]. Give the driver a clone of the
//! transport and of the clock; wherever it would sleep, it moves the clock. A request that is not the expected one
//! fails the test there and then, one that never comes fails it at the end, and both say what was expected.
//! [`ScriptedTransport::made`] has the requests with their times: compare those with
//! [`docs/driver-contract.md`](https://github.com/downbeat-rs/downbeat/blob/main/docs/driver-contract.md).
//!
//! Worth a test in any driver: a connection that is refused ([`Answer::refused`]: `NotSent`), an answer that is lost
//! ([`Answer::lost`]: `Unknown`) or cut off ([`Answer::cut_after`]), a body in small pieces ([`Answer::in_pieces`]), a
//! proxy's page ([`Answer::text`]), one task too many, and a task that is malformed ([`TaskBuilder::input`] takes
//! anything).
//!
//! ```
//! use std::time::Duration;
//! use downbeat_core::machine::{self, Action, CallError, Clock, Fault, Input, Instant, Policy, Reply, Worker};
//! use downbeat_core::ports::{Content, Method, Request, Transport};
//! use downbeat_core::wire::target::{self, Target};
//! use downbeat_core::wire::{CallKind, Element, classify, tasks};
//! use downbeat_mock::{Answer, Collector, Expect, ManualClock, ResultBuilder, ScriptedTransport, TaskBuilder};
//!
//! // The driver under test: one lane that answers each task with its own input, until the given time.
//! fn drive(transport: &mut dyn Transport, clock: &ManualClock, until: Instant) {
//!     let policy = Policy { max_calls: 1, take_next: false, ..Policy::default() };
//!     let mut worker = Worker::<1>::new(policy, 1).unwrap();
//!     let mut result = String::new();
//!     let mut input = Input::Tick;
//!     while clock.now() < until {
//!         let action = worker.step(clock.now(), input);
//!         input = Input::Tick;
//!         match action {
//!             Action::Wait { until, .. } => drop(clock.set(until.unwrap())),
//!             Action::Poll { call, count, wait } => {
//!                 let target: Target = target::poll("echo", "w", count, wait, None).unwrap();
//!                 let request =
//!                     Request { method: Method::Get, target: &target, content: Content::None, body: b"", token: None };
//!                 let (body, mut reply) = exchange(transport, clock, CallKind::Poll, &request);
//!                 for element in tasks(&body) {
//!                     let Ok(Element::Task(task)) = element else {
//!                         reply = Err(CallError::new(Fault::Unknown)); // a driver for real use tells them apart
//!                         break;
//!                     };
//!                     let ids = &task.ids;
//!                     result = ResultBuilder::completed(&ids.task, &ids.workflow)
//!                         .output(std::str::from_utf8(task.input).unwrap())
//!                         .json();
//!                     let run = worker.step(clock.now(), Input::Leased { call, task: task.meta() });
//!                     let Action::Run { entry, .. } = run else { continue };
//!                     let _ = worker.step(clock.now(), Input::Replied { call, reply });
//!                     input = Input::Finished { entry, outcome: machine::Outcome::Final };
//!                     break;
//!                 }
//!                 if input == Input::Tick {
//!                     input = Input::Replied { call, reply };
//!                 }
//!             }
//!             Action::Update { call, .. } => {
//!                 let body = result.as_bytes();
//!                 let request =
//!                     Request { method: Method::Post, target: target::UPDATE, content: Content::Json, body, token: None };
//!                 let (_, reply) = exchange(transport, clock, CallKind::Update, &request);
//!                 input = Input::Replied { call, reply };
//!             }
//!             other => panic!("this driver has no answer to {other:?}"),
//!         }
//!     }
//! }
//!
//! fn exchange(t: &mut dyn Transport, clock: &ManualClock, kind: CallKind, request: &Request<'_>) -> (Vec<u8>, Reply) {
//!     let mut sink = Collector::new();
//!     let deadline = clock.now().saturating_add(Duration::from_secs(10));
//!     let reply = match t.exchange(request, deadline, &mut sink) {
//!         Ok(head) => classify(kind, &head, sink.body()).map(|_| machine::Answer::Done),
//!         Err(failure) => Err(CallError::new(failure.fault())),
//!     };
//!     (if reply.is_ok() { sink.body().to_vec() } else { Vec::new() }, reply)
//! }
//!
//! // The test: an empty poll, a task, a report whose connection is refused, and the report again.
//! let ms = Duration::from_millis;
//! let clock = ManualClock::new();
//! let script = ScriptedTransport::new(&clock);
//! script.expect(Expect::poll("echo").count(1)).answer(Answer::no_tasks()).after(ms(1));
//! let task = TaskBuilder::new("echo", "t1").input(r#"{"n":12345678901234567890123}"#);
//! script.expect(Expect::poll("echo")).answer(Answer::tasks([&task])).after(ms(3));
//! script.expect(Expect::update("t1").status("COMPLETED")).answer(Answer::refused());
//! script.expect(Expect::update("t1").output(r#"{"n":12345678901234567890123}"#)).answer(Answer::accepted("t1"));
//! script.expect(Expect::poll("echo")).answer(Answer::no_tasks());
//!
//! drive(&mut script.clone(), &clock, Instant::from_millis(10_006));
//!
//! let sent: Vec<u64> = script.made().iter().map(|made| made.at.as_millis()).collect();
//! assert_eq!(sent, [0, 2, 5, 10_005, 10_005], "2 ms after an empty poll, 10 s after a failed report");
//! script.finish();
//! ```

pub mod actions;
mod answer;
mod bench;
mod clock;
mod collect;
mod expect;
mod mocks;
mod result;
mod script;
mod task;

pub use answer::Answer;
pub use bench::Bench;
pub use clock::ManualClock;
pub use collect::Collector;
pub use expect::Expect;
pub use mocks::{MockClock, MockExecutor, MockSink, MockTransport};
pub use result::ResultBuilder;
pub use script::{Exchange, Made, ScriptedTransport};
pub use task::{TaskBuilder, error_body, poll_answer, token_body};
