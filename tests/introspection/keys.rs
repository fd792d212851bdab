//! An entry is a key like any other to the commands that look at keys.

use testkit::{Raw, Server, args, items, text_of, texts};

const KEY: &str = "msg:5d41402abc4b2a76b9719d911017c592";

fn server_with_a_response(size: usize) -> Server {
    let server = Server::start();
    let set = args!["CHATCACHE.SET", "msg", "ann", "helper", "hello", vec![b'x'; size]];
    assert_eq!(server.raw().call(&set), Raw::simple("OK"));
    server
}

#[test]
fn memory_usage_counts_the_response() {
    for size in [1, 100, 100_000, 5_000_000] {
        let server = server_with_a_response(size);
        let mut con = server.raw();
        let used = con.number(&format!("MEMORY USAGE {KEY}"));
        let size = size as i64;
        assert!((size..=size + 1_000).contains(&used), "{used} for {size} bytes");
        assert_eq!(con.number(&format!("MEMORY USAGE {KEY} SAMPLES 0")), used);
    }
}

#[test]
fn object_and_debug_look_at_an_entry() {
    let server = server_with_a_response(10);
    let mut con = server.raw();
    assert_eq!(con.say(&format!("TYPE {KEY}")), Raw::simple("chatcache"));
    assert_eq!(con.text(&format!("OBJECT ENCODING {KEY}")), "raw");
    assert_eq!(con.number(&format!("OBJECT REFCOUNT {KEY}")), 1);
    assert!(con.number(&format!("OBJECT IDLETIME {KEY}")) < 60);
    assert!(con.text(&format!("DEBUG OBJECT {KEY}")).starts_with("Value at:"));
    assert_eq!(con.number(&format!("EXISTS {KEY}")), 1);
    assert_eq!(con.number(&format!("TOUCH {KEY}")), 1);
    assert_eq!(con.text("RANDOMKEY"), KEY);
    match con.say(&format!("GET {KEY}")) {
        Raw::Error(text) => assert!(text.starts_with("WRONGTYPE "), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_a_requested_entry_counts_as_used() {
    let server = Server::builder().config("maxmemory-policy allkeys-lfu").config("lfu-log-factor 0").start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    let fresh = con.number(&format!("OBJECT FREQ {KEY}"));
    for _ in 0..10 {
        con.say("CHATCACHE.INSPECT msg ann helper hello");
        con.say("CHATCACHE.KEY msg ann helper hello");
        con.say("CHATCACHE.STATS helper");
        con.say("CHATCACHE.PERSONAS");
    }
    assert_eq!(con.number(&format!("OBJECT FREQ {KEY}")), fresh);
    // A read opens a key with a new TTL. EXPIRE counts as a use too.
    for _ in 0..5 {
        con.say(&format!("EXPIRE {KEY} 1000"));
        con.say("CHATCACHE.GET msg ann helper hello");
        con.say(&format!("EXPIRE {KEY} 1000"));
        con.say("CHATCACHE.GET any bob helper hello");
    }
    assert_eq!(con.number(&format!("OBJECT FREQ {KEY}")), fresh + 20);
}

#[test]
fn scan_finds_the_entries_among_other_keys() {
    let server = Server::start();
    let mut con = server.raw();
    let mut wanted: Vec<String> = Vec::new();
    for n in 0..30 {
        con.ok(&format!("SET plain-{n} string"));
        con.ok(&format!("CHATCACHE.SET persona ann helper m-{n} answer"));
        wanted.push(con.text(&format!("CHATCACHE.KEY persona ann helper m-{n}")));
    }
    let page = items(con.say("SCAN 0 COUNT 1000 TYPE chatcache"));
    assert_eq!(text_of(&page[0]), "0");
    let mut found = texts(page[1].clone());
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    let page = items(con.say("SCAN 0 COUNT 1000 MATCH persona:helper:*"));
    assert_eq!(items(page[1].clone()).len(), 30);
}

#[test]
fn the_digest_of_the_data_tells_entries_apart() {
    let server = Server::start();
    let mut con = server.raw();
    let mut digests = Vec::new();
    for line in [
        "SET msg ann helper hello answer",
        "SET msg ann helper hello another",
        "SET msg ann coder hello answer",
        "SET msg bob helper hello answer",
        "SET msg ann helper hello answer",
    ] {
        con.ok(&format!("CHATCACHE.{line} EX 100"));
        digests.push(texts(con.say(&format!("DEBUG DIGEST-VALUE {KEY}")))[0].clone());
    }
    assert_eq!(digests[0], digests[4], "the same answer");
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 4, "four answers");
}
