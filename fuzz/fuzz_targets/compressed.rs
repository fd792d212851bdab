//! Any bytes as a compressed response from outside.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatcache::fuzzing::compressed(bytes));
