//! The published schema takes every scenario of the repository, and refuses what it can see to be wrong.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use downbeat_core::machine::Sound;
use downbeat_sim::oracle::s18_replay::Digest;
use downbeat_sim::scenario::{Profile, Span, generate, parse, read, schema, to_json, to_toml};
use downbeat_sim::trial;
use serde_json::{Map, Value, json};

/// The keywords that only describe.
const WORDS: [&str; 7] = ["$schema", "title", "description", "default", "format", "$defs", "deprecated"];

/// As much of JSON Schema as the published one uses; a keyword that is not known here fails the test.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let schema = schema.as_object().unwrap();
    schema.iter().all(|(word, rule)| match word.as_str() {
        word if WORDS.contains(&word) => true,
        "$ref" => fits(root, root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap(), value),
        "type" => {
            let is = |name: &Value| is_a(name.as_str().unwrap(), value);
            rule.as_array().map_or_else(|| is(rule), |names| names.iter().any(is))
        }
        "properties" => value.as_object().is_none_or(|members| {
            members.iter().all(|(name, member)| rule.get(name).is_none_or(|rule| fits(root, rule, member)))
        }),
        "additionalProperties" => {
            assert_eq!(rule, false);
            let known = |name: &String| schema["properties"].get(name).is_some();
            value.as_object().is_none_or(|members| members.keys().all(known))
        }
        "required" => {
            let has = |name: &Value| value.get(name.as_str().unwrap()).is_some();
            !value.is_object() || rule.as_array().unwrap().iter().all(has)
        }
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(root, rule, item))),
        "anyOf" => rule.as_array().unwrap().iter().any(|rule| fits(root, rule, value)),
        "oneOf" => rule.as_array().unwrap().iter().filter(|rule| fits(root, rule, value)).count() == 1,
        "const" => rule == value,
        "enum" => rule.as_array().unwrap().contains(value),
        "minimum" => value.as_i64().is_none_or(|number| number >= rule.as_i64().unwrap()),
        "maximum" => value.as_i64().is_none_or(|number| number <= rule.as_i64().unwrap()),
        "minLength" => {
            value.as_str().is_none_or(|text| text.chars().count() as u64 >= rule.as_u64().unwrap())
        }
        "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
        "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap()),
        "uniqueItems" => value
            .as_array()
            .is_none_or(|items| items.iter().enumerate().all(|(at, item)| !items[..at].contains(item))),
        "pattern" => {
            assert_eq!(rule, r"^[0-9]+(\.[0-9]{1,9})?(us|ms|s|m|h|d)$", "the pattern of lengths of time");
            value.as_str().is_none_or(|text| text.parse::<Span>().is_ok())
        }
        _ => panic!("the test does not know the keyword {word}"),
    })
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => panic!("the test does not know the type {name}"),
    }
}

fn published() -> Value {
    serde_json::from_str(&schema()).unwrap()
}

fn files() -> Vec<PathBuf> {
    let sim = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["scenarios", "scenarios/mutants", "scenarios/faults", "scenarios/bench", "regressions"];
    let files = folders.into_iter().flat_map(|folder| std::fs::read_dir(sim.join(folder)).unwrap());
    files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml" || extension == "json"))
        .collect()
}

#[test]
fn the_schema_takes_every_scenario_file_as_it_is_written() {
    let schema = published();
    let files = files();
    assert!(files.len() > 25, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let json = file.extension().is_some_and(|extension| extension == "json");
        let value: Value =
            if json { serde_json::from_str(&text).unwrap() } else { toml::from_str(&text).unwrap() };
        assert!(fits(&schema, &schema, &value), "{}", file.display());
    }
}

#[test]
fn the_schema_takes_what_is_generated() {
    let schema = published();
    for seed in 0..100 {
        for profile in [Profile::Radioactive, Profile::Processes] {
            let text = to_json(&generate(seed, profile)).unwrap();
            assert!(fits(&schema, &schema, &serde_json::from_str(&text).unwrap()), "{text}");
        }
    }
}

#[test]
fn the_schema_refuses_what_the_checker_refuses_for_a_single_value() {
    let schema = published();
    let sound = json!({ "version": 1, "heal_at": "5m", "workers": [{ "count": 2 }] });
    assert!(fits(&schema, &schema, &sound));
    let with = |change: Value| {
        let mut all: Map<String, Value> = sound.as_object().unwrap().clone();
        all.extend(change.as_object().unwrap().clone());
        Value::Object(all)
    };
    let tasks = |tasks: Value| json!({ "tasks": [tasks] });
    let fault = |more: Value| {
        let mut fault = json!({ "kind": "error500", "at": "1s", "for": "1s" });
        fault.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "faults": [fault] })
    };
    for change in [
        json!({ "version": 2 }),
        json!({ "heal_at": "soon" }),
        json!({ "heal_at": 5 }),
        json!({ "workers": [] }),
        json!({ "workers": [{ "count": 0 }] }),
        json!({ "workers": [{ "count": 100_001 }] }),
        json!({ "workers": [{ "slots": 65 }] }),
        json!({ "workers": [{ "table": 1_025 }] }),
        json!({ "workers": [{ "task": "" }] }),
        json!({ "workers": [{ "domain": "" }] }),
        json!({ "workers": [{ "clock_skew_ppm": -100_001 }] }),
        json!({ "workers": [{ "policy": { "lanes": 0 } }] }),
        json!({ "workers": [{ "slotz": 1 }] }),
        json!({ "processes": [{ "name": "" }] }),
        json!({ "processes": [{ "name": "app", "count": 10_001 }] }),
        json!({ "processes": [{ "name": "app", "calls": 1 }] }),
        json!({ "processes": [{ "name": "app", "clock_skew_ppm": 100_001 }] }),
        json!({ "server": { "capacity_per_second": 0 } }),
        tasks(json!({ "arrive": { "kind": "burst", "count": 0 } })),
        tasks(json!({ "arrive": { "kind": "burst", "count": 1_000_001 } })),
        tasks(json!({ "arrive": { "kind": "trace", "at": [] } })),
        tasks(json!({ "arrive": { "kind": "burst", "count": 1 }, "retries": 1_001 })),
        fault(json!({ "percent": 0 })),
        fault(json!({ "percent": 101 })),
        fault(json!({ "workers": [] })),
        fault(json!({ "workers": [0, 0] })),
        fault(json!({ "calls": [] })),
        fault(json!({ "calls": ["poll", "poll"] })),
    ] {
        let value = with(change.clone());
        assert!(!fits(&schema, &schema, &value), "the schema takes {change}");
        assert!(parse("s.json", &value.to_string(), true).is_err(), "the checker takes {change}");
    }
}

#[test]
fn a_scenario_runs_alike_as_toml_and_as_json() {
    for file in files().iter().filter(|file| !file.components().any(|part| part.as_os_str() == "bench")) {
        let scenario = read(file).unwrap();
        let toml = parse("s.toml", &to_toml(&scenario).unwrap(), false).unwrap();
        let json = parse("s.json", &to_json(&scenario).unwrap(), true).unwrap();
        assert_eq!(toml, json);
        if scenario.workers.iter().map(|group| group.count).sum::<u32>() > 50 {
            continue;
        }
        let hash = |scenario| {
            let mut digest = Digest::default();
            let _ = trial::run::<Sound>(scenario, &mut [&mut digest]);
            (digest.hash, digest.events)
        };
        assert_eq!(hash(&toml), hash(&json), "{}", file.display());
    }
}
