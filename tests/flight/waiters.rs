//! Waiters, and all that ends a wait.

use std::time::{Duration, Instant};
use testkit::{
    Q, Raw, RawClient, Server, all_quiet, busy_of, eventually, hit, lease, lease_of, patient, patient_ms,
    set_line, waiter, waiter_for, waiters,
};

/// Returns a server, the holder of the lease of `Q`, its token, and some waiters.
fn queue(waiting: usize) -> (Server, RawClient, String, Vec<RawClient>) {
    let server = Server::start();
    let mut holder = server.raw();
    let token = lease(&mut holder, Q);
    let waiting = (0..waiting).map(|_| waiter(&server, Q)).collect();
    (server, holder, token, waiting)
}

#[test]
fn a_response_wakes_all_waiters() {
    for with_token in [true, false] {
        let (server, mut holder, token, mut waiting) = queue(3);
        if with_token {
            holder.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
        } else {
            server.raw().ok(&set_line(Q, "hello", ""));
        }
        for con in &mut waiting {
            assert_eq!(con.read(), hit("hello"));
        }
        all_quiet(&mut holder, 0);
        assert_eq!(holder.stats("")["coalesced"], 3);
        // And they are clients like any other again.
        assert_eq!(waiting[0].say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("hello"));
        assert_eq!(waiting[1].say(&format!("CHATCACHE.FETCH {Q} WAIT 1000")), hit("hello"));
    }
}

#[test]
fn a_lease_passes_first_come_first_served() {
    let (server, mut holder, mut token, waiting) = queue(4);
    let mut operator = server.raw();
    assert_eq!(holder.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}")), 1);
    for (n, mut con) in waiting.into_iter().enumerate() {
        let (next, ms) = lease_of(con.read());
        assert_ne!(next, token, "a new lease has a new token");
        assert!((1..=30_000).contains(&ms));
        assert_eq!(waiters(&mut operator), 3 - n as i64, "the others wait on");
        assert_eq!(con.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}")), 0, "the old one is void");
        assert_eq!(con.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {next}")), 1);
        token = next;
    }
    all_quiet(&mut operator, 0);
}

#[test]
fn a_holder_that_disconnects_passes_the_lease_on() {
    let (server, holder, token, mut waiting) = queue(2);
    drop(holder);
    let (next, _) = lease_of(waiting[0].read());
    assert_eq!(waiters(&mut server.raw()), 1);
    assert_eq!(server.raw().say(&set_line(Q, "late", &format!("TOKEN {token}"))), Raw::NullBulk);
    waiting[0].ok(&set_line(Q, "hello", &format!("TOKEN {next}")));
    assert_eq!(waiting[1].read(), hit("hello"));
}

#[test]
fn a_killed_holder_passes_the_lease_on() {
    let (server, mut holder, _, mut waiting) = queue(2);
    let id = holder.number("CLIENT ID");
    assert_eq!(server.raw().number(&format!("CLIENT KILL ID {id}")), 1);
    lease_of(waiting[0].read());
    // It is a holder as any other.
    waiting.remove(0);
    lease_of(waiting[0].read());
}

#[test]
fn a_lease_that_runs_out_passes_on_with_the_waiter_s_own_length() {
    let server = Server::start();
    let mut holder = server.raw();
    let length = patient_ms(1000);
    let (token, ms) = lease_of(holder.say(&format!("CHATCACHE.FETCH {Q} LEASE {length}")));
    assert_eq!(ms as u128, length);
    let begun = Instant::now();
    let mut con = waiter(&server, &format!("{Q} LEASE 86400000"));
    let (_, ms) = lease_of(con.read());
    assert_eq!(ms, 86_400_000);
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < patient(Duration::from_secs(5)));
    assert_eq!(holder.say(&set_line(Q, "late", &format!("TOKEN {token}"))), Raw::NullBulk);
    assert_eq!(holder.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}")), 0);
}

#[test]
fn a_lease_without_waiters_runs_out_by_itself() {
    let server = Server::start();
    let mut con = server.raw();
    lease_of(con.say(&format!("CHATCACHE.FETCH {Q} LEASE 1")));
    eventually(|| con.stats("")["leases"] == 0);
    con.ok("CONFIG SET chatcache.lease-ms 1234");
    assert_eq!(lease_of(con.say(&format!("CHATCACHE.FETCH {Q}"))).1, 1234);
}

#[test]
fn a_wait_that_runs_out_gets_the_time_left_of_the_lease() {
    let (server, _holder, _, _) = queue(0);
    let mut con = server.raw();
    for line in [format!("CHATCACHE.FETCH {Q}"), format!("CHATCACHE.FETCH {Q} WAIT 0")] {
        let begun = Instant::now();
        let ms = busy_of(con.say(&line));
        assert!((1..=30_000).contains(&ms), "{ms}");
        assert!(begun.elapsed() < patient(Duration::from_secs(5)));
    }
    let begun = Instant::now();
    let ms = busy_of(con.say(&format!("CHATCACHE.FETCH {Q} WAIT 100")));
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert!((1..=29_900).contains(&ms), "{ms}");
    assert_eq!(waiters(&mut con), 0);
}

#[test]
fn client_unblock_ends_a_wait_and_no_other() {
    let (server, mut holder, token, _) = queue(0);
    let mut operator = server.raw();
    for how in ["TIMEOUT", "ERROR", ""] {
        let mut con = server.raw();
        let id = con.number("CLIENT ID");
        con.send(&testkit::words(&format!("CHATCACHE.FETCH {Q} WAIT 60000")));
        eventually(|| waiters(&mut operator) == 1);
        let line = format!("CLIENT UNBLOCK {id} {how}");
        assert_eq!(operator.number(line.trim_end()), 1);
        match how {
            "ERROR" => {
                let Raw::Error(text) = con.read() else { panic!("no error") };
                assert_eq!(text, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
            }
            _ => assert!(busy_of(con.read()) > 0),
        }
        eventually(|| waiters(&mut operator) == 0);
        assert_eq!(con.say("PING"), Raw::simple("PONG"));
        // It may wait again.
        con.send(&testkit::words(&format!("CHATCACHE.FETCH {Q} WAIT 60000")));
        eventually(|| waiters(&mut operator) == 1);
        drop(con);
        eventually(|| waiters(&mut operator) == 0);
    }
    holder.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    all_quiet(&mut operator, 0);
}

#[test]
fn a_waiter_that_has_left_is_passed_over() {
    let (server, mut holder, token, mut waiting) = queue(3);
    let mut operator = server.raw();
    drop(waiting.remove(0));
    eventually(|| waiters(&mut operator) == 2);
    assert_eq!(holder.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}")), 1);
    lease_of(waiting[0].read());
    assert_eq!(waiters(&mut operator), 1);
}

#[test]
fn a_killed_waiter_is_passed_over() {
    let (server, mut holder, token, _) = queue(0);
    let (mut operator, mut con) = (server.raw(), server.raw());
    let id = con.number("CLIENT ID");
    con.send(&testkit::words(&format!("CHATCACHE.FETCH {Q} WAIT 60000")));
    eventually(|| waiters(&mut operator) == 1);
    let mut next = waiter(&server, Q);
    assert_eq!(operator.number(&format!("CLIENT KILL ID {id}")), 1);
    assert!(con.is_closed());
    assert_eq!(holder.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}")), 1);
    lease_of(next.read());
}

#[test]
fn a_wait_shorter_than_the_lease_ends_busy_and_the_next_waiter_gets_the_lease() {
    let server = Server::start();
    let mut holder = server.raw();
    lease_of(holder.say(&format!("CHATCACHE.FETCH {Q} LEASE {}", patient_ms(1500))));
    let mut short = waiter_for(&server, Q, 400);
    let mut long = waiter(&server, Q);
    busy_of(short.read());
    lease_of(long.read());
}

#[test]
fn a_fetch_on_the_holders_connection_waits_as_any_other() {
    let (server, mut holder, token, _) = queue(0);
    holder.send(&testkit::words(&format!("CHATCACHE.FETCH {Q} WAIT 60000")));
    let mut other = server.raw();
    eventually(|| waiters(&mut other) == 1);
    other.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    assert_eq!(holder.read(), hit("hello"));
}

#[test]
fn two_holders_that_wait_for_each_other_wake_with_each_others_response() {
    let (server, mut one, _, _) = queue(0);
    let mut two = server.raw();
    lease(&mut two, "response ann bot bye");
    one.send(&testkit::words("CHATCACHE.FETCH response ann bot bye WAIT 60000"));
    two.send(&testkit::words(&format!("CHATCACHE.FETCH {Q} WAIT 60000")));
    let mut other = server.raw();
    eventually(|| waiters(&mut other) == 2);
    other.ok(&set_line("response ann bot bye", "response", ""));
    assert_eq!(one.read(), hit("response"));
    other.ok(&set_line(Q, "hello", ""));
    assert_eq!(two.read(), hit("hello"));
}

#[test]
fn commands_sent_behind_a_wait_are_served_after_it() {
    let (server, mut holder, token, _) = queue(0);
    let mut con = waiter(&server, Q);
    con.send(&["PING"]);
    con.send(&testkit::words(&format!("CHATCACHE.GET {Q}")));
    holder.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    assert_eq!(con.read(), hit("hello"));
    assert_eq!([con.read(), con.read()], [Raw::simple("PONG"), Raw::bulk("hello")]);
}

#[test]
fn more_waiters_than_the_setting_allows_are_busy() {
    let (server, mut holder, token, mut waiting) = queue(2);
    let mut con = server.raw();
    con.ok("CONFIG SET chatcache.max-waiters 2");
    assert!(busy_of(con.say(&format!("CHATCACHE.FETCH {Q} WAIT 60000"))) > 0);
    con.ok("CONFIG SET chatcache.max-waiters 0");
    assert!(busy_of(con.say(&format!("CHATCACHE.FETCH {Q} WAIT 60000"))) > 0);
    con.ok("CONFIG SET chatcache.max-waiters 3");
    let mut third = waiter(&server, Q);
    holder.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    for con in waiting.iter_mut().chain([&mut third]) {
        assert_eq!(con.read(), hit("hello"));
    }
}

#[test]
fn a_response_that_expires_at_once_serves_the_waiters() {
    for options in ["PX 1", "PXAT 1", "PX 1 STALE 1"] {
        let (server, mut holder, token, mut waiting) = queue(3);
        holder.ok(&set_line(Q, "hello", &format!("{options} TOKEN {token}")));
        for con in &mut waiting {
            assert_eq!(con.read(), hit("hello"), "{options}");
        }
        eventually(|| holder.say(&format!("CHATCACHE.GET {Q}")) == Raw::NullBulk);
        all_quiet(&mut holder, 0);
        eventually(|| server.raw().number("DBSIZE") == 0);
        lease(&mut holder, Q);
    }
}

#[test]
fn a_pause_of_clients_delays_waiters_and_hangs_none() {
    for mode in ["ALL", "WRITE"] {
        let (server, mut holder, token, mut waiting) = queue(2);
        let mut short = waiter_for(&server, Q, 400);
        server.raw().ok(&format!("CLIENT PAUSE {} {mode}", patient_ms(1200)));
        holder.send(&testkit::words(&set_line(Q, "hello", &format!("TOKEN {token}"))));
        busy_of(short.read());
        assert_eq!(holder.read(), Raw::simple("OK"));
        for con in &mut waiting {
            assert_eq!(con.read(), hit("hello"), "{mode}");
        }
    }
}

#[test]
fn a_lease_runs_out_under_a_pause_and_goes_to_the_next() {
    let server = Server::start();
    let mut holder = server.raw();
    lease_of(holder.say(&format!("CHATCACHE.FETCH {Q} LEASE {}", patient_ms(800))));
    let mut con = waiter(&server, Q);
    server.raw().ok(&format!("CLIENT PAUSE {} ALL", patient_ms(1200)));
    lease_of(con.read());
}

#[test]
fn a_server_ends_with_clients_that_wait() {
    for how in ["NOSAVE", "SAVE"] {
        let (mut server, _holder, _, mut waiting) = queue(5);
        server.shutdown(how);
        for con in &mut waiting {
            assert!(con.is_closed());
        }
        server.start_again();
        lease(&mut server.raw(), Q);
    }
}

#[test]
fn a_master_that_becomes_a_replica_ends_all_waits() {
    let (server, mut holder, token, mut waiting) = queue(3);
    let master = Server::start();
    server.raw().ok(&format!("REPLICAOF 127.0.0.1 {}", master.port()));
    for con in &mut waiting {
        let Raw::Error(text) = con.read() else { panic!("no error") };
        assert!(text.starts_with("UNBLOCKED "), "{text}");
    }
    let mut operator = server.raw();
    all_quiet(&mut operator, 0);
    operator.ok("REPLICAOF NO ONE");
    // A lease of the time before is void.
    assert_eq!(holder.say(&set_line(Q, "late", &format!("TOKEN {token}"))), Raw::NullBulk);
    lease(&mut operator, Q);
}

#[test]
fn leases_of_different_databases_are_apart() {
    let (server, mut holder, token, mut waiting) = queue(1);
    let mut other = server.raw();
    other.ok("SELECT 3");
    let third = lease(&mut other, Q);
    assert_eq!(other.say(&set_line(Q, "wrong", &format!("TOKEN {token}"))), Raw::NullBulk);
    other.ok(&set_line(Q, "three", &format!("TOKEN {third}")));
    assert_eq!(waiters(&mut other), 1, "who waits in database 0 waits on");
    holder.ok(&set_line(Q, "zero", &format!("TOKEN {token}")));
    assert_eq!(waiting[0].read(), hit("zero"));
    assert_eq!(other.say(&format!("CHATCACHE.FETCH {Q}")), hit("three"));
}

#[test]
fn users_share_a_lease_if_they_share_the_response() {
    let server = Server::start();
    let (mut ann, mut bob) = (server.raw(), server.raw());
    for (tier, shared) in [("msg", true), ("persona", true), ("session", false), ("response", false)] {
        let token = lease(&mut ann, &format!("{tier} ann bot hi"));
        let reply = bob.say(&format!("CHATCACHE.FETCH {tier} bob bot hi"));
        if shared {
            busy_of(reply);
            ann.ok(&set_line(&format!("{tier} ann bot hi"), "answer", &format!("TOKEN {token}")));
            assert_eq!(bob.say(&format!("CHATCACHE.FETCH {tier} bob bot hi")), hit("answer"));
        } else {
            lease_of(reply);
            assert_eq!(
                bob.say(&set_line(&format!("{tier} bob bot hi"), "x", &format!("TOKEN {token}"))),
                Raw::NullBulk
            );
        }
    }
    // Tiers, IDs and messages are apart, too.
    for request in [
        "msg ann bot new",
        "persona ann bot new",
        "session ann bot new",
        "session ann bot new ID 1",
        "session ann bot new ID 2",
        "msg ann bot other",
    ] {
        lease(&mut ann, request);
    }
}

#[test]
fn a_holder_that_resets_holds_on_and_a_subscriber_fetches() {
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    let token = lease(&mut holder, Q);
    let mut con = waiter(&server, Q);
    holder.say("RESET");
    assert_eq!(waiters(&mut operator), 1);
    holder.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    assert_eq!(con.read(), hit("hello"));
    let mut pub_sub = server.raw().resp3();
    pub_sub.say("SUBSCRIBE channel");
    assert_eq!(pub_sub.say(&format!("CHATCACHE.FETCH {Q} WAIT 10")), hit("hello"));
}

#[test]
fn a_waiter_that_tracks_keys_wakes() {
    let server = Server::start();
    let mut holder = server.raw();
    let token = lease(&mut holder, Q);
    let mut con = server.raw().resp3();
    con.ok("CLIENT TRACKING ON");
    con.send(&testkit::words(&format!("CHATCACHE.FETCH {Q} WAIT 60000")));
    eventually(|| waiters(&mut holder) == 1);
    holder.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    let mut reply = con.read();
    while matches!(reply, Raw::Push(_)) {
        reply = con.read();
    }
    assert_eq!(reply, hit("hello"));
}

/// A waiter, the number of its client, and a holder with its token.
fn a_waiter_to_unblock(server: &Server) -> (RawClient, String, RawClient, i64) {
    let mut holder = server.raw();
    let token = lease(&mut holder, Q);
    let mut waiting = server.raw();
    let id = waiting.number("CLIENT ID");
    waiting.send(&testkit::words(&format!("CHATCACHE.FETCH {Q} WAIT 20000")));
    eventually(|| waiters(&mut server.raw()) == 1);
    (holder, token, waiting, id)
}

#[test]
fn a_waiter_unblocked_as_it_wakes_still_gets_its_response() {
    let server = Server::start();
    let (mut holder, token, mut waiting, id) = a_waiter_to_unblock(&server);
    holder.transaction(&[
        &format!("CHATCACHE.RELEASE {Q} TOKEN {token}"),
        &format!("CLIENT UNBLOCK {id} TIMEOUT"),
    ]);
    let (token, _) = lease_of(waiting.read());
    waiting.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));

    holder.number("CHATCACHE.INVALIDATE bot");
    let (mut holder, token, mut waiting, id) = a_waiter_to_unblock(&server);
    holder.transaction(&[
        &set_line(Q, "hello", &format!("TOKEN {token}")),
        &format!("CLIENT UNBLOCK {id} TIMEOUT"),
    ]);
    assert_eq!(waiting.read(), hit("hello"));
}

#[test]
fn a_lease_that_no_client_received_passes_on() {
    let server = Server::start();
    let (mut holder, token, mut waiting, id) = a_waiter_to_unblock(&server);
    holder.transaction(&[
        &format!("CHATCACHE.RELEASE {Q} TOKEN {token}"),
        &format!("CLIENT UNBLOCK {id} ERROR"),
    ]);
    assert!(matches!(waiting.read(), Raw::Error(text) if text.starts_with("UNBLOCKED ")));
    lease(&mut holder, Q);
}

#[test]
fn a_token_holds_for_the_names_that_it_was_given_for() {
    let server = Server::start();
    let mut con = server.raw();
    let token = lease(&mut con, "msg ann bot hi");
    assert_eq!(con.say(&set_line("msg ann other hi", "late", &format!("TOKEN {token}"))), Raw::NullBulk);
    assert_eq!(con.say(&set_line("msg bob bot hi", "late", &format!("TOKEN {token}"))), Raw::NullBulk);
    con.ok(&set_line("msg ann bot hi", "hello", &format!("TOKEN {token}")));
}
