//! A server that stands still, or ends, in the middle of a reclaim and of waits.

use testkit::{
    Busy, NOTHING_AT_ONCE, Q, Raw, RawClient, Server, busy_of, eventually, fill, hit, lease_of, patient_ms,
    replica_caught_up, set_line, waiter, waiter_for, waiters, words,
};

use super::consistency;

const MANY: usize = 30_000;

/// A reclaim and waits that have begun: the holder of the lease with its token, and two waiters.
struct Middle {
    operator: RawClient,
    holder: RawClient,
    token: String,
    waiting: [RawClient; 2],
    busy: Busy,
}

fn in_the_middle(server: &Server) -> Middle {
    let mut con = server.connect();
    fill(&mut con, "persona", "", "kept", 1000);
    fill(&mut con, "persona", "", "dropped", MANY);
    let (mut operator, mut holder) = (server.raw(), server.raw());
    let token = testkit::lease(&mut holder, Q);
    let waiting = [waiter(server, Q), waiter(server, Q)];
    let busy = Busy::keep(server);
    assert_eq!(operator.number("CHATCACHE.INVALIDATE dropped"), MANY as i64);
    assert!(operator.stats("")["pending-reclaim"] > 0, "the reclaim was over at once");
    Middle { operator, holder, token, waiting, busy }
}

/// Stores the holder's response, checks that the waiters get it, and waits for the end of the reclaim.
#[track_caller]
fn goes_on(server: &Server, middle: Middle) {
    let Middle { mut operator, mut holder, token, waiting, busy } = middle;
    holder.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    for mut con in waiting {
        assert_eq!(con.read(), hit("hello"));
    }
    drop(busy);
    let stats = consistency::quiet(&mut operator);
    assert_eq!((stats["entries"], stats["waiters"], stats["leases"]), (1001, 0, 0));
    assert_eq!(server.raw().say("CHATCACHE.GET persona \"\" dropped q1"), Raw::NullBulk);
}

#[test]
fn a_pause_of_clients_in_the_middle_harms_nothing_and_a_replica_follows() {
    for mode in ["ALL", "WRITE"] {
        // A timer that replicates under a pause would abort a server with an AOF.
        let server = Server::builder().appendonly().config(NOTHING_AT_ONCE).start();
        let replica = Server::builder().config(NOTHING_AT_ONCE).replica_of(&server).start();
        let mut middle = in_the_middle(&server);
        middle.operator.ok(&format!("CLIENT PAUSE {} {mode}", patient_ms(300)));
        goes_on(&server, middle);
        replica_caught_up(&server, &replica);
        let (mut ours, mut theirs) = (server.raw(), replica.raw());
        consistency::quiet(&mut theirs);
        assert_eq!(ours.say("DEBUG DIGEST"), theirs.say("DEBUG DIGEST"));
    }
}

#[test]
fn a_server_that_sleeps_in_the_middle_goes_on_when_it_wakes() {
    let server = Server::builder().config(NOTHING_AT_ONCE).start();
    let mut middle = in_the_middle(&server);
    middle.operator.ok("DEBUG SLEEP 0.5");
    goes_on(&server, middle);
}

#[test]
fn leases_and_waits_that_run_out_during_a_sleep_end_after_it() {
    let server = Server::start();
    let mut holder = server.raw();
    lease_of(holder.say(&format!("CHATCACHE.FETCH {Q} LEASE {}", patient_ms(400))));
    let mut short = waiter_for(&server, Q, 300);
    let mut first = waiter(&server, Q);
    let mut second = waiter(&server, Q);
    let mut operator = server.raw();
    operator.ok(&format!("DEBUG SLEEP {}", patient_ms(600) as f64 / 1000.0));
    // One wait has run out, and exactly one of the remaining waiters has the next lease.
    busy_of(short.read());
    let (token, _) = lease_of(first.read());
    assert_eq!(waiters(&mut operator), 1);
    first.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    assert_eq!(second.read(), hit("hello"));
    assert_eq!(operator.stats("")["leases"], 0);
}

#[test]
fn a_shutdown_without_saving_in_the_middle_ends_at_once_and_an_aof_keeps_the_invalidation() {
    let mut server = Server::builder().appendonly().config(NOTHING_AT_ONCE).start();
    let Middle { mut holder, waiting, busy, .. } = in_the_middle(&server);
    server.shutdown("NOSAVE");
    drop(busy);
    for mut con in waiting {
        assert!(con.is_closed());
    }
    assert!(holder.is_closed());
    server.start_again();
    let mut con = server.raw();
    assert_eq!(con.say("CHATCACHE.GET persona \"\" dropped q1"), Raw::NullBulk);
    assert_eq!(con.say("CHATCACHE.GET persona \"\" kept q1"), Raw::bulk("a1"));
    assert_eq!(consistency::quiet(&mut con)["entries"], 1000);
    // The lease has ended with the server.
    lease_of(con.say(&format!("CHATCACHE.FETCH {Q}")));
}

#[test]
fn a_shutdown_without_saving_brings_back_the_snapshot_and_nothing_half_done() {
    let mut server = Server::builder().config(NOTHING_AT_ONCE).start();
    let mut middle = in_the_middle(&server);
    middle.operator.send(&words("SAVE"));
    assert_eq!(middle.operator.read(), Raw::simple("OK"));
    drop(middle);
    fill(&mut server.connect(), "persona", "", "late", 100);
    server.restart_without_saving();
    let mut con = server.raw();
    eventually(|| con.stats("")["pending-reclaim"] == 0);
    assert_eq!(consistency::counts_agree(&mut con)["entries"], 1000);
    assert_eq!(con.say("CHATCACHE.GET persona \"\" dropped q1"), Raw::NullBulk);
}
