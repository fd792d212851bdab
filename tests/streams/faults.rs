//! Drafts on a server without memory, of a process that is killed, in an RDB file, and of a slot that moves.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Streamed, append, begin, streamed};
use testkit::{
    Cluster, Q, Raw, RawClient, Server, eventually, eventually_within, info_field, patient, slot_of, words,
};

const PIECE: usize = 256 * 1024;

fn is_oom(reply: &Raw) -> bool {
    matches!(reply, Raw::Error(text) if text.starts_with("OOM"))
}

#[test]
fn a_server_without_memory_refuses_append_and_the_draft_goes_on_when_it_has_some() {
    let server = Server::start();
    let (mut holder, mut reader) = (server.raw(), server.raw());
    let mut model = vec![b'a'; PIECE];
    let token = begin(&mut holder, Q, &model);
    let used: usize =
        info_field(&mut server.connect(), "memory", "used_memory").parse().expect("a number of bytes");
    holder.ok(&format!("CONFIG SET maxmemory {}", used + 8 * PIECE));
    // The pieces count as memory: eight do not fit.
    let refused = (0..64).find(|_| {
        let reply = append(&mut holder, Q, &vec![b'b'; PIECE], &token);
        if reply == Raw::Int((model.len() + PIECE) as i64) {
            model.extend(vec![b'b'; PIECE]);
        } else {
            assert!(is_oom(&reply), "{reply:?}");
        }
        is_oom(&reply)
    });
    assert!(refused.is_some_and(|piece| piece <= 8), "the limit holds after {refused:?} pieces");
    let commit = format!("CHATCACHE.COMMIT {Q} TOKEN {token}");
    holder.ok("CONFIG SET maxmemory 1");
    assert!(is_oom(&holder.say(&commit)));
    // A part is a read: readers go on.
    let first = streamed(reader.say(&format!("CHATCACHE.FETCH {Q} STREAM")));
    let Streamed::Part { bytes, draft, next } = first else { panic!("{first:?}") };
    assert!(bytes == model && next as usize == model.len());
    holder.ok("CONFIG SET maxmemory 0");
    reader.send(&words(&format!("CHATCACHE.FETCH {Q} STREAM FROM {draft} {next} WAIT 60000")));
    assert_eq!(append(&mut holder, Q, b"end", &token), Raw::Int(next + 3));
    model.extend(b"end");
    let Streamed::Part { bytes, .. } = streamed(reader.read()) else { panic!("no part") };
    assert_eq!(bytes, b"end");
    holder.ok(&commit);
    assert_eq!(reader.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk(&model));
}

/// A process that holds a lease.
struct Holder {
    process: Child,
    token: String,
}

impl Holder {
    fn start(server: &Server) -> Holder {
        let mut process = Command::new("redis-cli")
            .args(["-p", &server.port().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run redis-cli");
        let stdin = process.stdin.as_mut().expect("its input");
        writeln!(stdin, "CHATCACHE.FETCH {Q} LEASE 600000").expect("write to redis-cli");
        let mut lines = BufReader::new(process.stdout.as_mut().expect("its output")).lines();
        let mut line = || lines.next().expect("a line of redis-cli").expect("a line of text");
        let (state, _response, token) = (line(), line(), line());
        assert_eq!((state.as_str(), token.len()), ("lease", 32));
        Holder { process, token }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It is killed already, unless the test failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn readers_of_a_holder_whose_process_is_killed_hear_that_the_draft_is_lost() {
    let server = Server::start();
    let mut operator = server.raw();
    let mut holder = Holder::start(&server);
    append(&mut operator, Q, b"Hello", &holder.token);
    let mut readers = super::endings::readers(&server, 50);
    holder.process.kill().expect("kill -9");
    let killed = Instant::now();
    for reader in &mut readers {
        assert_eq!(streamed(reader.read()), Streamed::Lost);
    }
    assert!(killed.elapsed() < patient(Duration::from_millis(500)), "{:?}", killed.elapsed());
    // One of them computes it now.
    let again: Vec<_> = readers
        .iter_mut()
        .map(|reader| streamed(reader.say(&format!("CHATCACHE.FETCH {Q} STREAM"))))
        .collect();
    assert_eq!(again.iter().filter(|reply| matches!(reply, Streamed::Lease { .. })).count(), 1, "{again:?}");
}

#[test]
fn nothing_of_a_draft_is_in_an_rdb_file_or_in_dbsize() {
    let mut server = Server::start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET response ann bot stored response PX 600000");
    let growing = begin(&mut con, Q, b"secret-of-the-growing-draft");
    let committed = "response ann bot committed";
    let token = begin(&mut con, committed, b"secret-of-the-committed-draft");
    let first = streamed(con.say(&format!("CHATCACHE.FETCH {committed} STREAM")));
    let Streamed::Part { draft, .. } = first else { panic!("{first:?}") };
    assert_eq!(con.number("DBSIZE"), 1);
    con.ok(&format!("CHATCACHE.COMMIT {committed} PX 600000 TOKEN {token}"));
    assert_eq!(con.number("DBSIZE"), 2);
    // The response goes, and the committed draft is still remembered.
    assert_eq!(
        streamed(con.say(&format!("CHATCACHE.FETCH {committed} STREAM FROM {draft} 0"))),
        Streamed::Rest { bytes: b"secret-of-the-committed-draft".to_vec() }
    );
    con.ok("SAVE");
    let file = std::fs::read(server.dir().join("dump.rdb")).expect("the RDB file");
    let has = |text: &[u8]| file.windows(text.len()).any(|window| window == text);
    assert!(!has(b"growing-draft") && has(b"secret-of-the-committed-draft"));
    server.restart();
    let mut con = server.raw();
    assert_eq!(con.number("DBSIZE"), 2);
    let stats = con.stats("");
    assert_eq!((stats["drafts"], stats["draft-bytes"], stats["entries"]), (0, 0, 2), "{stats:?}");
    let late = con.say(&format!("CHATCACHE.COMMIT {Q} TOKEN {growing}"));
    assert_eq!(late, Raw::NullBulk);
    let from = con.say(&format!("CHATCACHE.FETCH {committed} STREAM FROM {draft} 0"));
    assert_eq!(streamed(from), Streamed::Lost);
    assert_eq!(con.say(&format!("CHATCACHE.GET {committed}")), Raw::bulk("secret-of-the-committed-draft"));
}

#[test]
fn a_reader_of_another_draft_than_the_committed_one_hears_lost() {
    let server = Server::start();
    let (mut admin, mut cy) = (server.raw(), server.raw());
    // The tier msg is shared by all personas; cy may see one of them, so its lease is another.
    let request = "msg ann bot hi";
    admin.ok("ACL SETUSER cy on nopass ~bot +@all");
    cy.ok("AUTH cy x");
    begin(&mut admin, request, b"half of the fir");
    let token = begin(&mut cy, request, b"the second draft");
    let mut reader = server.raw();
    let first = streamed(reader.say(&format!("CHATCACHE.FETCH {request} STREAM")));
    let Streamed::Part { bytes, draft, .. } = first else { panic!("{first:?}") };
    assert_eq!(bytes, b"half of the fir");
    reader.send(&words(&format!("CHATCACHE.FETCH {request} STREAM FROM {draft} 15 WAIT 60000")));
    eventually(|| admin.stats("")["readers"] == 1);
    cy.ok(&format!("CHATCACHE.COMMIT {request} TOKEN {token}"));
    assert_eq!(streamed(reader.read()), Streamed::Lost);
    let again = streamed(reader.say(&format!("CHATCACHE.FETCH {request} STREAM")));
    assert_eq!(again, Streamed::Hit { bytes: b"the second draft".to_vec() });
}

#[test]
fn a_late_reader_gets_the_rest_from_a_holder_that_has_hung_up() {
    let server = Server::start();
    let (mut holder, mut reader) = (server.raw(), server.raw());
    let token = begin(&mut holder, Q, b"Hello");
    let first = streamed(reader.say(&format!("CHATCACHE.FETCH {Q} STREAM")));
    let Streamed::Part { draft, .. } = first else { panic!("{first:?}") };
    append(&mut holder, Q, b", world", &token);
    holder.ok(&format!("CHATCACHE.COMMIT {Q} TOKEN {token}"));
    drop(holder);
    eventually(|| testkit::info_field(&mut server.connect(), "clients", "connected_clients") == "2");
    let rest = streamed(reader.say(&format!("CHATCACHE.FETCH {Q} STREAM FROM {draft} 5")));
    assert_eq!(rest, Streamed::Rest { bytes: b", world".to_vec() });
}

#[test]
fn a_tracker_that_reads_along_hears_when_commit_stores_over_what_it_had() {
    let server = Server::start();
    let (mut holder, mut con) = (server.raw(), server.raw());
    let mut tracker = server.raw().resp3();
    tracker.ok("CLIENT TRACKING ON");
    con.ok(&testkit::set_line(Q, "old", "PX 1 STALE 600000"));
    eventually(|| con.say(&format!("CHATCACHE.GET {Q}")) == Raw::NullBulk);
    let (_, token) = testkit::refresh_of(holder.say(&format!("CHATCACHE.FETCH {Q}")));
    assert_eq!(append(&mut holder, Q, b"new", &token), Raw::Int(3));
    tracker.send(&words(&format!("CHATCACHE.FETCH {Q} STREAM REFRESH")));
    let Raw::Array(part) = tracker.read() else { panic!("no part") };
    assert_eq!((&part[0], &part[1]), (&Raw::bulk("part"), &Raw::bulk("new")));
    holder.ok(&format!("CHATCACHE.COMMIT {Q} TOKEN {token}"));
    let push = tracker.read();
    let told = Raw::Push(vec![Raw::bulk("invalidate"), Raw::Array(vec![Raw::bulk("bot")])]);
    assert_eq!(push, told);
}

#[test]
fn a_draft_stays_behind_when_its_slot_moves() {
    let cluster = Cluster::start(2, 0);
    let persona = cluster.persona_of(0, "helper");
    let request = format!("response ann {persona} hi");
    let (mut holder, mut reader) = (cluster.node(0).raw(), cluster.node(0).raw());
    let (token, _) = testkit::lease_of(holder.say(&format!("CHATCACHE.FETCH {request} LEASE 2000")));
    assert_eq!(append(&mut holder, &request, b"Hello", &token), Raw::Int(5));
    let first = streamed(reader.say(&format!("CHATCACHE.FETCH {request} STREAM")));
    let Streamed::Part { draft, .. } = first else { panic!("{first:?}") };
    let from = format!("CHATCACHE.FETCH {request} STREAM FROM {draft} 5 WAIT 60000");
    let mut waits = cluster.node(0).raw();
    waits.send(&words(&from));
    eventually(|| reader.stats("")["readers"] == 1);
    let slot = slot_of(&mut cluster.node(0).connect(), persona.as_bytes());
    cluster.open_slot(slot, 0, 1);
    // Holder and readers are sent to the target, which knows no such draft.
    let is_asked = |reply: Raw| matches!(reply, Raw::Error(text) if text.starts_with("ASK "));
    assert!(is_asked(append(&mut holder, &request, b", world", &token)));
    assert!(is_asked(reader.say(&from)));
    let mut target = cluster.node(1).raw();
    let asking = |target: &mut RawClient| target.ok("ASKING");
    asking(&mut target);
    assert_eq!(append(&mut target, &request, b", world", &token), Raw::NullBulk);
    asking(&mut target);
    assert_eq!(target.say(&format!("CHATCACHE.COMMIT {request} TOKEN {token}")), Raw::NullBulk);
    asking(&mut target);
    assert_eq!(streamed(target.say(&from)), Streamed::Lost);
    asking(&mut target);
    let (token, _) = testkit::lease_of(target.say(&format!("CHATCACHE.FETCH {request} STREAM LEASE 60000")));
    // A reader that waits at the source hears of the end when the lease runs out there.
    assert_eq!(streamed(waits.read()), Streamed::Lost);
    cluster.give_slot(slot, 1);
    let mut target = cluster.node(1).raw();
    eventually_within(Duration::from_secs(20), || {
        append(&mut target, &request, b"Hello", &token) == Raw::Int(5)
    });
    target.ok(&format!("CHATCACHE.COMMIT {request} TOKEN {token}"));
    assert_eq!(target.say(&format!("CHATCACHE.GET {request}")), Raw::bulk("Hello"));
    assert_eq!(cluster.node(0).raw().stats("")["draft-bytes"], 0);
}
