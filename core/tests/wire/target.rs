//! Targets are what the server's routes take.

use core::time::Duration;

use downbeat_core::wire::target::{self, Target, TargetError};

fn poll(task_type: &str, worker: &str, domain: Option<&str>) -> Result<Target, TargetError> {
    target::poll(task_type, worker, 1, Duration::ZERO, domain)
}

#[test]
fn each_call_has_its_target() {
    let made: [(Result<Target, TargetError>, &str); 9] = [
        (poll("greet", "me", None), "/tasks/poll/batch/greet?workerid=me&count=1&timeout=0"),
        (poll("greet", "me", Some("d1")), "/tasks/poll/batch/greet?workerid=me&count=1&timeout=0&domain=d1"),
        (
            target::poll("greet", "me", u16::MAX, Duration::from_micros(1_000_999), None),
            "/tasks/poll/batch/greet?workerid=me&count=65535&timeout=1000",
        ),
        (target::poll_one("greet", "me", Some("d1")), "/tasks/poll/greet?workerid=me&domain=d1"),
        (target::task("7b49"), "/tasks/7b49"),
        (target::task_log("7b49"), "/tasks/7b49/log"),
        (target::update_by_name("w", "r 1", "COMPLETED", "me"), "/tasks/w/r%201/COMPLETED?workerid=me"),
        (target::queue_size("greet", Some("d1")), "/tasks/queue/size?taskType=greet&domain=d1"),
        (
            target::external_input("a/b.json"),
            "/tasks/externalstoragelocation?path=a%2Fb.json&operation=READ&payloadType=TASK_INPUT",
        ),
    ];
    for (made, expected) in made {
        assert_eq!(made.unwrap(), expected);
    }
}

#[test]
fn an_empty_domain_is_none() {
    assert_eq!(poll("greet", "me", Some("")), poll("greet", "me", None));
}

#[test]
fn all_but_unreserved_characters_are_encoded() {
    let made = poll("aZ09-._~ +?#&=%\"é🍵", "a&b=c", None).unwrap();
    assert_eq!(
        made,
        "/tasks/poll/batch/aZ09-._~%20%2B%3F%23%26%3D%25%22%C3%A9%F0%9F%8D%B5?workerid=a%26b%3Dc&count=1&timeout=0"
    );
    let control = poll("a\r\nHost: evil\0", "me", None).unwrap();
    assert!(control.starts_with("/tasks/poll/batch/a%0D%0AHost%3A%20evil%00?"), "{control}");
}

#[test]
fn a_name_that_no_path_can_carry_is_refused() {
    for name in ["", ".", "..", "a/b", "/"] {
        assert_eq!(poll(name, "me", None), Err(TargetError::Segment), "{name}");
    }
    assert!(poll("...", "me", None).is_ok());
}

#[test]
fn the_longest_target_fits_and_one_more_byte_does_not() {
    let shortest = poll("x", "", None).unwrap().len() - 1;
    let longest = Target::new().capacity() - shortest;
    assert!(poll(&"x".repeat(longest), "", None).is_ok());
    assert_eq!(poll(&"x".repeat(longest + 1), "", None), Err(TargetError::TooLong));
}
