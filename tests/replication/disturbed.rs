//! A reclaim on a master with a replica and an AOF, disturbed by operators.

use testkit::{
    Busy, NOTHING_AT_ONCE, Raw, Server, ask, count, dbsize, fill, fill_with, get, in_one_go, pending,
    pending_in, reclaimed, replica_caught_up, set, stat,
};

use super::replica::{a_pair, agree};

#[test]
fn a_pause_of_writes_in_the_middle_of_a_reclaim_does_no_harm() {
    let (master, replica) = a_pair(&[NOTHING_AT_ONCE, "appendonly yes"]);
    let mut con = master.connect();
    fill(&mut con, "response", "ann", "dropped", 30_000);
    // These expire while writes are paused, when nothing may be sent to the replica.
    fill_with(&mut con, "persona", "", "dropped", 20_000, "PX 4000");
    fill(&mut con, "response", "ann", "kept", 10);
    replica_caught_up(&master, &replica);
    let replies = in_one_go(
        &master,
        &[
            &["CHATCACHE.INVALIDATE", "dropped"],
            &["CLIENT", "PAUSE", "60000", "WRITE"],
            &["DEBUG", "SLEEP", "4.1"],
            &["INFO", "everything"],
        ],
    );
    assert_eq!(replies[0], Raw::Int(50_000));
    assert_eq!(pending_in(&replies[3]), 50_000);
    assert_eq!(get(&mut con, "response", "ann", "dropped", "q1"), None);
    assert_eq!(get(&mut con, "response", "ann", "kept", "q1"), Some("a1".into()));
    reclaimed(&master);
    ask(&mut con, &["CLIENT", "UNPAUSE"]);
    set(&mut con, "response", "ann", "dropped", "q1", "new");
    agree(&master, &replica);
    reclaimed(&replica);
    testkit::eventually(|| dbsize(&mut con) == 11);
    assert_eq!(stat(&mut con, "entries"), 11);
    testkit::eventually(|| dbsize(&mut replica.connect()) == 11);
}

#[test]
fn a_reclaim_of_expired_entries_under_a_pause_of_writes_does_no_harm() {
    let (master, replica) = a_pair(&[NOTHING_AT_ONCE, "appendonly yes"]);
    let mut con = master.connect();
    ask(&mut con, &["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    fill_with(&mut con, "persona", "", "dropped", 5_000, "PX 100");
    replica_caught_up(&master, &replica);
    testkit::eventually(|| get(&mut replica.connect(), "persona", "", "dropped", "q5000").is_none());
    let replies = in_one_go(
        &master,
        &[
            &["CHATCACHE.INVALIDATE", "dropped"],
            &["CLIENT", "PAUSE", "30000", "WRITE"],
            &["INFO", "everything"],
        ],
    );
    assert_eq!(pending_in(&replies[2]), 5_000);
    reclaimed(&master);
    ask(&mut con, &["CLIENT", "UNPAUSE"]);
    ask(&mut con, &["DEBUG", "SET-ACTIVE-EXPIRE", "1"]);
    testkit::eventually(|| dbsize(&mut con) == 0);
    replica_caught_up(&master, &replica);
    reclaimed(&replica);
    testkit::eventually(|| dbsize(&mut replica.connect()) == 0);
    assert_eq!(stat(&mut con, "entries"), 0);
}

#[test]
fn a_server_asleep_in_the_middle_of_a_reclaim_goes_on_after() {
    let (master, replica) = a_pair(&[NOTHING_AT_ONCE]);
    let mut con = master.connect();
    fill(&mut con, "response", "ann", "dropped", 30_000);
    replica_caught_up(&master, &replica);
    let replies = in_one_go(
        &master,
        &[&["CHATCACHE.INVALIDATE", "dropped"], &["DEBUG", "SLEEP", "0.5"], &["INFO", "everything"]],
    );
    assert_eq!(pending_in(&replies[2]), 30_000);
    reclaimed(&master);
    agree(&master, &replica);
    reclaimed(&replica);
    assert_eq!((dbsize(&mut con), dbsize(&mut replica.connect())), (0, 0));
}

#[test]
fn a_master_shut_down_in_the_middle_of_a_reclaim_comes_back_as_it_was_to_its_replica() {
    let (mut master, replica) = a_pair(&[NOTHING_AT_ONCE]);
    let mut con = master.connect();
    fill(&mut con, "response", "ann", "dropped", 30_000);
    fill(&mut con, "response", "ann", "kept", 10);
    replica_caught_up(&master, &replica);
    let mut client = master.raw();
    client.send_bytes(b"CHATCACHE.INVALIDATE dropped\r\nSHUTDOWN SAVE\r\n");
    assert!(master.wait_for_exit().success());
    master.start_again();
    agree(&master, &replica);
    reclaimed(&master);
    reclaimed(&replica);
    for server in [&master, &replica] {
        let mut con = server.connect();
        assert_eq!((dbsize(&mut con), stat(&mut con, "entries")), (10, 10));
        assert_eq!(get(&mut con, "response", "ann", "dropped", "q1"), None);
    }
}

#[test]
fn a_replica_shut_down_in_the_middle_of_a_reclaim_catches_up_when_it_is_back() {
    let (master, mut replica) = a_pair(&[NOTHING_AT_ONCE]);
    let mut con = master.connect();
    fill(&mut con, "response", "ann", "dropped", 30_000);
    fill(&mut con, "response", "ann", "kept", 10);
    replica_caught_up(&master, &replica);
    let busy = Busy::keep(&replica);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "dropped"]), 30_000);
    replica_caught_up(&master, &replica);
    assert!(pending(&mut replica.connect()) > 0, "the reclaim was over before the shutdown");
    replica.shutdown("SAVE");
    drop(busy);
    set(&mut con, "response", "ann", "dropped", "q1", "new");
    replica.start_again();
    agree(&master, &replica);
    reclaimed(&replica);
    let mut there = replica.connect();
    assert_eq!(get(&mut there, "response", "ann", "dropped", "q1"), Some("new".into()));
    assert_eq!((dbsize(&mut there), stat(&mut there, "entries")), (11, 11));
}

#[test]
fn a_replica_killed_in_the_middle_of_a_reclaim_catches_up_from_its_aof() {
    let master = Server::builder().config(NOTHING_AT_ONCE).start();
    let mut replica = Server::builder().replica_of(&master).appendonly().config(NOTHING_AT_ONCE).start();
    let mut con = master.connect();
    fill(&mut con, "response", "ann", "dropped", 20_000);
    fill(&mut con, "response", "ann", "kept", 10);
    replica_caught_up(&master, &replica);
    let busy = Busy::keep(&replica);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "dropped"]), 20_000);
    replica_caught_up(&master, &replica);
    assert!(pending(&mut replica.connect()) > 0, "the reclaim was over before the kill");
    replica.kill9();
    drop(busy);
    replica.start_again();
    agree(&master, &replica);
    reclaimed(&replica);
    assert_eq!(dbsize(&mut replica.connect()), 10);
}
