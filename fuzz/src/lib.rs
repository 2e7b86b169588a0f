//! What is fuzzed, as plain functions: each takes any bytes and panics where a promise is broken.
//!
//! libFuzzer calls them from `fuzz_targets/`; `core/tests/fuzz_corpus.rs` includes this file and replays the committed
//! corpus on the stable toolchain, in CI.

mod drive;
mod http;
mod machine;
mod wire;

pub use drive::drive_session;
pub use http::http_answer;
pub use machine::machine_inputs;
pub use wire::wire_tasks;

/// Takes decisions off the front of the fuzzer's bytes; zeros where they are used up.
struct Source<'d> {
    data: &'d [u8],
}

impl<'d> Source<'d> {
    fn new(data: &'d [u8]) -> Self {
        Self { data }
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.data.split_first() else { return 0 };
        self.data = rest;
        *first
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

/// Cuts bytes into pieces whose lengths the first byte decides.
fn pieces(data: &[u8]) -> (impl Iterator<Item = &[u8]>, &[u8]) {
    let (seed, bytes) = data.split_first().map_or((0, data), |(seed, bytes)| (*seed, bytes));
    let mut rest = bytes;
    let mut state = u32::from(seed);
    let cut = move || {
        if rest.is_empty() {
            return None;
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let most = if seed < 128 { 1 + (state >> 24) as usize % (1 + seed as usize) } else { 1 };
        let (front, back) = rest.split_at(most.min(rest.len()));
        rest = back;
        Some(front)
    };
    (std::iter::from_fn(cut), bytes)
}
