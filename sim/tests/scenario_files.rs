//! Scenario files: round trips, and errors that name file, line and key.

use downbeat_sim::scenario::{Profile, generate, parse, to_json, to_toml};

const SOUND: &str = "version = 1\nheal_at = \"5m\"\n\n[[workers]]\ncount = 2\nslots = 3\n";

#[test]
fn generated_scenarios_are_sound_and_survive_both_formats() {
    for seed in 0..300 {
        for profile in [Profile::Calm, Profile::Stormy, Profile::Radioactive, Profile::Processes] {
            let scenario = generate(seed, profile);
            assert_eq!(scenario.problems(), [], "seed {seed} {}", profile.name());
            let json = to_json(&scenario).unwrap();
            assert_eq!(parse("s.json", &json, true).unwrap(), scenario, "seed {seed}");
            let toml = to_toml(&scenario).unwrap();
            assert_eq!(parse("s.toml", &toml, false).unwrap(), scenario, "seed {seed}");
        }
    }
}

#[test]
fn a_small_scenario_is_enough() {
    let scenario = parse("s.toml", SOUND, false).unwrap();
    assert_eq!((scenario.workers[0].count, scenario.workers[0].capacity()), (2, 6));
}

fn error(text: &str, json: bool) -> String {
    parse("s", text, json).map_or_else(|error| error.to_string(), |scenario| panic!("accepted: {scenario:?}"))
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let text = error(&SOUND.replace("slots", "slotz"), false);
    assert!(
        text.starts_with("s:6: workers[0]") && text.contains("slotz") && text.contains("slots"),
        "{text}"
    );
}

#[test]
fn a_wrong_length_of_time_is_named_with_its_line_and_key() {
    let text = error(&SOUND.replace("\"5m\"", "\"5 minutes\""), false);
    assert!(text.starts_with("s:2: heal_at: ") && text.contains("250ms"), "{text}");
    let text = error(&SOUND.replace("\"5m\"", "300"), false);
    assert!(text.starts_with("s:2: heal_at: "), "{text}");
}

#[test]
fn values_out_of_bounds_are_all_named_in_the_order_of_the_file() {
    let text = error(&SOUND.replace("count = 2\nslots = 3", "count = 0\nslots = 65"), false);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("s:5: workers[0].count: 0 is not allowed"), "{text}");
    assert!(lines[1].starts_with("s:6: workers[0].slots: 65 is not allowed"), "{text}");
}

const PROCESS: &str = "version = 1\nheal_at = \"5m\"\n\n[[processes]]\nname = \"app\"\ncount = 3\n\n[[workers]]\nprocess = \"app\"\ncount = 4\n";

#[test]
fn workers_of_a_process_are_numbered_copy_by_copy() {
    let scenario = parse("s.toml", &format!("{PROCESS}\n[[workers]]\ncount = 2\n"), false).unwrap();
    assert_eq!(scenario.worker_count(), 14);
    let processes = scenario.each_process();
    assert_eq!(processes.len(), 3);
    assert_eq!(processes[1].members, [4, 5, 6, 7]);
    assert_eq!((processes[1].policy.max_calls, scenario.policy_of(&scenario.workers[0]).max_calls), (16, 16));
    assert_eq!(scenario.policy_of(&scenario.workers[1]).max_calls, 4);
}

#[test]
fn mistakes_about_processes_are_named_with_line_and_key() {
    let change = |from: &str, to: &str| error(&PROCESS.replace(from, to), false);
    let text = change("process = \"app\"", "process = \"api\"");
    assert!(
        text.contains("s:9: workers[0].process: there is no process `api`; did you mean `app`?"),
        "{text}"
    );
    assert!(text.contains("s:5: processes[0].name: no group of workers has `process = \"app\"`"), "{text}");
    let text = change("count = 3", "calls = 1");
    assert_eq!(text, "s:6: processes[0].calls: 1 is not allowed; use 2 to 1024");
    let text = change("count = 4", "stagger = \"1s\"");
    assert!(text.starts_with("s:10: workers[0].stagger: belongs to the process `app`"), "{text}");
    let text = change("count = 4", "policy = { preset = \"seed\" }");
    assert!(
        text.starts_with("s:10: workers[0].policy.preset: the Ruby SDK's rules know no process"),
        "{text}"
    );
    let text = error(&PROCESS.replace("[[workers]]", "[[processes]]\nname = \"app\"\n\n[[workers]]"), false);
    assert!(text.starts_with("s:5: processes[0].name: `app` is the name of 2 processes"), "{text}");
}

#[test]
fn json_errors_name_their_line_too() {
    let sound = "{\"version\": 1,\n \"heal_at\": \"5m\",\n \"workers\": [\n  {\"count\": 1},\n  {\n   \"count\": 0\n  }]}";
    let text = error(sound, true);
    assert!(text.starts_with("s:6: workers[1].count: "), "{text}");
    let text = error(&sound.replace("\"count\": 0", "\"cuont\": 1"), true);
    assert!(text.starts_with("s:6: workers[1]"), "{text}");
    let text = error("{\"version\": 1,", true);
    assert!(text.starts_with("s:1: "), "{text}");
}

#[test]
fn a_policy_that_cannot_be_kept_is_named_by_its_key() {
    let text = error(&format!("{SOUND}policy = {{ long_poll = \"6s\" }}\n"), false);
    assert!(text.starts_with("s:7: workers[0].policy.long_poll: ") && text.contains("5 s"), "{text}");
}

#[test]
fn faults_are_checked_against_the_fleet_and_the_time_of_healing() {
    let fault = "\n[[faults]]\nkind = \"down\"\nat = \"6m\"\nfor = \"1s\"\nworkers = [7]\n";
    let text = error(&format!("{SOUND}{fault}"), false);
    assert!(text.contains("s:10: faults[0].at: "), "{text}");
    assert!(text.contains("s:12: faults[0].workers[0]: there is no worker 7"), "{text}");
}

#[test]
fn more_than_fits_in_memory_is_refused() {
    let text = error(&SOUND.replace("count = 2", "count = 100000\n\n[[workers]]\ncount = 1"), false);
    assert!(text.contains("100001 workers in all groups"), "{text}");
    let burst = "\n[[tasks]]\narrive = { kind = \"burst\", count = 4000000000 }\n";
    let text = error(&format!("{SOUND}{burst}"), false);
    assert!(text.starts_with("s:9: tasks[0].arrive.count: 4000000000 is not allowed"), "{text}");
}

/// A scenario with something of everything; each line can be made nonsense.
const FULL: &str = r#"version = 1
heal_at = "5m"
end_at = "1h"
[server]
capacity_per_second = 100
token_life = "10m"
[network]
latency = { kind = "uniform", min = "1ms", max = "9ms" }
[[workers]]
count = 2
slots = 3
table = 6
task = "work"
domain = "blue"
start_at = "1s"
stagger = "2s"
drain_at = "60s"
restart_after = "5s"
clock_skew_ppm = 7
policy = { lanes = 4, poll_interval = "1s", call_timeout = "10s", failing_cap = "5s", drain_timeout = "9s" }
[[tasks]]
task = "work"
domain = "blue"
arrive = { kind = "steady", every = "1s", from = "2s", until = "4m" }
duration = { kind = "exponential", mean = "1s", max = "8s" }
outcomes = { completed = 3, failed = 1 }
response_timeout = "30s"
retries = 3
retry_delay = "1s"
callback_after = "10s"
[[faults]]
kind = "throttle"
at = "90s"
for = "20s"
percent = 50
workers = [0, 1]
calls = ["poll", "update"]
retry_after = "3s"
[[faults]]
kind = "slow"
at = "90s"
for = "20s"
by = "300ms"
"#;

/// What stands there, what is put in its place, and the key that is named.
const NONSENSE: &[(&str, &str, &str)] = &[
    ("version = 1", "version = 2", "version"),
    ("version = 1", "version = -1", "version"),
    ("heal_at = \"5m\"", "heal_at = \"0s\"", "faults[0].at"),
    ("heal_at = \"5m\"", "heal_at = nan", "heal_at"),
    ("heal_at = \"5m\"", "heal_at = \"-5m\"", "heal_at"),
    ("heal_at = \"5m\"", "heal_at = \"2000d\"", "heal_at"),
    ("heal_at = \"5m\"", "heal_at = \"80s\"", "faults[0].at"),
    ("end_at = \"1h\"", "end_at = \"4m\"", "end_at"),
    ("capacity_per_second = 100", "capacity_per_second = 0", "server.capacity_per_second"),
    ("capacity_per_second = 100", "capacity_per_second = -4", "server.capacity_per_second"),
    ("token_life = \"10m\"", "token_life = \"0s\"", "server.token_life"),
    ("max = \"9ms\"", "max = \"0ms\"", "network.latency.max"),
    ("max = \"9ms\"", "max = \"3h\"", "network.latency.max"),
    ("min = \"1ms\", max = \"9ms\"", "min = \"6s\", max = \"7s\"", "workers[0].policy.call_timeout"),
    ("count = 2", "count = 0", "workers[0].count"),
    ("count = 2", "count = -2", "workers[0].count"),
    ("count = 2", "count = 1.5", "workers[0].count"),
    ("count = 2", "count = nan", "workers[0].count"),
    ("count = 2", "count = 100001", "workers[0].count"),
    ("count = 2", "count = 99999999999999", "workers[0].count"),
    ("slots = 3", "slots = 0", "workers[0].slots"),
    ("slots = 3", "slots = 65", "workers[0].slots"),
    ("table = 6", "table = 2", "workers[0].table"),
    ("table = 6", "table = 1025", "workers[0].table"),
    ("task = \"work\"", "task = \"\"", "workers[0].task"),
    ("domain = \"blue\"", "domain = \" \"", "workers[0].domain"),
    ("start_at = \"1s\"", "start_at = \"61s\"", "workers[0].drain_at"),
    ("start_at = \"1s\"", "start_at = \"1h\"", "workers[0].start_at"),
    ("stagger = \"2s\"", "stagger = \"2h\"", "workers[0].stagger"),
    ("drain_at = \"60s\"\n", "", "workers[0].restart_after"),
    ("drain_at = \"60s\"", "drain_at = \"2h\"", "workers[0].drain_at"),
    ("clock_skew_ppm = 7", "clock_skew_ppm = 100001", "workers[0].clock_skew_ppm"),
    ("clock_skew_ppm = 7", "clock_skew_ppm = -100001", "workers[0].clock_skew_ppm"),
    ("lanes = 4", "lanes = 0", "workers[0].policy.lanes"),
    ("poll_interval = \"1s\"", "poll_interval = \"0s\"", "workers[0].policy.poll_interval"),
    ("poll_interval = \"1s\"", "poll_interval = \"61m\"", "workers[0].policy.poll_interval"),
    ("call_timeout = \"10s\"", "call_timeout = \"2ms\"", "workers[0].policy.call_timeout"),
    ("failing_cap = \"5s\"", "failing_cap = \"249ms\"", "workers[0].policy.failing_cap"),
    ("drain_timeout = \"9s\"", "drain_timeout = \"31d\"", "workers[0].policy.drain_timeout"),
    ("lanes = 4", "preset = \"ruby-sdk\"", "workers[0].slots"),
    ("every = \"1s\"", "every = \"0s\"", "tasks[0].arrive.every"),
    ("every = \"1s\"", "every = \"1us\"", "tasks"),
    ("until = \"4m\"", "until = \"2s\"", "tasks[0].arrive.until"),
    ("until = \"4m\"", "until = \"61m\"", "tasks[0].arrive.until"),
    ("mean = \"1s\"", "mean = \"9s\"", "tasks[0].duration.max"),
    ("max = \"8s\"", "max = \"31d\"", "tasks[0].duration.max"),
    ("completed = 3", "completed = -3", "tasks[0].outcomes.completed"),
    ("response_timeout = \"30s\"", "response_timeout = \"0s\"", "tasks[0].response_timeout"),
    ("response_timeout = \"30s\"", "response_timeout = \"1500ms\"", "tasks[0].response_timeout"),
    ("response_timeout = \"30s\"", "response_timeout = \"31d\"", "tasks[0].response_timeout"),
    ("retries = 3", "retries = 1001", "tasks[0].retries"),
    ("retries = 3", "retries = 4294967295", "tasks[0].retries"),
    ("retry_delay = \"1s\"", "retry_delay = \"1ms\"", "tasks[0].retry_delay"),
    ("callback_after = \"10s\"", "callback_after = \"40d\"", "tasks[0].callback_after"),
    ("for = \"20s\"", "for = \"0s\"", "faults[0].for"),
    ("percent = 50", "percent = 0", "faults[0].percent"),
    ("percent = 50", "percent = 101", "faults[0].percent"),
    ("percent = 50", "percent = 300", "faults[0].percent"),
    ("workers = [0, 1]", "workers = []", "faults[0].workers"),
    ("workers = [0, 1]", "workers = [0, 2]", "faults[0].workers[1]"),
    ("workers = [0, 1]", "workers = [1, 1]", "faults[0].workers[1]"),
    ("workers = [0, 1]", "workers = [\"one\"]", "faults[0].workers[0]"),
    ("calls = [\"poll\", \"update\"]", "calls = []", "faults[0].calls"),
    ("calls = [\"poll\", \"update\"]", "calls = [\"poll\", \"poll\"]", "faults[0].calls[1]"),
    ("by = \"300ms\"", "by = \"0s\"", "faults[1].by"),
    ("by = \"300ms\"\n", "", "faults[1].by"),
    ("by = \"300ms\"", "by = \"300ms\"\nretry_after = \"1s\"", "faults[1].retry_after"),
];

#[test]
fn nonsense_in_any_field_is_refused_with_its_line_and_key() {
    parse("s", FULL, false).unwrap();
    for (sound, nonsense, key) in NONSENSE.iter().copied() {
        let text = FULL.replacen(sound, nonsense, 1);
        assert_ne!(text, FULL, "{sound}");
        let said = error(&text, false);
        let named = said.lines().find(|line| line.split(": ").nth(1) == Some(key));
        let named = named.unwrap_or_else(|| panic!("{nonsense} should be named as {key}: {said}"));
        let line: usize = named.split(':').nth(1).unwrap().parse().unwrap();
        let stands = text.lines().position(|line| line.contains(nonsense.trim())).map(|at| at + 1);
        let elsewhere = nonsense.is_empty() || !key.ends_with(nonsense.split(' ').next().unwrap());
        assert!(elsewhere || Some(line) == stands, "{nonsense} stands in line {stands:?}: {said}");
    }
}

#[test]
fn a_burst_or_a_trace_of_nothing_is_refused() {
    let with = |arrive: &str| error(&format!("{SOUND}\n[[tasks]]\narrive = {arrive}\n"), false);
    assert!(
        with("{ kind = \"burst\", count = 0 }").starts_with("s:9: tasks[0].arrive.count: 0 is not allowed")
    );
    assert!(with("{ kind = \"trace\", at = [] }").starts_with("s:9: tasks[0].arrive.at: 0 times"));
    let ends = SOUND.replace("\n\n[[workers", "\nend_at = \"6m\"\n[[workers");
    let late = format!("{ends}\n[[tasks]]\narrive = {{ kind = \"trace\", at = [\"1s\", \"6m\"] }}\n");
    assert!(error(&late, false).contains("tasks[0].arrive.at[1]: 6m is not before end_at (6m)"));
    assert!(
        error("version = 1\nheal_at = \"1s\"\nworkers = []\n", false).contains("s:3: workers: at least one")
    );
}

#[test]
fn a_name_that_is_nearly_right_is_suggested() {
    for (sound, wrong, near) in [
        ("slots = 3", "slot = 3", "slots"),
        ("heal_at =", "heal-at =", "heal_at"),
        ("kind = \"slow\"", "kind = \"slwo\"", "slow"),
        ("every = \"1s\"", "evry = \"1s\"", "every"),
        ("lanes = 4", "lane = 4", "lanes"),
        ("calls = [\"poll\"", "calls = [\"pol\"", "poll"),
    ] {
        let said = error(&FULL.replacen(sound, wrong, 1), false);
        assert!(said.ends_with(&format!("; did you mean `{near}`?")), "{wrong}: {said}");
    }
    let said = error(&FULL.replacen("slots = 3", "bananas = 3", 1), false);
    assert!(said.contains("workers[0].bananas") && !said.contains("did you mean"), "{said}");
}

#[test]
fn what_is_no_json_or_toml_is_told_with_line_and_column() {
    for (text, said) in [
        ("{\"version\": 1,", "s:1: the text ends where a value is expected, in column 14"),
        ("{\"version\": 1 \"heal_at\"", "s:1: expected `,` or `}`, in column 15"),
        (
            "{\"version\": 1,\n\"workers\": [{\"count\": 1},\n{\"slots\": }]",
            "s:3: workers[1].slots: expected value, in column 11",
        ),
        (
            "{\"version\": 1, \"heal_at\": \"1m\", \"workers\": [{}]} x",
            "s:1: trailing characters, in column 50",
        ),
        ("", "s:1: the text ends where a value is expected, in column 0"),
    ] {
        assert_eq!(error(text, true), said, "{text}");
    }
    let said = error("version = 1\nheal_at = \"5m\n", false);
    assert!(said.starts_with("s:2: ") && said.contains(", in column "), "{said}");
    let said = error(&FULL.replacen("count = 2", "count = \"two\"", 1), false);
    assert!(
        said.starts_with("s:10: workers[0].count: ") && said.contains("a whole number from 0 to 4294967295"),
        "{said}"
    );
}
