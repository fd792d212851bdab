//! Any words as the arguments of commands.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatcache::fuzzing::options(bytes));
