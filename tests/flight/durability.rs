//! Freshness, grace and cost of an entry last in files and on replicas. Leases do not.

use testkit::{
    Q, Raw, RawClient, Server, busy_of, eventually, hit, info_field, inspected, instants, lease, refresh,
    replica_caught_up, set_line, stale, store_stale, waiter,
};

#[track_caller]
fn the_same(after: [i64; 3], before: [i64; 3], what: &str) {
    for at in [0, 1] {
        let passed = before[at] - after[at];
        assert!((-50..30_000).contains(&passed), "{what}: {before:?} became {after:?}");
    }
    let (grace, was) = (after[1] - after[0], before[1] - before[0]);
    assert!((grace - was).abs() <= 2, "{what}: {before:?} became {after:?}");
    assert_eq!(after[2], before[2], "{what}");
}

fn store(con: &mut RawClient) -> [i64; 3] {
    con.ok(&set_line(Q, "answer", "PX 1000000 STALE 2000000 COST 777"));
    let instants = instants(con, Q);
    assert!((990_000..=1_000_000).contains(&instants[0]), "{instants:?}");
    assert!((2_990_000..=3_000_000).contains(&instants[1]), "{instants:?}");
    assert_eq!(instants[2], 777);
    instants
}

#[test]
fn an_rdb_keeps_both_instants_and_the_cost() {
    let mut server = Server::start();
    let mut con = server.raw();
    let before = store(&mut con);
    con.ok("DEBUG RELOAD");
    the_same(instants(&mut con, Q), before, "DEBUG RELOAD");
    store_stale(&mut con, "msg ann bot stale", "old");
    drop(con);
    server.restart();
    let mut con = server.raw();
    the_same(instants(&mut con, Q), before, "RDB");
    assert_eq!(con.say("CHATCACHE.GET msg ann bot stale"), Raw::NullBulk);
    refresh(&mut con, "msg ann bot stale");
}

#[test]
fn an_aof_keeps_both_instants_and_the_cost() {
    for rewritten in [None, Some("yes"), Some("no")] {
        let mut server = Server::builder()
            .appendonly()
            .config(format!("aof-use-rdb-preamble {}", rewritten.unwrap_or("yes")))
            .start();
        let mut con = server.raw();
        let before = store(&mut con);
        store_stale(&mut con, "msg ann bot stale", "old");
        if rewritten.is_some() {
            con.say("BGREWRITEAOF");
            eventually(|| {
                let mut con = server.connect();
                info_field(&mut con, "persistence", "aof_rewrite_in_progress") == "0"
                    && info_field(&mut con, "persistence", "aof_rewrite_scheduled") == "0"
            });
        }
        drop(con);
        server.kill9();
        server.start_again();
        let mut con = server.raw();
        the_same(instants(&mut con, Q), before, &format!("AOF {rewritten:?}"));
        assert_eq!(con.say("CHATCACHE.GET msg ann bot stale"), Raw::NullBulk, "{rewritten:?}");
        refresh(&mut con, "msg ann bot stale");
    }
}

#[test]
fn current_settings_do_not_change_the_entries_of_an_aof() {
    let mut server = Server::builder().appendonly().start();
    let mut con = server.raw();
    con.ok(&set_line(Q, "answer", "PX 1000000"));
    let before = instants(&mut con, Q);
    con.ok("CONFIG SET chatcache.stale-response 500 chatcache.ttl-jitter 50");
    con.ok("CONFIG REWRITE");
    drop(con);
    server.restart_without_saving();
    the_same(instants(&mut server.raw(), Q), before, "AOF under other settings");
}

#[test]
fn a_replica_has_both_instants_and_the_cost() {
    let master = Server::start();
    let mut con = master.raw();
    con.ok(&set_line("response ann bot early", "x", "PX 1000000 STALE 2000000 COST 5"));
    let replica = Server::builder()
        .config("chatcache.stale-response 9999")
        .config("chatcache.ttl-jitter 50")
        .replica_of(&master)
        .start();
    let before = store(&mut con);
    con.ok(&set_line("response ann bot plain", "x", "PX 500000"));
    let token = lease(&mut con, "response ann bot leased");
    con.ok(&set_line("response ann bot leased", "x", &format!("EX 100 STALE 1000 COST 42 TOKEN {token}")));
    store_stale(&mut con, "msg ann bot stale", "old");
    replica_caught_up(&master, &replica);
    let mut there = replica.raw();
    the_same(instants(&mut there, Q), before, "replication");
    let early = instants(&mut there, "response ann bot early");
    let grace = early[1] - early[0];
    assert!((grace - 2_000_000).abs() <= 2, "{grace}");
    assert!(inspected(&mut there, "response ann bot plain", "ttl-ms") <= 500_000);
    assert!(inspected(&mut there, "response ann bot plain", "ttl-ms") > 490_000);
    assert_eq!(inspected(&mut there, "response ann bot leased", "cost-ms"), 42);
    assert_eq!(there.say("CHATCACHE.FETCH msg ann bot stale"), stale("old"));
    assert_eq!(there.say("CHATCACHE.FETCH response ann bot leased"), hit("x"));
}

#[test]
fn a_replica_that_becomes_master_gives_leases() {
    let master = Server::start();
    let replica = Server::builder().replica_of(&master).start();
    let mut con = master.raw();
    let token = lease(&mut con, Q);
    store_stale(&mut con, "msg ann bot stale", "old");
    replica_caught_up(&master, &replica);
    let mut there = replica.raw();
    there.ok("REPLICAOF NO ONE");
    assert_eq!(
        there.say(&set_line(Q, "late", &format!("TOKEN {token}"))),
        Raw::NullBulk,
        "another server's lease"
    );
    let token = lease(&mut there, Q);
    refresh(&mut there, "msg ann bot stale");
    there.ok(&set_line(Q, "new", &format!("TOKEN {token}")));
}

#[test]
fn a_restart_ends_all_leases() {
    let mut server = Server::builder().appendonly().start();
    let mut con = server.raw();
    let token = lease(&mut con, Q);
    drop(con);
    server.restart();
    let mut con = server.raw();
    assert_eq!(con.say(&set_line(Q, "late", &format!("TOKEN {token}"))), Raw::NullBulk);
    assert_ne!(lease(&mut con, Q), token);
}

#[test]
fn a_response_kept_with_keepttl_has_the_same_end_after_a_restart() {
    let mut server = Server::builder().appendonly().start();
    let mut con = server.raw();
    con.ok(&set_line(Q, "one", "PX 1500 STALE 3600000"));
    con.ok(&set_line(Q, "two", "KEEPTTL"));
    eventually(|| con.say(&format!("CHATCACHE.GET {Q}")) == Raw::NullBulk);
    drop(con);
    server.kill9();
    server.start_again();
    let mut con = server.raw();
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::NullBulk);
    refresh(&mut con, Q);
}

#[test]
fn a_failover_ends_all_waits() {
    let master = Server::start();
    let replica = Server::builder().replica_of(&master).start();
    let mut holder = master.raw();
    let token = lease(&mut holder, Q);
    let mut waiting = waiter(&master, Q);
    master.raw().ok("FAILOVER");
    // The server unblocks its clients itself; Valkey 9 leaves that to the module, which tells them `busy`.
    match waiting.read() {
        Raw::Error(text) => assert!(text.starts_with("UNBLOCKED "), "{text}"),
        reply => assert_eq!(busy_of(reply), 0),
    }
    eventually(|| info_field(&mut replica.connect(), "replication", "role") == "master");
    let mut there = replica.raw();
    assert_eq!(there.say(&set_line(Q, "late", &format!("TOKEN {token}"))), Raw::NullBulk);
    lease(&mut there, Q);
}

#[test]
fn a_response_kept_without_end_is_not_fresh_again_after_a_restart() {
    let mut server = Server::builder().appendonly().start();
    let mut con = server.raw();
    let key = con.text(&format!("CHATCACHE.KEY {Q}"));
    con.ok(&set_line(Q, "one", "PX 1500 STALE 3600000"));
    con.number(&format!("PERSIST {key}"));
    con.ok(&set_line(Q, "two", "KEEPTTL"));
    eventually(|| con.say(&format!("CHATCACHE.GET {Q}")) == Raw::NullBulk);
    drop(con);
    server.kill9();
    server.start_again();
    let mut con = server.raw();
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::NullBulk);
}
