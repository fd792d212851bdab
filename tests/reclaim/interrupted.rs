//! Native commands on tombstones.

use testkit::{
    Busy, NOTHING_AT_ONCE, Raw, Server, args, ask, count, dbsize, eventually, fill, get, in_one_go,
    info_field, pending, pending_in, personas, reclaimed, set, sizes, skipped_as_copy_changes_the_database,
    stat, text,
};

const MANY: i64 = 40_000;
const INFO: &[&str] = &["INFO", "everything"];
const DROP: &[&str] = &["CHATCACHE.INVALIDATE", "dropped"];

/// Many responses to invalidate, and one that stays.
fn a_full_server() -> Server {
    let server = Server::builder().config(NOTHING_AT_ONCE).start();
    let mut con = server.connect();
    fill(&mut con, "response", "ann", "dropped", MANY as usize);
    set(&mut con, "response", "ann", "kept", "q", "kept");
    server
}

fn key(server: &Server, persona: &str, message: &str) -> String {
    text(&ask(&mut server.connect(), &["CHATCACHE.KEY", "response", "ann", persona, message]))
}

#[test]
fn flushall_and_flushdb_end_a_reclaim() {
    for flush in [&["FLUSHALL"][..], &["FLUSHDB"], &["FLUSHALL", "ASYNC"], &["FLUSHDB", "ASYNC"]] {
        let server = a_full_server();
        let store = ["CHATCACHE.SET", "response", "ann", "dropped", "q1", "new"];
        let replies = in_one_go(&server, &[DROP, INFO, flush, INFO, &store]);
        assert_eq!(pending_in(&replies[1]), MANY);
        assert_eq!(replies[2], Raw::simple("OK"));
        assert_eq!(pending_in(&replies[3]), 0, "{flush:?}");
        let mut con = server.connect();
        assert_eq!((dbsize(&mut con), stat(&mut con, "entries")), (1, 1));
        // The next large invalidation finds the reclaim ready.
        fill(&mut con, "response", "bob", "dropped", 5_000);
        assert_eq!(count(&mut con, &["CHATCACHE.FORGET", "bob"]), 5_000);
        reclaimed(&server);
        assert_eq!(get(&mut con, "response", "ann", "dropped", "q1"), Some("new".into()));
        assert_eq!(dbsize(&mut con), 1);
    }
}

#[test]
fn flushdb_of_another_database_leaves_a_reclaim_alone() {
    let server = a_full_server();
    let replies = in_one_go(&server, &[DROP, &["SELECT", "1"], &["FLUSHDB"], INFO]);
    // Redis 7.4 flushes in the background and lets others have a turn meanwhile.
    assert!(pending_in(&replies[3]) > 0, "the reclaim ended with the flush");
    reclaimed(&server);
    assert_eq!(dbsize(&mut server.connect()), 1);
}

#[test]
fn swapdb_takes_a_reclaim_along() {
    let server = a_full_server();
    let mut con = server.connect();
    ask(&mut con, &["SELECT", "1"]);
    fill(&mut con, "response", "ann", "dropped", 100);
    let busy = Busy::keep(&server);
    let replies = in_one_go(&server, &[DROP, INFO, &["SWAPDB", "0", "1"]]);
    assert_eq!(pending_in(&replies[1]), MANY);
    assert!(pending(&mut con) > 0);
    // Swapped again while it goes on, with entries under the same keys on the other side.
    ask(&mut con, &["SWAPDB", "0", "1"]);
    ask(&mut con, &["SWAPDB", "1", "0"]);
    assert_eq!(get(&mut con, "response", "ann", "dropped", "q1"), None);
    drop(busy);
    reclaimed(&server);
    assert_eq!(get(&mut con, "response", "ann", "kept", "q"), Some("kept".into()));
    assert_eq!(dbsize(&mut con), 1);
    ask(&mut con, &["SELECT", "0"]);
    assert_eq!((dbsize(&mut con), stat(&mut con, "entries")), (100, 101));
    assert_eq!(get(&mut con, "response", "ann", "dropped", "q100"), Some("a100".into()));
}

#[test]
fn a_pending_key_that_is_renamed_moved_or_copied_is_reclaimed_where_it_went() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    let server = a_full_server();
    let keys: Vec<String> = (1..=4).map(|number| key(&server, "dropped", &format!("q{number}"))).collect();
    let replies = in_one_go(
        &server,
        &[
            DROP,
            &["RENAME", &keys[0], "elsewhere"],
            &["MOVE", &keys[1], "3"],
            &["COPY", &keys[2], "copy"],
            &["COPY", &keys[3], "copy", "DB", "4"],
            INFO,
            &["CHATCACHE.INVALIDATE", "dropped"],
            &["SELECT", "3"],
            &["CHATCACHE.GET", "response", "ann", "dropped", "q2"],
            &["DBSIZE"],
        ],
    );
    assert_eq!(replies[1..5], [Raw::simple("OK"), Raw::Int(1), Raw::Int(1), Raw::Int(1)]);
    assert_eq!(pending_in(&replies[5]), MANY + 2);
    assert_eq!(replies[6], Raw::Int(0));
    assert_eq!((&replies[8], &replies[9]), (&Raw::NullBulk, &Raw::Int(1)));
    reclaimed(&server);
    let mut con = server.connect();
    for (database, size) in [(0, 1), (3, 0), (4, 0)] {
        ask(&mut con, &args!["SELECT", database]);
        assert_eq!(dbsize(&mut con), size, "database {database}");
    }
}

#[test]
fn a_live_entry_moved_onto_a_pending_key_lives_on() {
    let server = a_full_server();
    let (target, kept) = (key(&server, "dropped", "q1"), key(&server, "kept", "q"));
    let copied = key(&server, "dropped", "q2");
    let replies =
        in_one_go(&server, &[DROP, &["COPY", &kept, &copied, "REPLACE"], &["RENAME", &kept, &target], INFO]);
    assert_eq!(replies[1..3], [Raw::Int(1), Raw::simple("OK")]);
    assert_eq!(pending_in(&replies[3]), MANY - 2);
    reclaimed(&server);
    let mut con = server.connect();
    assert_eq!(count(&mut con, &args!["EXISTS", target, copied]), 2);
    assert_eq!(personas(&mut con).into_keys().collect::<Vec<_>>(), ["kept"]);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "kept"]), 2);
}

#[test]
fn other_values_written_over_pending_keys_stay() {
    let server = a_full_server();
    let keys: Vec<String> = (1..=3).map(|number| key(&server, "dropped", &format!("q{number}"))).collect();
    let replies = in_one_go(
        &server,
        &[
            DROP,
            &["SET", &keys[0], "plain"],
            &["DEL", &keys[1]],
            &["RPUSH", &keys[1], "a", "b"],
            &["UNLINK", &keys[2]],
            INFO,
        ],
    );
    assert_eq!(pending_in(&replies[5]), MANY - 3);
    reclaimed(&server);
    let mut con = server.connect();
    assert_eq!(text(&ask(&mut con, &args!["GET", keys[0]])), "plain");
    assert_eq!(count(&mut con, &args!["LLEN", keys[1]]), 2);
    assert_eq!(dbsize(&mut con), 3);
}

#[test]
fn ttls_given_to_pending_keys_neither_keep_nor_revive_them() {
    let server = a_full_server();
    let keys: Vec<String> = (1..=3).map(|number| key(&server, "dropped", &format!("q{number}"))).collect();
    let replies = in_one_go(
        &server,
        &[
            DROP,
            &["EXPIRE", &keys[0], "1000000"],
            &["PERSIST", &keys[1]],
            &["EXPIRE", &keys[2], "-1"],
            &["CHATCACHE.GET", "response", "ann", "dropped", "q2"],
            INFO,
        ],
    );
    assert_eq!(replies[4], Raw::NullBulk);
    assert_eq!(pending_in(&replies[5]), MANY - 1);
    reclaimed(&server);
    assert_eq!(dbsize(&mut server.connect()), 1);
}

#[test]
fn a_hot_config_change_in_the_middle_changes_nothing() {
    let server = a_full_server();
    let busy = Busy::keep(&server);
    let mut con = server.connect();
    assert_eq!(count(&mut con, DROP), MANY);
    for limit in ["1000000", "0", "512"] {
        ask(&mut con, &["CONFIG", "SET", "chatcache.invalidate-sync-limit", limit]);
        set(&mut con, "msg", "", "small", "q", "a");
        assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "small"]), 1);
    }
    assert!(pending(&mut con) > 0);
    drop(busy);
    reclaimed(&server);
    assert_eq!(dbsize(&mut con), 1);
}

#[test]
fn eviction_in_the_middle_keeps_the_counts_right() {
    let server = Server::builder().config(NOTHING_AT_ONCE).config("maxmemory-policy allkeys-random").start();
    let mut con = server.connect();
    fill(&mut con, "response", "ann", "dropped", 30_000);
    fill(&mut con, "response", "ann", "kept", 10_000);
    let used: i64 = info_field(&mut con, "memory", "used_memory").parse().expect("bytes");
    let busy = Busy::keep(&server);
    assert_eq!(count(&mut con, DROP), 30_000);
    let evicted = |con: &mut redis::Connection| -> i64 {
        info_field(con, "stats", "evicted_keys").parse().expect("a number")
    };
    ask(&mut con, &args!["CONFIG", "SET", "maxmemory", used * 9 / 10]);
    eventually(|| {
        set(&mut con, "msg", "", "more", "q", "a");
        evicted(&mut con) > 1_000
    });
    assert!(pending(&mut con) > 0, "the reclaim was over before the eviction");
    ask(&mut con, &["CONFIG", "SET", "maxmemory", "0"]);
    let (keys, entries, pending) = sizes(&server);
    assert_eq!(keys, entries + pending);
    drop(busy);
    reclaimed(&server);
    let entries = stat(&mut con, "entries");
    assert_eq!(dbsize(&mut con), entries);
    let listed: i64 =
        personas(&mut con).values().map(|(live, _)| live.parse::<i64>().expect("a number")).sum();
    assert_eq!(listed, entries);
    assert_eq!(get(&mut con, "response", "ann", "dropped", "q1"), None);
}

#[test]
fn debug_reload_in_the_middle_brings_back_no_invalidated_entry() {
    let server = a_full_server();
    let busy = Busy::keep(&server);
    let mut con = server.connect();
    assert_eq!(count(&mut con, DROP), MANY);
    assert!(pending(&mut con) > 0, "the reclaim was over");
    ask(&mut con, &["DEBUG", "RELOAD"]);
    assert_eq!(get(&mut con, "response", "ann", "dropped", "q1"), None);
    set(&mut con, "response", "ann", "dropped", "q1", "new");
    drop(busy);
    reclaimed(&server);
    assert_eq!((dbsize(&mut con), stat(&mut con, "entries")), (2, 2));
    assert_eq!(get(&mut con, "response", "ann", "dropped", "q1"), Some("new".into()));
}

#[test]
fn watchers_of_a_persona_and_of_its_keys_see_the_invalidate() {
    let server = a_full_server();
    let mut con = server.connect();
    ask(&mut con, &["WATCH", "dropped"]);
    assert_eq!(count(&mut server.connect(), DROP), MANY);
    ask(&mut con, &["MULTI"]);
    ask(&mut con, &["PING"]);
    assert_eq!(ask(&mut con, &["EXEC"]), redis::Value::Nil);
    reclaimed(&server);
}

#[test]
fn a_renamed_tombstone_leaves_the_key_of_another_request() {
    // persona:ann:… would hold the responses of ann as a persona; here it is helper's, renamed.
    let server = Server::builder().config("chatcache.invalidate-sync-limit 0").start();
    let mut con = server.connect();
    for tier in ["persona", "session", "response"] {
        set(&mut con, tier, "ann", "helper", "q", "a");
        let key = ask(&mut con, &["CHATCACHE.KEY", tier, "ann", "helper", "q"]);
        let mirrored = ask(&mut con, &["CHATCACHE.KEY", tier, "helper", "ann", "q"]);
        ask(&mut con, &["RENAME", &text(&key), &text(&mirrored)]);
    }
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "helper"]), 3);
    reclaimed(&server);
    assert_eq!(dbsize(&mut con), 0);
}
