//! Processes of many workers behind one hub: their runs, their records, and what is judged of them.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;

use downbeat_core::machine::{Action, Control, Input, Sound};
use downbeat_sim::event::{Event, HubStep, Watcher};
use downbeat_sim::explain::{Whose, explain};
use downbeat_sim::mutants::Machines;
use downbeat_sim::record::{Line, Record};
use downbeat_sim::replay::replay;
use downbeat_sim::scenario::{self, Profile, Scenario, generate};
use downbeat_sim::step::Stepper;
use downbeat_sim::swarm::{self, Plan};
use downbeat_sim::trial;
use downbeat_sim::view::{View, write};

fn process() -> Scenario {
    scenario::parse("process.toml", include_str!("fixtures/process.toml"), false).unwrap()
}

fn written(record: &Record, view: View) -> String {
    let mut out = Vec::new();
    write(record, view, &mut out).unwrap();
    String::from_utf8_lossy(&out).into_owned()
}

fn parse(text: &str) -> Record {
    Record::from_lines("record.jsonl".to_owned(), text.as_bytes()).unwrap()
}

#[test]
fn a_small_swarm_of_processes_passes() {
    let plan = Plan {
        start: 90_000,
        seeds: 60,
        jobs: 2,
        profile: Some(Profile::Processes),
        machines: Machines::SOUND,
        keep_going: true,
    };
    let found = swarm::run(&plan, &|_| true);
    let failing: Vec<_> = found.failing.iter().map(|it| (it.seed, &it.trial.violation)).collect();
    assert!(failing.is_empty(), "{failing:?}");
}

#[test]
fn the_record_of_a_process_has_the_runners_form() {
    let record = Record::from_run(&process());
    insta::assert_snapshot!(
        "record_of_a_process",
        written(&record, View::Record).lines().skip(1).take(40).collect::<Vec<_>>().join("\n")
    );
    let steps = || {
        record
            .entries
            .iter()
            .filter_map(|entry| if let Line::Step(step) = &entry.line { Some(step) } else { None })
    };
    assert!(steps().count() > 100);
    for step in steps() {
        assert_eq!(step.p, None, "the only hub needs no name");
        assert!(step.hub_input().is_some() && step.hub_action().is_some());
    }
}

#[test]
fn the_short_view_of_a_process_names_its_hub() {
    insta::assert_snapshot!(written(&Record::from_run(&process()), View::Short));
}

#[test]
fn records_of_processes_are_read_replayed_and_judged_as_the_world_did() {
    let seeds = (0..12).map(|seed| generate(seed, Profile::Processes));
    for scenario in seeds.chain([process()]) {
        let text = written(&Record::from_run(&scenario), View::Record);
        let record = parse(&text);
        assert_eq!(written(&record, View::Record), text, "{}", scenario.name);
        let replay = replay(&record);
        assert_eq!((replay.divergence, replay.untried), (None, 0), "{}", scenario.name);
        assert_eq!(replay.judgement.broken, [], "{}", scenario.name);
        assert!(replay.judgement.skipped.is_empty(), "{:?}", replay.judgement.skipped);
    }
}

#[test]
fn every_view_and_story_takes_the_record_of_several_processes() {
    let crowded = |seed: &u64| {
        let scenario = generate(*seed, Profile::Processes);
        scenario.each_process().len() > 2 && scenario.workers.iter().any(|group| group.process.is_none())
    };
    let seed = (0..500).find(crowded).unwrap();
    let record = Record::from_run(&generate(seed, Profile::Processes));
    for view in [View::Text, View::Short, View::Perfetto, View::Html, View::Csv] {
        assert!(!written(&record, view).is_empty());
    }
    assert!(written(&record, View::Text).contains("hub 1"));
    assert!(!explain(&record, &Whose::Task("#1".to_owned())).unwrap().sentences.is_empty());
    let mut out = Vec::new();
    let hub = record.hubs.list[1].number;
    let commands = format!("step 4000\nshow {hub}\nwhy {hub}\nshow 0\nwhy 0\nback 100\ndiff\nquit\n");
    Stepper::new(&record).talk(&mut commands.as_bytes(), &mut out, true).unwrap();
    let said = String::from_utf8_lossy(&out);
    assert!(said.contains("hub 1\n  calls in flight"), "{said}");
}

/// Changes the first line for which that is asked.
fn tampered(change: impl Fn(&str) -> Option<String>) -> (Option<usize>, Option<&'static str>) {
    let text = written(&Record::from_run(&process()), View::Record);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = lines.iter().position(|line| change(line).is_some()).unwrap();
    lines[at] = change(&lines[at]).unwrap();
    let replay = replay(&parse(&lines.join("\n")));
    let line = replay.divergence.map(|found| found.line);
    (line.map(|line| line - at), replay.judgement.broken.first().map(|found| found.violation.oracle))
}

#[test]
fn a_tampered_record_of_a_process_is_found_out() {
    // A wait without an end, while results and polls come due.
    let endless = tampered(|line| {
        let wait = line.find("\"until\":").filter(|_| line.contains("\"in\":{\"replied\""))?;
        let end = wait + line[wait..].find(',')?;
        Some(format!("{}\"until\":null{}", &line[..wait], &line[end..]))
    });
    assert_eq!(endless.0, Some(1));
    assert!(endless.1.is_some_and(|rule| rule.starts_with('L')), "{endless:?}");
    // An answer for another worker than the hub's.
    let another = tampered(|line| {
        line.contains("\"for\":0,\"do\":{\"poll\"").then(|| line.replace("\"for\":0", "\"for\":1"))
    });
    assert_eq!(another.0, Some(1));
    assert!(another.1.is_some());
}

struct Hubs(Vec<HubStep>, Vec<Event>);

impl Watcher for Hubs {
    fn on(&mut self, event: &Event) -> bool {
        self.1.push(*event);
        true
    }

    fn on_hub(&mut self, step: &HubStep) -> bool {
        self.0.push(*step);
        true
    }
}

fn run_of(text: &str) -> (Vec<HubStep>, Vec<Event>) {
    let scenario = scenario::parse("s.toml", text, false).unwrap();
    let mut seen = Hubs(Vec::new(), Vec::new());
    let trial = trial::run::<Sound>(&scenario, &mut [&mut seen]);
    assert_eq!(trial.violation.map(|found| found.to_string()), None);
    (seen.0, seen.1)
}

fn fleet(fault: &str) -> String {
    format!(
        "version = 1\nheal_at = \"20s\"\n[[processes]]\nname = \"app\"\n\
         [[workers]]\nprocess = \"app\"\ncount = 3\n[[workers]]\n\
         [[tasks]]\narrive = {{ kind = \"steady\", every = \"1s\", until = \"20s\" }}\n{fault}"
    )
}

#[test]
fn a_crash_of_one_worker_is_its_process_s() {
    let fault = "[[faults]]\nkind = \"crash\"\nat = \"5s\"\nfor = \"2s\"\nworkers = [1]\n";
    let (_, events) = run_of(&fleet(fault));
    let who = |pick: &dyn Fn(&Event) -> Option<u32>| events.iter().filter_map(pick).collect::<Vec<u32>>();
    let crashed = who(&|event| if let Event::Crashed { worker, .. } = event { Some(*worker) } else { None });
    assert_eq!(crashed, [0, 1, 2, 4], "the three workers and their hub, not the worker that stands alone");
    let started = who(&|event| if let Event::Started { worker, .. } = event { Some(*worker) } else { None });
    assert_eq!(started, [3, 0, 1, 2, 4, 0, 1, 2, 4]);
}

#[test]
fn a_pause_of_one_worker_is_its_own_and_a_pause_of_all_is_the_hubs() {
    let told = |fault: &str| {
        let (steps, _) = run_of(&fleet(fault));
        let paused = |step: &&HubStep| step.input == Input::Control(Control::Pause);
        steps.iter().filter(paused).map(|step| step.told).collect::<Vec<_>>()
    };
    let pause = "[[faults]]\nkind = \"pause\"\nat = \"5s\"\nfor = \"2s\"\n";
    assert_eq!(told(&format!("{pause}workers = [1]\n")), [Some(1)]);
    assert_eq!(told(pause), [None]);
}

#[test]
fn a_dead_server_sees_one_call_at_a_time_from_the_whole_process() {
    let fault = "[[faults]]\nkind = \"down\"\nat = \"5s\"\nfor = \"10s\"\n";
    let (steps, _) = run_of(&fleet(fault));
    let calls = steps.iter().filter(|step| {
        let at = step.at.as_millis();
        (6_000..14_000).contains(&at) && step.action.call().is_some()
    });
    let calls: Vec<_> = calls.map(|step| step.at).collect();
    assert!(calls.len() < 8, "{} calls in eight seconds", calls.len());
    assert_eq!(calls.iter().collect::<BTreeSet<_>>().len(), calls.len());
}

#[test]
fn a_drained_process_stops_once_for_all_and_starts_again() {
    let text =
        fleet("").replace("name = \"app\"\n", "name = \"app\"\ndrain_at = \"5s\"\nrestart_after = \"1s\"\n");
    let (steps, events) = run_of(&text);
    assert_eq!(steps.iter().filter(|step| step.action == Action::Stopped).count(), 1);
    let starts = events.iter().filter(|event| matches!(event, Event::Started { worker: 4, .. })).count();
    assert_eq!(starts, 2);
}
