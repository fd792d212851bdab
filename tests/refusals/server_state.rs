//! Refusals by the state of the server: another type under the key, no memory, a master, no data yet.

use testkit::{Raw, Server, eventually, replica_caught_up};

use super::witness::{Witness, state};

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn a_key_that_holds_something_else_is_left_alone() {
    let mut witness = Witness::start();
    for (tier, holder) in [
        ("msg", "SET KEY string"),
        ("persona", "RPUSH KEY element"),
        ("session", "HSET KEY field value"),
        ("response", "SADD KEY member"),
    ] {
        let request = format!("{tier} ann helper taken");
        let key = witness.con.text(&format!("CHATCACHE.KEY {request}"));
        let reply = witness.con.say(&holder.replace("KEY", &key));
        assert!(!matches!(reply, Raw::Error(_)), "{holder}: {reply:?}");
        for line in [
            format!("CHATCACHE.GET {request}"),
            "CHATCACHE.GET any ann helper taken".to_owned(),
            format!("CHATCACHE.SET {request} answer"),
            format!("CHATCACHE.SET {request} answer NX"),
            format!("CHATCACHE.SET {request} answer XX KEEPTTL"),
            format!("CHATCACHE.DEL {request}"),
            format!("CHATCACHE.INSPECT {request}"),
        ] {
            witness.refuses_line(&line, WRONG_TYPE);
        }
        assert_eq!(witness.con.say(&format!("CHATCACHE.KEY {request}")), Raw::bulk(&key));
        assert_eq!(witness.con.number("CHATCACHE.INVALIDATE helper"), if tier == "msg" { 1 } else { 0 });
        assert_eq!(witness.con.number(&format!("DEL {key}")), 1, "a drop deletes no key that is not ours");
    }
    // Any is done as soon as it has a reply.
    let mut con = witness.server.raw();
    con.ok("CHATCACHE.SET session ann helper hello narrow");
    con.ok("SET msg:5d41402abc4b2a76b9719d911017c592 string");
    assert_eq!(con.say("CHATCACHE.GET any ann helper hello"), Raw::bulk("narrow"));
}

#[test]
fn a_full_server_refuses_set_and_still_gets_and_invalidates() {
    let mut witness = Witness::of(Server::builder().config("maxmemory-policy noeviction"));
    witness.con.ok("CONFIG SET maxmemory 1");
    for line in [
        "CHATCACHE.SET msg ann helper hello other",
        "CHATCACHE.SET msg ann helper hello other XX KEEPTTL",
        "CHATCACHE.SET session bob coder bye answer NX",
    ] {
        witness.refuses_line(line, "OOM command not allowed when used memory > 'maxmemory'.");
    }
    assert_eq!(witness.con.say("CHATCACHE.GET any ann helper hello"), Raw::bulk("answer"));
    assert!(matches!(witness.con.say("CHATCACHE.INSPECT msg ann helper hello"), Raw::Array(_)));
    assert_eq!(witness.con.number("CHATCACHE.DEL msg ann helper bye"), 0);
    assert_eq!(witness.con.number("CHATCACHE.INVALIDATE helper"), 1);
    assert_eq!(witness.con.number("CHATCACHE.FORGET ann"), 0);
    assert_eq!(witness.con.number("CHATCACHE.FLUSH"), 0);
}

#[test]
fn a_replica_serves_reads_and_refuses_every_write() {
    let witness = Witness::start();
    let replica = Server::builder().replica_of(&witness.server).start();
    replica_caught_up(&witness.server, &replica);
    let mut con = replica.raw();
    eventually(|| con.say("CHATCACHE.GET any ann helper hello") == Raw::bulk("answer"));
    let before = state(&mut con);
    for line in [
        "CHATCACHE.SET msg ann helper hello other",
        "CHATCACHE.SET msg ann helper new answer NX",
        "CHATCACHE.DEL msg ann helper hello",
        "CHATCACHE.INVALIDATE helper",
        "CHATCACHE.INVALIDATE ghost",
        "CHATCACHE.FORGET ann",
        "CHATCACHE.FLUSH",
        "CHATCACHE.FLUSH session",
    ] {
        let reply = con.say(line);
        assert_eq!(
            reply,
            Raw::Error("READONLY You can't write against a read only replica.".to_owned()),
            "{line}"
        );
    }
    assert_eq!(state(&mut con), before);
    for line in [
        "KEY msg ann helper hello",
        "INSPECT msg ann helper hello",
        "PERSONAS",
        "STATS",
        "STATS helper",
        "HELP",
    ] {
        let reply = con.say(&format!("CHATCACHE.{line}"));
        assert!(!matches!(reply, Raw::Error(_)), "{line}: {reply:?}");
    }
}

#[test]
fn a_replica_refuses_a_lease_and_serves_fetch_from_its_entries() {
    let witness = Witness::start();
    let replica = Server::builder().replica_of(&witness.server).start();
    replica_caught_up(&witness.server, &replica);
    let mut con = replica.raw();
    assert_eq!(
        con.say("CHATCACHE.FETCH msg ann helper unseen WAIT 60000"),
        Raw::Error(
            "READONLY You can't compute a response for a read only replica: ask the master for a lease"
                .to_owned()
        )
    );
    assert_eq!(con.say("CHATCACHE.FETCH msg ann helper hello"), testkit::hit("answer"));
    assert_eq!(con.stats("")["leases"], 0);
}

#[test]
fn a_replica_that_has_lost_its_master_and_may_not_serve_old_data_only_helps() {
    let server = Server::builder().config("replica-serve-stale-data no").start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    con.ok("REPLICAOF 127.0.0.1 1");
    for line in [
        "GET msg ann helper hello",
        "INSPECT msg ann helper hello",
        "KEY msg ann helper hello",
        "STATS",
        "PERSONAS",
    ] {
        match con.say(&format!("CHATCACHE.{line}")) {
            Raw::Error(text) => assert!(text.starts_with("MASTERDOWN "), "{line}: {text}"),
            other => panic!("{line} gave {other:?}"),
        }
    }
    assert!(matches!(con.say("CHATCACHE.HELP"), Raw::Array(_)));
}

#[test]
fn a_server_that_loads_its_data_only_helps() {
    let server = Server::builder().config("loading-process-events-interval-bytes 1024").start();
    let (mut con, mut loader) = (server.raw(), server.raw());
    let response = "x".repeat(2_000);
    for n in 0..100 {
        con.ok(&format!("CHATCACHE.SET response ann helper m-{n} {response}"));
    }
    // Each key takes 10 ms to load.
    con.ok("CONFIG SET key-load-delay 10000");
    loader.send(&["DEBUG", "RELOAD"]);
    eventually(|| matches!(con.say("PING"), Raw::Error(text) if text.starts_with("LOADING ")));
    for line in [
        "GET response ann helper m-1",
        "SET msg ann helper hello answer",
        "DEL response ann helper m-1",
        "KEY msg ann helper hello",
        "INSPECT response ann helper m-1",
        "INVALIDATE helper",
        "FORGET ann",
        "FLUSH",
        "PERSONAS",
        "STATS",
    ] {
        match con.say(&format!("CHATCACHE.{line}")) {
            Raw::Error(text) => assert!(text.starts_with("LOADING "), "{line}: {text}"),
            other => panic!("{line} gave {other:?}"),
        }
    }
    assert!(matches!(con.say("CHATCACHE.HELP"), Raw::Array(_)));
    assert_eq!(loader.read(), Raw::simple("OK"));
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 100);
}
