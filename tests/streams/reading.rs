//! Readers get the bytes of the model, exactly.

use std::time::Duration;

use super::{Streamed, append, begin, streamed};
use testkit::{Q, Raw, RawClient, Server, busy_of, eventually, hit, lease, waiter};

/// A client that reads along.
struct Reader {
    con: RawClient,
    bytes: Vec<u8>,
}

impl Reader {
    fn new(server: &Server) -> Reader {
        let mut con = server.raw();
        con.send(&testkit::words(&format!("CHATCACHE.FETCH {Q} STREAM WAIT 60000")));
        Reader { con, bytes: Vec::new() }
    }

    /// Reads until the end.
    fn finish(&mut self) {
        loop {
            let reply = self.con.read();
            if self.take(reply) {
                break;
            }
        }
    }

    /// Takes one reply and asks again; returns true at the end.
    fn take(&mut self, reply: Raw) -> bool {
        match streamed(reply) {
            Streamed::Part { bytes, draft, next } => {
                assert!(!bytes.is_empty());
                self.bytes.extend(bytes);
                assert_eq!(self.bytes.len() as i64, next);
                let fetch = format!("CHATCACHE.FETCH {Q} STREAM FROM {draft} {next} WAIT 60000");
                self.con.send(&testkit::words(&fetch));
                false
            }
            Streamed::Rest { bytes } | Streamed::Hit { bytes } => {
                self.bytes.extend(bytes);
                true
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn two_hundred_readers_who_join_early_midway_and_late_have_the_bytes_of_the_model() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    for pace in [0, 20] {
        operator.ok(&format!("CONFIG SET chatcache.stream-pace-ms {pace}"));
        let token = lease(&mut holder, Q);
        let mut state = 0x9E37_79B9_7F4A_7C15_u64 + pace;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut model = Vec::new();
        let mut readers = Vec::new();
        for piece in 0..120 {
            let join = match piece {
                0 | 60 => 60,
                119 => 80,
                _ => 0,
            };
            readers.extend((0..join).map(|_| Reader::new(&server)));
            let length = random() % 400;
            let bytes: Vec<u8> = (0..length).map(|_| random() as u8).collect();
            model.extend_from_slice(&bytes);
            assert_eq!(append(&mut holder, Q, &bytes, &token), Raw::Int(model.len() as i64));
            // Every third reader is slow: it asks again only at the end.
            if piece % 10 == 9 {
                for reader in
                    readers.iter_mut().enumerate().filter(|(n, _)| n % 3 != 0).map(|(_, reader)| reader)
                {
                    if let Some(reply) = reader.con.read_within(Duration::from_millis(1)) {
                        assert!(!reader.take(reply), "the model still talks");
                    }
                }
            }
        }
        assert_eq!(holder.say(&format!("CHATCACHE.COMMIT {Q} TOKEN {token}")), Raw::simple("OK"));
        for reader in &mut readers {
            reader.finish();
            assert!(reader.bytes == model, "{} of {} bytes", reader.bytes.len(), model.len());
        }
        assert_eq!(operator.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk(&model));
        let stats = operator.stats("");
        assert_eq!((stats["readers"], stats["waiters"], stats["drafts"]), (0, 0, 0), "{stats:?}");
        operator.number(&format!("CHATCACHE.DEL {Q}"));
    }
}

#[test]
fn a_waiter_without_stream_gets_the_whole_response_and_a_late_reader_the_rest() {
    let server = Server::start();
    let (mut holder, mut reader) = (server.raw(), server.raw());
    let token = begin(&mut holder, Q, b"Hello");
    let first = streamed(reader.say(&format!("CHATCACHE.FETCH {Q} STREAM")));
    let Streamed::Part { bytes, draft, next } = first else { panic!("{first:?}") };
    assert_eq!((bytes.as_slice(), next), (&b"Hello"[..], 5));
    busy_of(reader.say(&format!("CHATCACHE.FETCH {Q} STREAM FROM {draft} 5")));
    let mut whole = waiter(&server, Q);
    append(&mut holder, Q, b", world", &token);
    assert_eq!(holder.say(&format!("CHATCACHE.COMMIT {Q} PX 60000 COST 7 TOKEN {token}")), Raw::simple("OK"));
    assert_eq!(whole.read(), hit("Hello, world"));
    let from = |offset: i64| format!("CHATCACHE.FETCH {Q} STREAM FROM {draft} {offset}");
    assert_eq!(streamed(reader.say(&from(5))), Streamed::Rest { bytes: b", world".to_vec() });
    assert_eq!(streamed(reader.say(&from(12))), Streamed::Rest { bytes: Vec::new() });
    assert_eq!(streamed(reader.say(&from(13))), Streamed::Lost);
    assert_eq!(testkit::inspected(&mut reader, Q, "cost-ms"), 7);
}

#[test]
fn an_append_renews_the_lease_and_a_draft_has_a_longest_length() {
    let server = Server::start();
    let (mut holder, mut other) = (server.raw(), server.raw());
    let (token, _) = testkit::lease_of(holder.say(&format!("CHATCACHE.FETCH {Q} LEASE 60000")));
    other.ok("CONFIG SET chatcache.max-response-bytes 10");
    append(&mut holder, Q, b"12345", &token);
    assert!(matches!(append(&mut holder, Q, b"123456", &token), Raw::Error(_)));
    assert_eq!(append(&mut holder, Q, b"67890", &token), Raw::Int(10));
    assert_eq!(append(&mut holder, Q, b"x", &"0".repeat(32)), Raw::NullBulk);
    assert!(busy_of(other.say(&format!("CHATCACHE.FETCH {Q}"))) > 50_000);
    let stats = other.stats("");
    assert_eq!((stats["drafts"], stats["draft-bytes"]), (1, 10));
    holder.ok(&format!("CHATCACHE.COMMIT {Q} TOKEN {token}"));
    assert_eq!(other.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("1234567890"));
}

#[test]
fn wrong_names_and_offsets_are_lost_and_wrong_options_are_refused() {
    let server = Server::start();
    let (mut holder, mut con) = (server.raw(), server.raw());
    let token = begin(&mut holder, Q, b"Hello");
    for draft in [&*"0".repeat(32), "x", &token] {
        let reply = con.say(&format!("CHATCACHE.FETCH {Q} STREAM FROM {draft} 0 WAIT 1000"));
        assert_eq!(streamed(reply), Streamed::Lost, "{draft}");
    }
    for options in
        ["FROM x 0", "STREAM FROM x", "STREAM FROM x y", "STREAM FROM x -1", "STREAM REFRESH FROM x 0"]
    {
        let reply = con.say(&format!("CHATCACHE.FETCH {Q} {options}"));
        assert!(matches!(reply, Raw::Error(_)), "{options}: {reply:?}");
    }
    let free = "response ann bot free";
    let token = lease(&mut con, free);
    let reply = con.say(&format!("CHATCACHE.COMMIT {free} TOKEN {token}"));
    assert_eq!(reply, Raw::Error("ERR the lease has no draft: APPEND a piece before COMMIT".to_owned()));
    assert_eq!(con.say(&format!("CHATCACHE.COMMIT {free} TOKEN x")), Raw::NullBulk);
}

#[test]
fn a_reader_that_is_unblocked_or_waits_too_long_is_told_busy() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    begin(&mut holder, Q, b"Hello");
    let mut reader = server.raw();
    let first = streamed(reader.say(&format!("CHATCACHE.FETCH {Q} STREAM")));
    let Streamed::Part { draft, .. } = first else { panic!("{first:?}") };
    let from = format!("CHATCACHE.FETCH {Q} STREAM FROM {draft} 5 WAIT");
    busy_of(reader.say(&format!("{from} 50")));
    let id = reader.number("CLIENT ID");
    reader.send(&testkit::words(&format!("{from} 60000")));
    eventually(|| operator.stats("")["readers"] == 1);
    assert_eq!(operator.number(&format!("CLIENT UNBLOCK {id}")), 1);
    busy_of(reader.read());
    assert_eq!(operator.stats("")["readers"], 0);
}
