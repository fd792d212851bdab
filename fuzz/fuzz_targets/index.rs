//! Any operations on the index, beside a plain list.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatcache::fuzzing::index(bytes));
