//! `check`: is a run a function of its scenario?

use std::io::{self, Write};

use downbeat_core::machine::mutant::Sound;

use super::origin::Origin;
use super::{NONDETERMINISM, PASS, USAGE};
use crate::oracle::s18_replay::Digest;
use crate::scenario::Scenario;
use crate::trial;
use crate::world::Watcher;

/// Arguments of `check`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    origin: Origin,
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
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(|| digests(&scenario));
        (digests(&scenario), other.join().unwrap_or_default())
    });
    let found = first.iter().zip(&second).position(|(one, other)| one != other);
    let at = found.or_else(|| (first.len() != second.len()).then(|| first.len().min(second.len())));
    match (at, first.last()) {
        (None, Some((hash, _))) => {
            writeln!(out, "two runs agree: {} events, hash {hash:016x}", first.len())?;
            Ok(PASS)
        }
        (None, None) => {
            writeln!(out, "two runs agree: nothing happens in either")?;
            Ok(PASS)
        }
        (Some(at), _) => {
            writeln!(err, "FAIL  S18 replay   {}   two runs differ from event {at} on", args.origin.name())?;
            writeln!(err, "  one         {}", first.get(at).map_or("nothing", |(_, text)| text))?;
            writeln!(err, "  the other   {}", second.get(at).map_or("nothing", |(_, text)| text))?;
            Ok(NONDETERMINISM)
        }
    }
}

/// The digest after each event, and the event's text.
fn digests(scenario: &Scenario) -> Vec<(u64, String)> {
    #[derive(Default)]
    struct All(Digest, Vec<(u64, String)>);
    impl Watcher for All {
        fn on(&mut self, event: &crate::event::Event) -> bool {
            self.0.on(event);
            self.1.push((self.0.hash, format!("{event:?}")));
            true
        }
    }
    let mut all = All::default();
    let _ = trial::run::<Sound>(scenario, &mut [&mut all]);
    all.1
}
