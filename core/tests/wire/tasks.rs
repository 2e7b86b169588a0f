//! A batch is cut into tasks, and a bad one costs only itself.

use core::time::Duration;

use downbeat_core::machine::TaskKey;
use downbeat_core::wire::{
    Element, ID_MAX, InputError, Misfit, SliceBuffer, SyntaxKind, TaskFilter, TaskView, members, tasks,
};
use serde::Deserialize;

use crate::golden::{body, only};

const IDS: &str = r#""taskId":"t","workflowInstanceId":"w""#;

fn one(body: &str) -> Element<'_> {
    let mut all = tasks(body.as_bytes());
    let element = all.next().expect("an element").expect("no syntax error");
    assert!(all.next().is_none());
    element
}

fn task(body: &str) -> TaskView<'_> {
    let Element::Task(task) = one(body) else { panic!("a task: {body}") };
    task
}

fn misfit(body: &str) -> Misfit {
    match one(body) {
        Element::Bad { ids, misfit } => {
            assert_eq!((ids.task.as_str(), ids.workflow.as_str()), ("t", "w"));
            misfit
        }
        Element::Task(_) | Element::Unreportable { .. } => panic!("a bad task: {body}"),
    }
}

#[test]
fn a_task_alone_is_read_whole() {
    let task = only("yielded");
    assert_eq!(task.ids.task, "7b49c1d2-90ab-4f3e-8a55-000000000007");
    assert_eq!(task.ids.workflow, "3b7b1f6e-5a0c-4c55-9d0e-000000000007");
    assert_eq!((task.task_type.plain(), task.def_name.plain()), (Some("t_simple"), Some("t_simple")));
    assert_eq!((task.reference_name.plain(), task.workflow_type.plain()), (Some("r7"), Some("wf1")));
    assert_eq!(task.correlation_id.unwrap(), *"order-77");
    assert_eq!(task.domain.unwrap(), *"d1");
    assert_eq!(task.retried_task_id.unwrap(), *"7b49c1d2-90ab-4f3e-8a55-000000000006");
    assert_eq!(task.external_input, None);
    assert_eq!((task.retry_count, task.poll_count, task.seq, task.iteration, task.priority), (2, 3, 9, 4, 5));
    assert_eq!(task.response_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(task.callback_after, Duration::from_secs(30));
    assert_eq!((task.scheduled_time, task.start_time), (1_795_568_181_356, 1_795_568_181_578));
    assert_eq!((task.input, task.output), (&br#"{"k":1}"#[..], &br#"{"progress":40,"at":"half"}"#[..]));
    assert_eq!(task.polled_output().raw(), task.output);
}

#[test]
fn the_machine_gets_the_key_and_the_lease() {
    let meta = only("task").meta();
    assert_eq!(meta.key, TaskKey::from_id("7b49c1d2-90ab-4f3e-8a55-000000000001"));
    assert_eq!(meta.response_timeout, Some(Duration::from_secs(10)));
    let none = task(&format!("{{{IDS},\"responseTimeoutSeconds\":0}}")).meta();
    assert_eq!(none.response_timeout, None);
}

#[test]
fn the_machine_hears_which_task_this_one_is_the_retry_of() {
    assert_eq!(only("task").meta().retry_of, None);
    let first = TaskKey::from_id("7b49c1d2-90ab-4f3e-8a55-000000000006");
    assert_eq!(only("yielded").meta().retry_of, Some(first));
    for (id, retry_of) in [
        ("null".to_owned(), None),
        ("\"\"".to_owned(), None),
        ("\"task-1\"".to_owned(), Some(TaskKey::from_id("task-1"))),
        // No server writes one so.
        ("\"task\\u002d1\"".to_owned(), None),
        (format!("\"{}\"", "x".repeat(ID_MAX)), Some(TaskKey::from_id(&"x".repeat(ID_MAX)))),
        (format!("\"{}\"", "x".repeat(ID_MAX + 1)), None),
    ] {
        let body = format!("{{{IDS},\"retriedTaskId\":{id}}}");
        assert_eq!(task(&body).meta().retry_of, retry_of, "{id}");
    }
}

#[test]
fn a_give_back_has_what_is_left_of_the_poll_timeout_since_the_first_scheduling() {
    let golden = only("poll-timeout");
    assert_eq!(golden.poll_timeout, Some(Duration::from_secs(60)));
    // Scheduled at …181.356; its first poll was at once, this one 30 s later.
    assert_eq!((golden.start_time, golden.update_time), (1_795_568_181_578, 1_795_568_211_356));
    assert_eq!(golden.meta().give_back_within, Some(Duration::from_secs(30)));
    assert_eq!(only("task").meta().give_back_within, None);
    for (scheduled, started, updated, left) in [
        (1_000, 1_000, 1_000, Some(4_000)),
        (1_000, 0, 0, Some(4_000)),
        (1_000, 3_000, 0, Some(2_000)),
        (1_000, 3_000, 3_001, Some(1_999)),
        (1_000, 3_001, 3_000, Some(1_999)),
        (1_000, 1_000, 4_999, Some(1)),
        (1_000, 1_000, 5_000, Some(0)),
        (1_000, 1_000, 90_000, Some(0)),
        (1, i64::MIN, i64::MAX, Some(0)),
        (i64::MAX, 0, i64::MIN, Some(4_000)),
        (0, 3_000, 3_000, None),
        (-1, 3_000, 3_000, None),
    ] {
        let body = format!(
            r#"{{{IDS},"scheduledTime":{scheduled},"startTime":{started},"updateTime":{updated},
                "taskDefinition":{{"pollTimeoutSeconds":4}}}}"#
        );
        let left = left.map(Duration::from_millis);
        assert_eq!(task(&body).meta().give_back_within, left, "{scheduled} {started} {updated}");
    }
}

#[test]
fn the_poll_timeout_is_read_where_the_server_puts_it_and_nowhere_else() {
    for (members, seconds) in [
        (r#""taskDefinition":{"pollTimeoutSeconds":7}"#, 7),
        (r#""taskDefinition" : { "x":[{}], "pollTimeoutSeconds" : 7 , "y":1}"#, 7),
        (r#""taskDefinition":{"poll\u0054imeoutSeconds":7}"#, 7),
        (r#""workflowTask":{"taskDefinition":{"pollTimeoutSeconds":7}}"#, 7),
        (r#""workflowTask":{"taskDefinition":{"pollTimeoutSeconds":7}},"taskDefinition":{}"#, 7),
        (r#""workflowTask":{"taskDefinition":{"pollTimeoutSeconds":7}},"taskDefinition":null"#, 7),
        (
            r#""taskDefinition":{"pollTimeoutSeconds":7},"workflowTask":{"taskDefinition":{"pollTimeoutSeconds":8}}"#,
            7,
        ),
        // The last of duplicates counts.
        (r#""taskDefinition":{"pollTimeoutSeconds":7,"pollTimeoutSeconds":8}"#, 8),
        (r#""taskDefinition":{"pollTimeoutSeconds":7,"pollTimeoutSeconds":null}"#, 0),
        (r#""taskDefinition":{"pollTimeoutSeconds":7},"taskDefinition":{}"#, 0),
        (r#""workflowTask":{"taskDefinition":{"pollTimeoutSeconds":7},"taskDefinition":3}"#, 0),
        (r#""workflowTask":{"taskDefinition":{"pollTimeoutSeconds":7}},"workflowTask":{}"#, 0),
        // Elsewhere it means something else.
        (r#""pollTimeoutSeconds":7"#, 0),
        (r#""inputData":{"taskDefinition":{"pollTimeoutSeconds":7}}"#, 0),
        (r#""workflowTask":{"pollTimeoutSeconds":7}"#, 0),
        (r#""workflowTask":{"taskDefinition":3,"x":{"pollTimeoutSeconds":7}}"#, 0),
        (r#""taskDefinition":{"x":{"pollTimeoutSeconds":7}}"#, 0),
        (r#""taskDefinition":{"taskDefinition":{"pollTimeoutSeconds":7}}"#, 0),
        (r#""taskDefinition":[{"pollTimeoutSeconds":7}]"#, 0),
        (r#""workflowTask":[{"taskDefinition":{"pollTimeoutSeconds":7}}]"#, 0),
        (r#""taskDefinition":{"x":"pollTimeoutSeconds","y":7}"#, 0),
        // What is no whole number of seconds is none, and no reason to refuse the task.
        (r#""taskDefinition":{"pollTimeoutSeconds":-7}"#, 0),
        (r#""taskDefinition":{"pollTimeoutSeconds":7.0}"#, 0),
        (r#""taskDefinition":{"pollTimeoutSeconds":7e1}"#, 0),
        (r#""taskDefinition":{"pollTimeoutSeconds":"7"}"#, 0),
        (r#""taskDefinition":{"pollTimeoutSeconds":[7]}"#, 0),
        (r#""taskDefinition":{"pollTimeoutSeconds":true}"#, 0),
        (r#""taskDefinition":{"pollTimeoutSeconds":4294967295}"#, u32::MAX),
        (r#""taskDefinition":{"pollTimeoutSeconds":99999999999999999999}"#, u32::MAX),
    ] {
        let body = format!("{{{IDS},{members}}}");
        let expected = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
        assert_eq!(task(&body).poll_timeout, expected, "{members}");
        let body = format!("[{body},{{{IDS}}}]");
        let all: Vec<_> = tasks(body.as_bytes())
            .map(|element| match element {
                Ok(Element::Task(task)) => task.poll_timeout,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(all, [expected, None], "{members}");
    }
}

#[test]
fn the_executor_gets_the_decoded_task() {
    let task = only("yielded");
    let assignment = task.assignment("t_simple");
    assert_eq!(
        (assignment.task_id, assignment.task_type),
        ("7b49c1d2-90ab-4f3e-8a55-000000000007", "t_simple")
    );
    assert_eq!((assignment.retry_count, assignment.poll_count), (2, 3));
    assert_eq!(assignment.input, br#"{"k":1}"#);
}

#[test]
fn a_batch_gives_its_tasks_in_order() {
    let ids: Vec<_> = tasks(body("batch"))
        .map(|element| match element {
            Ok(Element::Task(task)) => task.reference_name.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, ["r1", "r2", "r3", "r4", "r5"]);
    assert_eq!(tasks(b"[]").count(), 0);
    assert_eq!(tasks(b" [ ] ").count(), 0);
}

#[test]
fn an_empty_answer_and_a_lone_null_have_no_tasks() {
    for body in ["", " \r\n\t", "null", "\n null \n"] {
        assert_eq!(tasks(body.as_bytes()).count(), 0, "{body:?}");
    }
    assert!(matches!(tasks(b"[null]").next(), Some(Ok(Element::Unreportable { .. }))));
}

#[test]
fn missing_and_null_members_are_tolerated() {
    for element in tasks(body("sparse")) {
        let Ok(Element::Task(task)) = element else { panic!("{element:?}") };
        assert!(task.task_type.is_empty() && task.reference_name.is_empty());
        assert_eq!((task.correlation_id, task.domain, task.external_input), (None, None, None));
        assert_eq!((task.retry_count, task.response_timeout), (0, None));
        assert_eq!((task.input, task.output, task.runtime_metadata), (&b"{}"[..], &b"{}"[..], &b"{}"[..]));
    }
}

#[test]
fn the_type_falls_back_to_the_definition() {
    assert_eq!(task(&format!(r#"{{{IDS},"taskDefName":"greet"}}"#)).task_type, *"greet");
    assert_eq!(task(&format!(r#"{{{IDS},"taskDefName":"greet","taskType":"SIMPLE"}}"#)).task_type, *"SIMPLE");
}

#[test]
fn an_input_elsewhere_is_told() {
    let task = only("external");
    assert_eq!(task.external_input.unwrap(), *"bb8b9af9-ea80-4dc6-bc21-13fdd6b47453.json");
    assert_eq!(task.decode::<()>(&mut []), Err(InputError::External));
}

#[test]
fn texts_are_the_same_written_out_and_escaped() {
    let (plain, escaped) = (only("unicode"), only("escaped"));
    assert_eq!(plain.ids, escaped.ids);
    assert_eq!(plain.reference_name, *"ref 🍵");
    assert_eq!(escaped.reference_name, *"ref 🍵\u{fffd}");
    assert_eq!(plain.correlation_id, escaped.correlation_id);
    let read = |task: &TaskView<'_>| serde_json::from_slice::<serde_json::Value>(task.input).unwrap();
    assert_eq!(read(&plain), read(&escaped));
}

#[test]
fn numbers_stand_as_they_were_sent() {
    let input = std::str::from_utf8(only("numbers").input).unwrap();
    for number in ["123456789012345678901234567890", "-9223372036854775809", "1.10e+21", "1E-7", "-0.0"] {
        assert!(input.contains(number), "{number} in {input}");
    }
}

#[test]
fn nesting_is_bounded_and_costs_only_its_task() {
    assert!(only("deep").input.len() > 400);
    let all: Vec<_> = tasks(body("too-deep")).collect();
    assert_eq!(all.len(), 2);
    assert!(matches!(&all[0], Ok(Element::Bad { misfit: Misfit::TooDeep, .. })), "{:?}", all[0]);
    assert!(matches!(&all[1], Ok(Element::Task(_))));
}

#[test]
fn deep_nesting_in_a_member_that_is_skipped_is_harmless() {
    let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
    let body = format!("{{\"workflowTask\":{deep},{IDS}}}");
    assert!(matches!(one(&body), Element::Task(_)));
}

#[test]
fn each_element_of_a_bad_batch_is_judged_alone() {
    let said: Vec<_> = tasks(body("bad-batch"))
        .map(|element| match element.expect("the batch is JSON") {
            Element::Task(task) => format!("task {}", task.reference_name),
            Element::Bad { ids, misfit } => format!("bad {}: {misfit}", &ids.task[34..]),
            Element::Unreportable { misfit } => format!("unreportable: {misfit}"),
        })
        .collect();
    assert_eq!(
        said,
        [
            "task r1",
            "bad 02: the polled task's `retryCount` is not an integer of 64 bits",
            "unreportable: the polled task has no `workflowInstanceId`",
            "unreportable: the polled element is not a task but another JSON value",
            "unreportable: the polled element is not a task but another JSON value",
            "unreportable: the polled element is not a task but another JSON value",
            "bad 04: the polled task's `inputData` is not an object",
            "bad 05: the polled task's `responseTimeoutSeconds` is not an integer of 64 bits",
            "unreportable: the polled task has no `taskId`",
            "unreportable: the polled task's `taskId` is not a string",
            "unreportable: the polled element is not a task but another JSON value",
            "unreportable: the polled task has no `taskId`",
            "bad 08: the polled task's `taskType` is not a string",
            "task r9",
        ]
    );
}

#[test]
fn every_member_of_the_wrong_type_is_a_misfit() {
    let texts = ["taskType", "taskDefName", "referenceTaskName", "workflowType", "correlationId", "domain"];
    let texts = texts.into_iter().chain(["retriedTaskId", "externalInputPayloadStoragePath"]);
    for name in texts {
        for value in ["1", "true", "{}", "[]"] {
            let expected = "a string";
            let found = misfit(&format!("{{{IDS},\"{name}\":{value}}}"));
            assert!(
                matches!(found, Misfit::WrongType { member, expected: said } if member == name && said == expected)
            );
        }
    }
    let numbers =
        ["retryCount", "pollCount", "seq", "iteration", "workflowPriority", "responseTimeoutSeconds"];
    let numbers =
        numbers.into_iter().chain(["callbackAfterSeconds", "scheduledTime", "startTime", "updateTime"]);
    for name in numbers {
        for value in ["\"1\"", "true", "{}", "[]", "1.0", "1e3", "9223372036854775808"] {
            let found = misfit(&format!("{{{IDS},\"{name}\":{value}}}"));
            assert!(matches!(found, Misfit::WrongType { member, .. } if member == name), "{name} {value}");
        }
    }
    for name in ["inputData", "outputData", "runtimeMetadata"] {
        for value in ["\"{}\"", "true", "1", "[]"] {
            let found = misfit(&format!("{{{IDS},\"{name}\":{value}}}"));
            assert!(matches!(found, Misfit::WrongType { member, .. } if member == name), "{name} {value}");
        }
    }
}

#[test]
fn counts_are_bounded() {
    assert_eq!(task(&format!("{{{IDS},\"retryCount\":4294967295}}")).retry_count, u32::MAX);
    let found = misfit(&format!("{{{IDS},\"retryCount\":4294967296}}"));
    assert!(matches!(found, Misfit::WrongType { member: "retryCount", .. }));
    let below = task(&format!("{{{IDS},\"retryCount\":-1,\"responseTimeoutSeconds\":-9}}")).retry_count;
    assert_eq!(below, 0);
}

#[test]
fn the_longest_id_is_read_and_a_longer_one_is_not() {
    let with = |id: String| format!(r#"{{"taskId":"{id}","workflowInstanceId":"w"}}"#);
    assert_eq!(task(&with("x".repeat(ID_MAX))).ids.task.len(), ID_MAX);
    let escaped = "\\u0078".repeat(ID_MAX);
    assert_eq!(task(&with(escaped)).ids.task, "x".repeat(ID_MAX).as_str());
    let longer = with("x".repeat(ID_MAX + 1));
    assert!(matches!(one(&longer), Element::Unreportable { misfit: Misfit::IdTooLong { member: "taskId" } }));
}

#[test]
fn of_duplicates_the_last_counts() {
    let body = format!(
        r#"{{{IDS},"retryCount":"x","inputData":{{"a":1}},"retryCount":3,"inputData":{{}},"taskId":"u"}}"#
    );
    let last = task(&body);
    assert_eq!((last.retry_count, last.input, last.ids.task.as_str()), (3, &b"{}"[..], "u"));
    let nulled = format!(r#"{{{IDS},"taskId":null}}"#);
    assert!(matches!(one(&nulled), Element::Unreportable { misfit: Misfit::Missing { member: "taskId" } }));
}

#[test]
fn members_of_members_are_not_the_tasks() {
    let body =
        format!(r#"{{"inputData":{{"taskId":"other","retryCount":9}},"x":[{{"taskId":"other"}}],{IDS}}}"#);
    let found = task(&body);
    assert_eq!((found.ids.task.as_str(), found.retry_count), ("t", 0));
}

#[test]
fn the_tasks_before_a_syntax_error_are_given() {
    let good = format!("{{{IDS}}}");
    let table = [
        (format!("[{good},{good}"), 2, SyntaxKind::Ended),
        (format!("[{good},{good},"), 2, SyntaxKind::Ended),
        (format!("[{good},{{\"taskId\":\"t\""), 1, SyntaxKind::Ended),
        (format!("[{good} {good}]"), 1, SyntaxKind::Separator),
        (format!("[{good},]"), 1, SyntaxKind::Value),
        (format!("[{good},x,{good}]"), 1, SyntaxKind::Value),
        (format!("[{good}]]"), 1, SyntaxKind::Trailing),
        (format!("{good}{good}"), 1, SyntaxKind::Trailing),
        (format!("[{good},{{\"inputData\":{{\"a\":\"\u{1}\"}}}}]"), 1, SyntaxKind::Control),
    ];
    for (body, before, kind) in table {
        let mut all: Vec<_> = tasks(body.as_bytes()).collect();
        assert_eq!(all.pop().unwrap().unwrap_err().kind, kind, "{body}");
        assert_eq!(all.len(), before, "{body}");
        assert!(all.iter().all(|element| matches!(element, Ok(Element::Task(_)))), "{body}");
    }
}

#[test]
fn what_is_neither_task_nor_batch_is_an_error() {
    for (body, kind) in [
        ("nul", SyntaxKind::Ended),
        ("nil", SyntaxKind::Word),
        ("null,", SyntaxKind::Trailing),
        ("null null", SyntaxKind::Trailing),
        ("true", SyntaxKind::NotTasks),
        ("17", SyntaxKind::NotTasks),
        ("\"7b49c1d2\"", SyntaxKind::NotTasks),
        ("<html>", SyntaxKind::Value),
    ] {
        let all: Vec<_> = tasks(body.as_bytes()).collect();
        assert_eq!(all.len(), 1, "{body}");
        assert_eq!(all[0].as_ref().unwrap_err().kind, kind, "{body}");
    }
}

#[test]
fn no_secret_shows_in_debug() {
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    struct Login {
        password: heapless::String<16>,
    }
    let typed = only("secrets").decode::<Login>(&mut [0; 16]).unwrap();
    assert_eq!(typed.input.password, "hunter2");
    let body = body("secrets");
    let mut memory = [0; 512];
    let mut filter = TaskFilter::new(SliceBuffer::new(&mut memory));
    assert!(filter.feed(&mut &*body).unwrap().is_some());
    let mut shown =
        format!("{:?} {typed:?} {:?} {:?} {:?}", only("secrets"), tasks(body), members(body), filter);
    shown.push_str(&format!("{:?} {:?}", filter.into_buffer(), members(body).collect::<Vec<_>>()));
    assert!(!shown.contains("hunter") && !shown.contains("104, 117, 110, 116"), "{shown}");
}

#[derive(Debug, Deserialize, PartialEq)]
struct Order<'a> {
    id: u64,
    customer: &'a str,
    note: heapless::String<16>,
    lines: heapless::Vec<i32, 4>,
    rush: Option<bool>,
}

#[test]
fn inputs_decode_into_the_users_type() {
    let body = format!(
        r#"{{{IDS},"inputData":{{"more":[{{}},"x"],"id":7,"customer":"Ada","note":"a\u00e9\n","lines":[1,-2],"rush":null}}}}"#
    );
    let task = task(&body).decode::<Order<'_>>(&mut [0; 16]).unwrap();
    let note = heapless::String::try_from("aé\n").unwrap();
    let lines = heapless::Vec::from_slice(&[1, -2]).unwrap();
    assert_eq!(task.input, Order { id: 7, customer: "Ada", note, lines, rush: None });
    assert_eq!(task.view.ids.task, "t");
}

#[test]
fn an_input_of_another_shape_is_unfit_and_says_nothing_of_it() {
    let body = format!(r#"{{{IDS},"inputData":{{"id":"hunter2"}}}}"#);
    let error = task(&body).decode::<Order<'_>>(&mut []).unwrap_err();
    assert!(matches!(error, InputError::Unfit(_)));
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
