//! One large invalidation, and other commands meanwhile.

use redis::{Connection, Value};
use testkit::{
    Busy, NOTHING_AT_ONCE, Raw, Server, args, ask, count, dbsize, eventually, fill, get, in_one_go,
    info_field, pending, pending_in, personas, reclaimed, set, stat, text,
};

fn used_memory(con: &mut Connection) -> i64 {
    info_field(con, "memory", "used_memory").parse().expect("bytes")
}

#[test]
fn a_hundred_thousand_entries_go_at_once_and_their_keys_one_by_one() {
    let server = Server::start();
    let mut con = server.connect();
    set(&mut con, "msg", "", "other", "q", "a");
    let before = used_memory(&mut con);
    fill(&mut con, "persona", "", "helper", 100_000);
    let full = used_memory(&mut con);
    let replies = in_one_go(
        &server,
        &[
            &["MULTI"],
            &["DBSIZE"],
            &["CHATCACHE.INVALIDATE", "helper"],
            &["DBSIZE"],
            &["CHATCACHE.GET", "persona", "", "helper", "q1"],
            &["CHATCACHE.GET", "persona", "", "helper", "q100000"],
            &["CHATCACHE.INVALIDATE", "helper"],
            &["EXEC"],
        ],
    );
    let all = Raw::Int(100_001);
    let expected = [all.clone(), Raw::Int(100_000), all, Raw::NullBulk, Raw::NullBulk, Raw::Int(0)];
    assert_eq!(replies[7], Raw::Array(expected.into()));
    // Others are served in between, and see the rest become less.
    let mut seen = Vec::new();
    eventually(|| {
        assert_eq!(get(&mut con, "msg", "", "other", "q"), Some("a".into()));
        assert_eq!(get(&mut con, "persona", "", "helper", "q77777"), None);
        let rest = pending(&mut con);
        seen.push(rest);
        rest == 0
    });
    assert!(seen.is_sorted_by(|earlier, later| earlier >= later), "{seen:?}");
    assert!(seen.iter().filter(|rest| (1..100_000).contains(*rest)).count() > 3, "not in pieces: {seen:?}");
    assert_eq!(dbsize(&mut con), 1);
    let left = used_memory(&mut con) - before;
    assert!(left < (full - before) / 10, "{left} bytes of {} are still used", full - before);
}

#[test]
fn an_invalidation_up_to_the_limit_deletes_its_keys_within_the_command_and_a_larger_one_does_not() {
    let server = Server::builder().config("chatcache.invalidate-sync-limit 100").start();
    let mut con = server.connect();
    fill(&mut con, "persona", "", "small", 100);
    fill(&mut con, "persona", "", "large", 101);
    let size: &[&str] = &["DBSIZE"];
    let replies = in_one_go(
        &server,
        &[&["CHATCACHE.INVALIDATE", "small"], size, &["CHATCACHE.INVALIDATE", "large"], size],
    );
    assert_eq!(replies, [Raw::Int(100), Raw::Int(101), Raw::Int(101), Raw::Int(101)]);
    reclaimed(&server);
    assert_eq!(dbsize(&mut con), 0);
    ask(&mut con, &["CONFIG", "SET", "chatcache.invalidate-sync-limit", "0"]);
    set(&mut con, "msg", "", "one", "q", "a");
    let replies = in_one_go(&server, &[&["CHATCACHE.INVALIDATE", "one"], size]);
    assert_eq!(replies, [Raw::Int(1), Raw::Int(1)]);
    reclaimed(&server);
}

#[test]
fn small_invalidations_complete_at_once_while_a_large_one_is_pending() {
    let server = Server::start();
    let mut con = server.connect();
    fill(&mut con, "persona", "", "large", 50_000);
    fill(&mut con, "persona", "", "small", 200);
    fill(&mut con, "session", "ann", "large", 100);
    fill(&mut con, "msg", "", "small", 100);
    let info: &[&str] = &["INFO", "everything"];
    let replies = in_one_go(
        &server,
        &[
            &["CHATCACHE.INVALIDATE", "large"],
            &["CHATCACHE.INVALIDATE", "small"],
            info,
            &["DBSIZE"],
            &["CHATCACHE.SET", "session", "ann", "third", "q", "a"],
            &["CHATCACHE.FORGET", "ann"],
            info,
        ],
    );
    assert_eq!((&replies[0], &replies[1]), (&Raw::Int(50_100), &Raw::Int(300)));
    assert_eq!(pending_in(&replies[2]), 50_100);
    assert_eq!(replies[3], Raw::Int(50_100));
    assert_eq!(replies[5], Raw::Int(1));
    // FORGET may have taken some of the large one's along, but no more than a small invalidation may.
    assert!(pending_in(&replies[6]) >= 50_100 - 512, "{}", pending_in(&replies[6]));
    reclaimed(&server);
    assert_eq!(dbsize(&mut con), 0);
}

#[test]
fn a_small_invalidation_leaves_the_tombstones_of_a_large_one_of_the_same_user() {
    let server = Server::start();
    let mut con = server.connect();
    fill(&mut con, "session", "ann", "large", 50_000);
    set(&mut con, "session", "ann", "other", "q", "a");
    let replies = in_one_go(
        &server,
        &[
            &["CHATCACHE.INVALIDATE", "large"],
            &["CHATCACHE.FORGET", "ann"],
            &["DBSIZE"],
            &["CHATCACHE.GET", "session", "ann", "other", "q"],
        ],
    );
    assert_eq!(replies[..2], [Raw::Int(50_000), Raw::Int(1)]);
    let Raw::Int(left) = replies[2] else { panic!("{:?}", replies[2]) };
    assert!(left > 49_000, "a drop of one answer deleted {} keys", 50_001 - left);
    assert_eq!(replies[3], Raw::NullBulk);
    reclaimed(&server);
    assert_eq!(dbsize(&mut con), 0);
}

#[test]
fn an_entry_stored_again_before_its_key_is_reclaimed_lives_on() {
    let server = Server::start();
    let mut con = server.connect();
    for tier in ["msg", "persona", "session", "response"] {
        fill(&mut con, tier, "ann", "helper", 10_000);
    }
    let busy = Busy::keep(&server);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "helper"]), 40_000);
    // From both ends: whichever the reclaim comes to first.
    let again = ["q1", "q2", "q5000", "q9999", "q10000"];
    for tier in ["msg", "persona", "session", "response"] {
        for question in again {
            set(&mut con, tier, "ann", "helper", question, "new");
        }
    }
    assert!(pending(&mut con) > 0, "the reclaim was over");
    assert_eq!(stat(&mut con, "entries"), 20);
    drop(busy);
    reclaimed(&server);
    for tier in ["msg", "persona", "session", "response"] {
        for question in again {
            assert_eq!(get(&mut con, tier, "ann", "helper", question), Some("new".into()));
        }
        assert_eq!(get(&mut con, tier, "ann", "helper", "q3"), None);
    }
    assert_eq!((dbsize(&mut con), stat(&mut con, "entries")), (20, 20));
    assert_eq!(count(&mut con, &["CHATCACHE.FLUSH"]), 20);
}

#[test]
fn conditions_see_no_invalidated_entry() {
    let server = Server::start();
    let mut con = server.connect();
    fill(&mut con, "persona", "", "helper", 20_000);
    let set = |question, condition| ["CHATCACHE.SET", "persona", "", "helper", question, "new", condition];
    let replies = in_one_go(
        &server,
        &[
            &["CHATCACHE.INVALIDATE", "helper"],
            &set("q1", "XX"),
            &set("q2", "NX"),
            &set("q2", "NX"),
            &set("q2", "XX"),
            &["CHATCACHE.DEL", "persona", "", "helper", "q3"],
            &["CHATCACHE.INSPECT", "persona", "", "helper", "q4"],
            &set("q5", "KEEPTTL"),
            &["INFO", "everything"],
        ],
    );
    let ok = || Raw::simple("OK");
    assert_eq!(replies[1..5], [Raw::NullBulk, ok(), Raw::NullBulk, ok()]);
    assert_eq!(replies[5], Raw::Int(0));
    assert!(matches!(replies[6], Raw::NullBulk | Raw::NullArray), "{:?}", replies[6]);
    assert_eq!(pending_in(&replies[8]), 19_998);
    reclaimed(&server);
    assert_eq!(dbsize(&mut con), 2);
}

#[test]
fn the_ttl_left_of_an_invalidated_entry_is_not_inherited() {
    let server = Server::builder().config(NOTHING_AT_ONCE).start();
    let mut con = server.connect();
    ask(&mut con, &["CHATCACHE.SET", "persona", "", "helper", "q", "a", "PX", "90000000"]);
    let replies = in_one_go(
        &server,
        &[
            &["CHATCACHE.INVALIDATE", "helper"],
            &["CHATCACHE.SET", "persona", "", "helper", "q", "b", "KEEPTTL"],
        ],
    );
    assert_eq!(replies, [Raw::Int(1), Raw::simple("OK")]);
    let key = text(&ask(&mut con, &["CHATCACHE.KEY", "persona", "", "helper", "q"]));
    assert!(count(&mut con, &args!["PTTL", key]) <= 3_600_000, "KEEPTTL kept the TTL of what was dropped");
}

#[test]
fn memory_stays_flat_over_twenty_rounds_of_filling_and_invalidating() {
    // The slow log would remember each filling.
    let server = Server::builder().config("slowlog-log-slower-than -1").start();
    let mut con = server.connect();
    let (mut full, mut second) = (0, 0);
    for round in 1..=20 {
        fill(&mut con, "response", "ann", "helper", 4_000);
        fill(&mut con, "persona", "", "helper", 4_000);
        // Names of their own for some keys, which the index keeps too.
        for number in 0..20 {
            let id = format!("id {number}");
            ask(&mut con, &args!["CHATCACHE.SET", "session", "ann", "helper", "", "a", "ID", id]);
        }
        full = used_memory(&mut con);
        assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "helper"]), 8_020);
        eventually(|| pending(&mut con) == 0);
        assert_eq!(dbsize(&mut con), 0);
        assert_eq!(stat(&mut con, "users"), 0);
        // The second round, as the first one brings the connection's buffers to their size.
        if round == 2 {
            second = used_memory(&mut con);
        }
    }
    // The server shrinks its own tables some time after their keys are gone.
    eventually(|| used_memory(&mut con) - second < (full - second) / 20);
}

#[test]
fn entries_that_are_read_and_written_meanwhile_are_right_all_the_time() {
    let server = Server::start();
    let mut con = server.connect();
    fill(&mut con, "persona", "", "dropped", 60_000);
    fill(&mut con, "persona", "", "kept", 500);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "dropped"]), 60_000);
    let mut turns = 0;
    while pending(&mut con) > 0 {
        turns += 1;
        let question = format!("q{}", turns % 500 + 1);
        assert_eq!(get(&mut con, "persona", "", "kept", &question), Some(format!("a{}", turns % 500 + 1)));
        assert_eq!(get(&mut con, "persona", "", "dropped", &question), None);
        set(&mut con, "msg", "", "new", &question, "new");
        assert_eq!(get(&mut con, "msg", "", "new", &question), Some("new".into()));
        assert_eq!(personas(&mut con).into_keys().collect::<Vec<_>>(), ["kept", "new"]);
    }
    assert!(turns > 0, "the reclaim was over at once");
    assert_eq!(dbsize(&mut con), 500 + turns.min(500));
    assert_eq!(stat(&mut con, "dropped"), 60_000);
    assert_eq!(stat(&mut con, "reclaimed"), 60_000);
    assert_eq!(
        ask(&mut con, &["CHATCACHE.GET", "any", "", "dropped", "q2"]),
        Value::BulkString(b"new".into())
    );
}
