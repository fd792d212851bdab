//! A replica that is made a master, also in the middle of a reclaim.

use testkit::{
    Busy, NOTHING_AT_ONCE, Server, args, ask, cmd, count, dbsize, eventually, fill, fill_with, get,
    info_field, pending, personas, reclaimed, replica_caught_up, set, stat, text,
};

use super::replica::a_pair;

#[test]
fn a_replica_promoted_in_the_middle_of_a_reclaim_ends_it_and_takes_writes() {
    let (master, replica) = a_pair(&[NOTHING_AT_ONCE]);
    let mut con = master.connect();
    let mut there = replica.connect();
    fill(&mut con, "response", "ann", "dropped", 50_000);
    fill(&mut con, "response", "ann", "kept", 10);
    replica_caught_up(&master, &replica);
    let busy = Busy::keep(&replica);
    ask(&mut con, &["CHATCACHE.INVALIDATE", "dropped"]);
    replica_caught_up(&master, &replica);
    ask(&mut there, &["REPLICAOF", "NO", "ONE"]);
    assert!(pending(&mut there) > 0, "the reclaim was over before the promotion");
    assert_eq!(get(&mut there, "response", "ann", "dropped", "q1"), None);
    set(&mut there, "response", "ann", "dropped", "q1", "new");
    assert_eq!(count(&mut there, &["CHATCACHE.DEL", "response", "ann", "dropped", "q2"]), 0);
    assert!(pending(&mut there) > 0);
    drop(busy);
    reclaimed(&replica);
    assert_eq!(dbsize(&mut there), 11);
    assert_eq!(get(&mut there, "response", "ann", "dropped", "q1"), Some("new".into()));
    assert_eq!(get(&mut there, "response", "ann", "dropped", "q2"), None);
    assert_eq!(personas(&mut there).into_keys().collect::<Vec<_>>(), ["dropped", "kept"]);
    assert_eq!(count(&mut there, &["CHATCACHE.FORGET", "ann"]), 11);
}

#[test]
fn entries_that_are_invalidated_and_expire_around_a_promotion_are_gone_in_the_end() {
    let (master, replica) = a_pair(&[NOTHING_AT_ONCE]);
    let mut con = master.connect();
    let mut there = replica.connect();
    fill_with(&mut con, "persona", "", "helper", 30_000, "PX 2500");
    replica_caught_up(&master, &replica);
    let busy = Busy::keep(&replica);
    ask(&mut con, &["CHATCACHE.INVALIDATE", "helper"]);
    replica_caught_up(&master, &replica);
    assert!(pending(&mut there) > 0);
    ask(&mut there, &["REPLICAOF", "NO", "ONE"]);
    drop(busy);
    reclaimed(&replica);
    eventually(|| dbsize(&mut there) == 0);
    assert_eq!(stat(&mut there, "entries"), 0);
}

#[test]
fn a_promoted_replica_deletes_expired_entries() {
    let (master, replica) = a_pair(&[]);
    let mut con = master.connect();
    fill_with(&mut con, "persona", "", "helper", 50, "PX 400");
    replica_caught_up(&master, &replica);
    let mut there = replica.connect();
    ask(&mut there, &["REPLICAOF", "NO", "ONE"]);
    eventually(|| dbsize(&mut there) == 0);
    assert_eq!(stat(&mut there, "entries"), 0);
    assert!(personas(&mut there).is_empty());
}

#[test]
fn the_old_master_follows_the_new_one_in_the_middle_of_its_own_reclaim() {
    let (old, new) = a_pair(&[NOTHING_AT_ONCE]);
    let mut con = old.connect();
    let mut there = new.connect();
    fill(&mut con, "response", "ann", "dropped", 30_000);
    fill(&mut con, "response", "ann", "kept", 10);
    replica_caught_up(&old, &new);
    let busy = (Busy::keep(&old), Busy::keep(&new));
    ask(&mut con, &["CHATCACHE.INVALIDATE", "dropped"]);
    replica_caught_up(&old, &new);
    ask(&mut there, &["REPLICAOF", "NO", "ONE"]);
    set(&mut there, "response", "ann", "dropped", "q9", "new");
    ask(&mut con, &args!["REPLICAOF", "127.0.0.1", new.port()]);
    assert!(pending(&mut con) > 0 && pending(&mut there) > 0, "a reclaim was over");
    eventually(|| info_field(&mut con, "replication", "master_link_status") == "up");
    drop(busy);
    replica_caught_up(&new, &old);
    reclaimed(&new);
    reclaimed(&old);
    for con in [&mut con, &mut there] {
        assert_eq!(dbsize(con), 11);
        assert_eq!(stat(con, "entries"), 11);
        assert_eq!(get(con, "response", "ann", "dropped", "q9"), Some("new".into()));
        assert_eq!(get(con, "response", "ann", "dropped", "q8"), None);
    }
}

#[test]
fn a_failover_in_the_middle_of_a_reclaim_ends_well() {
    let (old, new) = a_pair(&[NOTHING_AT_ONCE, "appendonly yes"]);
    let mut con = old.connect();
    fill(&mut con, "response", "ann", "dropped", 30_000);
    fill(&mut con, "response", "ann", "kept", 10);
    replica_caught_up(&old, &new);
    let busy = (Busy::keep(&old), Busy::keep(&new));
    ask(&mut con, &["CHATCACHE.INVALIDATE", "dropped"]);
    ask(&mut con, &args!["FAILOVER", "TO", "127.0.0.1", new.port(), "FORCE", "TIMEOUT", 5000]);
    assert!(pending(&mut con) > 0, "the reclaim was over before the failover");
    let role = |server: &Server| info_field(&mut server.connect(), "replication", "role");
    eventually(|| role(&new) == "master" && role(&old) == "slave");
    drop(busy);
    let mut there = new.connect();
    eventually(|| cmd(&mut there, &["CHATCACHE.SET", "msg", "", "kept", "after", "a"]).is_ok());
    eventually(|| info_field(&mut old.connect(), "replication", "master_link_status") == "up");
    replica_caught_up(&new, &old);
    reclaimed(&new);
    reclaimed(&old);
    for server in [&old, &new] {
        let mut con = server.connect();
        assert_eq!((dbsize(&mut con), stat(&mut con, "entries")), (11, 11));
        let key = text(&ask(&mut con, &["CHATCACHE.KEY", "msg", "", "kept", "after"]));
        assert_eq!(count(&mut con, &args!["EXISTS", key]), 1);
    }
}
