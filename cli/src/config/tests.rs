use std::time::Duration;

use clap::Parser;
use downbeat::{Journal, OnLapse};

use super::*;

/// What a command line of `run` says.
fn options(line: &[&str]) -> Flags {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }
    let Options { server, runner, worker } = Line::parse_from(std::iter::once(&"run").chain(line)).options;
    Flags { config: None, server, runner, worker }
}

/// A directory with a configuration file in it.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("downbeat.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn with_file(text: &str, flags: Flags, env: &Env) -> Result<Settings, Vec<String>> {
    let (dir, path) = file(text);
    let prefix = format!("{}/", dir.path().display());
    let flags = Flags { config: Some(path), ..flags };
    let tell = |problem: &Problem| problem.to_string().replace(&prefix, "");
    resolve(flags, env).map_err(|problems| problems.iter().map(tell).collect())
}

fn problems(text: &str) -> Vec<String> {
    with_file(text, Flags::default(), &Env::default()).unwrap_err()
}

const WHOLE: &str = r#"
[server]
url = "https://conductor.example/api/"
auth_key = "key"
auth_secret_env = "SECRET"

[runner]
drain_timeout = "10s"
store = "results"
journal = "failure"
store_max = "2GiB"
store_max_files = 70000
max_task = "16MiB"
external_hosts = ["minio:9000", "*.s3.amazonaws.com"]
worker_id = "me"
max_calls = 8
admin = "127.0.0.1:9090"
transport = "lean"

[[worker]]
task = "resize"
command = ["sh", "-c", "cat"]
slots = 4
domain = "eu"
timeout = "5m"
grace = "2s"
paused = true
poll_interval = "250ms"
ask_interval = "never"
report_timeout = "45s"
store_after = "20s"
on_lapse = "stop"
worker_id = "resizer"
env = { LANG = "C" }
cwd = "/"

[[worker]]
task = "mail"
command = ["true"]
"#;

#[test]
fn what_becomes_of_late_tasks_is_read_explained_and_overridden_by_the_environment() {
    let env = Env::from_variables([
        ("SECRET", "s3cret"),
        ("CONDUCTOR_WORKER_RESIZE_ON_LAPSE", "finish"),
        ("CONDUCTOR_WORKER_ALL_ASK_INTERVAL", "2500"),
    ]);
    let settings = with_file(WHOLE, Flags::default(), &env).unwrap();
    let worker = &settings.workers[0];
    assert_eq!(worker.settings.on_lapse.as_ref().unwrap().value, OnLapse::Finish);
    assert_eq!(worker.settings.ask_interval.as_ref().unwrap().value, Some(Duration::from_millis(2_500)));
    assert_eq!(worker.settings.report_timeout.as_ref().unwrap().value, Duration::from_secs(45));
    assert_eq!(worker.settings.store_after.as_ref().unwrap().value, Duration::from_secs(20));
    let without = with_file(WHOLE, Flags::default(), &Env::from_variables([("SECRET", "s3cret")])).unwrap();
    let worker = &without.workers[0];
    assert_eq!(worker.settings.on_lapse.as_ref().unwrap().value, OnLapse::Stop);
    assert_eq!(worker.settings.ask_interval.as_ref().unwrap().value, None);
    let told = without.explain();
    let row = |key: &str| told.lines().find(|line| line.contains(key)).unwrap().to_owned();
    assert!(row("resize: ask_interval").contains(" never "), "{told}");
    assert!(
        row("mail: ask_interval").contains(" 10s ") && row("mail: on_lapse").contains(" finish "),
        "{told}"
    );
}

#[test]
fn a_whole_file_is_read() {
    let env = Env::from_variables([("SECRET", "s3cret")]);
    let settings = with_file(WHOLE, Flags::default(), &env).unwrap();
    assert_eq!(settings.url.value, "https://conductor.example/api");
    assert_eq!(settings.auth.as_ref().unwrap().secret.value.0, "s3cret");
    assert_eq!(settings.runner.drain_timeout.as_ref().unwrap().value, Duration::from_secs(10));
    assert_eq!(settings.runner.max_calls.as_ref().unwrap().value, 8);
    assert_eq!(settings.runner.journal.as_ref().unwrap().value, Journal::Failure);
    assert_eq!(settings.runner.store_max.as_ref().unwrap().value, 2 << 30);
    assert_eq!(settings.runner.store_max_files.as_ref().unwrap().value, 70_000);
    assert_eq!(settings.runner.max_task.as_ref().unwrap().value, 16 << 20);
    assert_eq!(settings.runner.external_hosts.as_ref().unwrap().value, ["minio:9000", "*.s3.amazonaws.com"]);
    let explained = settings.explain();
    for line in [
        "runner.store_max         2GiB                                     downbeat.toml:11",
        "runner.max_task          16MiB                                    downbeat.toml:13",
        "runner.external_hosts    minio:9000, *.s3.amazonaws.com           downbeat.toml:14",
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let same = |told: &str| {
            let told: Vec<&str> = told.split_whitespace().collect();
            told.len() == words.len() && told.iter().zip(&words).all(|(told, word)| told.ends_with(word))
        };
        assert!(explained.lines().any(same), "{line} is not in\n{explained}");
    }
    let [resize, mail] = settings.workers.as_slice() else { panic!("{settings:?}") };
    assert_eq!((resize.slots, mail.slots), (4, 1));
    assert_eq!(resize.command.args, ["-c", "cat"]);
    assert_eq!(resize.command.timeout, Some(Duration::from_secs(300)));
    assert_eq!(resize.command.grace, Duration::from_secs(2));
    assert_eq!(resize.command.cwd, Some(PathBuf::from("/")));
    assert_eq!(mail.command.program, "true");
}

#[test]
fn no_secret_is_shown() {
    let env = Env::from_variables([("SECRET", "s3cret"), ("CONDUCTOR_AUTH_KEY", "k3y")]);
    let settings = with_file(WHOLE, Flags::default(), &env).unwrap();
    for text in [format!("{settings:?}"), settings.explain()] {
        assert!(!text.contains("s3cret") && !text.contains("k3y"), "{text}");
    }
    assert!(settings.explain().contains("(set)"), "{}", settings.explain());
}

#[test]
fn options_come_before_the_environment_before_the_file() {
    let env = Env::from_variables([
        ("SECRET", "s"),
        ("CONDUCTOR_SERVER_URL", "http://of.env/api"),
        ("CONDUCTOR_WORKER_RESIZE_THREAD_COUNT", "7"),
        ("CONDUCTOR_WORKER_ALL_THREAD_COUNT", "9"),
        ("conductor.worker.resize.domain", "us"),
    ]);
    let settings = with_file(WHOLE, Flags::default(), &env).unwrap();
    assert_eq!(settings.url.value, "http://of.env/api");
    let [resize, mail] = settings.workers.as_slice() else { panic!("{settings:?}") };
    assert_eq!((resize.slots, mail.slots), (7, 9));
    assert_eq!(resize.settings.domain.as_ref().unwrap().value, "us");
    let explained = settings.explain();
    assert!(explained.contains("environment CONDUCTOR_WORKER_RESIZE_THREAD_COUNT"), "{explained}");
    let flags = options(&["--server", "http://of.flag/api", "--drain-timeout", "1s"]);
    let settings = with_file(WHOLE, flags, &env).unwrap();
    assert_eq!(settings.url.value, "http://of.flag/api");
    assert_eq!(settings.runner.drain_timeout.unwrap().value, Duration::from_secs(1));
}

#[test]
fn a_worker_of_the_command_line_has_its_options_first() {
    let server = ["--server", "http://localhost/api"];
    let flags = options(&[&server[..], &["--task", "greet", "--slots", "3", "--", "cat"]].concat());
    let env = Env::from_variables([
        ("CONDUCTOR_WORKER_GREET_THREAD_COUNT", "7"),
        ("CONDUCTOR_WORKER_ALL_DOMAIN", "d"),
    ]);
    let settings = resolve(flags, &env).unwrap();
    assert_eq!(settings.workers[0].slots, 3);
    assert_eq!(settings.workers[0].settings.domain.as_ref().unwrap().value, "d");
}

#[test]
fn every_problem_of_a_file_is_told_with_its_line() {
    let text = r#"
[servr]
url = "http://localhost/api"

[server]
ur = "http://localhost/api"
url = "localhost:8080"
auth_secret = "x"

[runner]
drain_timeout = 25
max_calls = 1
transport = "pigeon"

[[worker]]
task = ""
command = "python3 resize.py"
slots = 0
slot = 3
timeout = "soon"
paused = "no"
env = { A = 1 }
zzz = 1
"#;
    assert_eq!(
        problems(text),
        [
            "downbeat.toml:2: servr: is not known; did you mean `server`?",
            "downbeat.toml:6: server.ur: is not known; did you mean `url`?",
            "downbeat.toml:7: server.url: must be the address of the server's API, like http://localhost:8080/api",
            "downbeat.toml:8: server.auth_secret: a secret does not belong into a file that is passed around: name \
             its variable (auth_secret_env) or its own file (auth_secret_file)",
            "downbeat.toml:11: runner.drain_timeout: must be a whole number with its unit: 500ms, 30s, 5m or 1h, in \
             quotes",
            "downbeat.toml:12: runner.max_calls: must be a whole number from 2 to 1000",
            "downbeat.toml:13: runner.transport: must be auto, ureq or lean",
            "downbeat.toml:16: worker[0].task: must be a text that is not empty",
            r#"downbeat.toml:17: worker[0].command: must be a list of texts: ["python3", "resize.py"]"#,
            "downbeat.toml:18: worker[0].slots: must be a whole number from 1 to 1000",
            "downbeat.toml:19: worker[0].slot: is not known; did you mean `slots`?",
            "downbeat.toml:20: worker[0].timeout: must be a whole number with its unit: 500ms, 30s, 5m or 1h",
            "downbeat.toml:21: worker[0].paused: must be true or false",
            "downbeat.toml:22: worker[0].env.A: must be a text, and its name without `=`",
            "downbeat.toml:23: worker[0].zzz: is not known; allowed are task, command, slots, domain, timeout, grace, \
             paused, poll_interval, ask_interval, report_timeout, store_after, on_lapse, worker_id, env, cwd",
        ]
    );
}

#[test]
fn what_is_missing_is_named() {
    let none = problems("[server]\nurl = \"http://localhost/api\"\n");
    assert!(none[0].starts_with("there is no worker"), "{none:?}");
    let no_server = problems("[[worker]]\ntask = \"a\"\ncommand = [\"cat\"]\n");
    assert!(no_server[0].starts_with("no server is named"), "{no_server:?}");
    let empty = problems("\n[[worker]]\n");
    assert_eq!(empty[0], "downbeat.toml:2: this worker has no `task`: task = \"resize\"");
    assert!(empty[1].contains("this worker has no `command`"), "{empty:?}");
}

#[test]
fn shapes_that_are_easily_mistaken_are_explained() {
    assert!(problems("[worker]\ntask = \"a\"\n")[0].contains("write `[[worker]]`"));
    assert!(problems("[[server]]\nurl = \"a\"\n")[0].contains("write `[server]`"));
    let twice = "[server]\nurl=\"http://h/api\"\n[[worker]]\ntask=\"a\"\ncommand=[\"cat\"]\n";
    let twice = format!("{twice}[[worker]]\ntask=\"a\"\ncommand=[\"cat\"]\n");
    assert_eq!(
        problems(&twice),
        [
            "downbeat.toml:7: task: `a` is served already (downbeat.toml:4); raise its `slots`, or give one a `domain`"
        ]
    );
}

#[test]
fn a_syntax_error_has_its_line_and_a_missing_file_its_name() {
    let syntax = problems("[server]\nurl = \n");
    assert!(syntax[0].starts_with("downbeat.toml:2: "), "{syntax:?}");
    let nowhere = Flags { config: Some("/no/such.toml".into()), ..Flags::default() };
    let told = resolve(nowhere, &Env::default()).unwrap_err();
    assert!(told[0].to_string().starts_with("/no/such.toml cannot be read"), "{told:?}");
    let directory = Flags { config: Some("/".into()), ..Flags::default() };
    assert!(resolve(directory, &Env::default()).unwrap_err()[0].to_string().contains("is a directory"));
}

#[test]
fn a_missing_command_is_told_before_anything_runs() {
    let text = "[server]\nurl=\"http://h/api\"\n[[worker]]\ntask=\"a\"\ncommand=[\"no-such-program\"]\n";
    assert_eq!(
        problems(text),
        ["downbeat.toml:5: command of `a`: there is no program `no-such-program` in PATH"]
    );
}

#[test]
fn half_of_the_credentials_are_refused() {
    let text = "[server]\nurl=\"http://h/api\"\n[[worker]]\ntask=\"a\"\ncommand=[\"cat\"]\n";
    let env = Env::from_variables([("CONDUCTOR_AUTH_KEY", "k3y")]);
    let told = with_file(text, Flags::default(), &env).unwrap_err();
    assert!(told[0].contains("CONDUCTOR_AUTH_SECRET") && !told[0].contains("k3y"), "{told:?}");
    let unset = problems(&text.replace("[[worker]]", "auth_key_env = \"NOT_SET_ANYWHERE\"\n[[worker]]"));
    assert!(unset[0].contains("NOT_SET_ANYWHERE is not set"), "{unset:?}");
}

#[test]
fn javas_older_names_of_the_credentials_count_where_the_usual_ones_are_not_set() {
    let text = WHOLE.replace("auth_key = \"key\"\nauth_secret_env = \"SECRET\"\n", "");
    let source =
        |env: &Env| with_file(&text, Flags::default(), env).unwrap().auth.map(|auth| auth.secret.source);
    let java = [("CONDUCTOR_SERVER_AUTH_KEY", "k"), ("CONDUCTOR_SERVER_AUTH_SECRET", "s")];
    assert_eq!(
        source(&Env::from_variables(java)),
        Some(Source::Env("CONDUCTOR_SERVER_AUTH_SECRET".to_owned()))
    );
    let both = [java[0], java[1], ("CONDUCTOR_AUTH_KEY", "k"), ("CONDUCTOR_AUTH_SECRET", "s")];
    assert_eq!(source(&Env::from_variables(both)), Some(Source::Env("CONDUCTOR_AUTH_SECRET".to_owned())));
}

#[test]
fn a_poll_interval_is_in_milliseconds_with_a_fraction_or_has_its_unit() {
    for (text, millis) in [("100", 100), ("100.0", 100), ("250ms", 250), ("2s", 2_000)] {
        assert_eq!(env::millis(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["0", "-1", "NaN", "inf", "soon", "4000000", "1e99", ""] {
        assert!(env::millis(text).unwrap_err().starts_with("milliseconds, from 1 to 3600000"), "{text}");
    }
}

#[test]
fn addresses_are_checked_and_credentials_in_them_refused() {
    for good in ["http://localhost:8080/api", "https://h", "http://[::1]:80/api", "http://h/a/b/"] {
        assert!(value::url(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "localhost",
        "ftp://h/api",
        "http://",
        "http:///api",
        "http://:80/",
        "http://h/api?x=1",
        "http://h h/",
    ] {
        assert!(value::url(bad).is_err(), "{bad}");
    }
    let told = value::url("http://me:s3cret@h/api").unwrap_err();
    assert!(told.contains("without credentials") && !told.contains("s3cret"), "{told}");
}

#[test]
fn variables_that_are_not_allowed_are_named() {
    let env = Env::from_variables([("SECRET", "s"), ("CONDUCTOR_WORKER_RESIZE_THREAD_COUNT", "many")]);
    let told = with_file(WHOLE, Flags::default(), &env).unwrap_err();
    assert_eq!(
        told,
        ["environment CONDUCTOR_WORKER_RESIZE_THREAD_COUNT: must be a whole number from 1 to 1000"]
    );
}

#[test]
fn variables_of_workers_that_mean_nothing_are_told() {
    let env = Env::from_variables([
        ("SECRET", "s"),
        ("CONDUCTOR_WORKER_RESIZE_SLOTS", "2"),
        ("CONDUCTOR_WORKER_RESIZE_SLOT", "2"),
        ("CONDUCTOR_WORKER_RESISE_DOMAIN", "eu"),
        ("conductor.worker.mail.paused", "true"),
        ("conductor.worker.mail.pause", "true"),
        // The library of another language takes it; here it has no effect.
        ("CONDUCTOR_WORKER_ALL_POLL_TIMEOUT", "100"),
        ("CONDUCTOR_SERVER_URL", "http://h/api"),
    ]);
    let settings = with_file(WHOLE, Flags::default(), &env).unwrap();
    assert_eq!(
        settings.unknown_variables,
        ["CONDUCTOR_WORKER_RESISE_DOMAIN", "CONDUCTOR_WORKER_RESIZE_SLOT", "conductor.worker.mail.pause"]
    );
}

#[test]
fn the_variable_of_the_secret_is_hidden_from_commands() {
    let env = Env::from_variables([("SECRET", "s")]);
    let settings = with_file(WHOLE, Flags::default(), &env).unwrap();
    assert!(settings.workers.iter().all(|worker| worker.command.hidden == ["SECRET"]));
}

#[test]
fn a_file_of_certificates_is_named_in_three_ways_and_must_be_there() {
    let (_dir, good) = file("-----BEGIN CERTIFICATE-----\n");
    let name = good.display().to_string();
    let text = format!("{WHOLE}\n").replace("[runner]", &format!("ca_file = {name:?}\n[runner]"));
    let env = Env::from_variables([("SECRET", "s3cret")]);
    let source = |flags: Flags, env: &Env| {
        with_file(&text, flags, env).unwrap().server.ca_file.unwrap().source.to_string()
    };
    assert!(source(Flags::default(), &env).ends_with("downbeat.toml:7"));
    let with_variable = Env::from_variables([("SECRET", "s3cret"), ("CONDUCTOR_TLS_CA_PATH", &name)]);
    assert_eq!(source(Flags::default(), &with_variable), "environment CONDUCTOR_TLS_CA_PATH");
    let flags = options(&["--ca-file", &name]);
    assert_eq!(source(flags, &with_variable), "--ca-file");
    let (_dir, empty) = file("");
    for (path, problem) in
        [(Path::new("/nowhere/ca.pem"), "cannot be read: "), (&empty, "has no certificate in it")]
    {
        let flags = options(&["--ca-file", path.to_str().unwrap()]);
        let told = with_file(WHOLE, flags, &env).unwrap_err();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("--ca-file: server.ca_file: ") && told[0].contains(problem), "{told:?}");
    }
}

#[test]
fn sizes_counts_and_hosts_say_what_they_may_be() {
    let head = "[server]\nurl = \"http://localhost:8080/api\"\n[runner]\n";
    let tail = "\n[[worker]]\ntask = \"a\"\ncommand = [\"cat\"]\n";
    for (setting, problem) in [
        ("max_task = \"1MB\"", "runner.max_task: must be a size from 64KiB to 1GiB: 512KiB, 64MiB, 1GiB"),
        (
            "max_task = 5",
            "runner.max_task: must be a size from 64KiB to 1GiB: 512KiB, 64MiB, 1GiB, in quotes",
        ),
        (
            "store_max = \"1KiB\"",
            "runner.store_max: must be a size from 1MiB to 1024TiB: 512KiB, 64MiB, 1GiB",
        ),
        ("journal = \"often\"", "runner.journal: must be finish, failure or off"),
        ("store_max_files = 0", "runner.store_max_files: must be a whole number from 1 to 1000000"),
        ("max_calls = 70000", "runner.max_calls: must be a whole number from 2 to 1000"),
        (
            "external_hosts = [\"http://minio\"]",
            r#"runner.external_hosts: must be a list of hosts: ["storage.example", "minio:9000", "*.example"]"#,
        ),
    ] {
        assert_eq!(problems(&format!("{head}{setting}{tail}")), [format!("downbeat.toml:4: {problem}")]);
    }
}
