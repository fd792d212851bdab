//! L1 serves the response that the keyspace would, after any command.

use std::thread;
use std::time::{Duration, Instant};
use testkit::{
    Raw, RawClient, Server, args, eventually, fill_persona, info_field, items, replica_caught_up,
    skipped_as_copy_changes_the_database,
};

const ASK: &str = "response ann helper hello";

/// Requests until L1 serves the response.
#[track_caller]
fn heat(con: &mut RawClient, request: &str, response: &str) {
    let before = con.stats("")["hits-l1"];
    eventually(|| {
        assert_eq!(con.say(&format!("CHATCACHE.GET {request}")), Raw::bulk(response));
        con.stats("")["hits-l1"] > before
    });
}

/// Returns a server with one hot response, and its key's name.
fn with_a_hot_response() -> (Server, RawClient, String) {
    let (server, mut con, key) = with_a_read_response("64mb");
    heat(&mut con, ASK, "answer");
    (server, con, key)
}

/// Returns a server with one response that was read, with an L1 of this size, and the name of its key.
fn with_a_read_response(l1: &str) -> (Server, RawClient, String) {
    let server = Server::builder()
        .config("enable-debug-command yes")
        .config(format!("chatcache.l1-max-bytes {l1}"))
        .start();
    let mut con = server.raw();
    con.ok(&format!("CHATCACHE.SET {ASK} answer"));
    assert_eq!(con.say(&format!("CHATCACHE.GET {ASK}")), Raw::bulk("answer"));
    assert_eq!(con.stats("")["request-table-entries"], 1);
    let key = con.text(&format!("CHATCACHE.KEY {ASK}"));
    (server, con, key)
}

#[test]
fn a_hot_entry_is_given_from_l1_and_counts_as_any() {
    let (_server, mut con, _) = with_a_hot_response();
    let before = con.stats("");
    for _ in 0..5 {
        con.say(&format!("CHATCACHE.GET {ASK}"));
        con.say("CHATCACHE.GET any ann helper hello");
        assert_eq!(items(con.say(&format!("CHATCACHE.FETCH {ASK}")))[0], Raw::bulk("hit"));
    }
    let after = con.stats("");
    let more = ["hits", "hits-response", "hits-l1", "misses"].map(|name| after[name] - before[name]);
    // Once a second one of them comes from the key.
    assert!(more[0] == 15 && more[1] == 15 && (10..=15).contains(&more[2]) && more[3] == 0, "{more:?}");
    let inspected = testkit::pairs(con.say(&format!("CHATCACHE.INSPECT {ASK}")));
    assert!(inspected.contains(&("hits".to_owned(), Raw::Int(before["hits"] + 15))), "{inspected:?}");
    assert_eq!(con.stats("helper")["hits"], before["hits"] + 15);
}

#[test]
fn no_way_to_lose_an_entry_leaves_it_in_l1_or_in_the_request_table() {
    let gone = [
        "DEL {key}",
        "UNLINK {key}",
        "EXPIRE {key} 0",
        "PEXPIRE {key} -1",
        "PEXPIREAT {key} 1",
        "RENAME {key} other",
        "RENAMENX {key} other",
        "MOVE {key} 1",
        "SWAPDB 0 1",
        "FLUSHDB",
        "FLUSHDB ASYNC",
        "FLUSHALL",
        "FLUSHALL ASYNC",
        "CHATCACHE.DEL response ann helper hello",
        "CHATCACHE.INVALIDATE helper",
        "CHATCACHE.INVALIDATE ghost helper",
        "CHATCACHE.SOFTINVALIDATE helper",
        "CHATCACHE.FORGET ann",
        "CHATCACHE.FLUSH",
        "CHATCACHE.FLUSH response",
    ];
    for line in gone {
        if line.starts_with("MOVE") && skipped_as_copy_changes_the_database() {
            continue;
        }
        for (l1, in_background) in [("64mb", false), ("64mb", true), ("0", false), ("0", true)] {
            let (_server, mut con, key) = with_a_read_response(l1);
            let limit = if in_background { 0 } else { 512 };
            con.ok(&format!("CONFIG SET chatcache.invalidate-sync-limit {limit}"));
            let line = line.replace("{key}", &key);
            assert!(!matches!(con.say(&line), Raw::Error(_)), "{line}");
            assert_eq!(con.say(&format!("CHATCACHE.GET {ASK}")), Raw::NullBulk, "{line}");
            eventually(|| con.stats("")["pending-reclaim"] == 0);
            assert_eq!(con.say(&format!("CHATCACHE.GET {ASK}")), Raw::NullBulk, "{line}");
            let stats = con.stats("");
            // What is stale or in another database is still there.
            if !line.contains("SOFT") && !line.contains("SWAPDB") {
                assert_eq!((stats["l1-entries"], stats["request-table-entries"]), (0, 0), "{line}");
            }
        }
    }
}

#[test]
fn in_a_transaction_and_in_a_script_too() {
    for line in ["DEL {key}", "PEXPIRE {key} 0", "CHATCACHE.INVALIDATE helper", "RENAME {key} other"] {
        let (_server, mut con, key) = with_a_hot_response();
        let line = line.replace("{key}", &key);
        let get = format!("CHATCACHE.GET {ASK}");
        let replies = con.transaction(&[&get, &line, &get]);
        assert_eq!((&replies[0], &replies[2]), (&Raw::bulk("answer"), &Raw::NullBulk), "{line}");

        let (_server, mut con, key) = with_a_hot_response();
        let line = line.replace("{key}", &key);
        let call = |line: &str| {
            let words: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
            format!("redis.call({})", words.join(","))
        };
        let script = format!("local before = {0}; {1}; return {{before, {0}}}", call(&get), call(&line));
        let reply = items(con.call(&args!["EVAL", script, "0"]));
        assert_eq!(reply, [Raw::bulk("answer"), Raw::NullBulk], "{line}");
    }
}

#[test]
fn a_swap_of_databases_does_not_bring_an_invalidated_response_back() {
    for swap in ["SWAPDB 0 1", "SWAPDB 1 0"] {
        let (_server, mut con, _) = with_a_hot_response();
        con.ok("CONFIG SET chatcache.invalidate-sync-limit 0");
        let get = format!("CHATCACHE.GET {ASK}");
        // A miss makes an index for the other database.
        con.transaction(&["SELECT 1", &get, "SELECT 0"]);
        // The entry is still to be reclaimed, and no database has a live one.
        let replies = con.transaction(&["CHATCACHE.INVALIDATE helper", swap, &get, "SELECT 1", &get]);
        assert_eq!((&replies[2], &replies[4]), (&Raw::NullBulk, &Raw::NullBulk), "{swap}");
        assert_eq!(con.say(&get), Raw::NullBulk);
    }
}

#[test]
fn a_hot_response_follows_its_database() {
    let (_server, mut con, _) = with_a_hot_response();
    let get = format!("CHATCACHE.GET {ASK}");
    let before = con.stats("")["hits-l1"];
    let replies =
        con.transaction(&["SWAPDB 0 1", &get, "SELECT 1", &get, "SWAPDB 0 1", &get, "SELECT 0", &get]);
    let answer = Raw::bulk("answer");
    assert_eq!([&replies[1], &replies[3]], [&Raw::NullBulk, &answer]);
    assert_eq!([&replies[5], &replies[7]], [&Raw::NullBulk, &answer]);
    assert_eq!(con.stats("")["hits-l1"], before + 2);
    con.transaction(&["SWAPDB 0 1", "FLUSHDB", "SELECT 1"]);
    assert_eq!(con.stats("")["l1-entries"], 1);
    con.ok("FLUSHDB");
    assert_eq!(con.stats("")["l1-entries"], 0);
}

#[test]
fn a_flush_or_swap_of_other_databases_leaves_the_responses_in_l1() {
    for line in ["FLUSHDB", "SWAPDB 1 2", "SWAPDB 3 4"] {
        let (_server, mut con, _) = with_a_hot_response();
        // L1 holds more than the other database has entries.
        heat(&mut con, ASK, "answer");
        for message in ["one", "two"] {
            con.ok(&format!("CHATCACHE.SET response ann helper {message} answer"));
            heat(&mut con, &format!("response ann helper {message}"), "answer");
        }
        let select =
            con.transaction(&["SELECT 1", "CHATCACHE.SET response ann helper hello other", line, "SELECT 0"]);
        assert!(!select.iter().any(|reply| matches!(reply, Raw::Error(_))), "{select:?}");
        let stats = con.stats("");
        assert_eq!(stats["l1-entries"], 3, "{line}");
        assert_eq!(con.say(&format!("CHATCACHE.GET {ASK}")), Raw::bulk("answer"));
    }
}

#[test]
fn another_response_replaces_that_in_l1_at_once() {
    let (_server, mut con, key) = with_a_hot_response();
    con.ok(&format!("CHATCACHE.SET {ASK} newer"));
    assert_eq!(con.say(&format!("CHATCACHE.GET {ASK}")), Raw::bulk("newer"));
    heat(&mut con, ASK, "newer");

    let Raw::Bulk(dump) = con.say(&format!("DUMP {key}")) else { panic!("no dump") };
    con.ok(&format!("CHATCACHE.SET {ASK} newest"));
    heat(&mut con, ASK, "newest");
    assert_eq!(con.call(&args!["RESTORE", &key, "0", dump, "REPLACE"]), Raw::simple("OK"));
    assert_eq!(con.say(&format!("CHATCACHE.GET {ASK}")), Raw::bulk("newer"));
    heat(&mut con, ASK, "newer");

    con.ok(&format!("SET {key} text"));
    let Raw::Error(text) = con.say(&format!("CHATCACHE.GET {ASK}")) else { panic!("a string is no answer") };
    assert!(text.starts_with("WRONGTYPE"), "{text}");
}

#[test]
fn l1_follows_expire_and_persist_of_the_key() {
    let (_server, mut con, key) = with_a_hot_response();
    con.say(&format!("PEXPIRE {key} 150"));
    heat(&mut con, ASK, "answer");
    eventually(|| con.say(&format!("CHATCACHE.GET {ASK}")) == Raw::NullBulk);

    con.ok(&format!("CHATCACHE.SET {ASK} again PX 400"));
    heat(&mut con, ASK, "again");
    assert_eq!(con.number(&format!("PERSIST {key}")), 1);
    let (mut asked, started) = (0, Instant::now());
    while started.elapsed() < Duration::from_millis(600) {
        assert_eq!(con.say(&format!("CHATCACHE.GET {ASK}")), Raw::bulk("again"), "after {asked}");
        asked += 1;
    }
    con.say(&format!("EXPIRE {key} 1000"));
    heat(&mut con, ASK, "again");
    assert!(con.number(&format!("TTL {key}")) > 900);
}

#[test]
fn past_its_freshness_it_is_stale_and_no_more() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok(&format!("CHATCACHE.SET {ASK} answer PX 300 STALE 100000"));
    con.say(&format!("CHATCACHE.GET {ASK}"));
    eventually(|| con.say(&format!("CHATCACHE.GET {ASK}")) == Raw::NullBulk);
    let reply = items(con.say(&format!("CHATCACHE.FETCH {ASK}")));
    assert_eq!(reply[..2], [Raw::bulk("stale"), Raw::bulk("answer")]);
}

#[test]
fn freshness_ends_within_a_transaction_as_without_l1() {
    for l1 in ["64mb", "0"] {
        let server = Server::builder().config("enable-debug-command yes").start();
        let mut con = server.raw();
        con.ok(&format!("CONFIG SET chatcache.l1-max-bytes {l1}"));
        con.ok(&format!("CHATCACHE.SET {ASK} answer PX 1000 STALE 100000"));
        let get = format!("CHATCACHE.GET {ASK}");
        for _ in 0..3 {
            assert_eq!(con.say(&get), Raw::bulk("answer"));
        }
        let fetch = format!("CHATCACHE.FETCH {ASK}");
        let replies = con.transaction(&[&get, "DEBUG SLEEP 1.2", &get, &fetch]);
        assert_eq!((&replies[0], &replies[2]), (&Raw::bulk("answer"), &Raw::NullBulk), "L1 of {l1}");
        assert_eq!(items(replies[3].clone())[..2], [Raw::bulk("stale"), Raw::bulk("answer")], "L1 of {l1}");
    }
}

#[test]
fn an_entry_is_hot_for_its_own_persona_and_database() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    heat(&mut con, "msg ann helper hello", "answer");
    let before = con.stats("")["hits-l1"];
    assert_eq!(con.say("CHATCACHE.GET msg ann other hello"), Raw::bulk("answer"));
    assert_eq!(con.say("CHATCACHE.GET msg ann other hello"), Raw::bulk("answer"));
    assert_eq!(con.stats("")["hits-l1"], before, "another persona's is looked up in its key");
    con.ok("SELECT 1");
    assert_eq!(con.say("CHATCACHE.GET msg ann helper hello"), Raw::NullBulk);
}

#[test]
fn a_reload_a_restart_and_a_full_sync_begin_with_an_empty_one() {
    let (mut server, mut con, _) = with_a_hot_response();
    con.ok("DEBUG RELOAD");
    assert_eq!(con.say(&format!("CHATCACHE.GET {ASK}")), Raw::bulk("answer"));
    heat(&mut con, ASK, "answer");
    server.restart();
    let mut con = server.raw();
    assert_eq!(con.stats("")["l1-entries"], 0);
    heat(&mut con, ASK, "answer");

    let other = Server::start();
    other.raw().ok(&format!("CHATCACHE.SET {ASK} other"));
    other.raw().ok(&format!("CHATCACHE.SET {ASK} theirs"));
    con.ok(&format!("REPLICAOF 127.0.0.1 {}", other.port()));
    replica_caught_up(&other, &server);
    assert_eq!(con.say(&format!("CHATCACHE.GET {ASK}")), Raw::bulk("theirs"));
}

#[test]
fn a_replica_s_l1_follows_its_master() {
    let master = Server::start();
    let replica = Server::builder().replica_of(&master).start();
    let (mut con, mut reader) = (master.raw(), replica.raw());
    let key = con.text(&format!("CHATCACHE.KEY {ASK}"));
    for line in
        ["DEL {key}", "CHATCACHE.INVALIDATE helper", "CHATCACHE.FORGET ann", "PEXPIRE {key} 1", "FLUSHALL"]
    {
        con.ok(&format!("CHATCACHE.SET {ASK} answer"));
        replica_caught_up(&master, &replica);
        heat(&mut reader, ASK, "answer");
        con.say(&line.replace("{key}", &key));
        eventually(|| reader.say(&format!("CHATCACHE.GET {ASK}")) == Raw::NullBulk);
    }
    con.ok(&format!("CHATCACHE.SET {ASK} answer"));
    replica_caught_up(&master, &replica);
    heat(&mut reader, ASK, "answer");
    con.ok(&format!("CHATCACHE.SET {ASK} newer"));
    replica_caught_up(&master, &replica);
    assert_eq!(reader.say(&format!("CHATCACHE.GET {ASK}")), Raw::bulk("newer"));
}

#[test]
fn the_size_of_l1_is_bounded_and_may_be_changed() {
    let server = Server::builder().config("chatcache.l1-max-bytes 20kb").start();
    let mut con = server.raw();
    fill_persona(&mut con, "ann", "helper", 100, 1000);
    let ask_all = |con: &mut RawClient| {
        for n in 0..100 {
            let asked: Vec<Vec<String>> = vec![
                ["CHATCACHE.GET", "response", "ann", "helper", &format!("m-{n}")].map(str::to_owned).to_vec(),
            ];
            con.pipeline(&asked);
        }
    };
    ask_all(&mut con);
    let stats = con.stats("");
    assert!((10_000..=20 * 1024).contains(&stats["l1-bytes"]), "{stats:?}");
    assert!((10..=20).contains(&stats["l1-entries"]), "{stats:?}");
    con.ok("CONFIG SET chatcache.l1-max-bytes 0");
    eventually(|| con.stats("")["l1-bytes"] == 0);
    ask_all(&mut con);
    assert_eq!(con.stats("")["hits-l1"], stats["hits-l1"]);
    con.ok("CONFIG SET chatcache.l1-max-bytes 1mb");
    ask_all(&mut con);
    ask_all(&mut con);
    let stats = con.stats("");
    assert_eq!(stats["l1-entries"], 100, "{stats:?}");
}

#[test]
fn maxmemory_does_not_evict_the_keys_of_hot_entries_first() {
    thread::scope(|scope| {
        for policy in ["allkeys-lru", "volatile-lru", "allkeys-lfu", "volatile-lfu"] {
            scope.spawn(move || hot_under(policy));
        }
    });
}

/// Stores responses, twice as many as fit, at a pace at which the server's clock of uses, which counts
/// seconds, can tell one from the next; and asks for one all the time.
fn hot_under(policy: &str) {
    let server = Server::builder()
        .config(format!("maxmemory-policy {policy}"))
        .config("maxmemory-samples 10")
        .config("chatcache.compression none")
        .start();
    let mut con = server.raw();
    con.ok(&format!("CHATCACHE.SET {ASK} answer"));
    let used: u64 = info_field(&mut server.connect(), "memory", "used_memory").parse().expect("a number");
    con.ok(&format!("CONFIG SET maxmemory {}", used + 1_000_000));
    let value = "x".repeat(4000);
    let (started, mut stored) = (Instant::now(), 0);
    while stored < 500 {
        if started.elapsed() > Duration::from_millis(12) * stored {
            stored += 1;
            let set = args!["CHATCACHE.SET", "persona", "ann", "helper", format!("other-{stored}"), &value];
            assert_eq!(con.call(&set), Raw::simple("OK"));
        }
        let asked = con.say(&format!("CHATCACHE.GET {ASK}"));
        assert_eq!(asked, Raw::bulk("answer"), "{policy}, after {stored}");
    }
    assert!(con.stats("")["hits-l1"] > 100);
    assert!(con.number("DBSIZE") < 400, "{policy} has evicted nothing");
}
