//! An old master that returns with its old entries and takes over those of the new one, in each way of a sync.

use std::time::Duration;
use testkit::{
    Server, args, ask, count, dbsize, eventually_within, fill, get, info_field, personas, reclaimed,
    replica_caught_up, saved_in_background, seen, set, stat,
};

/// Time limit for a full sync.
const SYNC: Duration = Duration::from_secs(40);

/// More than one command deletes at once.
const MANY: usize = 2_000;

fn an_old_master_returns(diskless_load: &str) {
    for diskless_sync in ["yes", "no"] {
        let builder = || {
            Server::builder()
                .config(format!("repl-diskless-load {diskless_load}"))
                .config(format!("repl-diskless-sync {diskless_sync}"))
        };
        let mut old = builder().appendonly().config("appendfsync always").start();
        let new = builder().replica_of(&old).start();
        let mut con = old.connect();
        fill(&mut con, "response", "ann", "dropped", MANY);
        fill(&mut con, "persona", "", "kept", 20);
        replica_caught_up(&old, &new);
        drop(con);
        old.kill9();
        let mut there = new.connect();
        ask(&mut there, &["REPLICAOF", "NO", "ONE"]);
        assert_eq!(count(&mut there, &["CHATCACHE.INVALIDATE", "dropped"]), MANY as i64);
        assert_eq!(count(&mut there, &["CHATCACHE.SOFTINVALIDATE", "kept"]), 20);
        set(&mut there, "response", "ann", "dropped", "q1", "new");

        // As it was when it died; then as the new one is.
        old.start_again();
        let mut con = old.connect();
        assert_eq!(get(&mut con, "response", "ann", "dropped", "q2"), Some("a2".into()));
        ask(&mut con, &args!["REPLICAOF", "127.0.0.1", new.port()]);
        eventually_within(SYNC, || info_field(&mut con, "replication", "master_link_status") == "up");
        replica_caught_up(&new, &old);
        reclaimed(&new);
        reclaimed(&old);
        assert_eq!(get(&mut con, "response", "ann", "dropped", "q1"), Some("new".into()));
        assert_eq!(get(&mut con, "response", "ann", "dropped", "q2"), None);
        assert_eq!(get(&mut con, "persona", "", "kept", "q1"), None, "it is stale");
        assert_eq!(personas(&mut con), personas(&mut there));
        assert_eq!((dbsize(&mut con), stat(&mut con, "entries")), (21, 21));
        let request = args!["persona", "", "kept", "q7"].into();
        assert_eq!(seen(&mut con, &request), seen(&mut there, &request));

        // The server begins a new AOF after a full sync; until that is done, the old one counts.
        saved_in_background(&mut con);

        // Master again, and again after a restart: invalidations while it was away hold.
        ask(&mut con, &["REPLICAOF", "NO", "ONE"]);
        assert_eq!(count(&mut con, &["CHATCACHE.FORGET", "ann"]), 1);
        drop(con);
        old.kill9();
        old.start_again();
        let mut con = old.connect();
        assert_eq!(get(&mut con, "response", "ann", "dropped", "q2"), None);
        assert_eq!((dbsize(&mut con), stat(&mut con, "entries")), (20, 20));
    }
}

#[test]
fn an_old_master_returns_and_loads_from_disk() {
    an_old_master_returns("disabled");
}

#[test]
fn an_old_master_returns_and_loads_from_the_socket_where_it_is_empty() {
    an_old_master_returns("on-empty-db");
}

#[test]
fn an_old_master_returns_and_swaps_its_database() {
    an_old_master_returns("swapdb");
}
