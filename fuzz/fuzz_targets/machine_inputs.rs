//! See `downbeat_fuzz::machine_inputs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| downbeat_fuzz::machine_inputs(data));
