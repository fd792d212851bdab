//! A slot on its way from one node to another, step by step.

use redis::{Connection, RedisResult, Value};
use testkit::{
    Busy, Cluster, NOTHING_AT_ONCE, args, ask, cmd, count, dbsize, error_text, eventually, expect_error,
    fill, get, pending, personas, reclaimed, slot_of, stat, text,
};

/// A cluster in which the slot of one persona moves from the first master to the second.
struct Moving {
    cluster: Cluster,
    slot: u16,
    persona: String,
    source: Connection,
    target: Connection,
}

impl Moving {
    /// Returns a source that has this number of responses `a1` … to `q1` ….
    fn with_responses(cluster: Cluster, responses: usize) -> Moving {
        let persona = cluster.persona_of(0, "helper");
        let mut source = cluster.node(0).connect();
        let target = cluster.node(1).connect();
        let slot = slot_of(&mut source, persona.as_bytes());
        fill_alone(&mut source, &persona, responses);
        Moving { cluster, slot, persona, source, target }
    }

    fn open(&self) {
        self.cluster.open_slot(self.slot, 0, 1);
    }

    /// A command as a client sends it that the source has sent to the target.
    fn asking<A: AsRef<[u8]>>(&mut self, command: &[A]) -> RedisResult<Value> {
        ask(&mut self.target, &["ASKING"]);
        cmd(&mut self.target, command)
    }

    fn get_asking(&mut self, message: &str) -> Option<String> {
        let command = args!["CHATCACHE.GET", "persona", "", self.persona, message];
        match self.asking(&command).expect("GET") {
            Value::Nil => None,
            response => Some(text(&response)),
        }
    }

    fn set_asking(&mut self, message: &str, response: &str) {
        let command = args!["CHATCACHE.SET", "persona", "", self.persona, message, response];
        assert_eq!(self.asking(&command).expect("SET"), Value::Okay);
    }

    fn key(&mut self, message: &str) -> Vec<u8> {
        let command = args!["CHATCACHE.KEY", "persona", "", self.persona, message];
        text(&self.asking(&command).expect("KEY")).into_bytes()
    }

    /// MIGRATE of some keys from one master to another, as redis-cli does it.
    fn migrate(&self, from: usize, to: usize, keys: &[Vec<u8>], more: &[&str]) -> RedisResult<Value> {
        let mut command: Vec<Vec<u8>> =
            args!["MIGRATE", "127.0.0.1", self.cluster.node(to).port(), "", 0, 20_000].into();
        command.extend(more.iter().map(|word| word.as_bytes().to_vec()));
        command.push(b"KEYS".to_vec());
        command.extend(keys.iter().cloned());
        cmd(&mut self.cluster.node(from).connect(), &command)
    }

    /// Moves all keys that the source has left, and the slot after them.
    fn finish(&mut self) {
        loop {
            let keys = keys_in_slot(&mut self.source, self.slot);
            if keys.is_empty() {
                break;
            }
            self.migrate(0, 1, &keys, &[]).expect("MIGRATE");
        }
        self.cluster.give_slot(self.slot, 1);
    }
}

fn keys_in_slot(con: &mut Connection, slot: u16) -> Vec<Vec<u8>> {
    match ask(con, &args!["CLUSTER", "GETKEYSINSLOT", slot, 8_000]) {
        Value::Array(keys) => keys.iter().map(|key| text(key).into_bytes()).collect(),
        other => panic!("not keys: {other:?}"),
    }
}

/// Stores responses to `q1` … one by one; `fill` would be a script without keys.
fn fill_alone(con: &mut Connection, persona: &str, count: usize) {
    for n in 1..=count {
        let command = args!["CHATCACHE.SET", "persona", "", persona, format!("q{n}"), format!("a{n}")];
        assert_eq!(ask(con, &command), Value::Okay);
    }
}

/// All commands about a persona.
fn commands(persona: &str) -> Vec<Vec<Vec<u8>>> {
    let mut commands: Vec<Vec<Vec<u8>>> = ["GET", "DEL", "FETCH", "KEY", "INSPECT"]
        .map(|name| args![format!("CHATCACHE.{name}"), "persona", "", persona, "q1"].into())
        .into();
    commands.push(args!["CHATCACHE.SET", "persona", "", persona, "q1", "new"].into());
    commands.push(args!["CHATCACHE.RELEASE", "persona", "", persona, "q1", "TOKEN", "token"].into());
    commands.push(args!["CHATCACHE.INVALIDATE", persona].into());
    commands.push(args!["CHATCACHE.SOFTINVALIDATE", persona].into());
    commands.push(args!["CHATCACHE.STATS", persona].into());
    commands
}

#[test]
fn clients_are_sent_to_where_a_persona_is_going() {
    let mut moving = Moving::with_responses(Cluster::start(2, 0), 2);
    let Moving { slot, ref persona, .. } = moving;
    let commands = commands(persona);
    let there =
        |word: &str, node: usize| format!("{word} {slot} 127.0.0.1:{}", moving.cluster.node(node).port());
    let (moved, ask_there, moved_back) = (there("MOVED", 0), there("ASK", 1), there("MOVED", 1));
    for command in &commands {
        expect_error(cmd(&mut moving.target, command), &moved);
    }
    moving.open();
    for command in &commands {
        expect_error(cmd(&mut moving.source, command), &ask_there);
        expect_error(cmd(&mut moving.target, command), &moved);
    }
    assert_eq!(moving.get_asking("q1"), None, "the answer is still at the source");
    moving.set_asking("q3", "new");
    assert_eq!(moving.get_asking("q3"), Some("new".into()));
    moving.finish();
    for command in &commands {
        expect_error(cmd(&mut moving.source, command), &moved_back);
    }
    let persona = moving.persona.clone();
    for (message, response) in [("q1", "a1"), ("q2", "a2"), ("q3", "new")] {
        assert_eq!(get(&mut moving.target, "persona", "", &persona, message), Some(response.into()));
    }
}

#[test]
fn invalidate_replies_tryagain_while_two_nodes_have_entries_of_the_persona() {
    let mut moving = Moving::with_responses(Cluster::start(2, 0), 4);
    let persona = moving.persona.clone();
    moving.open();
    let half = [moving.key("q1"), moving.key("q2")];
    moving.migrate(0, 1, &half, &[]).expect("MIGRATE");
    moving.set_asking("q5", "a5");
    // As the server itself says it, of keys that are not all on one node.
    let unlink = [vec![b"UNLINK".to_vec()], vec![half[0].clone(), moving.key("q3")]].concat();
    expect_error(cmd(&mut moving.source, &unlink), "TRYAGAIN");
    expect_error(moving.asking(&unlink), "TRYAGAIN");
    for command in [
        args!["CHATCACHE.INVALIDATE", persona].to_vec(),
        args!["CHATCACHE.SOFTINVALIDATE", persona].to_vec(),
        args!["CHATCACHE.DEL", "persona", "", persona, "q1"].to_vec(),
        args!["CHATCACHE.DEL", "persona", "", persona, "q3"].to_vec(),
        args!["CHATCACHE.INVALIDATE", persona, format!("{{{persona}}}")].to_vec(),
    ] {
        expect_error(moving.asking(&command), "TRYAGAIN Multiple keys request during rehashing of slot");
    }
    // No entry was invalidated, and none is lost.
    moving.finish();
    for n in 1..=5 {
        let response = get(&mut moving.target, "persona", "", &persona, &format!("q{n}"));
        assert_eq!(response, Some(format!("a{n}")));
    }
    assert_eq!(count(&mut moving.target, &args!["CHATCACHE.DEL", "persona", "", persona, "q5"]), 1);
    assert_eq!(count(&mut moving.target, &args!["CHATCACHE.INVALIDATE", persona]), 4);
    assert_eq!(get(&mut moving.target, "persona", "", &persona, "q1"), None);
}

#[test]
fn an_entry_stored_on_the_way_outlives_the_older_one_that_follows() {
    let mut moving = Moving::with_responses(Cluster::start(2, 1), 4);
    let persona = moving.persona.clone();
    moving.open();
    moving.set_asking("q1", "newer");
    moving.set_asking("q2", "newer");
    let keys: Vec<_> = (1..=3).map(|n| moving.key(&format!("q{n}"))).collect();
    moving.migrate(0, 1, &keys[..1], &["REPLACE"]).expect("MIGRATE of a key that is there");
    moving.migrate(0, 1, &keys[1..], &[]).expect("MIGRATE of a key that is there and one that is not");
    assert_eq!(stat(&mut moving.source, "entries"), 1);
    moving.finish();
    for (message, response) in [("q1", "newer"), ("q2", "newer"), ("q3", "a3"), ("q4", "a4")] {
        assert_eq!(get(&mut moving.target, "persona", "", &persona, message), Some(response.into()));
    }
    for n in [0, 1] {
        let mut replica = moving.cluster.node(2 + n).connect();
        let mut master = moving.cluster.node(n).connect();
        eventually(|| dbsize(&mut replica) == dbsize(&mut master));
        assert_eq!(stat(&mut replica, "entries"), stat(&mut master, "entries"));
        assert_eq!(dbsize(&mut master), [0, 4][n]);
        assert_eq!(personas(&mut replica), personas(&mut master));
    }
}

#[test]
fn a_slot_that_goes_back_is_moved_as_keys_of_other_types_are() {
    let mut moving = Moving::with_responses(Cluster::start(2, 0), 2);
    let persona = moving.persona.clone();
    moving.open();
    moving.set_asking("q1", "newer");
    let keys = [moving.key("q1")];
    // The source owns the slot: its entries are not outdated by themselves.
    let error = expect_error(moving.migrate(1, 0, &keys, &[]), "BUSYKEY");
    assert!(error.contains("Target key name already exists"), "{error}");
    moving.migrate(1, 0, &keys, &["REPLACE"]).expect("MIGRATE back");
    moving.cluster.close_slot(moving.slot);
    assert_eq!(get(&mut moving.source, "persona", "", &persona, "q1"), Some("newer".into()));
    assert_eq!(get(&mut moving.source, "persona", "", &persona, "q2"), Some("a2".into()));
    assert_eq!(stat(&mut moving.target, "entries"), 0);
}

#[test]
fn a_key_of_another_type_is_no_older_entry() {
    let mut moving = Moving::with_responses(Cluster::start(2, 0), 1);
    moving.open();
    let key = moving.key("q1");
    assert_eq!(moving.asking(&args!["SET", key, "somebody's"]).expect("SET"), Value::Okay);
    let error = moving.migrate(0, 1, std::slice::from_ref(&key), &[]).expect_err("BUSYKEY");
    assert!(error_text(&error).contains("BUSYKEY"), "{error}");
    assert_eq!(stat(&mut moving.source, "entries"), 1);
}

#[test]
fn tombstones_from_before_a_slot_migration_are_reclaimed_on_both_nodes() {
    const RESPONSES: usize = 20_000;
    let cluster = Cluster::start_with(2, 0, &[NOTHING_AT_ONCE]);
    let mut moving = Moving::with_responses(cluster, 0);
    let persona = moving.persona.clone();
    fill(&mut moving.source, "response", "ann", &persona, RESPONSES);
    let busy = Busy::keep(moving.cluster.node(0));
    assert_eq!(count(&mut moving.source, &args!["CHATCACHE.INVALIDATE", persona]), RESPONSES as i64);
    moving.open();
    // Some of the remaining entries go with the slot as they are.
    let keys = keys_in_slot(&mut moving.source, moving.slot);
    moving.migrate(0, 1, &keys, &[]).expect("MIGRATE");
    assert!(pending(&mut moving.source) > 0, "the reclaim was over");
    let target = &mut moving.target;
    assert!(pending(target) + stat(target, "reclaimed") > 0, "nothing was moved");
    let command = args!["CHATCACHE.SET", "response", "ann", persona, "q1", "new"];
    assert_eq!(moving.asking(&command).expect("SET"), Value::Okay);
    moving.finish();
    assert_eq!(get(&mut moving.target, "response", "ann", &persona, "q1"), Some("new".into()));
    assert_eq!(get(&mut moving.target, "response", "ann", &persona, "q2"), None);
    drop(busy);
    for (node, left) in [(0, 0), (1, 1)] {
        let node = moving.cluster.node(node);
        reclaimed(node);
        let mut con = node.connect();
        assert_eq!((dbsize(&mut con), stat(&mut con, "entries")), (left, left));
        assert_eq!(personas(&mut con).len() as i64, left);
    }
}

/// The source served nobody while the slot was away, and did not hear of what happened there.
#[test]
fn a_lease_does_not_outlive_a_trip_of_its_slot_to_another_node_and_back() {
    let mut moving = Moving::with_responses(Cluster::start(2, 0), 2);
    let persona = moving.persona.clone();
    let fetch = |con: &mut Connection, message: &str, more: &[&str]| {
        let mut command: Vec<Vec<u8>> = args!["CHATCACHE.FETCH", "persona", "", persona, message].into();
        command.extend(more.iter().map(|word| word.as_bytes().to_vec()));
        let Value::Array(reply) = ask(con, &command) else { panic!("no reply") };
        reply
    };
    let set = fetch(&mut moving.source, "new", &["DETACHED"]);
    let streamed = fetch(&mut moving.source, "streamed", &["DETACHED"]);
    let (token, stream_token) = (text(&set[2]), text(&streamed[2]));
    let request = |name: &str, message: &str| args![name, "persona", "", persona, message].to_vec();
    let mut append = request("CHATCACHE.APPEND", "streamed");
    append.extend(args!["old", "TOKEN", stream_token]);
    ask(&mut moving.source, &append);
    let part = fetch(&mut moving.source, "streamed", &["STREAM"]);

    moving.open();
    moving.finish();
    assert_eq!(count(&mut moving.target, &args!["CHATCACHE.INVALIDATE", persona]), 2);
    reclaimed(moving.cluster.node(1));
    moving.cluster.open_slot(moving.slot, 1, 0);
    moving.cluster.give_slot(moving.slot, 0);

    let mut late = request("CHATCACHE.SET", "new");
    late.extend(args!["old", "TOKEN", token]);
    assert_eq!(ask(&mut moving.source, &late), Value::Nil);
    let mut commit = request("CHATCACHE.COMMIT", "streamed");
    commit.extend(args!["TOKEN", stream_token]);
    assert_eq!(ask(&mut moving.source, &commit), Value::Nil);
    let from = fetch(&mut moving.source, "streamed", &["STREAM", "FROM", &text(&part[2]), "0"]);
    assert_eq!(text(&from[0]), "lost");
    assert_eq!(text(&fetch(&mut moving.source, "new", &[])[0]), "lease");
    assert_eq!(dbsize(&mut moving.source), 0);
}
