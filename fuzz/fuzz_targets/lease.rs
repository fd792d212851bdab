//! Any interleaving of events on the lease table, beside plain lists.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chatcache::fuzzing::lease(bytes));
