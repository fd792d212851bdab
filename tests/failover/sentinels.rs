//! A master with two replicas and three sentinels, killed under load.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use redis::Value;
use testkit::{
    NOTHING_AT_ONCE, Raw, SentinelClient, Server, Stop, Story, Watched, args, ask, cmd, eventually,
    eventually_within, fill, map_of, stat, text,
};

/// Time limit for sentinels to replace a master.
const FAILOVER: Duration = Duration::from_secs(40);

/// Returns true if the link of a replica to its master is up. Sentinels close the connections of a new replica.
fn follows(server: &Server) -> bool {
    let replication = cmd(&mut server.connect(), &["INFO", "replication"]);
    replication.is_ok_and(|info| text(&info).contains("master_link_status:up"))
}

/// Returns the personas of a server with their counts, once no tombstones are left.
fn state(server: &Server) -> Option<BTreeMap<String, [Value; 2]>> {
    let mut con = server.connect();
    let stats = map_of(cmd(&mut con, &["CHATCACHE.STATS"]).ok()?);
    let Value::Array(page) = cmd(&mut con, &["CHATCACHE.PERSONAS", "COUNT", "1000"]).ok()? else {
        return None;
    };
    let Value::Array(personas) = &page[1] else { return None };
    let told = personas.iter().map(|persona| {
        let mut persona = map_of(persona.clone());
        let mut field = |name| persona.remove(name).expect("a field");
        (text(&field("name")), [field("entries"), field("bytes")])
    });
    (stats["pending-reclaim"] == Value::Int(0)).then(|| told.collect())
}

#[test]
fn sentinels_replace_a_killed_master_and_no_promise_is_broken() {
    let mut watched = Watched::start(2, |builder| builder.config(NOTHING_AT_ONCE));
    // Someone holds a lease and others wait; a large persona is being reclaimed.
    let fetch = ["CHATCACHE.FETCH", "persona", "", "waiting", "q", "WAIT", "60000", "LEASE", "60000"];
    let mut holder = watched.server(0).raw();
    let Raw::Array(lease) = holder.call(&fetch) else { panic!("no lease") };
    let mut waiting: Vec<_> = (0..3).map(|_| watched.server(0).raw()).collect();
    waiting.iter_mut().for_each(|con| con.send(&fetch));
    let mut con = watched.server(0).connect();
    eventually(|| stat(&mut con, "waiters") == 3);
    fill(&mut con, "response", "ann", "large", 20_000);
    // The sentinels may choose a replica by what they heard of it seconds ago: only entries that both have are promised.
    let clients: Vec<SentinelClient> = (0..3).map(|_| watched.client(2)).collect();
    let stop = AtomicBool::new(false);
    let mut large = watched.client(2);
    let stories: Vec<Story> = thread::scope(|scope| {
        let stop = &stop;
        let tellers: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(n, mut client)| {
                scope.spawn(move || {
                    let mut story = Story::new(format!("p{n}"));
                    story.go_on(&mut client, stop);
                    story.check(&mut client);
                    story
                })
            })
            .collect();
        let stopping = Stop(stop);
        eventually_within(FAILOVER, || stat(&mut con, "drops") >= 9);
        assert_eq!(large.call(&["CHATCACHE.INVALIDATE", "large"]).expect("INVALIDATE"), Value::Int(20_000));
        assert!(large.is_kept(), "the replicas are not in step");
        watched.server_mut(0).kill9();
        for con in &mut waiting {
            assert!(con.is_closed(), "a client waits for a server that is gone");
        }
        eventually_within(FAILOVER, || watched.master().is_some_and(|master| master != 0));
        // The old one comes back with nothing, and follows. The sentinels would tell it so after some 8 s.
        let master = watched.master().expect("a master");
        watched.server_mut(0).start_again();
        let port = watched.server(master).port();
        ask(&mut watched.server(0).connect(), &args!["REPLICAOF", "127.0.0.1", port]);
        eventually_within(FAILOVER, || follows(watched.server(0)));
        drop(stopping);
        tellers.into_iter().map(|teller| teller.join().expect("a story without broken promises")).collect()
    });
    let mut client = watched.client(2);
    for story in &stories {
        story.check(&mut client);
    }
    // A lease ends with its master: its token stores nothing, and the next caller has a new one.
    let Raw::Bulk(token) = &lease[2] else { panic!("{lease:?}") };
    let late = args!["CHATCACHE.SET", "persona", "", "waiting", "q", "late", "TOKEN", token];
    assert_eq!(client.call(&late).expect("SET"), Value::Nil);
    let Value::Array(next) = client.call(&fetch).expect("FETCH") else { panic!("FETCH") };
    assert_eq!(next[0], Value::BulkString(b"lease".to_vec()));
    for n in [1, 777, 20_000] {
        let get = args!["CHATCACHE.GET", "response", "ann", "large", format!("q{n}")];
        assert_eq!(client.call(&get).expect("GET"), Value::Nil, "q{n} is undead");
    }
    let master = watched.master().expect("a master");
    for n in (0..3).filter(|n| *n != master) {
        eventually_within(FAILOVER, || follows(watched.server(n)));
        // They agree when there is nothing left to reclaim.
        eventually_within(FAILOVER, || {
            let there = state(watched.server(n));
            there.is_some() && there == state(watched.server(master))
        });
    }
}
