//! `Policy::ruby_sdk()` makes the calls that the Ruby class makes: recorded cases, cases made by hand, and any other script.
//!
//! The reference here follows the four rules of `tests/vectors/README.md` by itself; the machine must agree with it.

use std::path::PathBuf;

use downbeat_sim::conform::{Call, Case, Scripted, Scripting, check, parse, run};
use downbeat_tests::root;
use proptest::prelude::*;

/// The loop in words, in code.
fn reference(case: &Case) -> Vec<Call> {
    let (mut trace, mut now, mut last, mut empties) = (Vec::new(), 0, 0, 0_u32);
    let (mut refusals, mut refused_at) = (0_u32, 0);
    let (mut polls, mut runs, mut updates) = (0, 0, 0);
    let next = |script: &[Scripted], at: &mut usize, or: Scripting| {
        *at += 1;
        script.get(*at - 1).copied().unwrap_or(Scripted { ms: 1, outcome: or })
    };
    while now < case.until_ms {
        let delay = 2_u64.pow(empties.min(10)).min(case.poll_interval_ms);
        if empties > 0 && now - last < delay {
            now = last + delay;
            continue;
        }
        last = now;
        let paused = case.paused_ms.iter().any(|(from, to)| (*from..*to).contains(&now));
        let backoff = 1_000 * 2_u64.pow(refusals.min(6)).min(60);
        if paused || (refusals > 0 && now - refused_at < backoff) {
            empties += 1;
            continue;
        }
        trace.push(Call { at_ms: now, call: "poll".to_owned(), task: None, status: None });
        let poll = next(&case.polls, &mut polls, Scripting::Empty);
        now += poll.ms;
        empties += 1;
        if poll.outcome == Scripting::Auth {
            (refusals, refused_at) = (refusals + 1, now);
        } else if poll.outcome != Scripting::Error {
            refusals = 0;
        }
        if poll.outcome != Scripting::Task {
            continue;
        }
        empties = 0;
        let execution = next(&case.executions, &mut runs, Scripting::Completed);
        now += execution.ms;
        for delay in [0, 10_000, 20_000, 30_000] {
            now += delay;
            let (task, status) = (Some(format!("t{polls}")), Some(status(execution.outcome).to_owned()));
            trace.push(Call { at_ms: now, call: "update".to_owned(), task, status });
            let update = next(&case.updates, &mut updates, Scripting::Ok);
            now += update.ms;
            if update.outcome == Scripting::Ok {
                break;
            }
        }
    }
    trace.retain(|call| call.at_ms < case.until_ms);
    trace
}

fn status(outcome: Scripting) -> &'static str {
    match outcome {
        Scripting::Failed => "FAILED",
        Scripting::Terminal => "FAILED_WITH_TERMINAL_ERROR",
        Scripting::Completed
        | Scripting::Empty
        | Scripting::Task
        | Scripting::Auth
        | Scripting::Error
        | Scripting::Ok => "COMPLETED",
    }
}

const FILES: [(&str, usize); 4] = [
    ("ruby-traces.json", 19),
    ("more-gates.json", 13),
    ("more-updates.json", 7),
    ("more-latencies.json", 11),
];

fn vectors(file: &str) -> PathBuf {
    root().join("tests/vectors").join(file)
}

#[test]
fn the_machine_and_the_reference_follow_every_case_of_every_file() {
    for (file, count) in FILES {
        let cases = parse(&std::fs::read_to_string(vectors(file)).unwrap()).unwrap();
        assert_eq!(cases.len(), count, "{file}");
        for case in cases {
            assert_eq!(reference(&case), case.trace, "{file}: {}: the reference", case.name);
            check(&case).unwrap_or_else(|divergence| panic!("{file}: {}: {divergence}", case.name));
        }
    }
}

fn scripted(outcomes: &'static [Scripting]) -> impl Strategy<Value = Vec<Scripted>> {
    let ms = prop_oneof![4 => 0..12_u64, 2 => 0..400_u64, 1 => 0..40_000_u64];
    let one = (ms, prop::sample::select(outcomes)).prop_map(|(ms, outcome)| Scripted { ms, outcome });
    prop::collection::vec(one, 0..24)
}

fn any_case() -> impl Strategy<Value = Case> {
    const POLLS: &[Scripting] = &[
        Scripting::Empty,
        Scripting::Empty,
        Scripting::Task,
        Scripting::Task,
        Scripting::Auth,
        Scripting::Error,
    ];
    let interval = prop_oneof![1..20_u64, 80..120_u64, 1_000..1_040_u64, Just(5_000_u64)];
    let pause = (0..30_000_u64, 0..4_000_u64).prop_map(|(from, length)| (from, from + length));
    let scripts = (
        scripted(POLLS),
        scripted(&[Scripting::Completed, Scripting::Failed, Scripting::Terminal]),
        scripted(&[Scripting::Ok, Scripting::Ok, Scripting::Error]),
    );
    (interval, 1..150_000_u64, scripts, prop::collection::vec(pause, 0..4)).prop_map(
        |(poll_interval_ms, until_ms, (polls, executions, updates), paused_ms)| Case {
            name: "any".to_owned(),
            poll_interval_ms,
            until_ms,
            polls,
            executions,
            updates,
            paused_ms,
            trace: Vec::new(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_makes_the_calls_of_the_reference_in_any_script(case in any_case()) {
        prop_assert_eq!(run(&case), reference(&case));
    }
}
