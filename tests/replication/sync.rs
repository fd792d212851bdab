//! Full and partial syncs while a reclaim is under way.

use testkit::{
    Builder, Busy, NOTHING_AT_ONCE, Raw, Server, args, ask, count, dbsize, eventually, fill, get, in_one_go,
    info_field, pending, pending_in, personas, reclaimed, replica_caught_up, set, stat,
};

use super::replica::{a_pair, agree};

const MANY: usize = 50_000;

/// A replica comes while the master reclaims: tombstones are tombstones there too.
fn a_full_sync_in_the_middle(master: &str, replica: &str) {
    let master = Server::builder().config(NOTHING_AT_ONCE).config(master).start();
    let mut con = master.connect();
    fill(&mut con, "response", "ann", "dropped", MANY);
    set(&mut con, "response", "ann", "kept", "q1", "kept");
    let replica = Server::builder().config(NOTHING_AT_ONCE).config(replica).start();
    let mut there = replica.connect();
    let busy = Busy::keep(&master);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "dropped"]), MANY as i64);
    ask(&mut there, &args!["REPLICAOF", "127.0.0.1", master.port()]);
    eventually(|| info_field(&mut there, "replication", "master_link_status") == "up");
    let kept_only = |con: &mut redis::Connection| {
        assert_eq!(get(con, "response", "ann", "dropped", "q1"), None);
        assert_eq!(get(con, "response", "ann", "dropped", "q50000"), None);
        assert_eq!(get(con, "response", "ann", "kept", "q1"), Some("kept".into()));
        assert_eq!(personas(con).into_keys().collect::<Vec<_>>(), ["kept"]);
        assert_eq!(stat(con, "entries"), 1);
    };
    kept_only(&mut there);
    drop(busy);
    // The replica got the keys of tombstones, and the master will not name them again.
    let log = replica.log();
    assert!(log.contains("Finished with success"), "{log}");
    assert!(!log.contains("keys loaded: 1,"), "the reclaim was over before the sync: {log}");
    reclaimed(&replica);
    reclaimed(&master);
    kept_only(&mut there);
    assert_eq!((dbsize(&mut con), dbsize(&mut there)), (1, 1));
    set(&mut con, "response", "ann", "dropped", "q1", "new");
    agree(&master, &replica);
    assert_eq!(get(&mut there, "response", "ann", "dropped", "q1"), Some("new".into()));
}

#[test]
fn a_full_sync_by_disk_in_the_middle_of_a_reclaim() {
    a_full_sync_in_the_middle("repl-diskless-sync no", "repl-diskless-load disabled");
}

#[test]
fn a_full_sync_from_a_socket_to_disk_in_the_middle_of_a_reclaim() {
    a_full_sync_in_the_middle("repl-diskless-sync yes", "repl-diskless-load disabled");
}

#[test]
fn a_full_sync_from_socket_to_memory_in_the_middle_of_a_reclaim() {
    a_full_sync_in_the_middle("repl-diskless-sync yes", "repl-diskless-load on-empty-db");
}

#[test]
fn a_full_sync_into_a_swapped_database_in_the_middle_of_a_reclaim() {
    a_full_sync_in_the_middle("repl-diskless-sync yes", "repl-diskless-load swapdb");
}

/// A server with a reclaim of its own under way becomes a replica: nothing of its own is left.
fn a_server_in_the_middle_becomes_a_replica(builder: Builder) {
    let master = Server::start();
    let mut con = master.connect();
    fill(&mut con, "response", "ann", "helper", 300);
    let server = builder.config(NOTHING_AT_ONCE).start();
    let mut there = server.connect();
    fill(&mut there, "response", "ann", "own", MANY);
    fill(&mut there, "msg", "", "other", 100);
    let port = master.port().to_string();
    let replies = in_one_go(
        &server,
        &[&["CHATCACHE.INVALIDATE", "own"], &["REPLICAOF", "127.0.0.1", &port], &["INFO", "everything"]],
    );
    assert_eq!(pending_in(&replies[2]), MANY as i64);
    eventually(|| info_field(&mut there, "replication", "master_link_status") == "up");
    agree(&master, &server);
    reclaimed(&server);
    assert_eq!(dbsize(&mut there), 300);
    assert_eq!(count(&mut con, &["CHATCACHE.FORGET", "ann"]), 300);
    agree(&master, &server);
    reclaimed(&server);
    assert_eq!(dbsize(&mut there), 0);
}

#[test]
fn a_server_with_a_reclaim_of_its_own_becomes_a_replica_by_disk() {
    a_server_in_the_middle_becomes_a_replica(Server::builder().config("repl-diskless-load disabled"));
}

#[test]
fn a_server_with_a_reclaim_of_its_own_becomes_a_replica_by_swapdb() {
    a_server_in_the_middle_becomes_a_replica(Server::builder().config("repl-diskless-load swapdb"));
}

#[test]
fn a_broken_link_goes_on_where_it_broke() {
    let (master, replica) = a_pair(&[NOTHING_AT_ONCE, "repl-backlog-size 64mb"]);
    let mut con = master.connect();
    fill(&mut con, "response", "ann", "dropped", 20_000);
    fill(&mut con, "response", "ann", "kept", 20);
    replica_caught_up(&master, &replica);
    let mut there = replica.connect();
    let full_syncs = |con: &mut redis::Connection| info_field(con, "stats", "sync_full");
    let before = full_syncs(&mut con);
    let busy = Busy::keep(&replica);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "dropped"]), 20_000);
    eventually(|| pending(&mut there) > 0);
    ask(&mut there, &["CLIENT", "KILL", "TYPE", "master"]);
    assert!(pending(&mut there) > 0, "the reclaim was over before the link broke");
    set(&mut con, "response", "ann", "dropped", "q1", "new");
    ask(&mut con, &["CHATCACHE.INVALIDATE", "nobody"]);
    agree(&master, &replica);
    drop(busy);
    reclaimed(&master);
    reclaimed(&replica);
    assert_eq!(full_syncs(&mut con), before);
    assert_ne!(info_field(&mut con, "stats", "sync_partial_ok"), "0");
    assert_eq!(get(&mut there, "response", "ann", "dropped", "q1"), Some("new".into()));
    assert_eq!((dbsize(&mut con), dbsize(&mut there)), (21, 21));
}

#[test]
fn a_replica_of_a_replica_follows() {
    let (master, middle) = a_pair(&[NOTHING_AT_ONCE]);
    let mut con = master.connect();
    fill(&mut con, "response", "ann", "helper", 2_000);
    replica_caught_up(&master, &middle);
    let last = Server::builder().replica_of(&middle).config(NOTHING_AT_ONCE).start();
    let mut there = last.connect();
    let caught_up = || {
        replica_caught_up(&master, &middle);
        replica_caught_up(&middle, &last);
    };
    assert_eq!(stat(&mut there, "entries"), 2_000);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "helper"]), 2_000);
    ask(&mut con, &["CHATCACHE.SET", "response", "ann", "helper", "q5", "new", "PX", "5000999"]);
    caught_up();
    assert_eq!(get(&mut there, "response", "ann", "helper", "q6"), None);
    assert_eq!(get(&mut there, "response", "ann", "helper", "q5"), Some("new".into()));
    for server in [&master, &middle, &last] {
        reclaimed(server);
    }
    assert_eq!(dbsize(&mut there), 1);
    let request = args!["response", "ann", "helper", "q5"].into();
    let end = testkit::seen(&mut con, &request).1;
    assert_eq!(testkit::seen(&mut there, &request).1, end);
    assert_eq!(count(&mut con, &["CHATCACHE.FORGET", "ann"]), 1);
    caught_up();
    assert_eq!(get(&mut there, "response", "ann", "helper", "q5"), None);
    reclaimed(&last);
    assert_eq!(dbsize(&mut there), 0);
}

#[test]
fn wait_counts_the_replica_for_a_set_and_an_invalidate() {
    let (master, replica) = a_pair(&[NOTHING_AT_ONCE]);
    let mut client = master.raw();
    let set = ["CHATCACHE.SET", "persona", "", "helper", "q", "a"];
    assert_eq!(client.call(&set), Raw::simple("OK"));
    assert_eq!(client.call(&["WAIT", "1", "10000"]), Raw::Int(1));
    let mut there = replica.connect();
    assert_eq!(get(&mut there, "persona", "", "helper", "q"), Some("a".into()));
    assert_eq!(client.call(&["CHATCACHE.INVALIDATE", "helper"]), Raw::Int(1));
    assert_eq!(client.call(&["WAIT", "1", "10000"]), Raw::Int(1));
    assert_eq!(get(&mut there, "persona", "", "helper", "q"), None);
}
