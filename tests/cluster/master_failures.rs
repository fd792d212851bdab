//! Masters of a cluster that fail, or are replaced on purpose, under load.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use redis::Value;
use testkit::{
    Cluster, ClusterClient, Raw, Server, Stop, Story, args, ask, cmd, eventually, eventually_within,
    info_field, personas, replica_caught_up, stat,
};

/// Time limit for a cluster to replace a master.
const FAILOVER: Duration = Duration::from_secs(40);

fn is_master(node: &Server) -> bool {
    info_field(&mut node.connect(), "replication", "role") == "master"
}

/// CLUSTER FAILOVER. On a machine that has other things to do the server may give up after 5 s; then once more.
fn replace(master: &Server, replica: &Server) {
    let done = || is_master(replica) && !is_master(master);
    let mut tried: Option<Instant> = None;
    eventually_within(FAILOVER, || {
        if !done() && tried.is_none_or(|at| at.elapsed() > Duration::from_secs(8)) {
            ask(&mut replica.connect(), &["CLUSTER", "FAILOVER"]);
            tried = Some(Instant::now());
        }
        done()
    });
}

/// Runs stories of two personas of the first master while `disturb` acts on the cluster, until some more
/// of each has been told after it.
fn under_load(cluster: &mut Cluster, disturb: impl FnOnce(&mut Cluster)) -> Vec<Story> {
    let stop = AtomicBool::new(false);
    let personas: Vec<String> = ["one", "two"].map(|prefix| cluster.persona_of(0, prefix)).into();
    let clients: Vec<ClusterClient> = personas.iter().map(|_| cluster.client()).collect();
    thread::scope(|scope| {
        let stop = &stop;
        let tellers: Vec<_> = personas
            .into_iter()
            .zip(clients)
            .map(|(persona, mut client)| {
                scope.spawn(move || {
                    let mut story = Story::new(persona);
                    story.go_on(&mut client, stop);
                    story.check(&mut client);
                    story
                })
            })
            .collect();
        let stopping = Stop(stop);
        // Some promises first.
        let mut con = cluster.node(0).connect();
        eventually_within(FAILOVER, || stat(&mut con, "drops") >= 6);
        disturb(cluster);
        drop(stopping);
        tellers.into_iter().map(|teller| teller.join().expect("a story without broken promises")).collect()
    })
}

#[test]
fn a_master_that_is_killed_is_replaced_and_no_promise_is_broken() {
    let mut cluster = Cluster::start(3, 1);
    let stories = under_load(&mut cluster, |cluster| {
        cluster.node_mut(0).kill9();
        eventually_within(FAILOVER, || is_master(cluster.node(3)));
        cluster.eventually_agrees();
        // It comes back empty, as a replica.
        cluster.start_again(0);
        let (started, its_successor) = (Instant::now(), cluster.id(3));
        eventually_within(FAILOVER, || {
            // Valkey 8.0 may have kept in nodes.conf that the two are of different shards ("I am now an empty primary").
            if started.elapsed() > Duration::from_secs(5) && is_master(cluster.node(0)) {
                let replicate = ["CLUSTER", "REPLICATE", &its_successor];
                let _ = cmd(&mut cluster.node(0).connect(), &replicate);
            }
            !is_master(cluster.node(0))
        });
        let mut con = cluster.node(0).connect();
        eventually_within(FAILOVER, || info_field(&mut con, "replication", "master_link_status") == "up");
    });
    replica_caught_up(cluster.node(3), cluster.node(0));
    let (mut master, mut replica) = (cluster.node(3).connect(), cluster.node(0).connect());
    assert_eq!(personas(&mut master), personas(&mut replica));
    assert_eq!(stat(&mut master, "entries"), stat(&mut replica, "entries"));
    // And once more, back to where it was.
    replace(cluster.node(3), cluster.node(0));
    for story in &stories {
        story.check(&mut cluster.client());
    }
}

#[test]
fn a_master_that_is_replaced_on_purpose_ends_the_waits() {
    let mut cluster = Cluster::start(3, 1);
    let persona = cluster.persona_of(0, "waiting");
    let fetch: Vec<Vec<u8>> =
        args!["CHATCACHE.FETCH", "persona", "", persona, "q", "WAIT", 60_000, "LEASE", 60_000].into();
    let mut holder = cluster.node(0).raw();
    let Raw::Array(lease) = holder.call(&fetch) else { panic!("no lease") };
    let mut waiting = cluster.node(0).raw();
    waiting.send(&fetch);
    eventually(|| stat(&mut cluster.node(0).connect(), "waiters") == 1);
    under_load(&mut cluster, |cluster| {
        replace(cluster.node(0), cluster.node(3));
    });
    // The server unblocks it with an error, or the module was told first and says that its wait is over.
    let told = waiting.read();
    let busy = Raw::Array(vec![Raw::bulk("busy"), Raw::NullBulk, Raw::NullBulk, Raw::Int(0)]);
    assert!(matches!(&told, Raw::Error(_)) || told == busy, "{told:?}");
    // The lease ended with the master that gave it; the next caller gets one of the new master's.
    let mut client = cluster.client();
    let Raw::Bulk(token) = &lease[2] else { panic!("{lease:?}") };
    let late = args!["CHATCACHE.SET", "persona", "", persona, "q", "late", "TOKEN", token];
    assert_eq!(client.ask(&persona, &late), Value::Nil);
    let Value::Array(next) = client.ask(&persona, &fetch) else { panic!("FETCH") };
    assert_eq!(next[0], Value::BulkString(b"lease".to_vec()));
    assert!(cmd(&mut cluster.node(0).connect(), &fetch).is_err(), "the old master still gives leases");
}
