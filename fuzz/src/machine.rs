//! The machine under any inputs.

use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Control, EntryId, Fault, Input, Instant, Outcome, Policy, Reply,
    TaskKey, TaskMeta, TokenNews, Worker,
};

use super::source::Source;

/// Sees a step: the worker's policy, when, what it was told and what it answered.
pub(crate) type Seer<'s> = &'s mut dyn FnMut(&Policy, Instant, Input, Action);

/// No sequence of inputs breaks a bound, stops time, or makes the worker spin (S14, S15, S17, S19). The worker has two
/// entries.
pub(crate) fn steps(data: &[u8], see: Seer<'_>) {
    let mut source = Source::new(data);
    let policy = Policy {
        concurrency: 1 + u16::from(source.below(2)),
        max_calls: 1 + u16::from(source.below(4)),
        authenticated: source.below(2) == 1,
        store: source.below(2) == 1,
        ..if source.below(4) == 0 {
            Policy { concurrency: 1, ..Policy::ruby_sdk() }
        } else {
            Policy::default()
        }
    };
    let Ok(mut worker) = Worker::<2>::new(policy, u64::from(source.byte())) else { return };
    let (mut now, mut calls, mut slots) = (Instant::ZERO, Vec::new(), Vec::new());
    while !source.is_empty() {
        now = now.saturating_add(Duration::from_millis(u64::from(source.byte()).pow(2)));
        let input = input(&mut source, &calls, &slots);
        if !settle(&mut worker, now, input, &policy, &mut calls, &mut slots, see) {
            return;
        }
    }
}

/// Steps until the worker waits; false: it has stopped.
fn settle(
    worker: &mut Worker<2>,
    now: Instant,
    mut input: Input,
    policy: &Policy,
    calls: &mut Vec<CallId>,
    slots: &mut Vec<EntryId>,
    see: Seer<'_>,
) -> bool {
    for round in 0.. {
        let action = worker.step(now, input);
        see(policy, now, input, action);
        let state = worker.snapshot();
        assert!(state.running <= policy.concurrency && state.held <= 2, "{state:?}");
        assert!(state.calls_in_flight <= policy.max_calls + 1, "{state:?}");
        assert!(round < 16, "spins");
        match action {
            Action::Wait { until, .. } => {
                assert!(until.is_none_or(|until| until > now), "waits for the past");
                return true;
            }
            Action::Stopped => {
                assert_eq!(worker.step(now, Input::Tick), Action::Stopped);
                return false;
            }
            Action::Run { entry, .. } => slots.push(entry),
            Action::Poll { call, count, .. } => {
                assert!((1..=policy.concurrency).contains(&count));
                calls.push(call);
            }
            Action::Update { call, .. }
            | Action::Extend { call, .. }
            | Action::Ask { call, .. }
            | Action::Refresh { call }
            | Action::GiveBack { call, .. }
            | Action::Spill { call, .. } => calls.push(call),
            Action::Ignore { .. }
            | Action::Recall { .. }
            | Action::Lapsed { .. }
            | Action::Adopt { .. }
            | Action::Discard { .. } => {}
        }
        input = Input::Tick;
    }
    true
}

fn input(source: &mut Source<'_>, calls: &[CallId], slots: &[EntryId]) -> Input {
    let back = usize::from(source.below(6));
    let call =
        calls.iter().rev().nth(back).copied().unwrap_or_else(|| CallId::from_bits(u64::from(source.byte())));
    let entry =
        slots.iter().rev().nth(back).copied().unwrap_or_else(|| EntryId::new(u16::from(source.byte()), 0));
    match source.below(8) {
        0 => Input::Tick,
        1 => {
            let key = TaskKey::from_u128(u128::from(source.below(5)));
            let response_timeout = Some(Duration::from_secs(u64::from(source.below(5))));
            let retry_of = (source.below(4) == 0).then(|| TaskKey::from_u128(u128::from(source.below(5))));
            let give_back_within =
                (source.below(4) == 0).then(|| Duration::from_secs(u64::from(source.byte())));
            let task = TaskMeta { retry_of, give_back_within, ..TaskMeta::new(key, response_timeout) };
            Input::Leased { call, task }
        }
        2 | 3 => Input::Replied { call, reply: reply(source) },
        4 => Input::Finished { entry, outcome: Outcome::Final },
        5 => {
            let callback_after = Duration::from_secs(u64::from(source.byte()));
            Input::Finished { entry, outcome: Outcome::Yield { callback_after } }
        }
        6 => Input::Token(match source.below(2) {
            0 => TokenNews::Missing,
            _ => TokenNews::Fresh { generation: u16::from(source.byte()) },
        }),
        _ => Input::Control(match source.below(16) {
            0 => Control::Drain,
            1 => Control::Abort,
            2..=8 => Control::Pause,
            _ => Control::Resume,
        }),
    }
}

fn reply(source: &mut Source<'_>) -> Reply {
    match source.below(17) {
        0..=1 => Ok(Answer::Done),
        2 => Ok(Answer::Token { valid_for: Some(Duration::from_secs(u64::from(source.byte()))) }),
        3 => Ok(Answer::NoAuth),
        4 => Ok(Answer::Ended),
        kind => {
            let fault = Fault::ALL[usize::from(kind - 5)];
            let retry_after = (source.below(4) == 0).then(|| Duration::from_secs(u64::from(source.byte())));
            Err(CallError { fault, retry_after })
        }
    }
}
