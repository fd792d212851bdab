//! A persona's entries are in the persona's slot, whatever its name.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use redis::{Connection, Value};
use testkit::{
    Cluster, Server, args, ask, cmd, count, dbsize, error_text, eventually, expect_error, get, personas,
    reclaimed, set, slot_of, stat,
};

/// Every kind of request of one persona.
fn requests(persona: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut requests: Vec<Vec<Vec<u8>>> = ["msg", "persona", "session", "response"]
        .map(|tier| args![tier, b"a{n}n:\xff", persona, b"what is {this}?"].into())
        .into();
    requests.push(args!["session", "ann", persona, "", "ID", b"{id}%:\x00"].into());
    requests
}

fn command(name: &str, request: &[Vec<u8>], response: Option<&str>) -> Vec<Vec<u8>> {
    let mut command: Vec<Vec<u8>> = vec![format!("CHATCACHE.{name}").into_bytes()];
    command.extend(request[..4].iter().cloned());
    command.extend(response.map(|response| response.as_bytes().to_vec()));
    command.extend(request[4..].iter().cloned());
    command
}

fn key_of(con: &mut Connection, request: &[Vec<u8>]) -> Vec<u8> {
    match ask(con, &command("KEY", request, None)) {
        Value::BulkString(key) => key,
        other => panic!("not a key: {other:?}"),
    }
}

/// Names with all that means something in keys, and names of any bytes.
fn names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        "helper", "a b", "é", "{", "}", "{}", "}{", "{}x", "x{}", "{{", "}}", "{{}", "{}}", "{a}", "a{b}",
        "{a}b", "a{b}c", "a{b", "a}b", "a{b}{c}", "{}{a}", "{{a}}", "a{{b}}c", "a:b", ":", "%", "%7B", "{%}",
        "{:}", "a{:}b", "{a}:{b}", "msg:{x}", "19354", "{19354}",
    ]
    .map(|name| name.as_bytes().to_vec())
    .into();
    names.extend((0..=255).map(|byte| vec![byte]));
    names.extend((0..=255).map(|byte| vec![b'{', byte, b'}', b'x']));
    let seed = rand::random();
    println!("seed {seed}");
    let mut draw = StdRng::seed_from_u64(seed);
    for _ in 0..200 {
        let mut name = vec![0; draw.random_range(1..40)];
        draw.fill_bytes(&mut name);
        for byte in &mut name {
            if draw.random_range(0..4) == 0 {
                *byte = b"{}:%"[draw.random_range(0..4)];
            }
        }
        names.push(name);
    }
    names.sort();
    names.dedup();
    names
}

#[test]
fn every_entry_of_a_persona_is_in_the_slot_of_its_name() {
    let server = Server::builder().cluster().start();
    let mut con = server.connect();
    let names = names();
    let mut keys = BTreeSet::new();
    for name in &names {
        let slot = slot_of(&mut con, name);
        for request in requests(name) {
            let key = key_of(&mut con, &request);
            assert_eq!(slot_of(&mut con, &key), slot, "{:?}", name.escape_ascii().to_string());
            assert_eq!(ask(&mut con, &command("SET", &request, Some("answer"))), Value::Okay);
            assert_eq!(count(&mut con, &args!["EXISTS", key]), 1);
            assert!(keys.insert(key), "two requests share a key");
        }
    }
    // The server finds each key where it looks for it, and once.
    let Value::Array(listed) = ask(&mut con, &["KEYS", "*"]) else { panic!("KEYS") };
    let listed: Vec<Vec<u8>> = listed
        .into_iter()
        .map(|key| match key {
            Value::BulkString(key) => key,
            other => panic!("not a key: {other:?}"),
        })
        .collect();
    assert_eq!(listed.len(), keys.len());
    assert_eq!(BTreeSet::from_iter(listed), keys);
    for name in &names {
        for request in requests(name) {
            assert_ne!(ask(&mut con, &command("GET", &request, None)), Value::Nil);
        }
        assert_eq!(count(&mut con, &args!["CHATCACHE.INVALIDATE", name]), 5);
        assert_eq!(ask(&mut con, &command("GET", &requests(name)[0], None)), Value::Nil);
    }
    assert_eq!((dbsize(&mut con), stat(&mut con, "entries")), (0, 0));
}

#[test]
fn personas_of_several_slots_are_refused_as_keys_are() {
    let server = Server::builder().cluster().start();
    let mut con = server.connect();
    for persona in ["one", "two", "{one}", "{one}more"] {
        set(&mut con, "persona", "", persona, "q", "a");
    }
    for name in ["CHATCACHE.INVALIDATE", "CHATCACHE.SOFTINVALIDATE"] {
        let here = cmd(&mut con, &[name, "one", "two"]).expect_err("CROSSSLOT");
        let there = cmd(&mut con, &["UNLINK", "one", "two"]).expect_err("CROSSSLOT");
        assert!(error_text(&here).starts_with("CROSSSLOT"), "{here}");
        assert_eq!(error_text(&here), error_text(&there));
    }
    assert_eq!(stat(&mut con, "entries"), 4, "nothing was dropped");
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "one", "{one}", "{one}more"]), 3);
    assert_eq!(personas(&mut con).into_keys().collect::<Vec<_>>(), ["two"]);
}

#[test]
fn an_invalidation_of_many_slots_works_inside_a_transaction_and_a_script_of_one() {
    for sync_limit in [0, 512] {
        let server =
            Server::builder().cluster().config(format!("chatcache.invalidate-sync-limit {sync_limit}"));
        let server = server.start();
        let mut con = server.connect();
        let transaction = |con: &mut Connection, drop: &[&str]| {
            for command in [&["MULTI"][..], &["CHATCACHE.GET", "response", "ann", "p1", "q"], drop] {
                ask(con, command);
            }
            ask(con, &["EXEC"])
        };
        let script = |con: &mut Connection, drop: &[&str]| {
            let call = "redis.call('CHATCACHE.GET', 'msg', '', KEYS[1], 'q') return redis.call(unpack(ARGV))";
            ask(con, &[&["EVAL", call, "1", "p1"], drop].concat())
        };
        for (within, drop) in [
            (0, &["CHATCACHE.FORGET", "ann"][..]),
            (0, &["CHATCACHE.FLUSH"][..]),
            (1, &["CHATCACHE.FORGET", "ann"][..]),
            (1, &["CHATCACHE.FLUSH", "response"][..]),
        ] {
            for n in 1..=20 {
                set(&mut con, "response", "ann", &format!("p{n}"), "q", "a");
            }
            let reply = if within == 0 { transaction(&mut con, drop) } else { script(&mut con, drop) };
            let invalidated = match reply {
                Value::Array(replies) => replies[1].clone(),
                reply => reply,
            };
            assert_eq!(invalidated, Value::Int(20), "{drop:?}");
            reclaimed(&server);
            eventually(|| dbsize(&mut con) == 0);
            assert_eq!(stat(&mut con, "entries"), 0);
        }
    }
}

#[test]
fn transactions_and_scripts_of_another_node_s_persona_are_refused() {
    let cluster = Cluster::start(2, 0);
    let (here, there) = (cluster.persona_of(0, "p"), cluster.persona_of(1, "p"));
    let mut con = cluster.node(0).connect();
    ask(&mut con, &["MULTI"]);
    ask(&mut con, &args!["CHATCACHE.SET", "persona", "", here, "q", "a"]);
    expect_error(cmd(&mut con, &args!["CHATCACHE.SET", "persona", "", there, "q", "a"]), "MOVED");
    expect_error(cmd(&mut con, &["EXEC"]), "EXECABORT");
    const CALL: &str = "return redis.call('CHATCACHE.SET', 'persona', '', ARGV[1], 'q', 'a')";
    expect_error(cmd(&mut con, &args!["EVAL", CALL, 1, there, there]), "MOVED");
    expect_error(cmd(&mut con, &args!["EVAL", CALL, 0, there]), "non local key");
    assert_eq!(get(&mut con, "persona", "", &here, "q"), None);
    assert_eq!(ask(&mut con, &args!["EVAL", CALL, 1, here, here]), Value::Okay);
    assert_eq!(get(&mut con, "persona", "", &here, "q"), Some("a".into()));
}
