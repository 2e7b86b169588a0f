//! Scenarios of processes with many workers behind one hub: a fleet as production has it.

use super::parts::{add_faults, arrival, millis, network, policy, secs, server, tasks};
use super::profile::Profile;
use crate::random::Random;
use crate::scenario::Tasks;
use crate::scenario::model::{Arrival, Processes, Scenario, VERSION, Workers};

/// Makes the scenario of a seed: one or two processes, some in several copies, each with workers of up to
/// four queues, and sometimes workers outside beside them. A seventh of the seeds has no fault.
pub(super) fn processes(seed: u64) -> Scenario {
    let mut random = Random::stream(seed, 0x9c0c);
    let heal = random.between(60, 400);
    let queues = random.between(1, 4);
    let names: &[&str] = if random.percent(30) { &["web", "batch"] } else { &["app"] };
    let mut workers = Vec::new();
    for name in names {
        workers.extend((0..random.between(1, 4)).map(|_| group(&mut random, heal, queues, Some(*name))));
    }
    if random.percent(20) {
        workers.push(group(&mut random, heal, queues, None));
    }
    // Every queue has somebody who asks for it, in the first process.
    let missing: Vec<String> = (0..queues).map(queue).filter(|queue| !serves(&workers, queue)).collect();
    for task in missing {
        workers.push(Workers {
            task,
            drain_at: None,
            ..group(&mut random, heal, queues, names.first().copied())
        });
    }
    // A process whose workers have all been drained one by one ends, and what is in its store stays there.
    for name in names {
        let of = |group: &Workers| group.process.as_deref() == Some(*name);
        let all = workers.iter().filter(|group| of(group)).all(|group| group.drain_at.is_some());
        if let Some(first) = workers.iter_mut().find(|group| of(group)).filter(|_| all) {
            first.drain_at = None;
        }
    }
    let mut scenario = Scenario {
        version: VERSION,
        name: format!("{}-{seed}", Profile::Processes.name()),
        why: String::new(),
        seed,
        heal_at: secs(heal),
        end_at: None,
        server: server(&mut random),
        network: network(&mut random),
        processes: names.iter().map(|name| process(&mut random, heal, name)).collect(),
        workers,
        tasks: (0..queues).map(|number| stream(&mut random, heal, number)).collect(),
        faults: Vec::new(),
    };
    let rough = match random.below(7) {
        0 => Profile::Calm,
        1..=3 => Profile::Stormy,
        _ => Profile::Radioactive,
    };
    add_faults(&mut scenario, &mut random, rough, heal);
    scenario
}

fn queue(number: u64) -> String {
    format!("queue-{number}")
}

/// Whether somebody asks for a queue who is not told to leave it for good.
fn serves(workers: &[Workers], queue: &str) -> bool {
    workers.iter().any(|group| group.task == queue && (group.process.is_none() || group.drain_at.is_none()))
}

fn process(random: &mut Random, heal: u64, name: &str) -> Processes {
    let calls = random.weighted(&[(2, 2), (3, 1), (4, 2), (8, 2), (16, 3)]).unwrap_or(16);
    Processes {
        name: name.to_owned(),
        count: u32::try_from(random.between(1, 3)).unwrap_or(1),
        calls,
        start_at: millis(random.below(3_000)),
        stagger: millis(random.below(1_000)),
        drain_at: random.percent(30).then(|| secs(random.between(10, heal))),
        restart_after: Some(millis(random.between(0, 20_000))),
        clock_skew_ppm: i64::try_from(random.below(2_001)).unwrap_or(0) - 1_000,
    }
}

fn group(random: &mut Random, heal: u64, queues: u64, process: Option<&str>) -> Workers {
    let alone = process.is_none();
    let slots = u16::try_from(random.between(1, 4)).unwrap_or(1);
    let mut policy = policy(random);
    if random.percent(60) {
        // As the runner has it: a worker may have as many calls in flight as its process.
        policy.lanes = None;
    }
    Workers {
        count: u32::try_from(random.between(1, 4)).unwrap_or(1),
        process: process.map(str::to_owned),
        task: queue(random.below(queues)),
        domain: None,
        slots,
        table: Some(slots + u16::try_from(random.below(4)).unwrap_or(0)),
        policy,
        start_at: millis(if alone { random.below(3_000) } else { 0 }),
        stagger: millis(0),
        drain_at: random.percent(15).then(|| secs(random.between(10, heal))),
        restart_after: alone.then(|| millis(random.between(0, 20_000))),
        clock_skew_ppm: 0,
    }
}

/// One queue in four is hot.
fn stream(random: &mut Random, heal: u64, number: u64) -> Tasks {
    let mut stream =
        tasks(random, heal).into_iter().next().unwrap_or_else(|| unreachable!("one at the least"));
    stream.task = queue(number);
    stream.arrive = if random.percent(25) {
        Arrival::Burst {
            at: millis(random.below(heal * 500)),
            count: u32::try_from(random.between(40, 150)).unwrap_or(40),
        }
    } else {
        arrival(random, heal)
    };
    stream
}
