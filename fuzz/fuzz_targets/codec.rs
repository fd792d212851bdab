//! Any bytes as the header of an entry in an RDB file, which is what RESTORE lets any client send.
//!
//! Decoding answers and never panics, allocates no more than the input is long, and what it has read it writes
//! again to the same record.

#![no_main]

use chatcache::codec::{ENCODING_VERSION, decode_header, encode_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = decode_header(ENCODING_VERSION, bytes) else { return };
    assert!(record.persona.capacity() + record.user.capacity() <= bytes.len());
    let again = encode_header(&record.borrow());
    assert_eq!(decode_header(ENCODING_VERSION, &again), Ok(record));
});
