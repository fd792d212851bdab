//! The replies of a replica.

use redis::{Connection, Value};
use testkit::{
    NOTHING_AT_ONCE, Server, args, ask, cmd, count, dbsize, error_text, eventually, expect_error, fill,
    fill_with, get, in_one_go, one_of_each, pending, pending_in, personas, reclaimed, replica_caught_up,
    seen, set, skipped_as_copy_changes_the_database, stat, text,
};

/// A master and a replica of it, both with these lines in their redis.conf.
pub fn a_pair(lines: &[&str]) -> (Server, Server) {
    let with = |builder| lines.iter().fold(builder, |builder: testkit::Builder, line| builder.config(*line));
    let master = with(Server::builder()).start();
    let replica = with(Server::builder().replica_of(&master)).start();
    (master, replica)
}

/// The counts of entries of the selected database, which must be the same on both.
#[track_caller]
pub fn agree(master: &Server, replica: &Server) {
    replica_caught_up(master, replica);
    let (mut one, mut other) = (master.connect(), replica.connect());
    assert_eq!(personas(&mut one), personas(&mut other));
    for name in ["entries", "personas", "raw-bytes"] {
        assert_eq!(stat(&mut one, name), stat(&mut other, name), "{name}");
    }
}

fn seen_without_hits(
    con: &mut Connection,
    request: &testkit::Request,
) -> (std::collections::BTreeMap<String, Vec<u8>>, i64) {
    let (mut fields, expires) = seen(con, request);
    // Hits belong to the server that served the response; the dump has them, and the time of the SET here, too.
    fields.remove("hits");
    fields.remove("dump");
    (fields, expires)
}

#[test]
fn a_replica_has_every_entry_as_the_master_has_it_whether_stored_before_it_came_or_after() {
    let master = Server::start();
    let mut con = master.connect();
    let requests = one_of_each(&mut con);
    let replica = Server::builder().replica_of(&master).start();
    let mut there = replica.connect();
    for request in &requests {
        assert_eq!(seen(&mut there, request), seen(&mut con, request));
    }
    agree(&master, &replica);
    ask(&mut con, &["CHATCACHE.FLUSH"]);
    let requests = one_of_each(&mut con);
    agree(&master, &replica);
    for request in &requests {
        assert_eq!(seen_without_hits(&mut there, request), seen_without_hits(&mut con, request));
        let mut command: Vec<Vec<u8>> = args!["CHATCACHE.GET"].into();
        command.extend(request.iter().cloned());
        assert_eq!(ask(&mut there, &command), ask(&mut con, &command));
    }
}

#[test]
fn a_replica_counts_its_own_hits_and_misses() {
    let (master, replica) = a_pair(&[]);
    set(&mut master.connect(), "persona", "", "helper", "q", "a");
    replica_caught_up(&master, &replica);
    let mut there = replica.connect();
    for _ in 0..3 {
        assert_eq!(get(&mut there, "any", "ann", "helper", "q"), Some("a".into()));
    }
    assert_eq!(get(&mut there, "any", "ann", "helper", "unknown"), None);
    assert_eq!((stat(&mut there, "hits"), stat(&mut there, "misses")), (3, 1));
    let mut con = master.connect();
    assert_eq!((stat(&mut con, "hits"), stat(&mut con, "misses")), (0, 0));
}

#[test]
fn a_replica_refuses_writes_and_changes_nothing() {
    let (master, replica) = a_pair(&[]);
    set(&mut master.connect(), "response", "ann", "helper", "q", "a");
    replica_caught_up(&master, &replica);
    let mut there = replica.connect();
    for write in [
        &["CHATCACHE.SET", "response", "ann", "helper", "q", "b"][..],
        &["CHATCACHE.DEL", "response", "ann", "helper", "q"],
        &["CHATCACHE.INVALIDATE", "helper"],
        &["CHATCACHE.FORGET", "ann"],
        &["CHATCACHE.FLUSH"],
    ] {
        expect_error(cmd(&mut there, write), "READONLY");
    }
    let script = "return redis.call('CHATCACHE.INVALIDATE', 'helper')";
    let refused = cmd(&mut there, &["EVAL", script, "0"]).expect_err("a script may not write either");
    assert!(
        error_text(&refused).contains("READONLY") || refused.to_string().contains("read only"),
        "{refused}"
    );
    assert_eq!(get(&mut there, "response", "ann", "helper", "q"), Some("a".into()));
    assert_eq!(stat(&mut there, "entries"), 1);
}

#[test]
fn a_replica_accepts_writes_that_its_own_settings_would_refuse() {
    let master = Server::start();
    let replica = Server::builder()
        .replica_of(&master)
        .config("chatcache.max-response-bytes 10")
        .config("chatcache.ttl-persona 1")
        .start();
    let mut con = master.connect();
    let long = "x".repeat(5000);
    set(&mut con, "persona", "", "helper", "plain", &long);
    ask(&mut con, &["MULTI"]);
    ask(&mut con, &args!["CHATCACHE.SET", "persona", "", "helper", "in multi", long]);
    ask(&mut con, &["EXEC"]);
    let script = "return redis.call('CHATCACHE.SET', 'persona', '', 'helper', 'in lua', ARGV[1])";
    ask(&mut con, &args!["EVAL", script, 0, long]);
    replica_caught_up(&master, &replica);
    let mut there = replica.connect();
    for message in ["plain", "in multi", "in lua"] {
        assert_eq!(get(&mut there, "persona", "", "helper", message), Some(long.clone()), "{message}");
        let request = args!["persona", "", "helper", message].into();
        assert_eq!(seen(&mut there, &request).1, seen(&mut con, &request).1, "{message}");
    }
}

#[test]
fn keepttl_and_conditions_come_out_the_same() {
    let (master, replica) = a_pair(&[]);
    let (mut con, mut there) = (master.connect(), replica.connect());
    let request = |message: &str| -> testkit::Request { args!["persona", "", "helper", message].into() };
    let set = |con: &mut Connection, message: &str, response: &str, options: &str| {
        let mut command: Vec<Vec<u8>> =
            args!["CHATCACHE.SET", "persona", "", "helper", message, response].into();
        command.extend(options.split_whitespace().map(|word| word.as_bytes().to_vec()));
        ask(con, &command)
    };
    set(&mut con, "keep", "1", "PX 5000123");
    let end = seen(&mut con, &request("keep")).1;
    set(&mut con, "keep", "2", "KEEPTTL");
    assert_eq!(set(&mut con, "once", "first", "NX"), Value::Okay);
    assert_eq!(set(&mut con, "once", "second", "NX"), Value::Nil);
    assert_eq!(set(&mut con, "never", "x", "XX"), Value::Nil);
    set(&mut con, "lasting", "1", "");
    let key = text(&ask(&mut con, &["CHATCACHE.KEY", "persona", "", "helper", "lasting"]));
    ask(&mut con, &args!["PERSIST", key]);
    set(&mut con, "lasting", "2", "KEEPTTL");
    agree(&master, &replica);
    assert_eq!(get(&mut there, "persona", "", "helper", "keep"), Some("2".into()));
    assert_eq!(seen(&mut there, &request("keep")).1, end);
    assert_eq!(get(&mut there, "persona", "", "helper", "once"), Some("first".into()));
    assert_eq!(get(&mut there, "persona", "", "helper", "never"), None);
    assert_eq!(get(&mut there, "persona", "", "helper", "lasting"), Some("2".into()));
    assert_eq!(seen(&mut there, &request("lasting")).1, -1);
    // After an invalidation NX stores again, whether the key is reclaimed there or not.
    for limit in ["0", "512"] {
        cmd(&mut there, &["CONFIG", "SET", "chatcache.invalidate-sync-limit", limit]).expect("CONFIG SET");
        fill(&mut con, "persona", "", "helper", 500);
        ask(&mut con, &["CHATCACHE.INVALIDATE", "helper"]);
        assert_eq!(set(&mut con, "q7", "anew", "NX"), Value::Okay);
        replica_caught_up(&master, &replica);
        assert_eq!(get(&mut there, "persona", "", "helper", "q7"), Some("anew".into()));
        reclaimed(&replica);
        assert_eq!(get(&mut there, "persona", "", "helper", "q7"), Some("anew".into()));
        assert_eq!(dbsize(&mut there), 1);
    }
}

#[test]
fn a_replica_reports_an_expired_entry_as_missing_before_the_master_deletes_it() {
    let (master, replica) = a_pair(&[]);
    let (mut con, mut there) = (master.connect(), replica.connect());
    ask(&mut con, &["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    ask(&mut con, &["CHATCACHE.SET", "persona", "", "helper", "q", "a", "PX", "3000"]);
    replica_caught_up(&master, &replica);
    assert_eq!(get(&mut there, "persona", "", "helper", "q"), Some("a".into()));
    eventually(|| get(&mut there, "persona", "", "helper", "q").is_none());
    assert_eq!(ask(&mut there, &["CHATCACHE.INSPECT", "persona", "", "helper", "q"]), Value::Nil);
    // It still counts, as it does in DBSIZE, until the master asks for it.
    assert_eq!((dbsize(&mut there), stat(&mut there, "entries")), (1, 1));
    assert_eq!(get(&mut con, "persona", "", "helper", "q"), None);
    agree(&master, &replica);
    assert_eq!((dbsize(&mut there), stat(&mut there, "entries")), (0, 0));
}

#[test]
fn invalidations_of_every_kind_come_out_the_same() {
    let (master, replica) = a_pair(&[]);
    let mut con = master.connect();
    for user in ["ann", "bob"] {
        for persona in ["p1", "p2", "p3"] {
            fill(&mut con, "response", user, persona, 40);
            fill(&mut con, "session", user, persona, 40);
        }
    }
    fill(&mut con, "msg", "", "p1", 30);
    fill(&mut con, "persona", "", "p2", 700);
    agree(&master, &replica);
    for command in [
        &["CHATCACHE.FORGET", "ann"][..],
        &["CHATCACHE.INVALIDATE", "p3", "p1"],
        &["CHATCACHE.FLUSH", "session", "msg"],
        &["CHATCACHE.INVALIDATE", "p2"],
        &["CHATCACHE.FLUSH"],
    ] {
        ask(&mut con, command);
        agree(&master, &replica);
    }
    reclaimed(&master);
    reclaimed(&replica);
    assert_eq!((dbsize(&mut con), dbsize(&mut replica.connect())), (0, 0));
}

#[test]
fn a_transaction_and_a_script_that_invalidate_and_store_come_out_the_same() {
    let (master, replica) = a_pair(&[NOTHING_AT_ONCE]);
    let mut con = master.connect();
    fill(&mut con, "persona", "", "helper", 3_000);
    ask(&mut con, &["MULTI"]);
    ask(&mut con, &["CHATCACHE.INVALIDATE", "helper"]);
    ask(&mut con, &["CHATCACHE.SET", "persona", "", "helper", "q1", "of multi"]);
    ask(&mut con, &["EXEC"]);
    let script = "redis.call('CHATCACHE.SET', 'persona', '', 'helper', 'q2', 'too early')
        local went = redis.call('CHATCACHE.INVALIDATE', 'helper')
        redis.call('CHATCACHE.SET', 'persona', '', 'helper', 'q3', 'of lua')
        return went";
    assert_eq!(count(&mut con, &["EVAL", script, "0"]), 2);
    agree(&master, &replica);
    reclaimed(&master);
    reclaimed(&replica);
    for server in [&master, &replica] {
        let mut con = server.connect();
        assert_eq!(get(&mut con, "persona", "", "helper", "q1"), None);
        assert_eq!(get(&mut con, "persona", "", "helper", "q2"), None);
        assert_eq!(get(&mut con, "persona", "", "helper", "q3"), Some("of lua".into()));
        assert_eq!(dbsize(&mut con), 1);
    }
}

#[test]
fn native_commands_on_entries_come_out_the_same() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    let (master, replica) = a_pair(&[]);
    let mut con = master.connect();
    fill(&mut con, "persona", "", "helper", 20);
    let key = |con: &mut Connection, number: usize| {
        text(&ask(con, &args!["CHATCACHE.KEY", "persona", "", "helper", format!("q{number}")]))
    };
    let keys: Vec<String> = (0..=20).map(|number| key(&mut con, number)).collect();
    ask(&mut con, &args!["RENAME", keys[1], "elsewhere"]);
    ask(&mut con, &args!["RENAME", keys[2], keys[3]]);
    ask(&mut con, &args!["COPY", keys[4], "copy", "DB", 2]);
    ask(&mut con, &args!["MOVE", keys[5], 2]);
    ask(&mut con, &args!["SET", keys[6], "plain"]);
    ask(&mut con, &args!["DEL", keys[7]]);
    ask(&mut con, &args!["EXPIRE", keys[8], 0]);
    let dump = seen(&mut con, &args!["persona", "", "helper", "q9"].into()).0["dump"].clone();
    ask(&mut con, &args!["RESTORE", "restored", 1_000_000, dump]);
    agree(&master, &replica);
    ask(&mut con, &["SWAPDB", "0", "2"]);
    agree(&master, &replica);
    ask(&mut con, &["SELECT", "2"]);
    let went = count(&mut con, &["CHATCACHE.INVALIDATE", "helper"]);
    // Of 20: one overwritten by RENAME, one moved, one by SET, one deleted, one expired; and one more restored.
    assert_eq!(went, 16);
    replica_caught_up(&master, &replica);
    let mut there = replica.connect();
    assert_eq!(stat(&mut there, "entries"), 2);
    ask(&mut con, &["FLUSHALL"]);
    agree(&master, &replica);
    assert_eq!(stat(&mut there, "entries"), 0);
}

#[test]
fn entries_that_expire_after_they_are_invalidated_do_not_stay_on_the_replica_for_ever() {
    let (master, replica) = a_pair(&[NOTHING_AT_ONCE]);
    let mut con = master.connect();
    let mut there = replica.connect();
    fill_with(&mut con, "persona", "", "helper", 10_000, "PX 1500");
    fill(&mut con, "persona", "", "lasting", 10);
    replica_caught_up(&master, &replica);
    // The replica sleeps until all is expired; the master has reclaimed its own by then, and sends no DELs.
    let mut sleeper = replica.raw();
    sleeper.send(&["DEBUG", "SLEEP", "2"]);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "helper"]), 10_000);
    reclaimed(&master);
    assert_eq!(dbsize(&mut con), 10);
    assert_eq!(sleeper.read(), testkit::Raw::simple("OK"));
    reclaimed(&replica);
    assert_eq!(dbsize(&mut there), 10);
    agree(&master, &replica);
}

#[test]
fn entries_that_were_expired_when_they_were_invalidated_are_gone_on_both() {
    let (master, replica) = a_pair(&[NOTHING_AT_ONCE]);
    let mut con = master.connect();
    ask(&mut con, &["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    fill_with(&mut con, "persona", "", "helper", 3_000, "PX 100");
    replica_caught_up(&master, &replica);
    let mut there = replica.connect();
    eventually(|| get(&mut there, "persona", "", "helper", "q3000").is_none());
    // As in DBSIZE, an expired entry counts until it is removed.
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "helper"]), 3_000);
    replica_caught_up(&master, &replica);
    reclaimed(&master);
    reclaimed(&replica);
    assert_eq!((dbsize(&mut con), dbsize(&mut there)), (0, 0));
}

#[test]
fn entries_evicted_by_the_master_leave_the_replica_too() {
    // Each compresses in its own time, and the stored bytes are compared.
    let (master, replica) =
        a_pair(&["maxmemory-policy allkeys-lru", "repl-backlog-size 16kb", "chatcache.compression none"]);
    let mut con = master.connect();
    let used = |con: &mut Connection| -> u64 {
        testkit::info_field(con, "memory", "used_memory").parse().expect("bytes")
    };
    let limit = used(&mut con) + 3_000_000;
    ask(&mut con, &args!["CONFIG", "SET", "maxmemory", limit]);
    let long = "x".repeat(1000);
    for number in 0..6_000 {
        set(&mut con, "persona", "", &format!("p{}", number % 10), &format!("q{number}"), &long);
    }
    ask(&mut con, &["CONFIG", "SET", "maxmemory", "0"]);
    let entries = stat(&mut con, "entries");
    assert!(entries < 6_000 && entries > 100, "{entries} entries are left");
    assert_eq!(entries, dbsize(&mut con));
    agree(&master, &replica);
    assert_eq!(dbsize(&mut replica.connect()), entries);
}

#[test]
fn a_key_that_is_free_on_the_master_is_free_on_a_replica_that_has_not_reclaimed_it_yet() {
    let master = Server::start();
    let replica = Server::builder().replica_of(&master).config(NOTHING_AT_ONCE).start();
    let mut con = master.connect();
    set(&mut con, "persona", "", "other", "q", "a");
    let other = text(&ask(&mut con, &["CHATCACHE.KEY", "persona", "", "other", "q"]));
    let dump = seen(&mut con, &args!["persona", "", "other", "q"].into()).0["dump"].clone();
    fill(&mut con, "persona", "", "helper", 500);
    let keys: Vec<String> = (1..=6)
        .map(|n| text(&ask(&mut con, &args!["CHATCACHE.KEY", "persona", "", "helper", format!("q{n}")])))
        .collect();
    replica_caught_up(&master, &replica);
    // The replica gets all of this at once, and has no time to reclaim in between.
    let mut sleeper = replica.raw();
    sleeper.send(&["DEBUG", "SLEEP", "1"]);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "helper"]), 500);
    assert_eq!(dbsize(&mut con), 1);
    ask(&mut con, &args!["RESTORE", keys[0], 0, dump]);
    assert_eq!(ask(&mut con, &args!["SET", keys[1], "plain", "NX"]), Value::Okay);
    assert_eq!(count(&mut con, &args!["COPY", other, keys[2]]), 1);
    assert_eq!(count(&mut con, &args!["RENAMENX", other, keys[3]]), 1);
    ask(&mut con, &args!["RPUSH", keys[4], "a list"]);
    ask(&mut con, &args!["APPEND", keys[5], "a string"]);
    assert_eq!(sleeper.read(), testkit::Raw::simple("OK"));
    agree(&master, &replica);
    reclaimed(&replica);
    let mut there = replica.connect();
    let types = |con: &mut Connection| -> Vec<String> {
        keys.iter().map(|key| text(&ask(con, &args!["TYPE", key]))).collect()
    };
    assert_eq!(types(&mut there), types(&mut con));
    assert_eq!((dbsize(&mut there), dbsize(&mut con)), (6, 6));
}

#[test]
fn an_invalidated_entry_that_the_master_renames_takes_its_victim_along_on_a_replica_that_has_reclaimed_it() {
    let master = Server::builder().config(NOTHING_AT_ONCE).start();
    let replica = Server::builder().replica_of(&master).start();
    let mut con = master.connect();
    set(&mut con, "persona", "", "victim", "q", "a");
    let victim = text(&ask(&mut con, &["CHATCACHE.KEY", "persona", "", "victim", "q"]));
    fill(&mut con, "persona", "", "helper", 500);
    let key = text(&ask(&mut con, &["CHATCACHE.KEY", "persona", "", "helper", "q1"]));
    let replies = in_one_go(
        &master,
        &[&["CHATCACHE.INVALIDATE", "helper"], &["RENAME", &key, &victim], &["INFO", "everything"]],
    );
    assert_eq!(replies[1], testkit::Raw::simple("OK"));
    assert!(pending_in(&replies[2]) > 0);
    reclaimed(&master);
    agree(&master, &replica);
    reclaimed(&replica);
    assert_eq!((dbsize(&mut con), dbsize(&mut replica.connect())), (0, 0));
    assert_eq!(pending(&mut con), 0);
}
