//! Any bytes as the header of an entry in an RDB file.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatcache::fuzzing::codec(bytes));
