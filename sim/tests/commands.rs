//! The commands of the built binary: what they print, what they leave, and how they exit.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use downbeat_sim::scenario::read;
use serde_json::Value;

struct Said {
    code: i32,
    out: String,
    err: String,
}

/// A folder of its own for each test, emptied.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("commands").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn told(folder: &Path, args: &str, input: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downbeat-sim"));
    command.current_dir(folder).args(args.split_whitespace());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn sim(folder: &Path, args: &str) -> Said {
    told(folder, args, "")
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.out))
}

const FLEET: &str = "version = 1\nname = \"fleet\"\nheal_at = \"1m\"\n[[workers]]\ncount = 2\n[[tasks]]\n\
                     arrive = { kind = \"burst\", at = \"1s\", count = 6 }\n[[faults]]\nkind = \"down\"\nat = \"5s\"\nfor = \"20s\"\n";

fn fleet(name: &str) -> PathBuf {
    let folder = folder(name);
    std::fs::write(folder.join("fleet.toml"), FLEET).unwrap();
    folder
}

/// The word after a name at the beginning of one of the last lines.
fn after<'a>(said: &'a Said, name: &str) -> &'a str {
    let line = said.err.lines().find_map(|line| line.trim_start().strip_prefix(name)).unwrap();
    line.trim_start()
}

#[test]
fn a_failing_seed_leaves_a_small_scenario_and_a_page_and_says_so_last() {
    let folder = folder("failing-seed");
    let said = sim(&folder, "run --seed 4 --profile radioactive --mutant gives-up");
    assert_eq!(said.code, 10, "{}", said.err);
    let lines: Vec<&str> = said.err.lines().collect();
    let [fail, what, reproduce, minimal, timeline] = lines[..] else { panic!("{}", said.err) };
    assert!(fail.starts_with("FAIL  S2 no-result-lost   seed 4   commit "), "{fail}");
    assert!(fail.contains(" s   worker 0"), "{fail}");
    assert!(what.starts_with("      gives up the result of task "), "{what}");
    let again = " run --seed 4 --profile radioactive --mutant GivesUp";
    assert!(reproduce.starts_with("  reproduce   ") && reproduce.ends_with(again), "{reproduce}");
    assert_eq!(minimal, "  minimal     target/sim/S2-4.json   (15 → 1 fault, 114 → 1 task)");
    assert_eq!(timeline, "  timeline    target/sim/4.html");

    let page = std::fs::read_to_string(folder.join("target/sim/4.html")).unwrap();
    assert!(page.contains("S2 no-result-lost"));
    let small = read(&folder.join("target/sim/S2-4.json")).unwrap();
    assert_eq!((small.faults.len(), small.name.as_str()), (1, "S2-4"));
    let said = sim(&folder, "run --scenario target/sim/S2-4.json --mutant GivesUp --no-shrink");
    assert!(said.code == 10 && said.err.contains("FAIL  S2 no-result-lost   scenario target/sim/S2-4.json"));
    let said = sim(&folder, "run --scenario target/sim/S2-4.json");
    assert_eq!(said.code, 0, "the sound machine passes: {}", said.err);
}

#[test]
fn a_failure_is_left_as_it_is_on_demand_and_files_go_where_they_should() {
    let folder = folder("no-shrink");
    let said = sim(&folder, "run --seed 4 --mutant GivesUp --no-shrink --html mine.html --failures kept");
    assert_eq!(said.code, 10);
    assert!(
        after(&said, "minimal").contains(" shrink --seed 4 --profile radioactive --mutant GivesUp --out ")
    );
    assert_eq!(after(&said, "timeline"), "mine.html");
    assert!(folder.join("mine.html").exists() && !folder.join("kept").exists());
    let said = sim(&folder, "run --seed 4 --mutant GivesUp --failures kept");
    assert!(after(&said, "minimal").starts_with("kept/S2-4.json "), "{}", said.err);
    assert!(folder.join("kept/S2-4.json").exists() && folder.join("kept/4.html").exists());
    // What cannot be written is told, and the exit code stays the failure's.
    std::fs::write(folder.join("file"), "").unwrap();
    let said = sim(&folder, "run --seed 4 --mutant GivesUp --failures file/below");
    assert_eq!(said.code, 10);
    assert!(after(&said, "minimal").starts_with("file/below/S2-4.json cannot be written"), "{}", said.err);
    assert!(after(&said, "timeline").starts_with("file/below/4.html cannot be written"), "{}", said.err);
}

#[test]
fn the_commit_is_the_one_that_is_checked_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let git = Command::new("git").arg("-C").arg(root).args(["rev-parse", "--short=7", "HEAD"]).output();
    let commit = git.ok().filter(|git| git.status.success());
    let said = sim(&folder("commit"), "run --seed 4 --mutant GivesUp --no-shrink");
    let told = said.err.split("commit ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let expected = commit.map_or_else(|| "unknown".to_owned(), |git| String::from_utf8(git.stdout).unwrap());
    assert_eq!(told.trim_end_matches("-dirty"), expected.trim(), "{}", said.err);
}

#[test]
fn every_exit_code_can_be_had() {
    let folder = fleet("exit-codes");
    let code = |args: &str| sim(&folder, args).code;
    assert_eq!(code("run --scenario fleet.toml"), 0);
    assert_eq!(code("run --scenario none.toml"), 2);
    assert_eq!(code("run"), 2);
    assert_eq!(code("run --seed 7 --profile stormy --mutant YieldRetriedForEver --no-shrink"), 10);
    assert_eq!(code("run --seed 4 --profile radioactive --mutant UnauthorizedUsesAttempt --no-shrink"), 11);
    assert_eq!(code("run --scenario fleet.toml --mutant StateOutside --no-shrink"), 12);
    assert_eq!(code("check --scenario fleet.toml --mutant StateOutside"), 12);
    assert_eq!(code("check --scenario fleet.toml"), 0);
    assert_eq!(code("swarm --seeds 3 --profile calm"), 0);
    assert_eq!(code("swarm --seeds 3 --profile calm --judge-probes"), 13);
}

#[test]
fn a_swarm_examines_the_first_failure_of_each_rule() {
    let folder = folder("swarm");
    let said = sim(&folder, "swarm --seeds 60 --start 0 -j 2 --mutant GivesUp --keep-going --json");
    assert_eq!(said.code, 10);
    let told = json(&said);
    let failures = told["failures"].as_array().unwrap();
    assert_eq!(told["seeds"], 60);
    assert!(failures.len() > 1 && told["failed"] == failures.len(), "{}", said.out);
    let made = |failure: &Value| failure["minimal"]["file"].is_string() && failure["timeline"].is_string();
    let mut rules: Vec<&Value> = failures.iter().map(|failure| &failure["oracle"]).collect();
    rules.dedup();
    assert_eq!(failures.iter().filter(|failure| made(failure)).count(), rules.len());
    assert!(made(&failures[0]));
    // The first failure is told last.
    let last = format!("  timeline    {}\n", failures[0]["timeline"].as_str().unwrap());
    assert!(said.err.ends_with(&last), "{}", said.err);
    let said = sim(&folder, "swarm --seeds 40 --mutant GivesUp");
    assert!(said.err.matches("FAIL").count() == 1 && said.err.contains("1 of "), "{}", said.err);
}

#[test]
fn what_would_run_nothing_is_refused_with_a_sentence() {
    let folder = folder("usage");
    for (args, word) in [
        ("swarm --seeds 0", "give 1 or more"),
        ("swarm -j 0", "give 1 to 1024"),
        ("swarm -j 5000", "from 1 to 1024"),
        ("swarm --for 0s", "above zero"),
        ("swarm --for tomorrow", "not a length of time"),
        ("swarm --seeds -3", "whole number from 1 on"),
        ("shrink --seed 1 --out a.json --runs 0", "give 1 or more"),
        ("run --seed 1 --mutant GiveUp", "did you mean GivesUp?"),
        ("run --seed 1 --scenario x.toml", "cannot be used with"),
        ("run --mutant GivesUp", "--seed"),
        ("view --record x.jsonl --mutant GivesUp", "a record is of one that was made"),
    ] {
        let said = sim(&folder, args);
        assert!(said.code == 2 && said.err.contains(word), "{args}: {} {}", said.code, said.err);
    }
}

#[test]
fn what_is_piped_can_be_json() {
    let folder = fleet("json");
    let told = json(&sim(&folder, "run --scenario fleet.toml --record run.jsonl --json"));
    assert_eq!((&told["passed"], &told["exit_code"], &told["workers"]), (&true.into(), &0.into(), &2.into()));
    let told = json(&sim(&folder, "check --scenario fleet.toml --json"));
    assert!(told["agree"] == true && told["hash"].as_str().unwrap().len() == 16);
    let told = json(&sim(&folder, "replay run.jsonl --json"));
    assert!(told["exit_code"] == 0 && told["steps"].as_u64().unwrap() > 10 && told["divergence"].is_null());
    let told = json(&sim(&folder, "swarm --seeds 2 --json"));
    assert!(told["seeds"] == 2 && told["failed"] == 0 && told["probes"].as_array().unwrap().len() > 20);
    let told = json(&sim(&folder, "table --json"));
    assert!(told.as_array().unwrap().iter().any(|row| row["policy"] == "downbeat"));
    let told = json(&sim(&folder, "mutants --json --out mutants.json"));
    assert!(told["caught"] == told["of"] && told["mutants"].as_array().unwrap().len() > 20, "{told}");
    assert!(told["mutants"].as_array().unwrap().iter().all(|mutant| mutant["caught_by"].is_string()));
    let file = std::fs::read_to_string(folder.join("mutants.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&file).unwrap(), told);
    let failing = sim(&folder, "run --seed 4 --mutant GivesUp --json");
    let told = json(&failing);
    assert_eq!((told["exit_code"].as_i64(), failing.code), (Some(10), 10));
    assert_eq!(told["failure"]["minimal"]["tasks"], serde_json::json!([114, 1]));
}

#[test]
fn a_tampered_record_is_told_as_json_too() {
    let folder = fleet("tampered");
    sim(&folder, "run --scenario fleet.toml --record run.jsonl");
    let record = std::fs::read_to_string(folder.join("run.jsonl")).unwrap();
    let poll = record.lines().position(|line| line.contains("\"do\":{\"poll\"")).unwrap();
    let tampered: Vec<String> = record
        .lines()
        .enumerate()
        .map(
            |(at, line)| {
                if at == poll { line.replace("\"count\":1", "\"count\":2") } else { line.to_owned() }
            },
        )
        .collect();
    std::fs::write(folder.join("tampered.jsonl"), tampered.join("\n") + "\n").unwrap();
    let said = sim(&folder, "replay tampered.jsonl --json");
    let told = json(&said);
    assert_eq!(told["exit_code"].as_i64(), Some(i64::from(said.code)));
    assert_ne!(said.code, 0, "{}", said.out);
    assert_eq!(told["divergence"]["line"].as_u64().unwrap(), poll as u64 + 1);
}

#[test]
fn a_script_steps_through_a_pipe() {
    let folder = fleet("step");
    let script = "run 5\nrun 4.5s\nbreak failed worker=1\nbreaks\nrun\nwhy\nshow 1\ndiff\nback 2\nstep\nto 1.5\n\
                  clear\nbreaks\nrun 1h\nrun soon\ndiff now\nfly\nhelp\nquit\n";
    let said = told(&folder, "step --scenario fleet.toml", script);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let answers: Vec<&str> = said.out.split("\n> ").collect();
    let answer = |command: &str| {
        let found = answers.iter().find_map(|answer| answer.strip_prefix(&format!("{command}\n")));
        found.unwrap_or_else(|| panic!("no answer to {command}: {}", said.out))
    };
    assert!(answer("run 5").starts_with("     5 "), "{}", answer("run 5"));
    let time = |text: &str| text.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap();
    assert!((4.0..=4.5).contains(&time(answer("run 4.5s"))), "{}", answer("run 4.5s"));
    assert_eq!(answer("break failed worker=1"), "break 1: failed worker=1");
    assert!(answer("run").starts_with("break 1\n"), "{}", answer("run"));
    assert!(answer("why").contains("worker 1"), "{}", answer("why"));
    assert!(answer("show 1").contains("link failures        1"), "{}", answer("show 1"));
    assert!(answer("diff").contains("+ link failures        1"), "{}", answer("diff"));
    assert!(time(answer("back 2")) <= time(answer("step")));
    assert!((1.0..=1.5).contains(&time(answer("to 1.5"))), "{}", answer("to 1.5"));
    assert_eq!(answer("run 1h"), "the record ends here");
    assert!(answer("run soon").contains("neither a line's number"), "{}", answer("run soon"));
    assert_eq!(answer("diff now"), "`diff` takes nothing more, but there is `now`");
    assert!(answer("fly").contains("no command"), "{}", answer("fly"));
    for word in ["run LINE", "back [N]", "break WORDS", "diff", "why [WORKER]", "show [WORKER]"] {
        assert!(answer("help").contains(word), "{word}");
    }
}
