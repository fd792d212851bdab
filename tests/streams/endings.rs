//! The ends of a draft: every reader is told, and nothing of a draft is in the data.

use std::time::{Duration, Instant};

use super::{Streamed, append, begin, streamed};
use testkit::{Q, Raw, RawClient, Server, eventually, patient, replica_caught_up, set_line};

/// Readers that have all of the draft and wait for more.
pub(super) fn readers(server: &Server, count: usize) -> Vec<RawClient> {
    let mut operator = server.raw();
    let readers = (0..count)
        .map(|_| {
            let mut con = server.raw();
            let first = streamed(con.say(&format!("CHATCACHE.FETCH {Q} STREAM")));
            let Streamed::Part { draft, next, .. } = first else { panic!("{first:?}") };
            con.send(&testkit::words(&format!("CHATCACHE.FETCH {Q} STREAM FROM {draft} {next} WAIT 60000")));
            con
        })
        .collect();
    eventually(|| operator.stats("")["readers"] == count as i64);
    readers
}

#[test]
fn every_end_of_a_draft_tells_every_reader_that_it_is_lost() {
    let server = Server::start();
    let mut operator = server.raw();
    for end in [
        "RELEASE",
        "connection",
        "lease",
        "CHATCACHE.INVALIDATE bot",
        "CHATCACHE.SOFTINVALIDATE bot",
        "CHATCACHE.FORGET ann",
        "CHATCACHE.FLUSH response",
        "FLUSHDB",
        "FLUSHALL ASYNC",
        "CHATCACHE.DEL response ann bot hi",
        "CHATCACHE.SET response ann bot hi another",
    ] {
        let mut holder = server.raw();
        let lease_ms = if end == "lease" { 300 } else { 60_000 };
        let (token, _) = testkit::lease_of(holder.say(&format!("CHATCACHE.FETCH {Q} LEASE {lease_ms}")));
        append(&mut holder, Q, b"Hello", &token);
        let mut readers = readers(&server, 20);
        let begun = Instant::now();
        match end {
            "RELEASE" => {
                operator.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}"));
            }
            "connection" => drop(holder),
            "lease" => {}
            command => {
                operator.say(command);
            }
        }
        for reader in &mut readers {
            assert_eq!(streamed(reader.read()), Streamed::Lost, "{end}");
        }
        let within = Duration::from_millis(500 + if end == "lease" { 300 } else { 0 });
        assert!(begun.elapsed() < patient(within), "{end}: {:?}", begun.elapsed());
        let late = operator.say(&format!("CHATCACHE.COMMIT {Q} TOKEN {token}"));
        assert_eq!(late, Raw::NullBulk, "{end}");
        let stats = operator.stats("");
        assert_eq!((stats["drafts"], stats["draft-bytes"], stats["readers"]), (0, 0, 0), "{end}: {stats:?}");
        operator.say(&format!("CHATCACHE.DEL {Q}"));
    }
}

#[test]
fn a_set_with_the_token_ends_the_draft_and_its_readers_ask_again() {
    let server = Server::start();
    let mut holder = server.raw();
    let token = begin(&mut holder, Q, b"Hello");
    let mut readers = readers(&server, 3);
    holder.ok(&set_line(Q, "other", &format!("TOKEN {token}")));
    for reader in &mut readers {
        assert_eq!(streamed(reader.read()), Streamed::Lost);
        let again = streamed(reader.say(&format!("CHATCACHE.FETCH {Q} STREAM")));
        assert_eq!(again, Streamed::Hit { bytes: b"other".to_vec() });
    }
}

#[test]
fn an_invalidation_after_the_commit_forgets_the_rest() {
    let server = Server::start();
    let (mut holder, mut reader) = (server.raw(), server.raw());
    let token = begin(&mut holder, Q, b"Hello");
    let first = streamed(reader.say(&format!("CHATCACHE.FETCH {Q} STREAM")));
    let Streamed::Part { draft, .. } = first else { panic!("{first:?}") };
    holder.ok(&format!("CHATCACHE.COMMIT {Q} TOKEN {token}"));
    let from = format!("CHATCACHE.FETCH {Q} STREAM FROM {draft} 5");
    assert_eq!(streamed(reader.say(&from)), Streamed::Rest { bytes: Vec::new() });
    holder.number("CHATCACHE.INVALIDATE bot");
    assert_eq!(streamed(reader.say(&from)), Streamed::Lost);
}

#[test]
fn nothing_of_a_draft_is_in_replication_the_aof_the_rdb_or_dbsize() {
    let mut master = Server::builder().appendonly().start();
    let replica = Server::builder().replica_of(&master).start();
    let (mut holder, mut copy) = (master.raw(), replica.raw());
    replica_caught_up(&master, &replica);
    let token = begin(&mut holder, Q, b"secret-of-the-draft");
    assert_eq!(holder.number("DBSIZE"), 0);
    replica_caught_up(&master, &replica);
    assert_eq!(copy.number("DBSIZE"), 0);
    for command in ["APPEND", "COMMIT"] {
        let piece = if command == "APPEND" { " x" } else { "" };
        let reply = copy.say(&format!("CHATCACHE.{command} {Q}{piece} TOKEN {token}"));
        assert!(matches!(&reply, Raw::Error(text) if text.starts_with("READONLY")), "{reply:?}");
    }
    let aof = |server: &Server| {
        let files = std::fs::read_dir(server.dir().join("appendonlydir")).expect("the AOF");
        files
            .map(|file| std::fs::read(file.expect("a file").path()).expect("read"))
            .collect::<Vec<_>>()
            .concat()
    };
    let has = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(!has(&aof(&master), b"secret-of-the-draft"));
    holder.ok(&format!("CHATCACHE.COMMIT {Q} PX 600000 TOKEN {token}"));
    replica_caught_up(&master, &replica);
    assert_eq!(copy.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("secret-of-the-draft"));
    let written = aof(&master);
    assert!(has(&written, b"CHATCACHE.SET") && !has(&written, b"COMMIT") && !has(&written, b"APPEND"));
    // A draft that grows while the server is killed is gone.
    let token = begin(&mut holder, "response ann bot bye", b"half");
    master.kill9();
    master.start_again();
    let mut con = master.raw();
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("secret-of-the-draft"));
    let late = con.say(&format!("CHATCACHE.COMMIT response ann bot bye TOKEN {token}"));
    assert_eq!(late, Raw::NullBulk);
}

#[test]
fn rights_are_asked_again_at_every_part() {
    let server = Server::start();
    let mut admin = server.raw();
    admin.ok("ACL SETUSER cy on nopass ~bot +chatcache.fetch +ping");
    let token = begin(&mut admin, Q, b"Hello");
    let mut cy = server.raw();
    cy.ok("AUTH cy x");
    let first = streamed(cy.say(&format!("CHATCACHE.FETCH {Q} STREAM")));
    let Streamed::Part { draft, .. } = first else { panic!("{first:?}") };
    cy.send(&testkit::words(&format!("CHATCACHE.FETCH {Q} STREAM FROM {draft} 5 WAIT 60000")));
    eventually(|| admin.stats("")["readers"] == 1);
    admin.ok("ACL SETUSER cy resetkeys ~other");
    append(&mut admin, Q, b", world", &token);
    assert_eq!(streamed(cy.read()), Streamed::Lost);
    assert!(matches!(append(&mut cy, Q, b"x", &token), Raw::Error(text) if text.starts_with("NOPERM")));
}

#[test]
fn in_multi_and_lua_a_reader_never_blocks() {
    let server = Server::start();
    let (mut holder, mut con) = (server.raw(), server.raw());
    begin(&mut holder, Q, b"Hello");
    let first = streamed(con.say(&format!("CHATCACHE.FETCH {Q} STREAM")));
    let Streamed::Part { draft, .. } = first else { panic!("{first:?}") };
    let fetch = format!("CHATCACHE.FETCH {Q} STREAM FROM {draft} 5 WAIT 60000");
    assert_eq!(streamed(con.transaction(&[&fetch]).remove(0)), Streamed::Busy);
    let script = "return redis.call(unpack(ARGV))";
    let mut words = vec!["EVAL", script, "1", "bot"];
    words.extend(fetch.split(' '));
    assert_eq!(streamed(con.call(&words)), Streamed::Busy);
}
