//! Scenario files: round trips, and errors that name file, line and key.

use downbeat_sim::scenario::{Profile, generate, parse, to_json, to_toml};

const SOUND: &str = "version = 1\nheal_at = \"5m\"\n\n[[workers]]\ncount = 2\nslots = 3\n";

#[test]
fn generated_scenarios_are_sound_and_survive_both_formats() {
    for seed in 0..300 {
        for profile in [Profile::Calm, Profile::Stormy, Profile::Radioactive] {
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
