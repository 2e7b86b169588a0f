//! Settings from the environment: every spelling of the SDKs, the most specific first, and clear errors.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a broken assumption ends the test")]

use downbeat::{Context, Error, RawValue, Runner, Worker};

fn runner(variables: &[(&str, &str)], tasks: &[&str]) -> Runner {
    let server = [("CONDUCTOR_SERVER_URL", "http://localhost:1/api")];
    let all = server.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let runner = Runner::from_variables(all).unwrap();
    let echo = |task: &&str| Worker::new(*task, |input: Box<RawValue>, _: &Context| Ok(input)).slots(2);
    tasks.iter().map(echo).fold(runner, Runner::worker)
}

/// `property=value` of what won for the task `resize-it`, with the variable.
fn won(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let settings = runner(variables, &["resize-it"]).settings().unwrap();
    let pair = |setting: downbeat::Setting| {
        (format!("{}={}", setting.property, setting.value), setting.origin.variable)
    };
    settings.into_iter().map(pair).collect()
}

#[test]
fn the_most_specific_spelling_wins() {
    let specific = ("CONDUCTOR_WORKER_RESIZE_IT_THREAD_COUNT", "7");
    let dotted = ("conductor.worker.resize-it.thread_count", "6");
    let all = ("CONDUCTOR_WORKER_ALL_THREAD_COUNT", "5");
    let python = ("CONDUCTOR_WORKER_RESIZE-IT_THREAD_COUNT", "8");
    let python_lower = ("conductor_worker_resize-it_thread_count", "9");
    let dotted_all = ("conductor.worker.all.concurrency", "4");
    let legacy = ("CONDUCTOR_WORKER_CONCURRENCY", "3");
    let mut variables = vec![legacy, dotted_all, all, python_lower, dotted, python, specific];
    while let Some((name, value)) = variables.last().copied() {
        assert_eq!(won(&variables), [(format!("slots={value}"), name.to_owned())]);
        variables.pop();
    }
    assert_eq!(won(&variables), []);
}

#[test]
fn every_property_has_its_spellings() {
    for (name, property) in [
        ("SLOTS", "slots"),
        ("THREAD_COUNT", "slots"),
        ("CONCURRENCY", "slots"),
        ("BATCH_SIZE", "slots"),
        ("POLL_INTERVAL", "poll_interval"),
        ("POLL_INTERVAL_MILLIS", "poll_interval"),
        ("POLLING_INTERVAL", "poll_interval"),
        ("DOMAIN", "domain"),
        ("WORKER_ID", "worker_id"),
    ] {
        let variable = format!("CONDUCTOR_WORKER_ALL_{name}");
        assert_eq!(won(&[(&variable, "20")]), [(format!("{property}=20"), variable.clone())]);
    }
    assert_eq!(won(&[("CONDUCTOR_WORKER_PAUSED", "True")])[0].0, "paused=True");
    assert_eq!(won(&[("CONDUCTOR_WORKER_PAUSED", "off")])[0].0, "paused=off");
    // Python reads it as a number with a fraction.
    assert_eq!(won(&[("conductor.worker.resize-it.poll_interval", "100.0")])[0].0, "poll_interval=100.0");
}

#[test]
fn a_value_that_is_not_allowed_is_named_with_what_is() {
    for (name, value, allowed) in [
        ("CONDUCTOR_WORKER_ALL_SLOTS", "many", "a whole number from 1 to 32767"),
        ("CONDUCTOR_WORKER_RESIZE_IT_THREAD_COUNT", "0", "a whole number from 1 to 32767"),
        ("CONDUCTOR_WORKER_POLL_INTERVAL", "100ms", "milliseconds from 1 to 3600000"),
        ("CONDUCTOR_WORKER_POLL_INTERVAL", "NaN", "milliseconds from 1 to 3600000"),
        ("CONDUCTOR_WORKER_ALL_PAUSED", "perhaps", "true or false"),
    ] {
        let error = runner(&[(name, value)], &["resize-it"]).settings().unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(value) && error.ends_with(allowed), "{error}");
    }
}

#[test]
fn variables_that_mean_nothing_are_told() {
    let variables = [
        ("CONDUCTOR_WORKER_RESIZE_IT_SLOTS", "1"),
        ("CONDUCTOR_WORKER_ALL_LEASE_EXTEND_ENABLED", "true"),
        ("CONDUCTOR_WORKER_POLL_TIMEOUT", "100"),
        ("CONDUCTOR_WORKER_ISOLATION", "thread"),
        ("CONDUCTOR_WORKER_RESIZE-IT_DOMAIN", "eu"),
        ("conductor_worker_all_executor", "ractor"),
        ("CONDUCTOR_WORKER_RESIZED_SLOTS", "1"),
        ("CONDUCTOR_WORKER_RESIZE_IT_SLOT", "1"),
        ("conductor.worker.resize-it.thread", "1"),
        ("CONDUCTOR_AUTH_KEY", "key"),
        ("CONDUCTOR_AUTH_SECRET", "secret"),
    ];
    assert_eq!(
        runner(&variables, &["resize-it"]).unknown_variables(),
        [
            "CONDUCTOR_WORKER_RESIZED_SLOTS",
            "CONDUCTOR_WORKER_RESIZE_IT_SLOT",
            "conductor.worker.resize-it.thread"
        ]
    );
}

#[test]
fn half_of_the_credentials_is_an_error_that_names_the_other() {
    let variables = [("CONDUCTOR_SERVER_URL", "http://h/api"), ("CONDUCTOR_AUTH_KEY", "k")];
    let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let error = Runner::from_variables(owned).unwrap_err().to_string();
    assert!(error.contains("CONDUCTOR_AUTH_KEY is set and CONDUCTOR_AUTH_SECRET is not"), "{error}");
    assert!(matches!(Runner::from_variables([]).unwrap_err(), Error::NoServer));
}

#[test]
fn javas_older_names_of_the_credentials_count_where_the_usual_ones_are_not_set() {
    let of = |variables: &[(&str, &str)]| {
        let server = [("CONDUCTOR_SERVER_URL", "http://h/api")];
        let all = server.iter().chain(variables);
        Runner::from_variables(all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    };
    let java = [("CONDUCTOR_SERVER_AUTH_KEY", "k"), ("CONDUCTOR_SERVER_AUTH_SECRET", "s")];
    assert!(format!("{:?}", of(&java).unwrap()).contains("credentials: Some"));
    let error = of(&java[..1]).unwrap_err().to_string();
    assert!(error.contains("CONDUCTOR_SERVER_AUTH_SECRET is not"), "{error}");
    let error = of(&[java[0], java[1], ("CONDUCTOR_AUTH_KEY", "k")]).unwrap_err().to_string();
    assert!(error.contains("CONDUCTOR_AUTH_SECRET is not"), "{error}");
}

#[test]
fn what_cannot_start_says_why() {
    let start = |runner: Runner| runner.signals(false).start().unwrap_err().to_string();
    assert!(start(runner(&[], &[])).contains("the runner has no worker"));
    assert!(start(runner(&[], &["a/b"])).contains("`a/b` cannot be a worker's task type"));
    assert!(start(runner(&[], &[""])).contains("it is empty"));
    assert!(start(runner(&[], &["a"]).max_calls(1)).contains("`max_calls`"));
    let none = Worker::new("none", |input: Box<RawValue>, _: &Context| Ok(input)).slots(0);
    assert!(
        start(runner(&[], &[]).worker(none)).contains("the worker for `none`: policy field `concurrency`")
    );
    assert!(start(runner(&[], &["a"]).server("nowhere")).contains("`nowhere` is not the address"));
}

#[test]
fn nothing_secret_is_shown() {
    let runner = runner(&[("CONDUCTOR_AUTH_KEY", "kkk"), ("CONDUCTOR_AUTH_SECRET", "sss")], &["a"]);
    let shown = format!("{runner:?}");
    assert!(!shown.contains("kkk") && !shown.contains("sss"), "{shown}");
}
