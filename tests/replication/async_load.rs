//! A replica with `repl-diskless-load swapdb` serves its old data set while the new one loads beside it.

use std::time::Duration;

use redis::{Connection, Value};
use testkit::{
    Busy, NOTHING_AT_ONCE, Raw, Server, args, ask, cmd, count, dbsize, eventually, eventually_within, fill,
    get, in_one_go, info_field, pending, personas, reclaimed, set, stat,
};

use super::replica::agree;

const OLD: usize = 2_000;
const NEW: usize = 1_500;
/// Entries of database 1, in both data sets.
const ELSEWHERE: usize = 10;

/// A loading replica serves clients every kilobyte, and takes its time for each key.
const SWAPDB: [&str; 3] =
    ["repl-diskless-load swapdb", "loading-process-events-interval-bytes 1024", NOTHING_AT_ONCE];

/// A master with a backlog that is soon too short, and `OLD` entries of `helper` in two databases.
fn a_master() -> Server {
    let master = Server::builder()
        .config(NOTHING_AT_ONCE)
        .config("repl-diskless-sync yes")
        .config("repl-backlog-size 16kb")
        .start();
    let mut con = master.connect();
    fill(&mut con, "response", "ann", "helper", OLD);
    ask(&mut con, &["SELECT", "1"]);
    fill(&mut con, "response", "ann", "helper", ELSEWHERE);
    master
}

/// A replica that has the master's data set, and will load the next one slowly.
fn a_replica(master: &Server, more: &str) -> Server {
    let builder = Server::builder().replica_of(master).config(more);
    let replica = SWAPDB.iter().fold(builder, |builder, line| builder.config(*line)).start();
    agree(master, &replica);
    load_slowly(&replica);
    replica
}

/// A load takes 5 s or so, until `load_quickly`.
fn load_slowly(server: &Server) {
    ask(&mut server.connect(), &["CONFIG", "SET", "key-load-delay", "2000"]);
}

#[track_caller]
fn load_quickly(con: &mut Connection) {
    assert!(is_loading_beside(con), "the load was over too soon");
    ask(con, &["CONFIG", "SET", "key-load-delay", "0"]);
}

/// The next full sync takes 5 ms a key. A data set that is sent at once lies whole in the buffers of the sockets, and
/// loads although its master is gone.
fn send_slowly(master: &Server) {
    ask(&mut master.connect(), &["CONFIG", "SET", "rdb-key-save-delay", "5000"]);
}

/// Breaks the link, invalidates `helper`, and stores `NEW` entries of `poet`: too much for the backlog.
fn change_everything(master: &Server) {
    let script = format!(
        "for i = 1, {NEW} do redis.call('CHATCACHE.SET', 'response', 'bob', 'poet', 'q' .. i, 'new' .. i) end"
    );
    let replies = in_one_go(
        master,
        &[
            &["CLIENT", "KILL", "TYPE", "replica"],
            &["CHATCACHE.INVALIDATE", "helper"],
            &["EVAL", &script, "0"],
        ],
    );
    assert_eq!(replies[1], Raw::Int(OLD as i64));
}

#[track_caller]
fn wait_until_it_loads_beside(con: &mut Connection) {
    eventually_within(Duration::from_secs(20), || is_loading_beside(con));
}

fn is_loading_beside(con: &mut Connection) -> bool {
    info_field(con, "persistence", "async_loading") == "1"
}

#[track_caller]
fn wait_for_the_link(con: &mut Connection) {
    eventually_within(Duration::from_secs(60), || {
        info_field(con, "replication", "master_link_status") == "up"
    });
}

/// The old data set is served, in both databases.
#[track_caller]
fn has_the_old_data(con: &mut Connection) {
    assert_eq!(get(con, "response", "ann", "helper", "q1"), Some("a1".into()));
    assert_eq!(get(con, "response", "ann", "helper", "q2000"), Some("a2000".into()));
    assert_eq!(get(con, "response", "bob", "poet", "q1"), None);
    assert_eq!(stat(con, "entries"), (OLD + ELSEWHERE) as i64);
    assert_eq!(personas(con).into_keys().collect::<Vec<_>>(), ["helper"]);
    assert_eq!(dbsize(con), OLD as i64);
    ask(con, &["SELECT", "1"]);
    assert_eq!(get(con, "response", "ann", "helper", "q10"), Some("a10".into()));
    assert_eq!(personas(con)["helper"].0, "10");
    ask(con, &["SELECT", "0"]);
}

/// The new data set is served, in both databases, and nothing else.
#[track_caller]
fn has_the_new_data(con: &mut Connection) {
    assert_eq!(get(con, "response", "ann", "helper", "q1"), None);
    assert_eq!(get(con, "response", "bob", "poet", "q1"), Some("new1".into()));
    assert_eq!(stat(con, "entries"), (NEW + ELSEWHERE) as i64);
    assert_eq!(dbsize(con), NEW as i64);
    ask(con, &["SELECT", "1"]);
    assert_eq!(get(con, "response", "ann", "helper", "q10"), Some("a10".into()));
    assert_eq!((personas(con)["helper"].0.as_str(), dbsize(con)), ("10", 10));
    ask(con, &["SELECT", "0"]);
}

#[track_caller]
fn nothing_turned_swapdb_off(replica: &Server) {
    let log = replica.log();
    assert!(!log.contains("modules that are not aware"), "{log}");
    assert!(log.contains("Swapping active DB with loaded DB"), "{log}");
}

#[test]
fn the_old_data_set_is_served_while_the_new_one_loads_and_the_new_one_after() {
    let master = a_master();
    let replica = a_replica(&master, "");
    let mut there = replica.connect();
    let busy = Busy::keep(&master);
    change_everything(&master);
    wait_until_it_loads_beside(&mut there);
    for round in 0.. {
        if round == 100 {
            load_quickly(&mut there);
        }
        if !is_loading_beside(&mut there) {
            break;
        }
        let replies = in_one_go(
            &replica,
            &[
                &["CHATCACHE.GET", "response", "ann", "helper", "q7"],
                &["CHATCACHE.GET", "response", "bob", "poet", "q7"],
                &["INFO", "persistence"],
            ],
        );
        let Raw::Bulk(info) = &replies[2] else { panic!("{:?}", replies[2]) };
        if String::from_utf8_lossy(info).contains("async_loading:1") {
            assert_eq!(replies[0], Raw::bulk("a7"));
            assert_eq!(replies[1], Raw::NullBulk);
        }
    }
    wait_for_the_link(&mut there);
    assert_eq!(get(&mut there, "response", "ann", "helper", "q7"), None);
    assert_eq!(get(&mut there, "response", "bob", "poet", "q7"), Some("new7".into()));
    agree(&master, &replica);
    assert_eq!(stat(&mut there, "entries"), (NEW + ELSEWHERE) as i64);
    drop(busy);
    reclaimed(&master);
    reclaimed(&replica);
    assert_eq!(dbsize(&mut there), NEW as i64);
    nothing_turned_swapdb_off(&replica);
    // The new index belongs to the new keys: everything that follows finds them.
    let mut con = master.connect();
    ask(&mut con, &["CHATCACHE.SET", "response", "bob", "poet", "q1", "newer"]);
    agree(&master, &replica);
    assert_eq!(get(&mut there, "response", "bob", "poet", "q1"), Some("newer".into()));
    assert_eq!(count(&mut con, &["CHATCACHE.FORGET", "bob"]), NEW as i64);
    agree(&master, &replica);
    reclaimed(&replica);
    assert_eq!(dbsize(&mut there), 0);
    ask(&mut there, &["SELECT", "1"]);
    assert_eq!((stat(&mut there, "entries"), dbsize(&mut there)), (10, 10));
}

#[test]
fn the_old_data_set_is_served_in_the_middle_of_a_load_from_l1_and_from_its_keys() {
    let master = a_master();
    let replica = a_replica(&master, "");
    let mut there = replica.connect();
    for _ in 0..5 {
        has_the_old_data(&mut there);
    }
    change_everything(&master);
    wait_until_it_loads_beside(&mut there);
    for _ in 0..5 {
        has_the_old_data(&mut there);
    }
    load_quickly(&mut there);
    wait_for_the_link(&mut there);
    assert_eq!(get(&mut there, "response", "ann", "helper", "q1"), None);
    agree(&master, &replica);
}

#[test]
fn an_aborted_load_leaves_the_old_data_set_as_it_was() {
    let mut master = a_master();
    let replica = a_replica(&master, "");
    let mut there = replica.connect();
    send_slowly(&master);
    change_everything(&master);
    wait_until_it_loads_beside(&mut there);
    has_the_old_data(&mut there);
    master.kill9();
    eventually_within(Duration::from_secs(30), || !is_loading_beside(&mut there));
    has_the_old_data(&mut there);
    ask(&mut there, &["REPLICAOF", "NO", "ONE"]);
    assert_eq!(count(&mut there, &["CHATCACHE.INVALIDATE", "helper"]), OLD as i64);
    reclaimed(&replica);
    assert_eq!(dbsize(&mut there), 0);
}

#[test]
fn a_load_after_an_aborted_one_starts_anew() {
    let master = a_master();
    let replica = a_replica(&master, "");
    let mut there = replica.connect();
    send_slowly(&master);
    change_everything(&master);
    wait_until_it_loads_beside(&mut there);
    load_quickly(&mut there);
    ask(&mut master.connect(), &["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    ask(&mut master.connect(), &["CLIENT", "KILL", "TYPE", "replica"]);
    eventually_within(Duration::from_secs(30), || !is_loading_beside(&mut there));
    wait_for_the_link(&mut there);
    agree(&master, &replica);
    reclaimed(&master);
    reclaimed(&replica);
    has_the_new_data(&mut there);
    nothing_turned_swapdb_off(&replica);
}

/// Another master's data set is none that clients may read: they get LOADING, but it stays if the load is aborted.
#[test]
fn an_aborted_first_load_leaves_a_server_its_own_data_set() {
    let mut master = a_master();
    let builder = SWAPDB.iter().fold(Server::builder(), |builder, line| builder.config(*line));
    let server = builder.start();
    let mut there = server.connect();
    fill(&mut there, "response", "ann", "own", 500);
    load_slowly(&server);
    send_slowly(&master);
    ask(&mut there, &args!["REPLICAOF", "127.0.0.1", master.port()]);
    eventually(|| info_field(&mut there, "persistence", "loading") == "1");
    assert_eq!(info_field(&mut there, "persistence", "async_loading"), "0");
    master.kill9();
    eventually_within(Duration::from_secs(30), || info_field(&mut there, "persistence", "loading") == "0");
    assert_eq!(get(&mut there, "response", "ann", "own", "q500"), Some("a500".into()));
    ask(&mut there, &["REPLICAOF", "NO", "ONE"]);
    assert_eq!(personas(&mut there).into_keys().collect::<Vec<_>>(), ["own"]);
    assert_eq!(count(&mut there, &["CHATCACHE.FORGET", "ann"]), 500);
    reclaimed(&server);
    assert_eq!(dbsize(&mut there), 0);
}

#[test]
fn writes_to_a_writable_replica_during_a_load_are_of_the_old_data_set() {
    let master = a_master();
    let replica = a_replica(&master, "replica-read-only no");
    let mut there = replica.connect();
    set(&mut there, "response", "ann", "helper", "extra", "extra");
    let Value::Array(keys) = ask(&mut there, &["KEYS", "*"]) else { panic!("no keys") };
    let key = testkit::text(&keys[0]);
    let Value::BulkString(dump) = ask(&mut there, &["DUMP", &key]) else { panic!("no dump") };
    change_everything(&master);
    wait_until_it_loads_beside(&mut there);
    set(&mut there, "response", "ann", "own", "q", "own");
    for n in 0..20 {
        ask(&mut there, &args!["RESTORE", format!("restored{n}"), 0, dump]);
    }
    ask(&mut there, &["RENAME", "restored0", "renamed"]);
    ask(&mut there, &["DEL", "restored1"]);
    assert_eq!(stat(&mut there, "entries"), (OLD + ELSEWHERE) as i64 + 21);
    assert_eq!(count(&mut there, &["CHATCACHE.INVALIDATE", "own"]), 1);
    assert_eq!(get(&mut there, "response", "ann", "own", "q"), None);
    assert_eq!(stat(&mut there, "entries"), (OLD + ELSEWHERE) as i64 + 20);
    load_quickly(&mut there);
    wait_for_the_link(&mut there);
    agree(&master, &replica);
    reclaimed(&master);
    reclaimed(&replica);
    has_the_new_data(&mut there);
}

#[test]
fn a_flush_of_a_writable_replica_during_a_load_leaves_the_new_data_set_alone() {
    let master = a_master();
    let replica = a_replica(&master, "replica-read-only no");
    let mut there = replica.connect();
    change_everything(&master);
    wait_until_it_loads_beside(&mut there);
    ask(&mut there, &["SWAPDB", "0", "1"]);
    assert_eq!((personas(&mut there)["helper"].0.as_str(), dbsize(&mut there)), ("10", 10));
    assert_eq!(cmd(&mut there, &["FLUSHALL"]), Ok(Value::Okay));
    assert_eq!((stat(&mut there, "entries"), pending(&mut there)), (0, 0));
    load_quickly(&mut there);
    wait_for_the_link(&mut there);
    agree(&master, &replica);
    reclaimed(&master);
    reclaimed(&replica);
    has_the_new_data(&mut there);
}

/// A key of the tier msg does not hold the persona, so only the entry tells whose it is.
#[test]
fn a_user_without_rights_to_a_persona_misses_its_entries_during_a_load_and_after() {
    let master = a_master();
    let mut con = master.connect();
    set(&mut con, "msg", "", "coder", "shared", "the coder's");
    let replica = a_replica(&master, "");
    let (mut there, mut cy) = (replica.connect(), replica.connect());
    ask(&mut there, &["ACL", "SETUSER", "cy", "on", "nopass", "+@all", "~poet"]);
    ask(&mut cy, &["AUTH", "cy", "any"]);
    let check = |there: &mut Connection, cy: &mut Connection, response: &str| {
        assert_eq!(get(there, "msg", "", "poet", "shared"), Some(response.into()));
        assert_eq!(get(cy, "msg", "", "poet", "shared"), None);
    };
    check(&mut there, &mut cy, "the coder's");
    change_everything(&master);
    set(&mut con, "msg", "", "coder", "shared", "the coder's new one");
    set(&mut con, "msg", "", "poet", "of the poet", "for all");
    wait_until_it_loads_beside(&mut there);
    check(&mut there, &mut cy, "the coder's");
    assert_eq!(get(&mut cy, "msg", "", "poet", "of the poet"), None, "it is of the new data set");
    load_quickly(&mut there);
    wait_for_the_link(&mut there);
    agree(&master, &replica);
    check(&mut there, &mut cy, "the coder's new one");
    assert_eq!(get(&mut cy, "msg", "", "poet", "of the poet"), Some("for all".into()));
}
