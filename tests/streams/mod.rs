//! Streamed responses: callers read along while the holder of the lease appends pieces.

mod crowd;
mod endings;
mod faults;
mod reading;

use testkit::{Raw, RawClient, items, text_of};

/// A reply of FETCH with STREAM.
#[derive(Debug, PartialEq)]
enum Streamed {
    Part { bytes: Vec<u8>, draft: String, next: i64 },
    Rest { bytes: Vec<u8> },
    Hit { bytes: Vec<u8> },
    Lease { token: String },
    Lost,
    Busy,
}

#[track_caller]
fn streamed(reply: Raw) -> Streamed {
    let elements = items(reply.clone());
    let state = text_of(&elements[0]);
    match (state.as_str(), &elements[1..]) {
        ("part", [Raw::Bulk(bytes), Raw::Bulk(draft), Raw::Int(next)]) => Streamed::Part {
            bytes: bytes.clone(),
            draft: String::from_utf8_lossy(draft).into_owned(),
            next: *next,
        },
        ("rest", [Raw::Bulk(bytes), Raw::NullBulk, Raw::Int(ms)]) => {
            assert!(*ms > 0, "{reply:?}");
            Streamed::Rest { bytes: bytes.clone() }
        }
        ("hit", [Raw::Bulk(bytes), Raw::NullBulk, Raw::Int(_)]) => Streamed::Hit { bytes: bytes.clone() },
        ("lease", [Raw::NullBulk, Raw::Bulk(token), Raw::Int(_)]) => {
            Streamed::Lease { token: String::from_utf8_lossy(token).into_owned() }
        }
        ("lost", [Raw::NullBulk, Raw::NullBulk, Raw::NullBulk]) => Streamed::Lost,
        ("busy", [Raw::NullBulk, Raw::NullBulk, Raw::Int(_)]) => Streamed::Busy,
        _ => panic!("not a reply of FETCH with STREAM: {reply:?}"),
    }
}

fn append(con: &mut RawClient, request: &str, piece: &[u8], token: &str) -> Raw {
    let mut words: Vec<Vec<u8>> =
        format!("CHATCACHE.APPEND {request}").split(' ').map(|word| word.as_bytes().to_vec()).collect();
    words.extend([piece.to_vec(), b"TOKEN".to_vec(), token.as_bytes().to_vec()]);
    con.call(&words)
}

/// A draft with these bytes, and its token.
#[track_caller]
fn begin(con: &mut RawClient, request: &str, bytes: &[u8]) -> String {
    let token = testkit::lease(con, request);
    assert_eq!(append(con, request, bytes, &token), Raw::Int(bytes.len() as i64));
    token
}
