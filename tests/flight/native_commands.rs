//! Entries that come and go by the server's own commands, while clients wait for them.

use testkit::{
    Q, Raw, RawClient, Server, busy_of, comes_too_late, eventually, hit, lease, lease_of, refresh, set_line,
    skipped_as_copy_changes_the_database, stale, store_stale, waiter, waiter_for, waiters,
};

fn key(con: &mut RawClient, request: &str) -> String {
    con.text(&format!("CHATCACHE.KEY {request}"))
}

#[test]
fn an_entry_renamed_into_place_serves_the_waiters() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    operator.ok(&set_line(Q, "moved", ""));
    let key = key(&mut operator, Q);
    operator.ok(&format!("RENAME {key} elsewhere"));
    let token = lease(&mut holder, Q);
    let mut waiting = [waiter(&server, Q), waiter(&server, Q)];
    operator.ok(&format!("RENAME elsewhere {key}"));
    for con in &mut waiting {
        assert_eq!(con.read(), hit("moved"));
    }
    // The holder may still bring a newer one.
    holder.ok(&set_line(Q, "newer", &format!("TOKEN {token}")));
    assert_eq!(operator.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("newer"));
}

#[test]
fn a_restored_entry_serves_the_waiters() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    operator.ok(&set_line(Q, "restored", ""));
    let key = key(&mut operator, Q);
    let Raw::Bulk(payload) = operator.say(&format!("DUMP {key}")) else { panic!("no payload") };
    operator.number(&format!("DEL {key}"));
    lease(&mut holder, Q);
    let mut con = waiter(&server, Q);
    let words = [&b"RESTORE"[..], key.as_bytes(), b"0", &payload];
    assert_eq!(operator.call(&words), Raw::simple("OK"));
    assert_eq!(con.read(), hit("restored"));
}

#[test]
fn an_entry_copied_or_moved_into_place_serves_the_waiters() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    operator.ok(&set_line(Q, "copied", ""));
    let key = key(&mut operator, Q);
    assert_eq!(operator.number(&format!("COPY {key} elsewhere")), 1);
    operator.number(&format!("CHATCACHE.DEL {Q}"));
    lease(&mut holder, Q);
    let mut con = waiter(&server, Q);
    assert_eq!(operator.number(&format!("COPY elsewhere {key}")), 1);
    assert_eq!(con.read(), hit("copied"));

    assert_eq!(operator.number(&format!("MOVE {key} 1")), 1);
    busy_of(operator.say(&format!("CHATCACHE.FETCH {Q}")));
    let mut con = waiter(&server, Q);
    operator.ok("SELECT 1");
    assert_eq!(operator.number(&format!("MOVE {key} 0")), 1);
    assert_eq!(con.read(), hit("copied"));
}

#[test]
fn another_entry_renamed_over_the_key_serves_and_hangs_no_waiter() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    let key = key(&mut operator, Q);
    lease(&mut holder, Q);
    let mut short = waiter_for(&server, Q, 300);
    let mut con = waiter(&server, Q);
    operator.ok(&set_line("response ann bot bye", "another", ""));
    let other = operator.text("CHATCACHE.KEY response ann bot bye");
    operator.ok(&format!("RENAME {other} {key}"));
    busy_of(short.read());
    drop(holder);
    let (token, _) = lease_of(con.read());
    con.ok(&set_line(Q, "own", &format!("TOKEN {token}")));
    assert_eq!(operator.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("own"));
}

#[test]
fn a_native_value_over_the_key_is_refused_and_no_waiter_hangs() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    let key = key(&mut operator, Q);
    let token = lease(&mut holder, Q);
    let mut con = waiter(&server, Q);
    operator.ok(&format!("SET {key} text"));
    let wrong = Raw::Error("WRONGTYPE Operation against a key holding the wrong kind of value".to_owned());
    assert_eq!(operator.say(&format!("CHATCACHE.FETCH {Q} WAIT 60000")), wrong);
    assert_eq!(holder.say(&set_line(Q, "hello", &format!("TOKEN {token}"))), wrong);
    assert_eq!(waiters(&mut operator), 1, "a refusal changes nothing");
    assert_eq!(holder.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}")), 1);
    let (token, _) = lease_of(con.read());
    operator.number(&format!("DEL {key}"));
    con.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
}

#[test]
fn a_native_delete_of_a_stale_response_voids_its_refresh() {
    for delete in ["DEL", "UNLINK"] {
        let server = Server::start();
        let (mut holder, mut operator) = (server.raw(), server.raw());
        store_stale(&mut operator, Q, "old");
        let key = key(&mut operator, Q);
        let token = refresh(&mut holder, Q);
        assert_eq!(operator.number(&format!("{delete} {key}")), 1);
        comes_too_late(&mut holder, Q, &token);
        lease(&mut holder, Q);
    }
}

#[test]
fn a_native_delete_of_something_else_voids_nothing() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    let key = key(&mut operator, Q);
    let gone: [&dyn Fn(&mut RawClient); 5] = [
        &|operator| drop(operator.say(&format!("RENAME {key} elsewhere"))),
        &|operator| drop(operator.say(&format!("CHATCACHE.SET {Q} again PX 1"))),
        &|operator| drop(operator.say(&format!("EXPIRE {key} -1"))),
        &|operator| {
            operator.ok(&format!("SET {key} text"));
            operator.ok(&format!("RENAME {key} elsewhere"));
        },
        &|operator| drop(operator.say(&format!("MOVE {key} 1"))),
    ];
    for go in gone {
        operator.ok("FLUSHALL");
        operator.ok(&set_line(Q, "old", ""));
        go(&mut operator);
        eventually(|| operator.say(&format!("CHATCACHE.GET {Q}")) == Raw::NullBulk);
        let token = lease(&mut holder, Q);
        operator.ok("SET unrelated text");
        assert_eq!(operator.number("DEL unrelated"), 1);
        operator.ok(&set_line("msg ann other hello", "x", ""));
        let other = operator.text("CHATCACHE.KEY msg ann other hello");
        assert_eq!(operator.number(&format!("DEL {other}")), 1);
        holder.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    }
}

#[test]
fn a_response_that_expires_or_is_evicted_does_not_void_the_lease_to_refresh_it() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    operator.ok(&set_line(Q, "old", "PX 1 STALE 200"));
    eventually(|| testkit::inspected(&mut operator, Q, "fresh-ms") == 0);
    let token = refresh(&mut holder, Q);
    eventually(|| operator.number("DBSIZE") == 0);
    let mut con = waiter(&server, Q);
    holder.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    assert_eq!(con.read(), hit("hello"));
}

#[test]
fn a_reload_keeps_holder_and_waiters_together_or_begins_anew() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    let token = lease(&mut holder, Q);
    let mut con = waiter(&server, Q);
    operator.ok("DEBUG RELOAD");
    // DEBUG RELOAD empties the server first: as after FLUSHALL, the first waiter computes.
    let stored = holder.say(&set_line(Q, "hello", &format!("TOKEN {token}")));
    match stored {
        Raw::Simple(_) => assert_eq!(con.read(), hit("hello")),
        _ => {
            let (token, _) = lease_of(con.read());
            con.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
        }
    }
    assert_eq!(operator.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("hello"));
}

#[test]
fn a_restored_stale_entry_wakes_no_waiter() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    let key = operator.text(&format!("CHATCACHE.KEY {Q}"));
    store_stale(&mut operator, Q, "old");
    let Raw::Bulk(payload) = operator.say(&format!("DUMP {key}")) else { panic!("no payload") };
    operator.number(&format!("DEL {key}"));
    let token = lease(&mut holder, Q);
    let mut con = waiter(&server, Q);
    // A stale entry neither serves the waiters nor ends the lease.
    let words = [&b"RESTORE"[..], key.as_bytes(), b"0", &payload];
    assert_eq!(operator.call(&words), Raw::simple("OK"));
    assert_eq!(waiters(&mut operator), 1);
    assert_eq!(operator.say(&format!("CHATCACHE.FETCH {Q}")), stale("old"));
    // Its deletion voids the lease, and the waiter computes.
    assert_eq!(operator.number(&format!("DEL {key}")), 1);
    comes_too_late(&mut holder, Q, &token);
    lease_of(con.read());
    busy_of(operator.say(&format!("CHATCACHE.FETCH {Q}")));
}

#[test]
fn a_native_delete_of_several_stale_responses_voids_all_their_refreshes() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    let requests = ["msg ann bot one", "persona ann bot two", "response ann bot three"];
    let keys = requests.map(|request| {
        store_stale(&mut operator, request, "old");
        key(&mut operator, request)
    });
    let tokens = requests.map(|request| refresh(&mut holder, request));
    assert_eq!(operator.number(&format!("DEL {} nothing {} {}", keys[0], keys[1], keys[2])), 3);
    for (request, token) in requests.iter().zip(&tokens) {
        comes_too_late(&mut holder, request, token);
    }
}
