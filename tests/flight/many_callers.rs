//! Many callers at once.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use testkit::{
    Q, Raw, RawClient, Server, all_quiet, eventually_within, hit, items, lease, patient, set_line, text_of,
    waiters, words,
};

#[test]
fn exactly_one_of_two_hundred_callers_has_the_lease() {
    let server = Server::start();
    for (round, wait) in ["", " WAIT 60000"].iter().enumerate() {
        let request = format!("persona ann bot hi-{round}");
        let begin = Barrier::new(8);
        let replies: Vec<Raw> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut cons: Vec<RawClient> = (0..25).map(|_| server.raw()).collect();
                        begin.wait();
                        for con in &mut cons {
                            con.send(&words(&format!("CHATCACHE.FETCH {request}{wait}")));
                        }
                        // The holder stores the response; the others' replies come in any order.
                        let mut replies = Vec::new();
                        eventually_within(Duration::from_secs(30), || {
                            cons.retain_mut(|con| {
                                let Some(reply) = con.read_within(Duration::from_millis(2)) else {
                                    return true;
                                };
                                let parts = items(reply.clone());
                                if parts[0] == Raw::bulk("lease") {
                                    let token = text_of(&parts[2]);
                                    con.ok(&set_line(&request, "answer", &format!("TOKEN {token}")));
                                }
                                replies.push(reply);
                                false
                            });
                            cons.is_empty()
                        });
                        begin.wait();
                        replies
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
        });
        let of =
            |word: &str| replies.iter().filter(|reply| items((*reply).clone())[0] == Raw::bulk(word)).count();
        assert_eq!(replies.len(), 200);
        assert_eq!(of("lease"), 1, "{replies:?}");
        if !wait.is_empty() {
            assert_eq!((of("hit"), of("busy")), (199, 0));
        }
        assert_eq!(server.raw().stats("")["leases-granted"], round as i64 + 1);
    }
    all_quiet(&mut server.raw(), 0);
}

#[test]
fn two_thousand_wait_while_others_are_served_and_one_set_wakes_them_all() {
    const CROWD: i64 = 2000;
    let server = Server::start();
    let mut holder = server.raw();
    let token = lease(&mut holder, Q);
    let mut crowd: Vec<RawClient> = (0..CROWD).map(|_| server.raw()).collect();
    for con in &mut crowd {
        con.send(&words(&format!("CHATCACHE.FETCH {Q} WAIT 3600000")));
    }
    let mut operator = server.raw();
    eventually_within(Duration::from_secs(30), || waiters(&mut operator) == CROWD);
    assert_eq!(operator.stats("")["leases"], 1);

    let begun = Instant::now();
    for n in 0..1000 {
        operator.ok(&set_line(&format!("msg ann bot m-{n}"), "served", ""));
        assert_eq!(operator.say(&format!("CHATCACHE.GET msg ann bot m-{n}")), Raw::bulk("served"));
    }
    assert!(begun.elapsed() < patient(Duration::from_secs(15)), "{:?}", begun.elapsed());

    holder.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    for con in &mut crowd {
        assert_eq!(con.read(), hit("hello"));
    }
    let stats = operator.stats("");
    assert_eq!((stats["coalesced"], stats["waiters"], stats["leases"]), (CROWD, 0, 0));
}

#[test]
fn waiters_that_disconnect_leave_nothing_behind() {
    let server = Server::start();
    let mut holder = server.raw();
    lease(&mut holder, Q);
    for _ in 0..3 {
        let mut crowd: Vec<RawClient> = (0..300).map(|_| server.raw()).collect();
        for con in &mut crowd {
            con.send(&words(&format!("CHATCACHE.FETCH {Q} WAIT 3600000")));
        }
        let mut operator = server.raw();
        eventually_within(Duration::from_secs(30), || waiters(&mut operator) == 300);
        drop(crowd);
        eventually_within(Duration::from_secs(30), || waiters(&mut operator) == 0);
    }
    assert_eq!(testkit::info_field(&mut server.connect(), "clients", "blocked_clients"), "0");
    drop(holder);
    let mut operator = server.raw();
    eventually_within(Duration::from_secs(10), || operator.stats("")["leases"] == 0);
}

#[test]
fn holders_that_die_one_after_another_strand_no_waiter() {
    let server = Server::start();
    let holder = server.raw();
    let mut next = Some(holder);
    lease(next.as_mut().expect("the holder"), Q);
    let mut crowd: Vec<RawClient> = (0..100).map(|_| testkit::waiter(&server, Q)).collect();
    crowd.reverse();
    let mut last = None;
    while let Some(mut con) = crowd.pop() {
        // The holder of the lease dies: here, it is replaced.
        drop(next.take());
        let (token, _) = testkit::lease_of(con.read());
        last = Some(token);
        next = Some(con);
    }
    let mut con = next.expect("the last");
    con.ok(&set_line(Q, "hello", &format!("TOKEN {}", last.expect("a token"))));
    all_quiet(&mut con, 0);
}
