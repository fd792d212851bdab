//! Any words as the options of SET and PERSONAS, and any arguments as a request: answered or refused, with a text
//! that holds none of their bytes.

#![no_main]

use chatcache::options::{PageOptions, SetOptions};
use chatcache::refusal::Accepts;
use chatcache::request::Asked;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (i64, Vec<Vec<u8>>, [Vec<u8>; 4])| {
    let (now_ms, words, request) = &input;
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let id = match SetOptions::parse(&words, *now_ms) {
        Ok(options) => options.id,
        Err(refusal) => return assert!(refusal.message().starts_with("ERR ")),
    };
    let _ = PageOptions::parse(&words);
    let request = [&*request[0], &*request[1], &*request[2], &*request[3]];
    if let Err(refusal) = Asked::parse(Accepts::TiersAndAny, request, id) {
        assert!(refusal.message().is_ascii());
    }
});
