//! What is sent is what the server takes.

use core::time::Duration;

use downbeat_core::ports::End;
use downbeat_core::wire::{
    Counter, EncodeError, Full, LOGS_MAX, Log, OUTPUT_LIMIT, Output, OutputError, REASON_CHARS, SliceBuffer,
    Status, TaskResult, encode_extend, encode_give_back, encode_string, encode_token_request,
};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

fn result(status: Status<'_>) -> TaskResult<'_> {
    TaskResult { task_id: "t", workflow_id: "w", worker_id: "me", status, output: Output::EMPTY, logs: &[] }
}

fn written(encode: impl FnOnce(&mut SliceBuffer<'_>) -> Result<(), Full>) -> String {
    let mut memory = vec![0; 100_000];
    let mut out = SliceBuffer::new(&mut memory);
    encode(&mut out).expect("room enough");
    String::from_utf8(out.into_bytes().to_vec()).expect("UTF-8")
}

fn sent(result: &TaskResult<'_>) -> Value {
    serde_json::from_str(&written(|out| result.encode(out))).expect("JSON")
}

#[test]
fn each_status_carries_what_belongs_to_it() {
    let table = [
        (Status::Completed, json!({"status": "COMPLETED"})),
        (Status::Failed { reason: "why" }, json!({"status": "FAILED", "reasonForIncompletion": "why"})),
        (
            Status::FailedTerminal { reason: "why" },
            json!({"status": "FAILED_WITH_TERMINAL_ERROR", "reasonForIncompletion": "why"}),
        ),
        (
            Status::InProgress { callback_after: Duration::from_secs(30) },
            json!({"status": "IN_PROGRESS", "callbackAfterSeconds": 30}),
        ),
    ];
    for (status, own) in table {
        let mut expected =
            json!({"taskId": "t", "workflowInstanceId": "w", "workerId": "me", "outputData": {}});
        expected.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        assert_eq!(sent(&result(status)), expected);
    }
}

#[test]
fn an_executors_end_is_a_status() {
    assert_eq!(Status::from(End::Completed), Status::Completed);
    assert_eq!(Status::from(End::Failed { reason: "r" }), Status::Failed { reason: "r" });
    assert_eq!(Status::from(End::Terminal { reason: "r" }).word(), "FAILED_WITH_TERMINAL_ERROR");
    let callback_after = Duration::from_secs(2);
    assert_eq!(Status::from(End::InProgress { callback_after }), Status::InProgress { callback_after });
}

#[test]
fn an_empty_worker_is_left_out() {
    let value = sent(&TaskResult { worker_id: "", ..result(Status::Completed) });
    assert_eq!(value.get("workerId"), None);
}

#[test]
fn callbacks_are_whole_seconds_never_early_and_at_least_one() {
    for (delay, seconds) in [
        (Duration::ZERO, 1),
        (Duration::from_millis(1), 1),
        (Duration::from_secs(1), 1),
        (Duration::from_micros(1_000_001), 2),
        (Duration::MAX, i64::MAX),
    ] {
        let value = sent(&result(Status::InProgress { callback_after: delay }));
        assert_eq!(value["callbackAfterSeconds"], json!(seconds), "{delay:?}");
    }
}

#[test]
fn a_reason_is_cut_where_the_server_would_cut_it_but_on_a_characters_boundary() {
    let reason = |text: &str| sent(&result(Status::Failed { reason: text }))["reasonForIncompletion"].clone();
    let fits = "é".repeat(REASON_CHARS);
    assert_eq!(reason(&fits), json!(fits));
    assert_eq!(reason(&format!("{fits}x")), json!(fits));
    // A character of two UTF-16 units at the 500th place is not cut in half.
    let astral = format!("{}🍵", "x".repeat(REASON_CHARS - 1));
    assert_eq!(reason(&astral), json!("x".repeat(REASON_CHARS - 1)));
    let fits = format!("{}🍵", "x".repeat(REASON_CHARS - 2));
    assert_eq!(reason(&fits), json!(fits));
}

#[test]
fn ten_logs_are_sent_and_an_eleventh_is_not() {
    let lines: Vec<_> = (0..11).map(|n| format!("line {n}\n")).collect();
    let logs: Vec<_> = lines.iter().map(|text| Log { text, created: 1_795_568_181_356 }).collect();
    let value = sent(&TaskResult { logs: &logs, ..result(Status::Completed) });
    let logs = value["logs"].as_array().unwrap();
    assert_eq!(logs.len(), LOGS_MAX);
    assert_eq!(logs[9], json!({"log": "line 9\n", "createdTime": 1_795_568_181_356_i64}));
}

#[test]
fn an_output_is_passed_through_byte_for_byte() {
    let raw = br#"{"n":123456789012345678901234567890,"f":1.10,"e":1e400,"s":"\ud83c\u0001"}"#;
    let output = Output::new(raw).unwrap();
    let text = written(|out| TaskResult { output, ..result(Status::Completed) }.encode(out));
    assert!(text.ends_with(&format!("\"outputData\":{}}}", std::str::from_utf8(raw).unwrap())), "{text}");
    assert_eq!(Output::new(b"\n {} \t").unwrap().raw(), b"{}");
}

#[test]
fn an_output_that_is_no_object_is_refused() {
    for raw in ["[]", "1", "null", "\"{}\""] {
        assert_eq!(Output::new(raw.as_bytes()), Err(OutputError::NotObject), "{raw}");
    }
    for raw in ["", "{", "{}x", "{\"a\":01}", "{\"a\":\"\u{1}\"}"] {
        assert!(matches!(Output::new(raw.as_bytes()), Err(OutputError::Syntax(_))), "{raw}");
    }
    assert!(!format!("{:?}", Output::new(br#"{"password":"hunter2"}"#)).contains("hunter2"));
}

#[test]
fn the_servers_limit_passes_and_one_byte_more_does_not() {
    let raw = format!("{{\"a\":\"{}\"}}", "x".repeat(OUTPUT_LIMIT - 8));
    let output = Output::new(raw.as_bytes()).unwrap();
    assert!(output.within(OUTPUT_LIMIT).is_ok());
    let error = output.within(OUTPUT_LIMIT - 1).unwrap_err();
    assert_eq!(error, OutputError::TooLarge { len: OUTPUT_LIMIT, limit: OUTPUT_LIMIT - 1 });
    assert!(error.to_string().contains("10485760") && error.to_string().contains("10485759"), "{error}");
}

#[test]
fn an_extension_hides_the_task_for_the_lease_from_a_server_that_takes_it_for_a_give_back() {
    for (lease, seconds) in [
        (Duration::ZERO, 1),
        (Duration::from_millis(999), 1),
        (Duration::from_secs(1), 1),
        (Duration::from_millis(29_001), 30),
        (Duration::from_secs(30), 30),
        (Duration::MAX, i64::MAX),
    ] {
        let body = written(|out| encode_extend("t", "w", "me", lease, out));
        assert_eq!(
            serde_json::from_str::<Value>(&body).unwrap(),
            json!({"taskId": "t", "workflowInstanceId": "w", "workerId": "me", "status": "IN_PROGRESS",
                   "callbackAfterSeconds": seconds, "extendLease": true, "supportsCancellation": true}),
            "{lease:?}"
        );
    }
    let body = written(|out| encode_extend("t", "w", "", Duration::ZERO, out));
    assert!(!body.contains("workerId"), "{body}");
}

#[test]
fn u_0000_is_replaced_where_people_read_and_in_outputs_and_nowhere_else() {
    let logs = [Log { text: "a\0\0b", created: 0 }];
    let output = Output::new(br#"{"raw":"\u0000"}"#).unwrap();
    let status = Status::Failed { reason: "\0why\0" };
    let result =
        TaskResult { task_id: "t\0", workflow_id: "w", worker_id: "me", status, output, logs: &logs };
    let value = sent(&result);
    assert_eq!(value["reasonForIncompletion"], json!("\u{fffd}why\u{fffd}"));
    assert_eq!(value["logs"][0]["log"], json!("a\u{fffd}\u{fffd}b"));
    assert_eq!((&value["taskId"], &value["outputData"]["raw"]), (&json!("t\0"), &json!("\u{fffd}")));
    let status = Status::FailedTerminal { reason: "\0" };
    let value = sent(&TaskResult { status, ..result });
    assert_eq!(value["reasonForIncompletion"], json!("\u{fffd}"));
}

#[test]
fn u_0000_in_an_output_is_replaced_and_a_backslash_before_it_is_none() {
    for (raw, expected) in [
        (r#"{"\u0000":"\u0000"}"#, r#"{"\ufffd":"\ufffd"}"#),
        (r#"{"a":["\u0000\u0000x",{"b\u0000":1}]}"#, r#"{"a":["\ufffd\ufffdx",{"b\ufffd":1}]}"#),
        (r#"{"a":"\\\u0000"}"#, r#"{"a":"\\\ufffd"}"#),
        (r#"{"a":"\\u0000","b":"\\\\u0000\""}"#, r#"{"a":"\\u0000","b":"\\\\u0000\""}"#),
        (r#"{"a":"\u00001\u0001u0000"}"#, r#"{"a":"\ufffd1\u0001u0000"}"#),
    ] {
        let output = Output::new(raw.as_bytes()).unwrap();
        let text = written(|out| TaskResult { output, ..result(Status::Completed) }.encode(out));
        assert!(text.ends_with(&format!("\"outputData\":{expected}}}")), "{text}");
        let text = written(|out| encode_give_back("t", "w", "me", output, out));
        assert!(text.ends_with(&format!("\"outputData\":{expected}}}")), "{text}");
    }
    #[derive(Serialize)]
    struct Typed {
        a: &'static str,
        b: [&'static str; 2],
    }
    let typed = TaskResult {
        task_id: "t",
        workflow_id: "w",
        worker_id: "me",
        status: Status::Completed,
        output: Typed { a: "\0\\u0000", b: ["x", "\0\0"] },
        logs: &[],
    };
    let mut memory = [0; 256];
    let len = typed.encode_typed(&mut memory).unwrap();
    let value: Value = serde_json::from_slice(&memory[..len]).unwrap();
    assert_eq!(value["outputData"], json!({"a": "\u{fffd}\\u0000", "b": ["x", "\u{fffd}\u{fffd}"]}));
}

#[test]
fn a_give_back_echoes_the_polled_output() {
    let polled = Output::new(br#"{"progress":40}"#).unwrap();
    let value: Value =
        serde_json::from_str(&written(|out| encode_give_back("t", "w", "me", polled, out))).unwrap();
    assert_eq!(
        value,
        json!({"taskId": "t", "workflowInstanceId": "w", "workerId": "me", "status": "IN_PROGRESS",
               "callbackAfterSeconds": 1, "outputData": {"progress": 40}})
    );
}

#[test]
fn a_token_is_asked_for_with_key_and_secret() {
    let value: Value = serde_json::from_str(&written(|out| encode_token_request("k\"", "s\\", out))).unwrap();
    assert_eq!(value, json!({"keyId": "k\"", "keySecret": "s\\"}));
}

#[test]
fn every_control_character_is_escaped() {
    let text: String = (0..0x21_u8).map(char::from).chain("\"\\/\u{7f}é\u{2028}🍵".chars()).collect();
    let json = written(|out| encode_string(&text, out));
    assert!(json.bytes().all(|byte| byte >= 0x20), "{json}");
    assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
}

#[test]
fn a_body_is_counted_before_it_is_written_and_needs_just_that_room() {
    let result = result(Status::Failed { reason: "a \"quoted\" reason" });
    let mut counter = Counter::default();
    result.encode(&mut counter).unwrap();
    let mut memory = vec![0; counter.len];
    assert_eq!(result.encode(&mut SliceBuffer::new(&mut memory)), Ok(()));
    for room in 0..counter.len {
        assert_eq!(result.encode(&mut SliceBuffer::new(&mut memory[..room])), Err(Full), "{room}");
    }
}

#[derive(Serialize)]
struct Greeting<'a> {
    text: &'a str,
    times: u64,
    share: f64,
}

#[test]
fn a_typed_output_is_encoded_by_serde() {
    let output = Greeting { text: "Grüß \"Gott\"\n", times: u64::MAX, share: 0.5 };
    let typed = TaskResult {
        task_id: "t",
        workflow_id: "w",
        worker_id: "",
        status: Status::Completed,
        output,
        logs: &[],
    };
    let mut memory = [0; 256];
    let len = typed.encode_typed(&mut memory).unwrap();
    let value: Value = serde_json::from_slice(&memory[..len]).unwrap();
    assert_eq!(value["outputData"], json!({"text": "Grüß \"Gott\"\n", "times": u64::MAX, "share": 0.5}));
    for room in 0..len {
        assert_eq!(typed.encode_typed(&mut memory[..room]), Err(EncodeError::Full), "{room}");
    }
    assert_eq!(typed.encode_typed(&mut memory[..len]), Ok(len));
}

#[test]
fn a_typed_output_that_is_no_object_is_refused() {
    let typed = |output: u8| TaskResult {
        task_id: "t",
        workflow_id: "w",
        worker_id: "",
        status: Status::Completed,
        output,
        logs: &[],
    };
    assert_eq!(typed(7).encode_typed(&mut [0; 128]), Err(EncodeError::NotObject));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_comes_back_as_it_went(
        ids in any::<[String; 3]>(),
        reason in any::<String>(),
        log in any::<String>(),
        created in any::<i64>(),
    ) {
        let logs = [Log { text: &log, created }];
        let result = TaskResult {
            task_id: &ids[0],
            workflow_id: &ids[1],
            worker_id: &ids[2],
            status: Status::Failed { reason: &reason },
            output: Output::EMPTY,
            logs: &logs,
        };
        let value = sent(&result);
        prop_assert_eq!(value["taskId"].as_str(), Some(ids[0].as_str()));
        prop_assert_eq!(value["workflowInstanceId"].as_str(), Some(ids[1].as_str()));
        prop_assert_eq!(value["workerId"].as_str().unwrap_or_default(), ids[2].as_str());
        let (log, reason) = (log.replace('\0', "\u{fffd}"), reason.replace('\0', "\u{fffd}"));
        prop_assert_eq!(value["logs"][0]["log"].as_str(), Some(log.as_str()));
        prop_assert_eq!(value["logs"][0]["createdTime"].as_i64(), Some(created));
        prop_assert!(reason.starts_with(value["reasonForIncompletion"].as_str().unwrap()));
    }

    #[test]
    fn every_object_is_an_output_and_nothing_else_is(document in crate::scan::json()) {
        let accepted = Output::new(document.as_bytes());
        prop_assert_eq!(accepted.is_ok(), document.starts_with('{'));
    }
}
