//! Inputs in external storage: fetched from where the server says, as far as that is allowed; never taken for empty.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a broken assumption ends the test")]

mod support;

use downbeat::{Context, RawValue, Runner, Worker};
use support::{Answer, Queue, Received, Server, json, results, task};

const INPUT: &str = r#"{"large":123456789012345678901234567890}"#;

/// The result of a task whose input is elsewhere, and what was asked for.
fn external_of(
    settings: impl Fn(Runner) -> Runner,
    answer: impl Fn(&Received, &str) -> Option<Answer> + Send + Sync + 'static,
) -> (String, Vec<Received>) {
    let task =
        task("t", "echo", "{}").replace(r#""inputData":{}"#, r#""externalInputPayloadStoragePath":"in/one""#);
    let queue = Queue::new([task]);
    let server = Server::start(move |received: &Received| {
        if received.target.ends_with("/token") {
            return json(200, r#"{"token":"the-token"}"#);
        }
        let url = format!("http://{}/api", received.headers["host"]);
        answer(received, &url).unwrap_or_else(|| queue.answer(received))
    });
    let echo = Worker::new("echo", |input: Box<RawValue>, _: &Context| Ok(input));
    let runner = settings(Runner::builder(server.url()).signals(false).worker(echo));
    let running = runner.start().unwrap();
    let received = server.wait("result", |received| !results(received).is_empty());
    running.handle().drain();
    let _ = running.join();
    (results(&received).remove(0), received)
}

fn external(answer: impl Fn(&Received, &str) -> Option<Answer> + Send + Sync + 'static) -> String {
    external_of(|runner| runner, answer).0
}

/// The server says that the input is there.
fn at(received: &Received, place: &str) -> Option<Answer> {
    let asked = "/api/tasks/externalstoragelocation?path=in%2Fone&operation=READ";
    received.target.starts_with(asked).then(|| json(200, format!(r#"{{"uri":"{place}","path":"in/one"}}"#)))
}

/// The storage is the server itself, under `/api/stored`, and answers so.
fn stored(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> String {
    external(move |received, url| {
        let stored = received.target.starts_with("/api/stored");
        at(received, &format!("{url}/stored?sig=secret")).or_else(|| stored.then(|| answer(url)))
    })
}

fn is_terminal(result: &str) -> bool {
    result.contains(r#""FAILED_WITH_TERMINAL_ERROR""#)
}

#[test]
fn an_input_in_external_storage_is_fetched_without_the_servers_token() {
    let (result, received) = external_of(
        |runner| runner.auth("key", "secret"),
        |received, url| {
            at(received, &format!("{url}/stored"))
                .or_else(|| (received.target == "/api/stored").then(|| json(200, INPUT)))
        },
    );
    assert!(
        result.contains("COMPLETED") && result.ends_with(&format!("\"outputData\":{INPUT}}}")),
        "{result}"
    );
    let of = |target: &str| received.iter().find(|received| received.target.contains(target)).unwrap();
    assert!(of("externalstoragelocation").headers.contains_key("x-authorization"));
    assert!(!of("/api/stored").headers.contains_key("x-authorization"));
}

#[test]
fn an_input_that_cannot_be_fetched_fails_for_good_and_names_its_path() {
    let result = external(|received, _| {
        received.target.contains("externalstoragelocation").then(|| json(400, r#"{"message":"no"}"#))
    });
    assert!(is_terminal(&result) && result.contains("`in/one`"), "{result}");
    let result = external(|received, _| at(received, "s3://bucket/x"));
    assert!(is_terminal(&result) && result.contains("names no place that this worker can read"), "{result}");
    let result = stored(|_| json(404, "{}"));
    assert!(is_terminal(&result) && result.contains("(status 404)"), "{result}");
    let result = stored(|_| json(200, "[1]"));
    assert!(is_terminal(&result) && result.contains("no JSON object"), "{result}");
}

#[test]
fn a_link_that_has_expired_costs_one_try_and_is_not_shown() {
    for status in [401, 403, 429, 500, 503] {
        let result = stored(move |_| json(status, "{}"));
        assert!(result.contains(r#""FAILED""#), "{result}");
        assert!(result.contains(&format!("answered with status {status}")), "{result}");
        assert!(
            result.contains("`in/one`") && !result.contains("sig=") && !result.contains("secret"),
            "{result}"
        );
    }
}

#[test]
fn redirects_are_followed_three_times_and_never_to_where_nothing_may_be_read() {
    let hops = std::sync::atomic::AtomicUsize::new(0);
    let result = stored(move |url| match hops.fetch_add(1, std::sync::atomic::Ordering::AcqRel) {
        0 => json(307, "").header("Location", "/api/stored/b"),
        1 => json(302, "").header("Location", &format!("{url}/stored/c")),
        2 => json(301, "").header("Location", &format!("{url}/stored/d")),
        _ => json(200, INPUT),
    });
    assert!(result.contains("COMPLETED"), "{result}");
    let result = stored(|_| json(302, "").header("Location", "/api/stored"));
    assert!(is_terminal(&result) && result.contains("more than 3 times"), "{result}");
    let result = stored(|_| json(302, "").header("Location", "http://169.254.169.254/latest?sig=secret"));
    assert!(is_terminal(&result) && result.contains("`169.254.169.254`"), "{result}");
    assert!(result.contains("`external_hosts`") && !result.contains("sig="), "{result}");
    let result = stored(|_| json(302, "").header("Location", "file:///etc/passwd"));
    assert!(is_terminal(&result) && result.contains("no place that this worker can read"), "{result}");
}

#[test]
fn only_hosts_that_are_named_are_read_on_this_machine() {
    let other = Server::start(|_: &Received| json(200, INPUT));
    let place = other.url();
    let result = external({
        let place = place.clone();
        move |received, _| at(received, &place)
    });
    assert!(is_terminal(&result) && result.contains("`127.0.0.1`"), "{result}");
    assert!(result.contains("`external_hosts`"), "{result}");
    assert!(other.received().is_empty());
    let (result, _) =
        external_of(|runner| runner.external_hosts(["127.0.0.1"]), move |received, _| at(received, &place));
    assert!(result.contains("COMPLETED"), "{result}");
    // A name that leads to this machine is no way around: `localhost.` is not the word, and its address is.
    let place = other.url().replace("127.0.0.1", "localhost.");
    let result = external(move |received, _| at(received, &place));
    assert!(!result.contains("COMPLETED"), "{result}");
}

#[test]
fn an_input_that_is_too_large_is_not_fetched_and_the_bound_is_named() {
    let (result, _) = external_of(
        |runner| runner.max_task(1),
        |received, url| {
            let large = || json(200, format!(r#"{{"text":"{}"}}"#, "x".repeat(65_536)));
            at(received, &format!("{url}/stored")).or_else(|| (received.target == "/api/stored").then(large))
        },
    );
    assert!(is_terminal(&result) && result.contains("larger than 65536 bytes"), "{result}");
    assert!(result.contains("`max_task`"), "{result}");
}
