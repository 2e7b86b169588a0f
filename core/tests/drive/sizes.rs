//! What does not fit.

use downbeat_core::drive::{Buffers, Config, Key, Session, SetupError, Site};
use downbeat_core::machine::Policy;
use serde_json::json;

use crate::world::{Code, Setup, World, drive, task};

#[test]
fn a_task_that_is_larger_than_the_buffer_fails_with_both_sizes() {
    let ran = drive(Setup::new(), || {
        let mut world = World::with_tasks(3).drains_at(5);
        world.queue.insert(1, task("large", json!({ "text": "y".repeat(5_000) })));
        (world, Code::quick())
    });
    let ids: Vec<&str> = ran.world.ended.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ran.world.ended.len(), 4, "{ids:?}");
    let (_, report) = ran.world.ended.iter().find(|(id, _)| id == "large").expect("it is reported");
    assert_eq!(report["status"], json!("FAILED"));
    let reason = report["reasonForIncompletion"].as_str().expect("a reason");
    assert!(reason.contains("5") && reason.contains("has room for 1792"), "{reason}");
}

#[test]
fn a_task_just_as_large_as_the_buffer_passes() {
    let with = |len: usize| {
        let ran = drive(Setup::new(), || {
            let mut world = World::new().drains_at(5);
            world.queue.push_back(task("t0", json!({ "text": "y".repeat(len) })));
            let mut code = Code::quick();
            code.output = Some("{}");
            (world, code)
        });
        ran.world.ended[0].1["status"].clone()
    };
    let most = (1_500..1_792).rev().find(|len| with(*len) == json!("COMPLETED")).expect("one fits");
    assert_eq!(with(most + 1), json!("FAILED"));
    assert!(most > 1_650, "little of the buffer is lost to the other members: {most}");
}

#[test]
fn an_output_that_is_no_object_or_too_large_is_terminal() {
    let long: &'static str = Box::leak(format!("{{\"a\":\"{}\"}}", "z".repeat(300)).into_boxed_str());
    for (output, says) in [
        ("[1]", "not an object"),
        ("{\"a\":", "not JSON"),
        (long, "308 bytes and this worker has room for 256"),
    ] {
        let ran = drive(Setup::new(), || {
            let mut code = Code::quick();
            code.output = Some(output);
            (World::with_tasks(1).drains_at(3), code)
        });
        let (_, report) = &ran.world.ended[0];
        assert_eq!(report["status"], json!("FAILED_WITH_TERMINAL_ERROR"));
        let reason = report["reasonForIncompletion"].as_str().expect("a reason");
        assert!(reason.contains(says), "{reason}");
    }
}

#[test]
fn an_input_elsewhere_is_terminal_and_a_large_polled_output_fails() {
    let ran = drive(Setup::new(), || {
        let mut world = World::new().drains_at(3);
        let mut outside = task("outside", json!({}));
        outside["externalInputPayloadStoragePath"] = json!("a/b.json");
        let mut yielded = task("yielded", json!({}));
        yielded["outputData"] = json!({ "x": "y".repeat(300) });
        world.queue.extend([outside, yielded]);
        (world, Code::quick())
    });
    let status = |id: &str| {
        let found = ran.world.ended.iter().find(|(ended, _)| ended == id);
        found.expect("it is reported").1["status"].clone()
    };
    assert_eq!(status("outside"), json!("FAILED_WITH_TERMINAL_ERROR"));
    assert_eq!(status("yielded"), json!("FAILED"));
}

#[test]
fn elements_without_ids_are_counted_and_cost_only_themselves() {
    let ran = drive(Setup::new(), || {
        let mut world = World::with_tasks(1).drains_at(3);
        world.queue.push_front(json!({ "taskId": "no workflow" }));
        (world, Code::quick())
    });
    assert_eq!((ran.world.ended.len(), ran.counts.unreportable), (1, 1));
}

#[test]
fn sizes_are_checked_when_the_session_is_made() {
    let config = Config {
        site: Site { host: "device", base: "/api" },
        task_type: "greet",
        worker_id: "w1",
        domain: "",
        key: None,
    };
    let make = |config: Config<'_>, receive: usize, send: usize, token: usize| {
        let (mut receive, mut send, mut token) = (vec![0; receive], vec![0; send], vec![0; token]);
        let buffers = Buffers { receive: &mut receive, send: &mut send, token: &mut token };
        Session::<'_, 2, 256>::new(Policy::default(), 1, config, buffers).map(drop)
    };
    let needed = config.send_needed(256, 0).expect("it fits");
    assert!(needed < 1_100, "{needed}");
    assert_eq!(make(config, 512, needed, 0), Ok(()));
    assert_eq!(make(config, 511, needed, 0), Err(SetupError::Receive { room: 511, needed: 512 }));
    assert_eq!(make(config, 512, needed - 1, 0), Err(SetupError::Send { room: needed - 1, needed }));
    let keyed = Config { key: Some(Key { id: "k", secret: "s" }), ..config };
    assert_eq!(make(keyed, 512, 2_048, 0), Err(SetupError::Token));
    let long = "x".repeat(300);
    assert!(matches!(make(Config { task_type: &long, ..config }, 512, 4_096, 0), Err(SetupError::Target(_))));
    let site = Site { host: "a b", base: "" };
    assert_eq!(make(Config { site, ..config }, 512, 4_096, 0), Err(SetupError::Site));
}
