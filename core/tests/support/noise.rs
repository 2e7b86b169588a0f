//! Inputs at random: most fit something, some fit nothing.

use std::time::Duration;

use downbeat_core::machine::{
    Answer, CallError, CallId, Control, EntryId, Fault, Input, Outcome, TaskKey, TaskMeta,
};

/// SplitMix64, so that a failing case is a number.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// One input: about the latest calls and slots, or about nobody.
pub fn noise(random: &mut Random, calls: &[CallId], slots: &[EntryId]) -> Input {
    let recent = |len: usize, draw: u64| len - 1 - usize::try_from(draw).unwrap() % len.min(6);
    let call = calls[recent(calls.len(), random.next(1 << 20))];
    let entry = slots[recent(slots.len(), random.next(1 << 20))];
    match random.next(16) {
        0..=3 => {
            let key = TaskKey::from_u128(u128::from(random.next(9)));
            let response_timeout = Some(Duration::from_secs(random.next(4)));
            let retry_of = (random.next(4) == 0).then(|| TaskKey::from_u128(u128::from(random.next(9))));
            let give_back_within = (random.next(4) == 0).then(|| Duration::from_secs(random.next(40)));
            let task = TaskMeta { retry_of, give_back_within, ..TaskMeta::new(key, response_timeout) };
            Input::Leased { call, task }
        }
        4 if random.next(6) == 0 => Input::Replied { call, reply: Ok(Answer::Ended) },
        4..=6 => Input::Replied { call, reply: Ok(Answer::Done) },
        7 => Input::Replied { call, reply: Ok(Answer::Token { valid_for: Some(Duration::from_secs(9)) }) },
        8..=10 => {
            let fault = Fault::ALL[usize::try_from(random.next(12)).unwrap()];
            let retry_after = (random.next(4) == 0).then(|| Duration::from_secs(random.next(9)));
            Input::Replied { call, reply: Err(CallError { fault, retry_after }) }
        }
        11..=12 => Input::Finished { entry, outcome: Outcome::Final },
        13 => {
            let callback_after = Duration::from_secs(random.next(40));
            Input::Finished { entry, outcome: Outcome::Yield { callback_after } }
        }
        14 if random.next(5) == 0 => Input::Control(match random.next(12) {
            0 => Control::Drain,
            1 => Control::Abort,
            2..=5 => Control::Pause,
            _ => Control::Resume,
        }),
        _ => Input::Tick,
    }
}
