//! `downbeat store`: dead letters are seen, put back and sent, exported and dropped.

use std::os::unix::fs::PermissionsExt;

use downbeat_server::http::{CallKind, Fault, FaultKind, Server, WorkflowStatus};

use super::harness::{Downbeat, Place, ended, finish, server, wait_for};

const DONE: Option<i32> = Some(0);
const FAILED: Option<i32> = Some(1);
const USAGE: Option<i32> = Some(2);

fn start(place: &Place, server: &Server, store: &str) -> Downbeat {
    let url = server.url();
    place.start(&["run", "--server", &url, "--task", "job", "--store", store, "--", "cat"], &[])
}

/// Runs the command on a store and returns what it says.
fn on(store: &str, args: &[&str]) -> (Option<i32>, String, String) {
    finish(&[&["store"], args, &["--store", store]].concat())
}

fn listed(store: &str) -> serde_json::Value {
    let (code, out, err) = on(store, &["list", "--json"]);
    assert_eq!((code, err.as_str()), (DONE, ""));
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_dead_letter_is_shown_with_its_reason_put_back_and_sent() {
    let server = server(&["job"]);
    server.faults().add(Fault::new(FaultKind::Status(400)).on(&[CallKind::Update]).for_task("job"));
    let place = Place::new();
    let store = place.path("store").display().to_string();
    let id = server.schedule("job", r#"{"a":1}"#).unwrap();
    let mut downbeat = start(&place, &server, &store);
    downbeat.wait_for_line(&["the server will never take this result"]);
    // All of it while the runner works with the store.
    let list = listed(&store);
    assert_eq!(list["server"], server.url());
    let letter = &list["letters"][0];
    assert_eq!((&letter["part"], &letter["status"]), (&"dead".into(), &"COMPLETED".into()));
    assert!(letter["why"].as_str().unwrap().contains("the server will never take this result"), "{list}");
    let (code, out, _) = on(&store, &["list"]);
    assert!(code == DONE && out.contains("0 waiting, 1 dead, 0 damaged"), "{out}");
    let letter = letter["id"].as_str().unwrap().to_owned();
    let (_, without, _) = on(&store, &["show", &letter]);
    assert!(without.contains("workflow") && !without.contains("outputData"), "{without}");
    let (code, with, _) = on(&store, &["show", &letter, "--body"]);
    assert!(code == DONE && with.contains(r#""outputData":{"a":1}"#), "{with}");
    server.faults().clear();
    let (code, out, _) = on(&store, &["retry", "--all-dead"]);
    assert!(code == DONE && out.contains(&format!("{letter}: the server has taken it")), "{out}");
    assert_eq!(ended(&server, &id).status, WorkflowStatus::Completed);
    wait_for("an empty store", || (listed(&store)["letters"] == serde_json::json!([])).then_some(()));
    downbeat.signal(rustix::process::Signal::TERM);
    // The result was given up once.
    assert_eq!(downbeat.wait().code(), FAILED);
}

#[test]
fn a_letter_of_a_task_that_has_ended_is_dead_again_and_that_is_said() {
    let server = server(&["job"]);
    server.faults().add(Fault::new(FaultKind::Status(400)).on(&[CallKind::Update]).for_task("job"));
    let place = Place::new();
    let store = place.path("store").display().to_string();
    let id = server.schedule("job", r#"{"a":1}"#).unwrap();
    let mut downbeat = start(&place, &server, &store);
    downbeat.wait_for_line(&["the server will never take this result"]);
    let letter = listed(&store)["letters"][0]["id"].as_str().unwrap().to_owned();
    server.faults().clear();
    server.terminate(&id, "enough").unwrap();
    let before = server.stats().requests_to("update");
    let (code, out, err) = on(&store, &["retry", &letter]);
    assert_eq!((code, out.as_str()), (FAILED, ""));
    assert!(err.contains(&format!("{letter}: the task had ended already: nothing was changed")), "{err}");
    assert_eq!(server.stats().requests_to("update"), before, "it is not sent");
    let list = listed(&store);
    assert_eq!((&list["letters"][0]["id"], &list["letters"][0]["part"]), (&letter.into(), &"dead".into()));
    assert_eq!(list["letters"][0]["why"], "the task had ended already: nothing was changed");
    downbeat.signal(rustix::process::Signal::TERM);
    assert_eq!(downbeat.wait().code(), FAILED);
    // Without a runner nobody says anything.
    let (code, out, _) = on(&store, &["retry", "--all-dead"]);
    assert!(code == DONE && out.contains("is put back; the next runner sends it"), "{out}");
}

#[test]
fn letters_are_exported_for_their_owner_alone_and_dropped_by_name() {
    let place = Place::new();
    let store = place.path("store");
    std::fs::create_dir_all(store.join("dead")).unwrap();
    let result = r#"{"taskId":"t1","workflowInstanceId":"w","status":"FAILED","outputData":{"n":1.50}}"#;
    std::fs::write(store.join("dead/1-1-0.json"), result).unwrap();
    std::fs::write(store.join("2-1-0.json"), result.replace("t1", "t2")).unwrap();
    let directory = store.display().to_string();
    let (code, out, _) = on(&directory, &["export"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, lines.len()), (DONE, 2));
    assert!(lines[0].contains(r#""part":"waiting","taskId":"t2""#), "{out}");
    assert!(lines[1].ends_with(&format!(r#""result":{result}}}"#)), "numbers stay as they are: {out}");
    let file = place.path("export.jsonl");
    let to = file.display().to_string();
    assert_eq!(on(&directory, &["export", "t1", "--to", &to]).0, DONE);
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, _, err) = on(&directory, &["export", "--to", &to]);
    assert!(code == FAILED && err.contains("export.jsonl"), "nothing is written over: {err}");
    let (code, _, err) = on(&directory, &["drop", "t1", "nothing"]);
    assert!(code == FAILED && err.contains("nothing: there is no such letter"), "{err}");
    assert_eq!(on(&directory, &["drop", "2-1-0"]).0, DONE);
    assert_eq!(listed(&directory)["letters"], serde_json::json!([]));
}

#[test]
fn what_is_not_named_is_not_dropped_and_what_is_no_store_is_not_read() {
    let place = Place::new();
    let store = place.path("store").display().to_string();
    for args in [&["drop"] as &[&str], &["retry"], &["drop", "id", "--all-dead"], &["show"]] {
        assert_eq!(on(&store, args).0, USAGE, "{args:?}");
    }
    assert_eq!(finish(&["store", "list"]).0, USAGE);
    let (code, _, err) = on(&store, &["list"]);
    assert!(code == FAILED && err.contains(&store), "{err}");
    let file =
        place.write("downbeat.toml", "[server]\nurl = \"http://localhost/api\"\n").display().to_string();
    let (code, _, err) = finish(&["store", "list", "--config", &file]);
    assert!(code == USAGE && err.contains("names no store"), "{err}");
}

#[test]
fn a_store_is_refused_for_another_server_before_anything_is_sent() {
    let (first, second) = (server(&["job"]), server(&["job"]));
    let place = Place::new();
    let store = place.path("store").display().to_string();
    let mut downbeat = start(&place, &first, &store);
    downbeat.wait_for_line(&["polling"]);
    let (code, _, err) = on(&store, &["drop", "t"]);
    assert!(code == FAILED && err.contains("no such letter"), "{err}");
    downbeat.stop();
    let mut downbeat = start(&place, &second, &store);
    assert_eq!(downbeat.wait().code(), USAGE);
    let log = downbeat.log();
    assert!(log.contains(&first.url()) && log.contains(&second.url()), "{log}");
    assert_eq!(second.stats().requests_to("update"), 0);
}
