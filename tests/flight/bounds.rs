//! The bounds on leases, and the cost of their ends for other clients.

use std::time::{Duration, Instant};

use testkit::{
    Q, Raw, RawClient, Server, eventually, hit, items, lease, lease_of, patient, set_line, waiter,
};

/// Takes the leases of `count` requests on one connection.
fn take_leases(con: &mut RawClient, count: usize, options: &str) {
    for first in (0..count).step_by(1000) {
        let numbers = first..count.min(first + 1000);
        for n in numbers.clone() {
            con.send(&testkit::words(format!("CHATCACHE.FETCH response ann bot m{n} {options}").trim_end()));
        }
        for _ in numbers {
            assert_eq!(items(con.read())[0], Raw::bulk("lease"));
        }
    }
}

#[test]
fn leases_beyond_a_clients_share_of_max_leases_are_shared_by_nobody() {
    let server = Server::start();
    let (mut greedy, mut other) = (server.raw(), server.raw());
    other.ok("CONFIG SET chatcache.max-leases 1000");
    take_leases(&mut greedy, 150, "");
    let stats = other.stats("");
    assert_eq!((stats["leases"], stats["leases-granted"], stats["leases-unshared"]), (100, 100, 50));
    let (token, ms) = lease_of(greedy.say("CHATCACHE.FETCH response ann bot one-more LEASE 1234"));
    assert_eq!(ms, 1234);
    let late = greedy.say(&set_line("response ann bot one-more", "x", &format!("TOKEN {token}")));
    assert_eq!(late, Raw::NullBulk, "the token of an unshared lease stores nothing");
    // Other clients still share leases.
    lease(&mut other, Q);
    testkit::busy_of(greedy.say(&format!("CHATCACHE.FETCH {Q}")));
    // The end of one lease makes room for another.
    other.ok(&set_line("response ann bot m1", "x", ""));
    lease(&mut greedy, "response ann bot one-more");
    assert_eq!(other.stats("")["leases-unshared"], 51);
}

#[test]
fn a_user_with_many_connections_leaves_a_tenth_of_max_leases_to_the_others() {
    let server = Server::start();
    let mut other = server.raw();
    other.ok("CONFIG SET chatcache.max-leases 100");
    other.ok("ACL SETUSER greedy on nopass ~bot +chatcache.fetch");
    for n in 0..12 {
        let mut greedy = server.raw();
        greedy.ok("AUTH greedy any");
        for m in 0..10 {
            greedy.say(&format!("CHATCACHE.FETCH response ann bot m{n}-{m} DETACHED LEASE 86400000"));
        }
    }
    let stats = other.stats("");
    assert_eq!((stats["leases"], stats["leases-unshared"]), (90, 30));
    let token = lease(&mut other, Q);
    other.ok(&set_line(Q, "response", &format!("TOKEN {token}")));
    assert_eq!(other.say(&format!("CHATCACHE.FETCH {Q}")), hit("response"));
}

#[test]
fn the_end_of_sixty_thousand_leases_does_not_stall_other_clients() {
    let server = Server::start();
    let (mut greedy, mut other) = (server.raw(), server.raw());
    other.ok("CONFIG SET chatcache.max-leases 1000000");
    take_leases(&mut greedy, 60_000, "LEASE 86400000");
    assert_eq!(other.stats("")["leases"], 60_000);
    let id = greedy.number("CLIENT ID");
    let mut longest_ping = |during: &mut dyn FnMut(&mut RawClient) -> bool| {
        let mut longest = Duration::ZERO;
        while during(&mut other) {
            for _ in 0..20 {
                let begun = Instant::now();
                assert_eq!(other.say("PING"), Raw::simple("PONG"));
                longest = longest.max(begun.elapsed());
            }
        }
        longest
    };
    // A busy machine delays any PING: the same number of them before is the measure.
    let mut rounds = 0;
    let before = longest_ping(&mut |_| {
        rounds += 1;
        rounds < 50
    });
    let mut killer = server.raw();
    assert_eq!(killer.number(&format!("CLIENT KILL ID {id}")), 1);
    let during = longest_ping(&mut |con| con.stats("")["leases"] > 0);
    assert!(during < patient(Duration::from_millis(50)) + 5 * before, "{during:?}; before: {before:?}");
}

#[test]
fn timers_do_not_pile_up_with_fetches_of_falling_lease_and_wait() {
    let server = Server::start();
    let (mut holder, mut other) = (server.raw(), server.raw());
    other.ok("CONFIG SET chatcache.max-leases 1000000");
    for n in 0..3000 {
        let ms = 4_000_000 - n * 1000;
        lease_of(holder.say(&format!("CHATCACHE.FETCH response ann bot m{n} LEASE {ms}")));
    }
    let mut waiting: Vec<RawClient> = (0..50).map(|_| server.raw()).collect();
    for (n, con) in waiting.iter_mut().enumerate() {
        let ms = 900_000 - n * 1000;
        con.send(&testkit::words(&format!("CHATCACHE.FETCH response ann bot m{n} WAIT {ms}")));
    }
    eventually(|| other.stats("")["waiters"] == 50);
    let stats = other.stats("");
    assert!(stats["timers"] <= 3, "{stats:?}");
    // Timers that went off do not come back in greater number.
    for n in 0..200 {
        lease_of(holder.say(&format!("CHATCACHE.FETCH response ann bot short{n} LEASE {}", 200 - n)));
    }
    eventually(|| other.stats("")["leases"] == 3000);
    assert!(other.stats("")["timers"] <= 3);
}

#[test]
fn a_compressed_response_copied_into_place_is_decompressed_once_for_all_waiters() {
    if testkit::skipped_as_copy_changes_the_database() {
        return;
    }
    let server = Server::start();
    let (mut holder, mut operator) = (server.raw(), server.raw());
    let response: String =
        (0..400_000).map(|n: u32| format!("{:x} ", n.wrapping_mul(2_654_435_761))).collect();
    operator.ok("CONFIG SET chatcache.l1-max-bytes 0");
    let words = ["CHATCACHE.SET", "response", "ann", "bot", "hi", &response];
    assert_eq!(operator.call(&words), Raw::simple("OK"));
    eventually(|| operator.stats("")["compressed"] == 1);
    let key = operator.text(&format!("CHATCACHE.KEY {Q}"));
    assert_eq!(operator.number(&format!("COPY {key} elsewhere")), 1);
    let mut copy_us = |waiters: usize| {
        operator.number(&format!("CHATCACHE.DEL {Q}"));
        lease(&mut holder, Q);
        let mut waiting: Vec<RawClient> = (0..waiters).map(|_| waiter(&server, Q)).collect();
        operator.ok("CONFIG RESETSTAT");
        assert_eq!(operator.number(&format!("COPY elsewhere {key}")), 1);
        let stats = operator.text("INFO commandstats");
        for con in &mut waiting {
            assert_eq!(con.read(), hit(&response));
        }
        let copy = stats.lines().find_map(|line| line.strip_prefix("cmdstat_copy:calls=1,usec="));
        let us = copy.and_then(|rest| rest.split(',').next()).expect("the time of COPY");
        us.parse::<u64>().expect("a number")
    };
    let (one, many) = (copy_us(1), copy_us(200));
    assert!(many < 10 * one + 50_000, "{one} us for one waiter, {many} us for 200");
}
