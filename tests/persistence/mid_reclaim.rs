//! Invalidated entries stay invalidated if the keyspace is saved during their reclaim.

use redis::Connection;
use testkit::{
    NOTHING_AT_ONCE, Raw, Server, args, ask, count, dbsize, fill, get, in_one_go, pending_in, personas,
    reclaimed, saved_in_background, set, stat, text,
};

const MANY: usize = 50_000;

/// Returns a server with many responses of one persona, and one of another.
fn a_full_server(lines: &[&str]) -> Server {
    let builder = lines.iter().fold(Server::builder(), |builder, line| builder.config(*line));
    let server = builder.start();
    let mut con = server.connect();
    fill(&mut con, "response", "ann", "dropped", MANY);
    set(&mut con, "response", "ann", "kept", "q1", "kept");
    server
}

/// Drops the persona and runs a command before any key of it is reclaimed.
#[track_caller]
fn invalidate_and(server: &Server, command: &[&str]) -> Raw {
    let info: &[&str] = &["INFO", "everything"];
    let mut replies = in_one_go(server, &[&["CHATCACHE.INVALIDATE", "dropped"], info, command, info]);
    assert_eq!(replies[0], Raw::Int(MANY as i64));
    assert_eq!(pending_in(&replies[1]), MANY as i64);
    assert!(pending_in(&replies[3]) > 0, "the reclaim was over");
    replies.swap_remove(2)
}

/// Checks that the invalidated persona is not served nor counted, now and when its keys are gone, and that the other
/// response is.
#[track_caller]
fn stays_invalidated(server: &Server) {
    let mut con = server.connect();
    let look = |con: &mut Connection| {
        for question in ["q1", "q777", "q50000"] {
            assert_eq!(get(con, "response", "ann", "dropped", question), None);
        }
        assert_eq!(personas(con).into_keys().collect::<Vec<_>>(), ["kept"]);
        assert_eq!(stat(con, "entries"), 1);
        assert_eq!(count(con, &["CHATCACHE.INVALIDATE", "dropped"]), 0);
        assert_eq!(get(con, "response", "ann", "kept", "q1"), Some("kept".into()));
    };
    look(&mut con);
    reclaimed(server);
    look(&mut con);
    assert_eq!(dbsize(&mut con), 1);
    assert_eq!(count(&mut con, &["CHATCACHE.FORGET", "ann"]), 1);
}

#[test]
fn tombstones_survive_a_bgsave_and_a_crash() {
    for limit in [NOTHING_AT_ONCE, "chatcache.invalidate-sync-limit 512"] {
        let mut server = a_full_server(&[limit]);
        invalidate_and(&server, &["BGSAVE"]);
        saved_in_background(&mut server.connect());
        server.kill9();
        server.start_again();
        assert!(server.log().contains(&format!("keys loaded: {}", MANY + 1)), "{}", server.log());
        stays_invalidated(&server);
    }
}

#[test]
fn tombstones_survive_a_save_and_a_crash() {
    let mut server = a_full_server(&[]);
    assert_eq!(invalidate_and(&server, &["SAVE"]), Raw::simple("OK"));
    server.kill9();
    server.start_again();
    assert!(server.log().contains(&format!("keys loaded: {}", MANY + 1)), "{}", server.log());
    // A loading server has no waiters: the tombstones are gone when it is ready.
    assert!(dbsize(&mut server.connect()) <= 2);
    stays_invalidated(&server);
}

#[test]
fn tombstones_survive_a_shutdown_that_saves() {
    let mut server = a_full_server(&[]);
    let mut client = server.raw();
    client.send_bytes(b"CHATCACHE.INVALIDATE dropped\r\nSHUTDOWN SAVE\r\n");
    assert!(server.wait_for_exit().success());
    server.start_again();
    assert!(server.log().contains(&format!("keys loaded: {}", MANY + 1)), "{}", server.log());
    stays_invalidated(&server);
}

#[test]
fn tombstones_survive_debug_reload() {
    let server = a_full_server(&[]);
    assert_eq!(invalidate_and(&server, &["DEBUG", "RELOAD"]), Raw::simple("OK"));
    stays_invalidated(&server);
}

#[test]
fn tombstones_survive_a_crash_with_an_aof_alone() {
    let mut server = a_full_server(&["appendonly yes", "appendfsync always"]);
    invalidate_and(&server, &["PING"]);
    server.kill9();
    server.start_again();
    stays_invalidated(&server);
}

#[test]
fn tombstones_survive_a_crash_after_an_aof_rewrite_with_a_preamble() {
    let mut server = a_full_server(&["appendonly yes", "aof-use-rdb-preamble yes"]);
    invalidate_and(&server, &["BGREWRITEAOF"]);
    saved_in_background(&mut server.connect());
    server.kill9();
    server.start_again();
    stays_invalidated(&server);
}

#[test]
fn tombstones_survive_the_same_invalidation_in_several_databases() {
    let mut server = a_full_server(&[]);
    let mut con = server.connect();
    ask(&mut con, &args!["SELECT", 5]);
    fill(&mut con, "msg", "", "dropped", MANY);
    let (invalidated, select): (&[&str], &[&str]) = (&["CHATCACHE.INVALIDATE", "dropped"], &["SELECT", "5"]);
    let replies = in_one_go(&server, &[invalidated, select, invalidated, &["INFO", "everything"], &["SAVE"]]);
    assert_eq!(pending_in(&replies[3]), 2 * MANY as i64);
    assert_eq!(replies[4], Raw::simple("OK"));
    server.kill9();
    server.start_again();
    stays_invalidated(&server);
    let mut con = server.connect();
    ask(&mut con, &args!["SELECT", 5]);
    assert_eq!(dbsize(&mut con), 0);
}

#[test]
fn tombstones_survive_dump_and_restore_here_and_in_another_server() {
    let server = a_full_server(&[]);
    let other = Server::start();
    let mut con = server.connect();
    let key = text(&ask(&mut con, &["CHATCACHE.KEY", "response", "ann", "dropped", "q1"]));
    let Raw::Bulk(dump) = invalidate_and(&server, &["DUMP", &key]) else { panic!("the key is gone already") };
    for target in [&server, &other] {
        let mut con = target.connect();
        ask(&mut con, &args!["RESTORE", "another key", 0, dump]);
        ask(&mut con, &args!["RESTORE", key, 0, dump, "REPLACE"]);
        assert_eq!(get(&mut con, "response", "ann", "dropped", "q1"), None);
        assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "dropped"]), 0);
        reclaimed(target);
        assert_eq!(count(&mut con, &args!["EXISTS", key, "another key"]), 0);
    }
    stays_invalidated(&server);
    assert_eq!(dbsize(&mut other.connect()), 0);
}

#[test]
fn an_entry_stored_after_the_invalidation_lives_on() {
    let mut server = a_full_server(&[]);
    let set = ["CHATCACHE.SET", "response", "ann", "dropped", "q1", "new"];
    let replies =
        in_one_go(&server, &[&["CHATCACHE.INVALIDATE", "dropped"], &set, &["INFO", "everything"], &["SAVE"]]);
    assert_eq!(pending_in(&replies[2]), MANY as i64 - 1);
    server.kill9();
    server.start_again();
    reclaimed(&server);
    let mut con = server.connect();
    assert_eq!(get(&mut con, "response", "ann", "dropped", "q1"), Some("new".into()));
    assert_eq!(dbsize(&mut con), 2);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "dropped"]), 1);
}
