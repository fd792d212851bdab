//! Callers of FETCH: the holder of the lease, and waiters.

use std::time::Duration;

use crate::{Raw, RawClient, Server, eventually, fields, items, patient, text_of, words};

/// The request that most stories are about.
pub const Q: &str = "response ann bot hi";

/// An expected reply of FETCH with a response and without a token. It equals a reply with any number of milliseconds.
#[derive(Debug)]
pub struct Served {
    state: &'static str,
    response: Vec<u8>,
}

/// The reply `hit`.
pub fn hit(response: impl AsRef<[u8]>) -> Served {
    Served { state: "hit", response: response.as_ref().to_vec() }
}

/// The reply `stale` without a token.
pub fn stale(response: impl AsRef<[u8]>) -> Served {
    Served { state: "stale", response: response.as_ref().to_vec() }
}

impl PartialEq<Served> for Raw {
    fn eq(&self, served: &Served) -> bool {
        let Raw::Array(elements) = self else { return false };
        match elements.as_slice() {
            [state, response, token, ms] => {
                *state == Raw::bulk(served.state)
                    && *response == Raw::bulk(&served.response)
                    && is_null(token)
                    && (is_null(ms) || matches!(ms, Raw::Int(0..)))
            }
            _ => false,
        }
    }
}

/// Returns true for the null of RESP2 or RESP3.
pub fn is_null(reply: &Raw) -> bool {
    matches!(reply, Raw::Null | Raw::NullBulk)
}

/// The token and the length of a `lease` reply.
#[track_caller]
pub fn lease_of(reply: Raw) -> (String, i64) {
    match items(reply.clone()).as_slice() {
        [word, response, token, Raw::Int(ms)] if *word == Raw::bulk("lease") && is_null(response) => {
            let token = text_of(token);
            let hex = token.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
            assert!(token.len() == 32 && hex, "not a token: {token}");
            (token, *ms)
        }
        _ => panic!("not a lease: {reply:?}"),
    }
}

/// The milliseconds of a `busy` reply.
#[track_caller]
pub fn busy_of(reply: Raw) -> i64 {
    match items(reply.clone()).as_slice() {
        [word, response, token, Raw::Int(ms)]
            if *word == Raw::bulk("busy") && is_null(response) && is_null(token) =>
        {
            *ms
        }
        _ => panic!("not busy: {reply:?}"),
    }
}

/// The response and the token of a `stale` reply that asks for a refresh.
#[track_caller]
pub fn refresh_of(reply: Raw) -> (String, String) {
    match items(reply.clone()).as_slice() {
        [word, response, Raw::Bulk(token), _] if *word == Raw::bulk("stale") => {
            assert_eq!(token.len(), 32);
            (text_of(response), String::from_utf8_lossy(token).into_owned())
        }
        _ => panic!("not a stale response with a token: {reply:?}"),
    }
}

/// Fetches a missing response, and returns the token.
#[track_caller]
pub fn lease(con: &mut RawClient, request: &str) -> String {
    lease_of(con.say(&format!("CHATCACHE.FETCH {request}"))).0
}

/// Fetches a stale entry, and gives the token.
#[track_caller]
pub fn refresh(con: &mut RawClient, request: &str) -> String {
    refresh_of(con.say(&format!("CHATCACHE.FETCH {request}"))).1
}

/// Number of waiters.
pub fn waiters(con: &mut RawClient) -> i64 {
    con.stats("")["waiters"]
}

/// A new client that waits for this, last in the queue.
#[track_caller]
pub fn waiter(server: &Server, request: &str) -> RawClient {
    waiter_for(server, request, 60_000)
}

/// Milliseconds, stretched for servers that run slower than real ones.
pub fn patient_ms(ms: u64) -> u128 {
    patient(Duration::from_millis(ms)).as_millis()
}

/// The same as `waiter`, for one that waits this many (stretched) milliseconds.
#[track_caller]
pub fn waiter_for(server: &Server, request: &str, ms: u64) -> RawClient {
    let (mut con, mut operator) = (server.raw(), server.raw());
    let (before, ms) = (waiters(&mut operator), patient_ms(ms));
    con.send(&words(&format!("CHATCACHE.FETCH {request} WAIT {ms}")));
    eventually(|| waiters(&mut operator) == before + 1);
    con
}

/// Waits until nobody waits, and looks that nothing of the lease table is left.
#[track_caller]
pub fn all_quiet(con: &mut RawClient, leases: i64) {
    let stats = con.stats("");
    assert_eq!((stats["waiters"], stats["leases"]), (0, leases), "{stats:?}");
}

/// A numeric field of INSPECT.
#[track_caller]
pub fn inspected(con: &mut RawClient, request: &str, field: &str) -> i64 {
    match fields(con.say(&format!("CHATCACHE.INSPECT {request}")))[field] {
        Raw::Int(number) => number,
        ref other => panic!("{field} is {other:?}"),
    }
}

/// Stores a response, and waits until it is stale; it stays so for a long time.
#[track_caller]
pub fn store_stale(con: &mut RawClient, request: &str, answer: &str) {
    con.ok(&set_line(request, answer, "PX 1 STALE 3600000"));
    eventually(|| inspected(con, request, "fresh-ms") == 0);
}

/// The line that stores a response.
pub fn set_line(request: &str, answer: &str, options: &str) -> String {
    format!("CHATCACHE.SET {request} {answer} {options}").trim_end().to_owned()
}

/// A late response: refused, and nothing of it is to be seen.
#[track_caller]
pub fn comes_too_late(con: &mut RawClient, request: &str, token: &str) {
    assert_eq!(con.say(&set_line(request, "late", &format!("TOKEN {token}"))), Raw::NullBulk);
    assert_ne!(con.say(&format!("CHATCACHE.GET {request}")), Raw::bulk("late"));
}

/// The remaining freshness and TTL of a response, at one moment, and its cost.
#[track_caller]
pub fn instants(con: &mut RawClient, request: &str) -> [i64; 3] {
    let seen = fields(con.say(&format!("CHATCACHE.INSPECT {request}")));
    ["fresh-ms", "ttl-ms", "cost-ms"].map(|field| match seen[field] {
        Raw::Int(number) => number,
        ref other => panic!("{field} is {other:?}"),
    })
}
