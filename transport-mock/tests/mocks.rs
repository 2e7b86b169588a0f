//! The mocks: core's traits with their borrowed arguments can be expected, and a driver takes them.

use downbeat_core::machine::{Clock, EntryId, Instant};
use downbeat_core::ports::{
    Assignment, Cause, Content, End, Executor, Failure, Head, Method, Progress, Reach, Request, Sink,
    TooLarge, Transport, Unfit,
};
use downbeat_mock::{Collector, MockClock, MockExecutor, MockSink, MockTransport};

const REQUEST: Request<'static> =
    Request { method: Method::Get, target: "/version", content: Content::None, body: b"", token: None };

#[test]
fn a_transport_sees_the_request_and_feeds_the_sink() {
    let mut mock = MockTransport::new();
    mock.expect_exchange()
        .withf(|request, deadline, _| request.target == "/version" && *deadline == Instant::from_secs(1))
        .times(1)
        .returning(|_, _, sink| {
            let head = Head { status: 200, retry_after: None, json: false };
            sink.head(&head);
            sink.chunk(b"3.32.1").map_err(|TooLarge| Failure::TOO_LARGE)?;
            Ok(head)
        });
    let transport: &mut dyn Transport = &mut mock;
    let mut sink = Collector::new();
    assert_eq!(transport.exchange(&REQUEST, Instant::from_secs(1), &mut sink).unwrap().status, 200);
    assert_eq!(sink.body(), b"3.32.1");
}

#[test]
fn a_transport_fails_in_a_sequence() {
    let mut mock = MockTransport::new();
    let mut order = mockall::Sequence::new();
    for (reach, cause) in [(Reach::NotSent, Cause::Resolve), (Reach::Sent, Cause::Timeout)] {
        let failure = Failure { reach, cause };
        mock.expect_exchange().times(1).in_sequence(&mut order).returning(move |_, _, _| Err(failure));
    }
    let mut causes = Vec::new();
    for _ in 0..2 {
        causes.push(mock.exchange(&REQUEST, Instant::ZERO, &mut Collector::new()).unwrap_err().cause);
    }
    assert_eq!(causes, [Cause::Resolve, Cause::Timeout]);
}

#[test]
fn an_executor_borrows_the_task_and_fills_the_output() {
    let entry = EntryId::new(0, 1);
    let mut mock = MockExecutor::new();
    mock.expect_start()
        .withf(move |of, task| *of == entry && task.input == b"{}")
        .times(1)
        .returning(|_, _| Ok(()));
    mock.expect_step().times(1).returning(|_, output| {
        output[..2].copy_from_slice(b"{}");
        Progress::Done { end: End::Completed, output: 2 }
    });
    mock.expect_cancel().never();
    let (task_id, workflow_id, task_type) = (String::from("t1"), "w1", "greet");
    let task =
        Assignment { task_id: &task_id, workflow_id, task_type, retry_count: 0, poll_count: 1, input: b"{}" };
    assert_eq!(mock.start(entry, &task), Ok::<(), Unfit>(()));
    let mut output = [0; 4];
    assert_eq!(mock.step(entry, &mut output), Progress::Done { end: End::Completed, output: 2 });
}

#[test]
fn a_sink_may_be_full_and_a_clock_may_be_anything() {
    let mut sink = MockSink::new();
    sink.expect_head().times(1).return_const(());
    sink.expect_chunk().returning(|bytes| if bytes.len() > 2 { Err(TooLarge) } else { Ok(()) });
    sink.head(&Head { status: 200, retry_after: None, json: true });
    assert_eq!((sink.chunk(b"ab"), sink.chunk(b"abc")), (Ok(()), Err(TooLarge)));

    let mut clock = MockClock::new();
    clock.expect_now().return_const(Instant::from_secs(3));
    assert_eq!(clock.now(), Instant::from_secs(3));
}
