//! S19: whatever a worker is told, the judge of hostile inputs finds nothing in the sound machine, and the mistakes in
//! the others.
#![expect(clippy::unwrap_used, reason = "a policy of the test's own is sound, and the corpus is there")]

#[path = "../../fuzz/src/machine.rs"]
mod fuzzed;
#[path = "../../fuzz/src/source.rs"]
mod source;

use std::path::Path;
use std::time::Duration;

use downbeat_core::machine::mutant::{DeadlineOfBlocked, NoReservation, StaleGenerationAccepted, WallClock};
use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Control, Entry, EntryId, Fault, Input, Instant, Kind, Machine,
    Outcome, Policy, Sound, TaskKey, TaskMeta, TokenNews,
};
use downbeat_sim::event::Event;
use downbeat_sim::oracle::{Oracles, Violation};
use downbeat_sim::scenario::Setting;

/// Entries of each worker.
const ENTRIES: u16 = 4;
/// Sequences for each machine.
const SEQUENCES: u64 = 6_000;
/// Inputs of a sequence.
const INPUTS: u32 = 250;

/// SplitMix64, so that a failing sequence is a number.
struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let recent = self.below(of.len().min(6) as u64);
        of[of.len() - 1 - usize::try_from(recent).unwrap()]
    }
}

/// A server, a network and user code of which nothing can be expected.
struct Noise {
    random: Random,
    now: Instant,
    calls: Vec<CallId>,
    slots: Vec<EntryId>,
}

impl Noise {
    fn new(seed: u64) -> Self {
        let (calls, slots) = (vec![CallId::from_bits(5)], vec![EntryId::new(0, 0)]);
        Self { random: Random(seed), now: Instant::ZERO, calls, slots }
    }

    fn next(&mut self) -> Input {
        let random = &mut self.random;
        self.now = self.now.saturating_add(Duration::from_micros(random.below(4) * random.below(3_000_000)));
        let (call, entry) = (random.pick(&self.calls), random.pick(&self.slots));
        match random.below(18) {
            0..=3 => {
                let key = TaskKey::from_u128(u128::from(random.below(9)));
                let response_timeout = Some(Duration::from_secs(random.below(4)));
                Input::Leased { call, task: TaskMeta::new(key, response_timeout) }
            }
            4..=6 => Input::Replied { call, reply: Ok(Answer::Done) },
            7 => {
                let valid_for = Some(Duration::from_secs(random.below(9)));
                Input::Replied { call, reply: Ok(Answer::Token { valid_for }) }
            }
            8..=10 => {
                let faults = [
                    Fault::NotSent,
                    Fault::Unknown,
                    Fault::Unauthorized,
                    Fault::Throttled,
                    Fault::Server,
                    Fault::Rejected,
                    Fault::Unsupported,
                ];
                let fault = faults[usize::try_from(random.below(7)).unwrap()];
                let retry_after = (random.below(4) == 0).then(|| Duration::from_secs(random.below(9)));
                Input::Replied { call, reply: Err(CallError { fault, retry_after }) }
            }
            11..=12 => Input::Finished { entry, outcome: Outcome::Final },
            13 => {
                let callback_after = Duration::from_secs(random.below(40));
                Input::Finished { entry, outcome: Outcome::Yield { callback_after } }
            }
            14 => Input::Token(TokenNews::Missing),
            15 if random.below(5) == 0 => Input::Control(match random.below(12) {
                0 => Control::Drain,
                1 => Control::Abort,
                2..=5 => Control::Pause,
                _ => Control::Resume,
            }),
            16 => Input::Replied { call, reply: Ok(Answer::NoAuth) },
            _ => Input::Tick,
        }
    }

    /// Remembers what may be answered.
    fn hear(&mut self, action: &Action) {
        match *action {
            Action::Run { entry, .. } => self.slots.push(entry),
            Action::Poll { call, .. }
            | Action::Update { call, .. }
            | Action::Extend { call, .. }
            | Action::Ask { call, .. }
            | Action::Refresh { call }
            | Action::GiveBack { call, .. }
            | Action::Spill { call, .. } => self.calls.push(call),
            Action::Ignore { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Recall { .. }
            | Action::Discard { .. }
            | Action::Wait { .. }
            | Action::Stopped => {}
        }
    }
}

fn policy(seed: u64) -> Policy {
    let mut random = Random(!seed);
    let mut draw = |below: u64| u16::try_from(random.below(below)).unwrap();
    if draw(8) == 0 {
        return Policy { concurrency: 1, ..Policy::ruby_sdk() };
    }
    Policy {
        concurrency: 1 + draw(u64::from(ENTRIES)),
        max_calls: 1 + draw(5),
        authenticated: draw(3) == 0,
        store: draw(2) == 0,
        drain_timeout: (draw(2) == 0).then_some(Duration::from_secs(2)),
        recall_timeout: Duration::from_secs(1),
        long_poll: Duration::from_secs(u64::from(draw(2))),
        ..Policy::default()
    }
}

fn machine<M: Kind>(policy: Policy, seed: u64) -> Machine<Box<[Entry]>, M> {
    let table = vec![Entry::FREE; usize::from(ENTRIES)].into_boxed_slice();
    Machine::with_storage(table, policy, seed).unwrap()
}

/// What the judge says of one sequence.
fn judge<M: Kind>(seed: u64) -> Result<(), Violation> {
    let policy = policy(seed);
    let mut machine = machine::<M>(policy, seed);
    let mut oracles = Oracles::hostile(Setting::from_workers(&[(policy, ENTRIES)]));
    let mut noise = Noise::new(seed);
    for _ in 0..INPUTS {
        let mut input = noise.next();
        // A clock may show an earlier time.
        let at = if noise.random.below(16) == 0 { Instant::from_millis(7) } else { noise.now };
        loop {
            let action = machine.step(at, input);
            oracles.see(&Event::Step { at, worker: 0, local: at, input, action })?;
            noise.hear(&action);
            if matches!(action, Action::Stopped) {
                return Ok(());
            }
            if matches!(action, Action::Wait { .. }) {
                break;
            }
            input = Input::Tick;
        }
    }
    Ok(())
}

#[test]
fn no_sequence_of_inputs_makes_the_sound_machine_break_a_rule() {
    for seed in 0..SEQUENCES {
        if let Err(broken) = judge::<Sound>(seed) {
            panic!("seed {seed}: {broken}");
        }
    }
}

#[test]
fn the_corpus_of_fuzzing_breaks_no_rule() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/machine_inputs");
    let (mut files, mut told) = (0, 0);
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let mut oracles: Option<Oracles> = None;
        fuzzed::steps(&std::fs::read(&path).unwrap(), &mut |policy, at, input, action| {
            let oracles =
                oracles.get_or_insert_with(|| Oracles::hostile(Setting::from_workers(&[(*policy, 2)])));
            told += 1;
            if let Err(broken) = oracles.see(&Event::Step { at, worker: 0, local: at, input, action }) {
                panic!("{}: {broken}", path.display());
            }
        });
        files += 1;
    }
    assert!(files >= 10 && told >= 1_000, "{files} files, {told} steps");
}

/// What the judge first says of this machine.
fn caught<M: Kind>() -> Option<String> {
    (0..SEQUENCES).find_map(|seed| judge::<M>(seed).err().map(|broken| broken.what))
}

#[test]
fn the_judge_catches_mistakes() {
    let all = [
        ("NoReservation", caught::<NoReservation>()),
        ("StaleGenerationAccepted", caught::<StaleGenerationAccepted>()),
        ("DeadlineOfBlocked", caught::<DeadlineOfBlocked>()),
        ("WallClock", caught::<WallClock>()),
    ];
    for (mutant, found) in all {
        println!("{mutant}: {found:?}");
        assert!(found.is_some(), "nobody catches {mutant}");
    }
}
