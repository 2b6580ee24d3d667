//! Fuzz target: `entries::sif`.
#![no_main]

#[expect(dead_code, reason = "each target uses one of them")]
#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::sif(data));
