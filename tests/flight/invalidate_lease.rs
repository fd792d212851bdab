//! Invalidations while clients wait: they void the lease, and the first waiter gets a new one.

use testkit::{
    Q, Raw, Server, all_quiet, comes_too_late, eventually, hit, lease, lease_of, set_line, waiter, waiters,
    words,
};

/// All commands that invalidate the response to `Q`, and so void its lease.
pub const INVALIDATIONS: [&str; 11] = [
    "CHATCACHE.INVALIDATE bot",
    "CHATCACHE.INVALIDATE other bot",
    "CHATCACHE.SOFTINVALIDATE bot",
    "CHATCACHE.FORGET ann",
    "CHATCACHE.FLUSH",
    "CHATCACHE.FLUSH msg response",
    "CHATCACHE.DEL response ann bot hi",
    "FLUSHALL",
    "FLUSHALL ASYNC",
    "FLUSHDB",
    "FLUSHDB ASYNC",
];

#[test]
fn after_an_invalidate_the_first_waiter_gets_a_new_lease_and_the_others_its_response() {
    for drop in INVALIDATIONS {
        let server = Server::start();
        let (mut holder, mut operator) = (server.raw(), server.raw());
        let token = lease(&mut holder, Q);
        let mut waiting: Vec<_> = (0..3).map(|_| waiter(&server, Q)).collect();
        assert!(!matches!(operator.say(drop), Raw::Error(_)), "{drop}");
        let (next, _) = lease_of(waiting[0].read());
        assert_eq!(waiters(&mut operator), 2, "{drop}");
        comes_too_late(&mut holder, Q, &token);
        assert_eq!(holder.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}")), 0, "{drop}");
        assert_eq!(waiters(&mut operator), 2, "{drop}");
        waiting[0].ok(&set_line(Q, "new", &format!("TOKEN {next}")));
        for con in &mut waiting[1..] {
            assert_eq!(con.read(), hit("new"), "{drop}");
        }
        all_quiet(&mut operator, 0);
    }
}

#[test]
fn an_invalidation_in_a_transaction_or_a_script_counts_too() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    let token = lease(&mut holder, Q);
    let (mut one, mut two) = (waiter(&server, Q), waiter(&server, Q));
    operator.transaction(&["CHATCACHE.INVALIDATE bot"]);
    let (next, _) = lease_of(one.read());
    comes_too_late(&mut holder, Q, &token);
    operator.call(&["EVAL", "return redis.call('CHATCACHE.INVALIDATE', KEYS[1])", "1", "bot"]);
    let (last, _) = lease_of(two.read());
    comes_too_late(&mut one, Q, &next);
    // A transaction that invalidates and stores serves the waiters.
    let mut three = waiter(&server, Q);
    two.transaction(&["CHATCACHE.INVALIDATE bot", &set_line(Q, "new", "")]);
    lease_of(three.read());
    comes_too_late(&mut two, Q, &last);
}

#[test]
fn an_invalidate_of_another_persona_leaves_a_lease_alone() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    let token = lease(&mut holder, Q);
    let mut con = waiter(&server, Q);
    for line in [
        "CHATCACHE.INVALIDATE bo",
        "CHATCACHE.INVALIDATE bott ann",
        "CHATCACHE.SOFTINVALIDATE ann",
        "CHATCACHE.FORGET bot",
        "CHATCACHE.FLUSH msg persona session",
        "CHATCACHE.DEL response ann bot bye",
        "CHATCACHE.DEL response bob bot hi",
        "CHATCACHE.DEL session ann bot hi",
        "DEL some-key",
        "SELECT 1",
        "CHATCACHE.INVALIDATE bot",
        "CHATCACHE.FORGET ann",
        "CHATCACHE.FLUSH",
        "FLUSHDB",
    ] {
        assert!(!matches!(operator.say(line), Raw::Error(_)), "{line}");
    }
    assert_eq!(waiters(&mut operator), 1);
    holder.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    assert_eq!(con.read(), hit("hello"));
}

#[test]
fn an_invalidation_that_changes_nothing_voids_nothing() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    let token = lease(&mut holder, Q);
    for line in
        ["CHATCACHE.INVALIDATE bot \"\"", "CHATCACHE.FLUSH response nowhere", "CHATCACHE.FORGET ann \"\""]
    {
        assert!(matches!(operator.say(line), Raw::Error(_)), "{line}");
    }
    holder.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
}

#[test]
fn an_invalidation_in_the_shared_tiers_goes_by_the_persona_of_the_request() {
    let server = Server::start();
    let mut con = server.raw();
    // The msg tier's key holds no persona: a caller with `bot` computes with bot's prompt.
    let token = lease(&mut con, "msg ann bot hi");
    con.number("CHATCACHE.INVALIDATE bot");
    comes_too_late(&mut con, "msg ann bot hi", &token);
    let token = lease(&mut con, "msg ann bot hi");
    con.number("CHATCACHE.INVALIDATE other");
    con.ok(&set_line("msg ann bot hi", "answer", &format!("TOKEN {token}")));
}

#[test]
fn swapdb_serves_waiters_if_it_brings_the_response() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    operator.ok("SELECT 1");
    operator.ok(&set_line(Q, "from-one", ""));
    lease(&mut holder, Q);
    let mut waiting = [waiter(&server, Q), waiter(&server, Q)];
    operator.ok("SWAPDB 0 1");
    for con in &mut waiting {
        assert_eq!(con.read(), hit("from-one"));
    }
}

#[test]
fn swapdb_leaves_waiters_with_their_holder() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    let token = lease(&mut holder, Q);
    let mut con = waiter(&server, Q);
    operator.ok("SWAPDB 0 1");
    operator.ok("SWAPDB 2 1");
    assert_eq!(waiters(&mut operator), 1);
    holder.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    assert_eq!(con.read(), hit("hello"));
    assert_eq!(operator.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("hello"));
}

#[test]
fn an_invalidation_that_comes_with_a_swapped_database_voids_the_older_lease() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    let token = lease(&mut holder, Q);
    let mut con = waiter(&server, Q);
    operator.ok("SELECT 1");
    operator.number("CHATCACHE.INVALIDATE bot");
    operator.ok("SWAPDB 0 1");
    lease_of(con.read());
    comes_too_late(&mut holder, Q, &token);
}

#[test]
fn an_old_entry_that_returns_during_a_lease_is_not_a_tombstone() {
    // The race of the PITFALLS: the prompt changes between the miss and the SET.
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    for _ in 0..50 {
        let token = lease(&mut holder, Q);
        holder.send(&words(&set_line(Q, "late", &format!("TOKEN {token}"))));
        operator.number("CHATCACHE.INVALIDATE bot");
        let stored = holder.read() == Raw::simple("OK");
        // Stored before the invalidation, and gone with it; or refused.
        assert_eq!(operator.say(&format!("CHATCACHE.GET {Q}")), Raw::NullBulk, "stored: {stored}");
    }
}

#[test]
fn a_reclaim_of_the_invalidated_response_leaves_the_new_lease_alone() {
    let server = Server::builder().config("chatcache.invalidate-sync-limit 0").start();
    let mut con = server.raw();
    for drop in ["CHATCACHE.INVALIDATE bot", "CHATCACHE.FORGET ann", "CHATCACHE.FLUSH"] {
        con.ok(&set_line(Q, "old", ""));
        let replies = con.transaction(&[drop, "DBSIZE", &format!("CHATCACHE.FETCH {Q}")]);
        assert_eq!(replies[..2], [Raw::Int(1), Raw::Int(1)], "{drop}: the key is still to go");
        let (token, _) = lease_of(replies[2].clone());
        let mut waiting = waiter(&server, Q);
        eventually(|| con.number("DBSIZE") == 0);
        con.ok(&set_line(Q, "new", &format!("TOKEN {token}")));
        assert_eq!(waiting.read(), hit("new"), "{drop}");
    }
}
