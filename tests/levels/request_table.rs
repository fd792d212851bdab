//! Reads without a key: what they leave to be seen, and what they take.

use std::thread;
use std::time::{Duration, Instant};

use testkit::{
    Raw, RawClient, Server, args, eventually, fill_persona, info_field, replica_caught_up,
    skipped_without_defragmentation,
};

const ASK: &str = "response ann helper hello";

fn keyspace_hits(server: &Server) -> u64 {
    info_field(&mut server.connect(), "stats", "keyspace_hits").parse().expect("a number")
}

/// Returns the number of keys that the server opened while a response was requested all the time.
fn opened_in(server: &Server, con: &mut RawClient, time: Duration) -> u64 {
    let (before, started) = (keyspace_hits(server), Instant::now());
    while started.elapsed() < time {
        assert_eq!(con.say(&format!("CHATCACHE.GET {ASK}")), Raw::bulk("answer"));
        thread::sleep(Duration::from_millis(1));
    }
    keyspace_hits(server) - before
}

#[test]
fn a_response_s_key_is_opened_once_a_second_while_the_server_may_evict_it() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok(&format!("CHATCACHE.SET {ASK} answer"));
    opened_in(&server, &mut con, Duration::from_millis(100));
    assert!(opened_in(&server, &mut con, Duration::from_millis(2500)) <= 1);
    for line in ["CONFIG SET maxmemory 1gb", "CONFIG SET maxmemory-policy allkeys-lru"] {
        con.ok(line);
    }
    let opened = opened_in(&server, &mut con, Duration::from_millis(4500));
    assert!((3..=6).contains(&opened), "{opened}");
    con.ok("CONFIG SET maxmemory-policy noeviction");
    opened_in(&server, &mut con, Duration::from_millis(1100));
    assert!(opened_in(&server, &mut con, Duration::from_millis(2500)) <= 1);
}

#[test]
fn a_response_s_key_is_opened_as_often_as_the_setting_says() {
    let server = Server::builder().config("chatcache.key-check-s 0").start();
    let mut con = server.raw();
    con.ok(&format!("CHATCACHE.SET {ASK} answer"));
    let opened_by_ten = |con: &mut RawClient| {
        let before = keyspace_hits(&server);
        (0..10).for_each(|_| _ = con.say(&format!("CHATCACHE.GET {ASK}")));
        keyspace_hits(&server) - before
    };
    assert_eq!(opened_by_ten(&mut con), 10);
    con.ok("CONFIG SET chatcache.key-check-s 60");
    eventually(|| opened_by_ten(&mut con) == 0);
    con.ok("CONFIG SET chatcache.key-check-s 0");
    assert_eq!(opened_by_ten(&mut con), 10);
    // With two seconds it is opened at most twice in three, at the begin and after two.
    con.ok("CONFIG SET chatcache.key-check-s 2");
    assert!((1..=2).contains(&opened_in(&server, &mut con, Duration::from_millis(3500))));
}

#[test]
fn a_frequency_of_the_server_s_own_counts_the_hits_without_a_key() {
    let server = Server::builder().config("maxmemory-policy allkeys-lfu").config("maxmemory 1gb").start();
    let mut con = server.raw();
    for message in ["hello", "idle"] {
        con.ok(&format!("CHATCACHE.SET response ann helper {message} answer"));
    }
    let key = con.text(&format!("CHATCACHE.KEY {ASK}"));
    let fresh = con.number(&format!("OBJECT FREQ {key}"));
    // A key that is opened at every hit would come so far too.
    eventually(|| {
        (0..500).for_each(|_| _ = con.say(&format!("CHATCACHE.GET {ASK}")));
        con.number(&format!("OBJECT FREQ {key}")) > fresh + 10
    });
    let idle = con.text("CHATCACHE.KEY response ann helper idle");
    assert_eq!(con.number(&format!("OBJECT FREQ {idle}")), fresh);
}

#[test]
fn the_table_holds_each_entry_once_and_gives_its_memory_back() {
    let server = Server::builder().config("chatcache.l1-max-bytes 100kb").start();
    let mut con = server.raw();
    fill_persona(&mut con, "ann", "helper", 5000, 300);
    assert_eq!(con.stats("")["request-table-entries"], 0, "what was not read takes nothing");
    let get = |persona: &str, n: usize| {
        ["CHATCACHE.GET", "response", "ann", persona, &format!("m-{n}")].map(str::to_owned).to_vec()
    };
    let all: Vec<_> = (0..5000).map(|n| get("helper", n)).collect();
    for _ in 0..3 {
        con.pipeline(&all);
        // Misses take no place.
        con.pipeline(&(0..5000).map(|n| get("ghost", n)).collect::<Vec<_>>());
    }
    let full = con.stats("");
    assert_eq!(full["request-table-entries"], 5000);
    assert!(full["request-table-bytes"] <= 5000 * 50, "{full:?}");
    let key = |con: &mut RawClient, n: usize| con.text(&format!("CHATCACHE.KEY response ann helper m-{n}"));
    for n in 0..4900 {
        let key = key(&mut con, n);
        match n % 3 {
            0 => con.say(&format!("UNLINK {key}")),
            1 => con.say(&format!("PEXPIREAT {key} 1")),
            _ => con.say(&format!("RENAME {key} other-{n}")),
        };
    }
    let few = con.stats("");
    assert_eq!(few["request-table-entries"], 100);
    assert!(few["request-table-bytes"] < full["request-table-bytes"] / 3, "{few:?}");
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 100 + 4900 / 3);
    eventually(|| con.stats("")["pending-reclaim"] == 0);
    let empty = con.stats("");
    assert_eq!((empty["request-table-entries"], empty["l1-entries"]), (0, 0));
}

#[test]
fn a_compressed_response_is_the_same_with_and_without_its_key() {
    let server = Server::builder().config("chatcache.l1-max-bytes 0").start();
    let mut con = server.raw();
    let answer = "the same words again and again, ".repeat(40);
    assert_eq!(
        con.call(&args!["CHATCACHE.SET", "response", "ann", "helper", "hello", &answer]),
        Raw::simple("OK")
    );
    let get = format!("CHATCACHE.GET {ASK}");
    assert_eq!(con.say(&get), Raw::bulk(&answer), "raw, from the key");
    assert_eq!(con.say(&get), Raw::bulk(&answer), "raw, without the key");
    eventually(|| con.stats("")["compressed"] == 1);
    assert_eq!(con.say(&get), Raw::bulk(&answer), "compressed, without the key");
    let key = con.text(&format!("CHATCACHE.KEY {ASK}"));
    assert_eq!(con.number(&format!("EXPIRE {key} 1000")), 1);
    assert_eq!(con.say(&get), Raw::bulk(&answer), "compressed, from the key");
    let inspected = testkit::fields(con.say(&format!("CHATCACHE.INSPECT {ASK}")));
    assert_eq!(inspected["hits"], Raw::Int(4));
    assert_eq!(con.stats("")["hits-l1"], 0);
}

#[test]
fn defragmentation_moves_responses_that_the_table_shares() {
    let server = Server::builder().config("chatcache.l1-max-bytes 100kb").start();
    let mut con = server.raw();
    if skipped_without_defragmentation(&mut con) {
        return;
    }
    con.ok("CONFIG SET activedefrag no");
    fill_persona(&mut con, "ann", "helper", 40_000, 200);
    let get = |n: usize| {
        ["CHATCACHE.GET", "response", "ann", "helper", &format!("m-{n}")].map(str::to_owned).to_vec()
    };
    let half: Vec<_> = (0..40_000).step_by(2).map(get).collect();
    con.pipeline(&half);
    let gone: Vec<Vec<String>> = (0..40_000)
        .filter(|n| n % 10 > 1)
        .map(|n| {
            ["CHATCACHE.DEL", "response", "ann", "helper", &format!("m-{n}")].map(str::to_owned).to_vec()
        })
        .collect();
    con.pipeline(&gone);
    let read = con.stats("")["request-table-entries"];
    for line in ["active-defrag-ignore-bytes 1", "active-defrag-threshold-lower 1", "activedefrag yes"] {
        con.ok(&format!("CONFIG SET {line}"));
    }
    let moved = || info_field(&mut server.connect(), "stats", "active_defrag_hits").parse().unwrap_or(0u64);
    eventually(|| moved() > 8_000);
    assert_eq!(con.stats("")["request-table-entries"], read);
    let left: Vec<_> = (0..40_000).filter(|n| n % 10 <= 1).collect();
    for _ in 0..2 {
        let replies = con.pipeline(&left.iter().map(|n| get(*n)).collect::<Vec<_>>());
        for (n, reply) in left.iter().zip(replies) {
            assert!(matches!(reply, Raw::Bulk(bytes) if bytes.len() == 200), "m-{n}");
        }
    }
    con.ok("FLUSHALL");
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 0);
}

#[test]
fn a_response_that_a_writable_replica_expires_by_hand_is_gone_there() {
    let master = Server::start();
    let replica = Server::builder().replica_of(&master).config("replica-read-only no").start();
    let (mut con, mut reader) = (master.raw(), replica.raw());
    let get = format!("CHATCACHE.GET {ASK}");
    for _ in 0..5 {
        con.ok(&format!("CHATCACHE.SET {ASK} answer"));
        replica_caught_up(&master, &replica);
        for _ in 0..3 {
            assert_eq!(reader.say(&get), Raw::bulk("answer"));
        }
        let key = con.text(&format!("CHATCACHE.KEY {ASK}"));
        let fetch = format!("CHATCACHE.FETCH {ASK}");
        let replies = reader.transaction(&[&format!("PEXPIREAT {key} 1000"), &get, &fetch, &get]);
        assert_eq!([&replies[1], &replies[3]], [&Raw::NullBulk, &Raw::NullBulk]);
        assert!(matches!(replies[2], Raw::Error(_)), "a replica gives no lease: {replies:?}");
        assert_eq!(con.number(&format!("DEL {key}")), 1);
    }
    // Others are served without their keys as before, soon.
    con.ok(&format!("CHATCACHE.SET {ASK} answer"));
    replica_caught_up(&master, &replica);
    eventually(|| opened_in(&replica, &mut reader, Duration::from_millis(300)) == 0);
}

#[test]
fn the_most_requested_response_is_admitted_to_a_new_l1_soon() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok(&format!("CHATCACHE.SET {ASK} answer"));
    let get = |con: &mut RawClient, times: usize| {
        con.pipeline(&vec![vec!["CHATCACHE.GET", "response", "ann", "helper", "hello"]; times]);
    };
    get(&mut con, 500);
    assert!(con.stats("")["hits-l1"] > 480);
    con.ok("CONFIG SET chatcache.l1-max-bytes 32mb");
    eventually(|| con.stats("")["l1-entries"] == 0);
    let before = con.stats("")["hits-l1"];
    get(&mut con, 500);
    assert!(con.stats("")["hits-l1"] - before > 400, "{:?}", con.stats(""));
}
