//! What is fuzzed, as plain functions: each takes any bytes and panics where a promise is broken.
//!
//! libFuzzer calls them from `fuzz_targets/`; `core/tests/fuzz_corpus.rs` includes this file and replays the committed
//! corpus on the stable toolchain, in CI.

mod drive;
mod http;
mod machine;
mod source;
mod wire;

pub use drive::drive_session;
pub use http::http_answer;
pub use wire::wire_tasks;

use source::Source;

/// The machine under any inputs (S14, S15, S17, S19).
pub fn machine_inputs(data: &[u8]) {
    machine::steps(data, &mut |_, _, _, _| {});
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
