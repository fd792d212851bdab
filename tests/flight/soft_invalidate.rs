//! SOFTINVALIDATE: all responses of a persona turn stale, and are refreshed one by one.

use testkit::{
    Q, Raw, Server, comes_too_late, eventually, fill_persona, hit, inspected, lease, refresh,
    replica_caught_up, set_line, stale, store_stale,
};

#[test]
fn soft_invalidate_turns_fresh_entries_stale_and_counts_them() {
    let server = Server::start();
    let mut con = server.raw();
    fill_persona(&mut con, "ann", "bot", 5, 10);
    fill_persona(&mut con, "bob", "other", 3, 10);
    con.ok(&set_line("msg ann bot hi", "answer", ""));
    con.ok(&set_line("session ann third hi", "answer", ""));
    assert_eq!(con.number("CHATCACHE.SOFTINVALIDATE bot"), 6);
    assert_eq!(con.number("CHATCACHE.SOFTINVALIDATE bot"), 0, "they are stale already");
    assert_eq!(con.stats("")["entries-stale"], 6);
    assert_eq!(con.number("CHATCACHE.SOFTINVALIDATE bot other nobody other third"), 4);
    assert_eq!(con.stats("")["entries-stale"], 10);
    assert_eq!(con.stats("")["entries"], 10, "all are there");
    assert_eq!(con.say("CHATCACHE.GET response ann bot m-1"), Raw::NullBulk);
    refresh(&mut con, "response ann bot m-1");
    // A new response is fresh, and the next SOFTINVALIDATE counts it alone.
    con.ok(&set_line("response ann bot m-1", "new", ""));
    assert_eq!(con.say("CHATCACHE.FETCH response ann bot m-1"), hit("new"));
    assert_eq!(con.stats("")["entries-stale"], 9);
    assert_eq!(con.number("CHATCACHE.SOFTINVALIDATE bot"), 1);
    // A hard one counts all.
    assert_eq!(con.number("CHATCACHE.INVALIDATE bot"), 6);
    assert_eq!(con.stats("")["entries-stale"], 4);
    lease(&mut con, "response ann bot m-2");
}

#[test]
fn a_soft_invalidate_gives_one_caller_the_refresh() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok(&set_line(Q, "old", ""));
    assert_eq!(con.number("CHATCACHE.SOFTINVALIDATE bot"), 1);
    let mut holder = server.raw();
    let token = refresh(&mut holder, Q);
    for _ in 0..20 {
        assert_eq!(server.raw().say(&format!("CHATCACHE.FETCH {Q} WAIT 1000")), stale("old"));
    }
    drop(holder);
    eventually(|| con.stats("")["leases"] == 0);
    let next = refresh(&mut con, Q);
    comes_too_late(&mut con, Q, &token);
    con.ok(&set_line(Q, "new", &format!("TOKEN {next}")));
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("new"));
}

#[test]
fn soft_invalidate_counts_an_entry_past_its_freshness_once() {
    let server = Server::start();
    let mut con = server.raw();
    store_stale(&mut con, Q, "old");
    assert_eq!(con.number("CHATCACHE.SOFTINVALIDATE bot"), 1);
    assert_eq!(con.number("CHATCACHE.SOFTINVALIDATE bot"), 0);
    assert_eq!(con.number("CHATCACHE.INVALIDATE bot"), 1);
}

#[test]
fn soft_invalidate_voids_leases() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok(&set_line(Q, "old", ""));
    con.number("CHATCACHE.SOFTINVALIDATE bot");
    let token = refresh(&mut con, Q);
    assert_eq!(con.number("CHATCACHE.SOFTINVALIDATE bot"), 0);
    comes_too_late(&mut con, Q, &token);
    refresh(&mut con, Q);
}

#[test]
fn other_databases_stay_fresh_also_when_swapped() {
    let server = Server::start();
    let (mut con, mut other) = (server.raw(), server.raw());
    other.ok("SELECT 1");
    con.ok(&set_line(Q, "zero", ""));
    other.ok(&set_line(Q, "one", ""));
    assert_eq!(con.number("CHATCACHE.SOFTINVALIDATE bot"), 1);
    assert_eq!(other.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("one"));
    con.ok("SWAPDB 0 1");
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("one"));
    assert_eq!(other.say(&format!("CHATCACHE.GET {Q}")), Raw::NullBulk);
    refresh(&mut other, Q);
}

#[test]
fn a_stale_entry_stays_stale_after_rename_copy_and_restore() {
    let server = Server::start();
    let mut con = server.raw();
    let key = con.text(&format!("CHATCACHE.KEY {Q}"));
    con.ok(&set_line(Q, "old", ""));
    con.number("CHATCACHE.SOFTINVALIDATE bot");
    let check = |con: &mut testkit::RawClient, after: &str| {
        assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::NullBulk, "{after}");
        assert_eq!(inspected(con, Q, "fresh-ms"), 0, "{after}");
        assert!(inspected(con, Q, "ttl-ms") > 3_000_000, "{after}");
        let token = refresh(con, Q);
        assert_eq!(con.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}")), 1, "{after}");
    };
    check(&mut con, "nothing");
    con.ok(&format!("RENAME {key} elsewhere"));
    con.ok(&format!("RENAME elsewhere {key}"));
    check(&mut con, "RENAME");
    assert_eq!(con.number(&format!("COPY {key} elsewhere")), 1);
    con.number(&format!("CHATCACHE.DEL {Q}"));
    assert_eq!(con.number(&format!("COPY elsewhere {key}")), 1);
    check(&mut con, "COPY");
    let ttl = con.number(&format!("PTTL {key}")).to_string();
    let Raw::Bulk(payload) = con.say(&format!("DUMP {key}")) else { panic!("no payload") };
    con.number(&format!("DEL {key}"));
    assert_eq!(con.call(&[&b"RESTORE"[..], key.as_bytes(), ttl.as_bytes(), &payload]), Raw::simple("OK"));
    check(&mut con, "DUMP and RESTORE");
    assert_eq!(con.number(&format!("MOVE {key} 1")), 1);
    con.ok("SELECT 1");
    check(&mut con, "MOVE");
    assert_eq!(con.number(&format!("MOVE {key} 0")), 1);
    con.ok("SELECT 0");
    con.ok("DEBUG RELOAD");
    check(&mut con, "DEBUG RELOAD");
    con.ok(&format!("RENAME {key} {key}"));
    check(&mut con, "RENAME onto itself");
    // The copy is the persona's, too.
    assert_eq!(con.number("CHATCACHE.INVALIDATE bot"), 2);
}

#[test]
fn a_stale_response_stays_stale_over_restarts() {
    for rewrite in ["", "yes", "no"] {
        let mut builder = Server::builder().appendonly();
        if !rewrite.is_empty() {
            builder = builder.config(format!("aof-use-rdb-preamble {rewrite}"));
        }
        let mut server = builder.start();
        let mut con = server.raw();
        con.ok(&set_line(Q, "old", "EX 1000 STALE 1000000"));
        con.ok(&set_line("msg ann other hi", "fresh", ""));
        assert_eq!(con.number("CHATCACHE.SOFTINVALIDATE bot"), 1);
        con.ok(&set_line("msg ann bot new", "fresh", ""));
        if !rewrite.is_empty() {
            con.say("BGREWRITEAOF");
            eventually(|| {
                testkit::info_field(&mut server.connect(), "persistence", "aof_rewrite_in_progress") == "0"
                    && testkit::info_field(&mut server.connect(), "persistence", "aof_rewrite_scheduled")
                        == "0"
            });
        }
        drop(con);
        server.restart_without_saving();
        let mut con = server.raw();
        assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::NullBulk, "{rewrite}");
        refresh(&mut con, Q);
        assert_eq!(con.say("CHATCACHE.GET msg ann other hi"), Raw::bulk("fresh"), "{rewrite}");
        assert_eq!(con.say("CHATCACHE.GET msg ann bot new"), Raw::bulk("fresh"), "{rewrite}");
        assert_eq!(con.number("CHATCACHE.INVALIDATE bot"), 2, "{rewrite}");
    }
}

#[test]
fn a_stale_response_stays_stale_over_an_rdb() {
    let mut server = Server::start();
    let mut con = server.raw();
    con.ok(&set_line(Q, "old", ""));
    con.number("CHATCACHE.SOFTINVALIDATE bot");
    drop(con);
    server.restart();
    let mut con = server.raw();
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::NullBulk);
    refresh(&mut con, Q);
}

#[test]
fn soft_invalidate_makes_the_entries_of_a_replica_stale_too() {
    let master = Server::start();
    let mut con = master.raw();
    con.ok(&set_line("response ann bot early", "old", ""));
    con.number("CHATCACHE.SOFTINVALIDATE bot");
    let replica = Server::builder().replica_of(&master).start();
    con.ok(&set_line(Q, "old", ""));
    assert_eq!(con.number("CHATCACHE.SOFTINVALIDATE bot"), 1);
    con.ok(&set_line("response ann bot new", "new", ""));
    replica_caught_up(&master, &replica);
    let mut there = replica.raw();
    for request in [Q, "response ann bot early"] {
        assert_eq!(there.say(&format!("CHATCACHE.GET {request}")), Raw::NullBulk, "{request}");
        assert_eq!(there.say(&format!("CHATCACHE.FETCH {request} WAIT 60000")), stale("old"), "{request}");
        assert_eq!(inspected(&mut there, request, "fresh-ms"), 0);
    }
    assert_eq!(there.say("CHATCACHE.FETCH response ann bot new"), hit("new"));
    let miss = Raw::Error(
        "READONLY You can't compute a response for a read only replica: ask the master for a lease"
            .to_owned(),
    );
    assert_eq!(there.say("CHATCACHE.FETCH response ann bot nowhere WAIT 60000"), miss);
    assert!(
        matches!(there.say("CHATCACHE.SOFTINVALIDATE bot"), Raw::Error(text) if text.starts_with("READONLY "))
    );
    assert_eq!(there.stats("")["leases"], 0);
}

#[test]
fn an_entry_stored_after_soft_invalidate_in_one_transaction_is_fresh() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok(&set_line(Q, "old", ""));
    let replies = con.transaction(&[
        "CHATCACHE.SOFTINVALIDATE bot",
        &set_line(Q, "new", ""),
        &format!("CHATCACHE.GET {Q}"),
    ]);
    assert_eq!(replies, [Raw::Int(1), Raw::simple("OK"), Raw::bulk("new")]);
}
