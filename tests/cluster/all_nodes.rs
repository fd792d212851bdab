//! Commands that are not about one persona: each node replies for itself, and tips tell clients to send them to all.

use std::process::Command;

use redis::Connection;
use testkit::{
    Cluster, Raw, Server, args, ask, cmd, count, eventually, expect_error, get, personas, replica_caught_up,
    set, stat,
};

#[test]
fn clients_are_told_which_commands_go_to_all_nodes() {
    let server = Server::start();
    let mut con = server.raw();
    for (name, tips) in [
        ("forget", "request_policy:all_shards response_policy:agg_sum"),
        ("flush", "request_policy:all_shards response_policy:agg_sum"),
        // As UNLINK, DBSIZE and SCAN.
        ("invalidate", "request_policy:multi_shard response_policy:agg_sum"),
        ("softinvalidate", "request_policy:multi_shard response_policy:agg_sum"),
        ("personas", "nondeterministic_output request_policy:special response_policy:special"),
        ("stats", "nondeterministic_output"),
        ("fetch", "nondeterministic_output"),
        ("inspect", "nondeterministic_output"),
        ("get", ""),
        ("set", ""),
        ("del", ""),
        ("release", ""),
        ("key", ""),
        ("help", ""),
    ] {
        let Raw::Array(reply) = con.call(&["COMMAND", "INFO", &format!("chatcache.{name}")]) else {
            panic!("{name}")
        };
        let [Raw::Array(info)] = &reply[..] else { panic!("{name}: {reply:?}") };
        let Raw::Array(told) = &info[7] else { panic!("{name}: {info:?}") };
        let wanted: Vec<Raw> = tips.split_whitespace().map(Raw::bulk).collect();
        assert_eq!(*told, wanted, "{name}");
    }
}

/// Stores two responses to Ann and one for all users, on each of three masters.
fn filled(cluster: &Cluster) -> Vec<Connection> {
    (0..3)
        .map(|master| {
            let mut con = cluster.node(master).connect();
            let persona = cluster.persona_of(master, "p");
            set(&mut con, "response", "ann", &persona, "q1", "a");
            set(&mut con, "session", "ann", &persona, "q2", "a");
            set(&mut con, "msg", "", &persona, "q3", "a");
            con
        })
        .collect()
}

#[test]
fn forget_and_flush_are_for_every_master_and_their_counts_add_up() {
    let cluster = Cluster::start(3, 0);
    let mut nodes = filled(&cluster);
    assert_eq!(count(&mut nodes[0], &["CHATCACHE.FORGET", "ann"]), 2);
    let entries =
        |nodes: &mut [Connection]| nodes.iter_mut().map(|con| stat(con, "entries")).collect::<Vec<_>>();
    assert_eq!(entries(&mut nodes), [1, 3, 3], "a node forgets what it has");
    assert_eq!(personas(&mut nodes[1]).len(), 1, "and lists what it has");
    // A client without command tips does as the README says.
    let call = |command: &[&str]| -> i64 {
        let address = format!("127.0.0.1:{}", cluster.node(0).port());
        let output = Command::new("redis-cli")
            .args(["--cluster", "call", &address])
            .args(command)
            .arg("--cluster-only-masters")
            .output()
            .expect("run redis-cli");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let replies = text.lines().filter(|line| line.starts_with("127.0.0.1:"));
        let numbers = replies.map(|line| line.rsplit(' ').next().and_then(|word| word.parse::<i64>().ok()));
        numbers.map(|number| number.unwrap_or_else(|| panic!("no number: {text}"))).sum()
    };
    assert_eq!(call(&["CHATCACHE.FORGET", "ann"]), 4);
    assert_eq!(entries(&mut nodes), [1, 1, 1]);
    assert_eq!(call(&["CHATCACHE.FLUSH", "msg"]), 3);
    assert_eq!(entries(&mut nodes), [0, 0, 0]);
}

#[test]
fn a_replica_reads_for_clients_that_say_readonly() {
    let cluster = Cluster::start(2, 1);
    let persona = cluster.persona_of(0, "p");
    let mut master = cluster.node(0).connect();
    let mut replica = cluster.node(2).connect();
    set(&mut master, "persona", "", &persona, "q", "a");
    let caught_up = || replica_caught_up(cluster.node(0), cluster.node(2));
    caught_up();
    let get_there = args!["CHATCACHE.GET", "persona", "", persona, "q"];
    let moved = format!("127.0.0.1:{}", cluster.node(0).port());
    expect_error(cmd(&mut replica, &get_there), &moved);
    ask(&mut replica, &["READONLY"]);
    assert_eq!(get(&mut replica, "persona", "", &persona, "q"), Some("a".into()));
    let fetch = |message: &str| args!["CHATCACHE.FETCH", "persona", "", persona, message];
    // All but the milliseconds of freshness, which pass between the two.
    let served = |con: &mut redis::Connection| match ask(con, &fetch("q")) {
        redis::Value::Array(elements) => elements[..3].to_vec(),
        other => panic!("{other:?}"),
    };
    assert_eq!(served(&mut replica), served(&mut master));
    expect_error(cmd(&mut replica, &fetch("another")), "READONLY");
    expect_error(cmd(&mut replica, &args!["CHATCACHE.INVALIDATE", persona]), &moved);
    expect_error(cmd(&mut replica, &["CHATCACHE.FORGET", "ann"]), "READONLY");
    let other = cluster.persona_of(1, "p");
    let elsewhere = format!("127.0.0.1:{}", cluster.node(1).port());
    expect_error(cmd(&mut replica, &args!["CHATCACHE.GET", "persona", "", other, "q"]), &elsewhere);
    assert_eq!(count(&mut master, &args!["CHATCACHE.INVALIDATE", persona]), 1);
    caught_up();
    assert_eq!(get(&mut replica, "persona", "", &persona, "q"), None);
    ask(&mut replica, &["READWRITE"]);
    eventually(|| cmd(&mut replica, &get_there).is_err());
}
