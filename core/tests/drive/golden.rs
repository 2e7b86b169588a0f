//! The golden tasks, as a real server sends them, through the whole loop in a microcontroller's memory: the user's code
//! gets what serde_json reads of the same file.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::world::{Code, Fault, Setup, World, drive};

#[test]
fn golden_tasks_reach_the_code_as_serde_json_reads_them() {
    let files: [(&str, &str); 6] = [
        ("task", include_str!("../golden/task.json")),
        ("yielded", include_str!("../golden/yielded.json")),
        ("unicode", include_str!("../golden/unicode.json")),
        ("escaped", include_str!("../golden/escaped.json")),
        ("numbers", include_str!("../golden/numbers.json")),
        ("secrets", include_str!("../golden/secrets.json")),
    ];
    for (name, body) in files {
        // Each member by itself: in `escaped` there is one, a lone surrogate, that serde_json does not take.
        let task = body.trim_start_matches('[').trim_end_matches(']');
        let task: BTreeMap<String, Box<RawValue>> = serde_json::from_str(task).expect("JSON");
        let sent = |name: &str| serde_json::from_str::<Value>(task[name].get()).expect("JSON");
        for piece in [1, 7, 256, usize::MAX] {
            let ran = drive(Setup::new(), || (answering(body, piece), Code::quick()));
            let [(id, report)] = &ran.world.ended[..] else { panic!("{name}: {:?}", ran.world.ended) };
            assert_eq!(json!(id), sent("taskId"), "{name}");
            assert_eq!(report["workflowInstanceId"], sent("workflowInstanceId"), "{name}");
            // What goes out has U+FFFD where U+0000 came in, which a PostgreSQL back end does not take.
            let echo = sent("inputData").to_string().replace("\\u0000", "\u{fffd}");
            assert_eq!(report["outputData"]["echo"].to_string(), echo, "{name}");
            assert_eq!(report["status"], json!("COMPLETED"), "{name}");
        }
    }
}

#[test]
fn golden_batches_come_through_task_by_task() {
    // The worker takes two of five tasks; the others come too much, and one is given back.
    let body = include_str!("../golden/batch.json");
    let tasks: Vec<Value> = serde_json::from_str(body).expect("JSON");
    let ran = drive(Setup::new(), || (answering(body, 64), Code::quick()));
    assert_eq!(ran.world.ended.len(), 2);
    for ((id, report), task) in ran.world.ended.iter().zip(&tasks) {
        assert_eq!(json!(id), task["taskId"]);
        assert_eq!(report["outputData"]["echo"], task["inputData"]);
    }
}

#[test]
fn the_golden_token_is_sent_as_serde_json_reads_it() {
    for body in [include_str!("../golden/token.json"), include_str!("../golden/token-escaped.json")] {
        let token: Value = serde_json::from_str(body).expect("JSON");
        let setup = Setup { key: true, ..Setup::new() };
        let ran = drive(setup, || (answering(body, 16), Code::quick()));
        assert_eq!(ran.world.seen[0].path, "/token");
        let sent = ran.world.seen[1].token.clone();
        assert_eq!(sent.map(Value::from), Some(token["token"].clone()));
    }
}

/// A server that answers the first request with this body, in pieces.
fn answering(body: &str, piece: usize) -> World {
    let length = body.len();
    let head = format!("HTTP/1.1 200 \r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    let mut world = World::new().drains_at(3);
    world.faults.insert(0, Fault::Says(Box::leak(format!("{head}{body}").into_boxed_str())));
    world.piece = piece;
    world
}
