//! The bounded decoder and serde_json, which the std side hands a task's input to, read the same from the same bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use downbeat_core::wire::{
    Element, Ids, InputError, Output, SliceBuffer, Status, SyntaxError, TaskFilter, TaskResult, TaskView,
    Text, encode_extend, read_token,
};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::golden;
use crate::scan::json as any_json;

/// A microcontroller's memory: what is read at once, and what is kept of one task (2 KiB less that).
const WINDOW: usize = 256;
const KEPT: usize = 2_048 - WINDOW;

/// An element's members by name, as written. The last of duplicates counts.
type Members = BTreeMap<String, Box<RawValue>>;

/// What serde_json reads of an answer: each element as written.
fn by_serde_json(answer: &[u8]) -> serde_json::Result<Vec<Box<RawValue>>> {
    if answer.trim_ascii_start().starts_with(b"[") {
        serde_json::from_slice(answer)
    } else {
        serde_json::from_slice(answer).map(|one| vec![one])
    }
}

/// What the bounded decoder reads, in windows and bounded memory; each element is compared with serde_json's.
fn compare(answer: &[u8], window: usize, kept: usize) -> Result<usize, TestCaseError> {
    let sent = by_serde_json(answer).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let mut memory = vec![0; kept];
    let mut filter = TaskFilter::new(SliceBuffer::new(&mut memory));
    let (mut at, mut tasks) = (0, 0);
    let failed = |error: SyntaxError| TestCaseError::fail(error.to_string());
    for mut rest in answer.chunks(window) {
        while let Some(element) = filter.feed(&mut rest).map_err(failed)? {
            let members = serde_json::from_str::<Members>(sent[at].get()).unwrap_or_default();
            at += 1;
            match element {
                Element::Task(task) => {
                    tasks += 1;
                    same_task(&task, &members)?;
                }
                Element::Bad { ids, .. } => same_ids(&ids, &members)?,
                Element::Unreportable { .. } => {}
            }
        }
    }
    prop_assert!(filter.finish().is_ok());
    prop_assert_eq!(at, sent.len());
    Ok(tasks)
}

fn same_task(task: &TaskView<'_>, members: &Members) -> Result<(), TestCaseError> {
    same_ids(&task.ids, members)?;
    let raw = |name: &str| members.get(name).map(|raw| raw.get()).filter(|raw| *raw != "null");
    let kind = if raw("taskType").is_some_and(|raw| raw != "\"\"") { "taskType" } else { "taskDefName" };
    let texts = [
        (kind, Some(task.task_type)),
        ("taskDefName", Some(task.def_name)),
        ("referenceTaskName", Some(task.reference_name)),
        ("workflowType", Some(task.workflow_type)),
        ("correlationId", task.correlation_id),
        ("domain", task.domain),
        ("retriedTaskId", task.retried_task_id),
        ("externalInputPayloadStoragePath", task.external_input),
    ];
    for (name, found) in texts {
        same_text(name, found.unwrap_or_default(), raw(name))?;
    }
    let numbers = [
        ("retryCount", i64::from(task.retry_count)),
        ("pollCount", i64::from(task.poll_count)),
        ("seq", i64::from(task.seq)),
        ("iteration", i64::from(task.iteration)),
        ("workflowPriority", i64::from(task.priority)),
        ("responseTimeoutSeconds", task.response_timeout.map_or(0, |time| time.as_secs() as i64)),
        ("callbackAfterSeconds", task.callback_after.as_secs() as i64),
        ("scheduledTime", task.scheduled_time),
        ("startTime", task.start_time),
        ("updateTime", task.update_time),
        ("pollTimeoutSeconds", task.poll_timeout.map_or(0, |time| time.as_secs() as i64)),
    ];
    for (name, found) in numbers {
        let sent = match name {
            "pollTimeoutSeconds" => poll_timeout(members),
            _ => raw(name).map_or(0, |raw| serde_json::from_str::<i64>(raw).expect("an integer")),
        };
        prop_assert_eq!(found, sent.max(0), "{}", name);
    }
    let objects =
        [("inputData", task.input), ("outputData", task.output), ("runtimeMetadata", task.runtime_metadata)];
    for (name, found) in objects {
        // Byte for byte: whatever serde_json makes of one, it makes of the other.
        prop_assert_eq!(String::from_utf8_lossy(found), raw(name).unwrap_or("{}"), "{}", name);
    }
    Ok(())
}

/// Seconds in the definition that is a member of the task, else of its workflow's task, or 0 for none.
fn poll_timeout(members: &Members) -> i64 {
    let of = |raw: &str| serde_json::from_str::<Members>(raw).unwrap_or_default();
    let seconds = |members: &Members| {
        let digits = members.get("pollTimeoutSeconds").map(|raw| raw.get());
        let digits = digits.filter(|raw| raw.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or("0");
        digits.parse::<u128>().map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX))
    };
    let definition = |members: &Members| members.get("taskDefinition").map(|raw| of(raw.get()));
    let own = definition(members).map_or(0, |own| seconds(&own));
    let workflows = || members.get("workflowTask").and_then(|raw| definition(&of(raw.get())));
    i64::from(if own > 0 { own } else { workflows().map_or(0, |found| seconds(&found)) })
}

fn same_ids(ids: &Ids, members: &Members) -> Result<(), TestCaseError> {
    for (name, found) in [("taskId", &ids.task), ("workflowInstanceId", &ids.workflow)] {
        let sent = members.get(name).map(|raw| serde_json::from_str::<String>(raw.get()).expect("a text"));
        prop_assert_eq!(Some(found.as_str()), sent.as_deref(), "{}", name);
    }
    Ok(())
}

/// A lone surrogate, which serde_json refuses, is U+FFFD for core; all else is the same.
fn same_text(name: &str, found: Text<'_>, raw: Option<&str>) -> Result<(), TestCaseError> {
    match raw.map_or_else(|| Ok(String::new()), serde_json::from_str::<String>) {
        Ok(sent) => prop_assert_eq!(found.to_string(), sent, "{}", name),
        Err(_) => prop_assert!(found.to_string().contains('\u{fffd}'), "{}: {}", name, found),
    }
    Ok(())
}

#[test]
fn golden_tasks_are_the_same_to_both() {
    let tasks = |name: &str| compare(golden::body(name), WINDOW, KEPT).expect("the same");
    for (name, count) in [
        ("task", 1),
        ("batch", 5),
        ("yielded", 1),
        ("poll-timeout", 1),
        ("external", 1),
        ("unicode", 1),
        ("escaped", 1),
        ("numbers", 1),
        ("deep", 1),
        ("bad-batch", 2),
        ("sparse", 2),
        ("secrets", 1),
        ("too-deep", 1),
    ] {
        assert_eq!(tasks(name), count, "{name}");
    }
}

#[test]
fn golden_tokens_are_the_same_to_both() {
    #[derive(Deserialize)]
    struct Answer {
        token: String,
    }
    for body in [&include_bytes!("../golden/token.json")[..], include_bytes!("../golden/token-escaped.json")]
    {
        let sent: Answer = serde_json::from_slice(body).expect("JSON");
        assert_eq!(read_token(body).expect("a token").to_string(), sent.token);
    }
}

#[test]
fn golden_results_are_what_is_sent_and_what_serde_json_reads() {
    let ids = ("7b49c1d2-90ab-4f3e-8a55-000000000009", "3b7b1f6e-5a0c-4c55-9d0e-000000000009");
    let reason = "no \"ink\"\nin \\tray\u{17e} \u{1f375}";
    let polled: &[u8] =
        br#"{"name":"\u017dofie \ud83c\udf75 \u0000","n":123456789012345678901234567890,"f":1.10}"#;
    let table: [(&[u8], Status<'_>, &[u8], Value); 4] = [
        (
            include_bytes!("../golden/result-completed.json"),
            Status::Completed,
            polled,
            json!({ "status": "COMPLETED" }),
        ),
        (
            include_bytes!("../golden/result-failed.json"),
            Status::Failed { reason },
            b"{}",
            json!({ "status": "FAILED", "reasonForIncompletion": reason }),
        ),
        (
            include_bytes!("../golden/result-terminal.json"),
            Status::FailedTerminal { reason: "no paper" },
            br#"{"pages":0}"#,
            json!({ "status": "FAILED_WITH_TERMINAL_ERROR", "reasonForIncompletion": "no paper" }),
        ),
        (
            include_bytes!("../golden/result-in-progress.json"),
            Status::InProgress { callback_after: Duration::from_secs(30) },
            br#"{"progress":40}"#,
            json!({ "status": "IN_PROGRESS", "callbackAfterSeconds": 30 }),
        ),
    ];
    for (golden, status, output, mut expected) in table {
        let sent = TaskResult {
            task_id: ids.0,
            workflow_id: ids.1,
            worker_id: "w1",
            status,
            output: Output::new(output).expect("an object"),
            logs: &[],
        };
        let mut memory = [0; 512];
        let mut out = SliceBuffer::new(&mut memory);
        sent.encode(&mut out).expect("room enough");
        assert_eq!(String::from_utf8_lossy(out.into_bytes()), String::from_utf8_lossy(golden));
        expected["taskId"] = json!(ids.0);
        expected["workflowInstanceId"] = json!(ids.1);
        expected["workerId"] = json!("w1");
        let output = String::from_utf8_lossy(output).replace(r"\u0000", r"\ufffd");
        expected["outputData"] = serde_json::from_str(&output).expect("JSON");
        assert_eq!(serde_json::from_slice::<Value>(golden).expect("JSON"), expected);
    }
    let mut memory = [0; 512];
    let mut out = SliceBuffer::new(&mut memory);
    encode_extend(ids.0, ids.1, "w1", Duration::from_secs(30), &mut out).expect("room enough");
    assert_eq!(&*out.into_bytes(), include_bytes!("../golden/result-extend.json"));
}

/// A user's input, with memory of its own: both decoders fill the same type.
#[derive(Debug, Deserialize, PartialEq)]
struct Order {
    text: String,
    count: i64,
    big: u64,
    flag: bool,
    list: (i32, i16, u8),
    maybe: Option<u8>,
    inner: Inner,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Inner {
    note: String,
    share: f64,
}

/// How a text is written in JSON: each character in one of the ways that JSON has for it.
fn written(text: &str, styles: &[u8]) -> String {
    let units = |c: char, upper: bool| {
        let mut units = [0; 2];
        let one = |unit: &u16| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
        c.encode_utf16(&mut units).iter().map(one).collect::<String>()
    };
    let one = |(c, style): (char, &u8)| match (style % 4, c) {
        (0, '"' | '\\' | '/') => format!("\\{c}"),
        (0, '\n') => "\\n".to_owned(),
        (1 | 2, _) | (_, '\0'..='\u{1f}' | '"' | '\\') => units(c, *style == 2),
        _ => c.to_string(),
    };
    format!("\"{}\"", text.chars().zip(styles.iter().cycle()).map(one).collect::<String>())
}

fn text() -> impl Strategy<Value = String> {
    let text = prop_oneof![any::<String>(), "[a-z🍵é\"\\\\/\n\u{1}\u{ffff}]{0,12}"];
    (text, proptest::collection::vec(any::<u8>(), 1..8)).prop_map(|(text, styles)| written(&text, &styles))
}

fn id() -> impl Strategy<Value = String> {
    ("[a-f0-9-]{1,64}", proptest::collection::vec(any::<u8>(), 1..8))
        .prop_map(|(text, styles)| written(&text, &styles))
}

/// Objects of any content, as written.
fn object() -> impl Strategy<Value = String> {
    proptest::collection::vec((text(), any_json()), 0..4).prop_map(|members| {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        format!("{{{}}}", members.join(" , "))
    })
}

/// A task of the server's, its members in any order, with some that nobody knows.
fn task() -> impl Strategy<Value = String> {
    let texts = proptest::sample::subsequence(
        vec!["taskType", "taskDefName", "referenceTaskName", "workflowType", "correlationId", "domain"],
        0..=6,
    );
    let numbers = proptest::sample::subsequence(
        vec!["retryCount", "pollCount", "seq", "iteration", "responseTimeoutSeconds", "updateTime"],
        0..=6,
    );
    let definitions = proptest::sample::subsequence(
        vec!["taskDefinition", "workflowTask", "taskDefinition", "status"],
        0..=4,
    );
    let objects =
        proptest::sample::subsequence(vec!["inputData", "outputData", "runtimeMetadata", "unknown"], 0..=4);
    let members = (
        (id(), id()).prop_map(|(task, workflow)| {
            vec![format!("\"taskId\":{task}"), format!("\"workflowInstanceId\" : {workflow}")]
        }),
        texts.prop_flat_map(|names| {
            let values = proptest::collection::vec(text(), names.len());
            values.prop_map(move |values| pairs(&names, &values))
        }),
        numbers.prop_flat_map(|names| {
            let values = proptest::collection::vec((-2..i32::MAX).prop_map(|n| n.to_string()), names.len());
            values.prop_map(move |values| pairs(&names, &values))
        }),
        objects.prop_flat_map(|names| {
            let values = proptest::collection::vec(object(), names.len());
            values.prop_map(move |values| pairs(&names, &values))
        }),
        definitions.prop_flat_map(|names| {
            let values = proptest::collection::vec(definition(), names.len());
            values.prop_map(move |values| pairs(&names, &values))
        }),
    );
    members
        .prop_map(|(ids, texts, numbers, objects, more)| [ids, texts, numbers, objects, more].concat())
        .prop_shuffle()
        .prop_map(|members| format!("{{ {} }}", members.join(",\n")))
}

/// A task's definition, or that of its workflow's task, or something that looks like one, as written.
fn definition() -> impl Strategy<Value = String> {
    let timeout = prop_oneof![
        3 => (0..100_u64).prop_map(|n| n.to_string()),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        1 => proptest::sample::select(vec!["null", "-5", "1.0", "2e3", "\"7\"", "[8]", "{\"pollTimeoutSeconds\":9}"])
            .prop_map(str::to_owned),
        1 => any_json(),
    ];
    let name = proptest::sample::select(vec![
        "pollTimeoutSeconds",
        "poll\\u0054imeoutSeconds",
        "pollTimeoutSecond",
        "taskDefinition",
        "other",
    ]);
    let object = |value: BoxedStrategy<String>| {
        proptest::collection::vec((name.clone(), value), 0..4).prop_map(|members| {
            let members: Vec<_> =
                members.iter().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
            format!("{{{}}}", members.join(","))
        })
    };
    let inner = object(timeout.clone().boxed());
    let listed = inner.clone().prop_map(|inner| format!("[{inner}]"));
    let value = prop_oneof![2 => timeout, 3 => inner, 1 => listed];
    prop_oneof![6 => object(value.boxed()), 1 => any_json()]
}

fn pairs(names: &[&str], values: &[String]) -> Vec<String> {
    names.iter().zip(values).map(|(name, value)| format!("\"{name}\":{value}")).collect()
}

/// The orders of one task, as written.
fn order() -> impl Strategy<Value = String> {
    let share = prop_oneof![Just(0.0), -1e9..1e9_f64, any::<f64>().prop_filter("finite", |f| f.is_finite())];
    let numbers = (any::<i64>(), any::<u64>(), any::<(i32, i16, u8)>(), any::<Option<u8>>(), share);
    (text(), text(), numbers, any::<bool>(), object()).prop_map(
        |(text, note, (count, big, (a, b, c), maybe, share), flag, junk)| {
            let maybe = maybe.map_or_else(|| "null".to_owned(), |n| n.to_string());
            let share = serde_json::to_string(&share).expect("a number");
            format!(
                "{{\"junk\":{junk}, \"text\" :{text},\"count\":{count},\"big\": {big},\"flag\":{flag},\
                 \"list\":[{a},{b} ,{c}],\"maybe\":{maybe},\"inner\":{{\"note\":{note},\"share\":{share}}}}}"
            )
        },
    )
}

/// A character beyond the first 65,536, written as two `\u`: the one thing that serde-json-core does not take.
fn has_pair(raw: &str) -> bool {
    let raw = raw.replace("\\\\", "").to_lowercase();
    ["\\ud8", "\\ud9", "\\uda", "\\udb"].iter().any(|half| raw.contains(half))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_tasks_are_the_same_to_both(
        all in proptest::collection::vec(task(), 0..4),
        window in 1..400_usize,
    ) {
        let answer = format!(" [{}] ", all.join(" , "));
        prop_assert_eq!(compare(answer.as_bytes(), window, 64 * 1024)?, all.len());
    }

    #[test]
    fn a_typed_input_is_the_same_to_both_or_refused_for_its_pairs(input in order()) {
        let answer = format!(r#"{{"taskId":"t","workflowInstanceId":"w","inputData":{input}}}"#);
        let mut memory = vec![0; 64 * 1024];
        let mut filter = TaskFilter::new(SliceBuffer::new(&mut memory));
        let mut rest = answer.as_bytes();
        let element = filter.feed(&mut rest).expect("JSON");
        let Some(Element::Task(task)) = element else { panic!("a task: {answer}") };
        let by_serde_json: Order = serde_json::from_str(&input).expect("an order");
        match task.decode::<Order>(&mut vec![0; input.len()]) {
            Ok(mut task) => {
                // serde_json takes a short way to a float, and may be beside it by its last bits.
                let (exact, near) = (task.input.inner.share, by_serde_json.inner.share);
                let bits = (exact.abs() * 4.0 * f64::EPSILON).max(f64::MIN_POSITIVE);
                prop_assert!((exact - near).abs() <= bits, "{} or {}", exact, near);
                task.input.inner.share = near;
                prop_assert_eq!(task.input, by_serde_json);
            }
            Err(error) => prop_assert!(
                matches!(error, InputError::Unfit(_)) && has_pair(&input), "{}: {}", error, input
            ),
        }
    }
}
