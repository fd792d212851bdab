//! L1 and the compressor under requests for a data set ten times larger than L1.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use testkit::{Raw, RawClient, Server, args, eventually, eventually_within, fields, seed};

const RESPONSES: usize = 10_000;
const L1_BYTES: i64 = 1 << 20;

/// Time for the compressor to go through all responses, in seconds: each waits for two.
const COMPRESSED: std::time::Duration = std::time::Duration::from_secs(20);

/// A response of 1 to 2 KB that compresses well, another for each number.
fn response(n: usize) -> String {
    let mut text = format!("Thank you for asking about case {n}. ");
    for step in 0..14 + n % 14 {
        text.push_str(&format!(
            "Step {step}: please open entry {} and confirm it with {:x}. ",
            n % 101,
            n * 7919
        ));
    }
    text
}

fn request(command: &str, n: usize) -> Vec<Vec<u8>> {
    args![command, "persona", "", "helper", format!("request {n}")].into()
}

fn store(con: &mut RawClient, numbers: Range<usize>) {
    let set = |n| {
        let mut set = request("CHATCACHE.SET", n);
        set.push(response(n).into_bytes());
        set
    };
    let sets: Vec<_> = numbers.map(set).collect();
    assert!(con.pipeline(&sets).iter().all(|reply| *reply == Raw::simple("OK")));
}

#[track_caller]
fn get(con: &mut RawClient, numbers: impl Iterator<Item = usize>) {
    let numbers: Vec<usize> = numbers.collect();
    let gets: Vec<_> = numbers.iter().map(|&n| request("CHATCACHE.GET", n)).collect();
    let replies = con.pipeline(&gets);
    for (n, reply) in numbers.into_iter().zip(replies) {
        assert_eq!(reply, Raw::bulk(response(n)), "{n}");
    }
}

/// The bytes of those of these responses that are kept raw.
fn raw_bytes(con: &mut RawClient, numbers: Range<usize>) -> i64 {
    let inspects: Vec<_> = numbers.map(|n| request("CHATCACHE.INSPECT", n)).collect();
    let of = |reply| {
        let fields = fields(reply);
        match &fields["raw-bytes"] {
            Raw::Int(bytes) if fields["encoding"] == Raw::bulk("raw") => *bytes,
            _ => 0,
        }
    };
    con.pipeline(&inspects).into_iter().map(of).sum()
}

/// A server whose responses are all compressed, with an L1 of a tenth of their raw bytes.
fn compressed_server() -> (Server, RawClient) {
    let server = Server::builder().config("chatcache.l1-max-bytes 1mb").start();
    let mut con = server.raw();
    store(&mut con, 0..RESPONSES);
    assert!(con.stats("")["raw-bytes"] > 10 * L1_BYTES);
    eventually_within(COMPRESSED, || con.stats("")["waiting-to-compress"] == 0);
    assert_eq!(raw_bytes(&mut con, 0..RESPONSES), 0);
    (server, con)
}

/// The hits of L1 in two passes over some responses: the first may open the keys of hot ones.
fn hits_of_l1(con: &mut RawClient, numbers: Range<usize>) -> i64 {
    get(con, numbers.clone());
    let before = con.stats("")["hits-l1"];
    get(con, numbers);
    con.stats("")["hits-l1"] - before
}

#[test]
fn uniform_requests_leave_raw_what_fits_into_l1_and_queue_an_entry_once() {
    let (_server, mut con) = compressed_server();
    let mut rng = StdRng::seed_from_u64(seed());
    for pass in 0..10 {
        get(&mut con, (0..RESPONSES).map(|_| rng.random_range(0..RESPONSES)));
        let waiting = con.stats("")["waiting-to-compress"];
        assert!(waiting <= RESPONSES as i64, "{waiting} entries wait after pass {pass}");
        let raw = raw_bytes(&mut con, 0..RESPONSES);
        assert!(raw <= 2 * L1_BYTES, "{raw} bytes are raw after pass {pass}");
    }
    eventually(|| con.stats("")["waiting-to-compress"] == 0 && raw_bytes(&mut con, 0..RESPONSES) <= L1_BYTES);
    let stats = con.stats("");
    assert!(stats["stored-bytes"] < stats["raw-bytes"] / 2 + L1_BYTES, "{stats:?}");
}

#[test]
fn one_pass_over_all_responses_evicts_no_hot_one_from_l1() {
    const HOT: usize = 400;
    let (_server, mut con) = compressed_server();
    for _ in 0..40 {
        get(&mut con, 0..HOT);
    }
    // Once the compressor is done, only hot responses are raw.
    eventually(|| con.stats("")["waiting-to-compress"] == 0);
    let hot = raw_bytes(&mut con, 0..HOT);
    let heated: usize = (0..HOT).map(|n| response(n).len()).sum();
    assert!(hot > heated as i64 * 9 / 10, "{hot} of {heated} bytes are hot");
    get(&mut con, HOT..RESPONSES);
    eventually(|| con.stats("")["waiting-to-compress"] == 0);
    assert!(raw_bytes(&mut con, 0..HOT) >= hot, "the pass evicted hot responses");
}

#[test]
fn new_responses_are_compressed_during_uniform_requests() {
    let (_server, mut con) = compressed_server();
    let mut rng = StdRng::seed_from_u64(seed());
    con.ok("CONFIG SET chatcache.l1-max-bytes 2mb");
    store(&mut con, RESPONSES..RESPONSES + 100);
    eventually(|| {
        get(&mut con, (0..500).map(|_| rng.random_range(0..RESPONSES)));
        let inspects: Vec<_> =
            (RESPONSES..RESPONSES + 100).map(|n| request("CHATCACHE.INSPECT", n)).collect();
        let is_raw = |reply| fields(reply)["encoding"] == Raw::bulk("raw");
        !con.pipeline(&inspects).into_iter().any(is_raw)
    });
}

/// Heats one response, runs lines, and returns true if L1 still serves it.
fn stays_hot(lines: &[&str]) -> bool {
    let server = Server::start();
    let mut con = server.raw();
    store(&mut con, 0..1);
    eventually(|| hits_of_l1(&mut con, 0..1) == 1);
    for line in lines {
        assert!(!matches!(con.say(line), Raw::Error(_)), "{line}");
    }
    con.ok("SELECT 0");
    con.stats("")["l1-entries"] == 1 && hits_of_l1(&mut con, 0..1) == 1
}

#[test]
fn flushdb_of_a_database_without_entries_leaves_l1_as_it_is() {
    let miss = "CHATCACHE.GET persona \"\" helper hello";
    for flush in ["FLUSHDB", "FLUSHDB ASYNC", "FLUSHDB SYNC"] {
        assert!(stays_hot(&["SELECT 5", flush]), "{flush} of a database never used");
        assert!(stays_hot(&["SELECT 5", miss, flush]), "{flush} after a miss");
        assert!(stays_hot(&["SELECT 5", "SET native value", flush]), "{flush} of native keys");
    }
}

#[test]
fn swapdb_of_databases_without_entries_leaves_l1_as_it_is() {
    let miss = "CHATCACHE.GET persona \"\" helper hello";
    assert!(stays_hot(&["SWAPDB 5 6"]));
    assert!(stays_hot(&["SELECT 5", miss, "SELECT 6", miss, "SWAPDB 5 6"]));
}

#[test]
fn a_key_that_is_stored_again_and_again_leaves_the_compressor_s_queue() {
    let server = Server::start();
    let mut con = server.raw();
    for _ in 0..20 {
        let mut set = request("CHATCACHE.SET", 1);
        set.push(response(1).into_bytes());
        assert!(con.pipeline(&vec![set; 1_000]).iter().all(|reply| *reply == Raw::simple("OK")));
    }
    assert!(con.stats("")["waiting-to-compress"] <= 20_000);
    eventually_within(COMPRESSED, || con.stats("")["waiting-to-compress"] == 0);
    assert_eq!(con.stats("")["entries"], 1);
}

#[test]
fn a_hundred_thousand_sets_over_one_key_take_few_places_in_the_compressor_s_queue() {
    let server = Server::start();
    let mut con = server.raw();
    let script =
        "for n = 1, 20000 do redis.call('CHATCACHE.SET', 'persona', '', 'helper', 'hello', ARGV[1]) end";
    for _ in 0..5 {
        con.call(&args!["EVAL", script, "0", "x".repeat(300)]);
        let waiting = con.stats("")["waiting-to-compress"];
        assert!(waiting < 1_100, "{waiting} places for one entry");
    }
    let compressed = con.stats("")["compressed"];
    eventually_within(COMPRESSED, || con.stats("")["waiting-to-compress"] == 0);
    assert!(con.stats("")["compressed"] > compressed, "the entry itself keeps its place");
}
