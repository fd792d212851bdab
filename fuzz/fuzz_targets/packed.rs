//! Any bytes as a packed answer from outside.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatcache::fuzzing::packed(bytes));
