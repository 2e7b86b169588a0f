//! See `downbeat_fuzz::http_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| downbeat_fuzz::http_answer(data));
