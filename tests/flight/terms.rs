//! The terms of a FETCH: REFRESH, DETACHED, and the numbers in its replies.

use testkit::{
    Q, Raw, Server, busy_of, comes_too_late, eventually, hit, is_null, items, lease, lease_of, set_line,
    stale, store_stale, waiter,
};

#[test]
fn refresh_leases_a_fresh_response_while_all_others_get_it() {
    let server = Server::start();
    let (mut con, mut other) = (server.raw(), server.raw());
    con.ok(&set_line(Q, "old", ""));
    for l1 in ["0", "64mb"] {
        con.ok(&format!("CONFIG SET chatcache.l1-max-bytes {l1}"));
        let (token, ms) = lease_of(con.say(&format!("CHATCACHE.FETCH {Q} REFRESH LEASE 5000")));
        assert_eq!(ms, 5000);
        assert_eq!(other.say(&format!("CHATCACHE.FETCH {Q}")), hit("old"));
        busy_of(other.say(&format!("CHATCACHE.FETCH {Q} REFRESH")));
        let mut waiting = waiter(&server, &format!("{Q} REFRESH"));
        con.ok(&set_line(Q, "new", &format!("TOKEN {token}")));
        assert_eq!(waiting.read(), hit("new"));
        assert_eq!(other.say(&format!("CHATCACHE.FETCH {Q}")), hit("new"));
        con.ok(&set_line(Q, "old", ""));
    }
}

#[test]
fn refresh_leases_a_stale_or_missing_response_too() {
    let server = Server::start();
    let mut con = server.raw();
    let token = lease_of(con.say(&format!("CHATCACHE.FETCH {Q} REFRESH"))).0;
    assert_eq!(con.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}")), 1);
    store_stale(&mut con, Q, "old");
    let token = lease_of(con.say(&format!("CHATCACHE.FETCH {Q} REFRESH"))).0;
    assert_eq!(con.say(&format!("CHATCACHE.FETCH {Q}")), stale("old"));
    con.ok(&set_line(Q, "new", &format!("TOKEN {token}")));
    assert_eq!(con.say(&format!("CHATCACHE.FETCH {Q}")), hit("new"));
}

#[test]
fn a_detached_lease_outlives_its_connection() {
    let server = Server::start();
    let (mut holder, mut tied, mut other) = (server.raw(), server.raw(), server.raw());
    let token = lease_of(holder.say(&format!("CHATCACHE.FETCH {Q} DETACHED"))).0;
    let lost = lease(&mut tied, "response ann bot tied");
    drop((holder, tied));
    eventually(|| other.stats("")["leases"] == 1);
    comes_too_late(&mut other, "response ann bot tied", &lost);
    busy_of(other.say(&format!("CHATCACHE.FETCH {Q}")));
    other.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    assert_eq!(other.say(&format!("CHATCACHE.FETCH {Q}")), hit("hello"));
}

#[test]
fn a_detached_waiter_gets_a_detached_lease() {
    let server = Server::start();
    let (mut holder, mut other) = (server.raw(), server.raw());
    let first = lease(&mut holder, Q);
    let mut waiting = waiter(&server, &format!("{Q} DETACHED"));
    assert_eq!(holder.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {first}")), 1);
    let (token, _) = lease_of(waiting.read());
    let id = waiting.number("CLIENT ID");
    drop(waiting);
    eventually(|| other.text("CLIENT LIST").lines().all(|line| !line.starts_with(&format!("id={id} "))));
    other.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
}

#[test]
fn a_hit_and_a_stale_reply_tell_the_time_that_is_left() {
    let server = Server::start();
    let (mut con, mut other) = (server.raw(), server.raw());
    let number = |reply: Raw, within: std::ops::RangeInclusive<i64>| match items(reply).as_slice() {
        [_, _, _, Raw::Int(ms)] => assert!(within.contains(ms), "{ms} is not in {within:?}"),
        other => panic!("no number: {other:?}"),
    };
    let fetch = format!("CHATCACHE.FETCH {Q}");
    for l1 in ["0", "64mb"] {
        con.ok(&format!("CONFIG SET chatcache.l1-max-bytes {l1}"));
        con.ok(&set_line(Q, "hello", "PX 600000 STALE 600000"));
        for _ in 0..5 {
            number(con.say(&fetch), 500_000..=600_000);
        }
        let key = con.text(&format!("CHATCACHE.KEY {Q}"));
        assert_eq!(con.number(&format!("PEXPIRE {key} 300000")), 1);
        number(con.say(&fetch), 200_000..=300_000);
        con.ok(&set_line(Q, "hello", "PX 600000"));
        con.say(&fetch);
        assert_eq!(con.number(&format!("PERSIST {key}")), 1);
        assert!(is_null(&items(con.say(&fetch))[3]), "it never ends");
    }
    store_stale(&mut con, Q, "old");
    number(con.say(&fetch), 3_000_000..=3_600_000);
    // A waiter is told too.
    con.number(&format!("CHATCACHE.DEL {Q}"));
    let token = lease(&mut con, Q);
    let mut waiting = waiter(&server, Q);
    other.ok(&set_line(Q, "hello", &format!("PX 600000 TOKEN {token}")));
    number(waiting.read(), 500_000..=600_000);
}
