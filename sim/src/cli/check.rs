//! `check`: is a run a function of its scenario?

use std::io::{self, Write};

use serde::Serialize;

use super::origin::Origin;
use super::output::{NONDETERMINISM, PASS, USAGE, print_json};
use crate::event::{Event, Watcher};
use crate::mutants::Machines;
use crate::oracle::s18_replay::Digest;
use crate::scenario::Scenario;

/// Arguments of `check`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    origin: Origin,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What two runs have in common, as JSON.
#[derive(Serialize)]
struct Told {
    agree: bool,
    events: usize,
    hash: String,
    difference: Option<Difference>,
}

/// The first difference.
#[derive(Debug, Eq, PartialEq, Serialize)]
struct Difference {
    /// The number of the event, from 0.
    event: usize,
    one: String,
    other: String,
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let scenario = match args.origin.scenario() {
        Ok(scenario) => scenario,
        Err(message) => {
            writeln!(err, "{message}")?;
            return Ok(USAGE);
        }
    };
    // One run here, and one on another thread at the same time.
    let machines = args.origin.machines();
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(|| Run::new(machines, &scenario));
        (Run::new(machines, &scenario), other.join().unwrap_or_default())
    });
    let difference = difference(&first, &second);
    if let Some(found) = &difference {
        writeln!(
            err,
            "FAIL  S18 replay   {}   two runs differ from event {} on",
            args.origin.name(),
            found.event
        )?;
        writeln!(err, "  one         {}", found.one)?;
        writeln!(err, "  the other   {}", found.other)?;
    }
    let hash = first.events.last().map_or(0, |(hash, _)| *hash);
    let told = Told {
        agree: difference.is_none(),
        events: first.events.len(),
        hash: format!("{hash:016x}"),
        difference,
    };
    if args.json {
        print_json(out, &told)?;
    } else if told.agree {
        writeln!(out, "two runs agree: {} events, hash {}", told.events, told.hash)?;
    }
    Ok(if told.agree { PASS } else { NONDETERMINISM })
}

/// The digest after each event, with the event's text, and what the world itself saw of a difference.
#[derive(Default)]
struct Run {
    events: Vec<(u64, String)>,
    clone_differs: bool,
}

impl Run {
    fn new(machines: Machines, scenario: &Scenario) -> Self {
        #[derive(Default)]
        struct All(Digest, Vec<(u64, String)>);
        impl Watcher for All {
            fn on(&mut self, event: &Event) -> bool {
                self.0.on(event);
                self.1.push((self.0.hash, format!("{event:?}")));
                true
            }
        }
        let mut all = All::default();
        let trial = machines.run(scenario, &mut [&mut all]);
        Self { events: all.1, clone_differs: trial.outcome.nondeterminism.is_some() }
    }

    fn text(&self, at: usize) -> String {
        self.events.get(at).map_or("nothing", |(_, text)| text).to_owned()
    }
}

fn difference(first: &Run, second: &Run) -> Option<Difference> {
    let found = first.events.iter().zip(&second.events).position(|(one, other)| one != other);
    let (long, short) =
        (first.events.len().max(second.events.len()), first.events.len().min(second.events.len()));
    let at = found.or_else(|| (long != short).then_some(short));
    let within = [first, second].into_iter().find(|run| run.clone_differs);
    match (at, within) {
        (Some(event), _) => Some(Difference { event, one: first.text(event), other: second.text(event) }),
        (None, Some(run)) => {
            let event = run.events.len().saturating_sub(1);
            let other = "a clone, told the same, answers or is something else".to_owned();
            Some(Difference { event, one: run.text(event), other })
        }
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(texts: &[&str], clone_differs: bool) -> Run {
        let events = texts.iter().map(|text| (0, (*text).to_owned())).collect();
        Run { events, clone_differs }
    }

    #[test]
    fn the_first_difference_is_found() {
        let at = |one: &[&str], other: &[&str]| {
            difference(&run(one, false), &run(other, false)).map(|found| (found.event, found.other))
        };
        assert_eq!(at(&["a", "b"], &["a", "b"]), None);
        assert_eq!(at(&["a", "b"], &["a", "c"]), Some((1, "c".to_owned())));
        assert_eq!(at(&["a", "b"], &["a"]), Some((1, "nothing".to_owned())));
        assert_eq!(at(&[], &["a"]), Some((0, "a".to_owned())));
    }

    #[test]
    fn a_clone_that_differs_is_a_difference() {
        let found = difference(&run(&["a"], false), &run(&["a"], true));
        assert_eq!(found.map(|found| found.event), Some(0));
    }
}
