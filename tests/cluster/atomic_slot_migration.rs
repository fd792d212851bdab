//! Slots that Valkey 9 moves as a whole: their entries arrive before the slots are served.

use redis::{Connection, Value};
use testkit::{
    Cluster, NOTHING_AT_ONCE, Server, args, ask, cmd, count, dbsize, eventually, expect_error, get, map_of,
    personas, reclaimed, set, skipped_without_atomic_slot_migration, slot_of, stat, text,
};

/// Entries of the persona that moves.
const ENTRIES: usize = 300;

/// A cluster whose first master sends the slot of a persona to the second, and cannot hand it over.
struct Arriving {
    cluster: Cluster,
    persona: String,
    slot: u16,
    source: Connection,
    target: Connection,
}

impl Arriving {
    fn start(replicas_each: usize) -> Arriving {
        let cluster = Cluster::start_with(2, replicas_each, &[NOTHING_AT_ONCE]);
        let persona = cluster.persona_of(0, "helper");
        let (mut source, mut target) = (cluster.node(0).connect(), cluster.node(1).connect());
        let slot = slot_of(&mut source, persona.as_bytes());
        for n in 1..=ENTRIES {
            set(&mut source, "response", "ann", &persona, &format!("q{n}"), &format!("a{n}"));
        }
        set(&mut target, "response", "ann", &cluster.persona_of(1, "there"), "q", "a");
        ask(&mut source, &["DEBUG", "SLOTMIGRATION", "PREVENT-PAUSE", "1"]);
        cluster.begin_migration(slot..slot + 1, 0, 1);
        let mut arriving = Arriving { cluster, persona, slot, source, target };
        arriving.wait_for_keys(ENTRIES);
        arriving
    }

    /// Waits until the target holds this number of keys of the slot.
    fn wait_for_keys(&mut self, wanted: usize) {
        let command = args!["CLUSTER", "COUNTKEYSINSLOT", self.slot];
        eventually(|| count(&mut self.target, &command) == wanted as i64);
    }

    fn hand_over(&mut self) {
        ask(&mut self.source, &["DEBUG", "SLOTMIGRATION", "PREVENT-PAUSE", "0"]);
        eventually(|| [0, 1].iter().all(|node| self.cluster.migration_state(*node) == "success"));
    }

    fn keys(&mut self) -> Vec<Value> {
        match ask(&mut self.target, &args!["CLUSTER", "GETKEYSINSLOT", self.slot, 10_000]) {
            Value::Array(keys) => keys,
            other => panic!("no keys: {other:?}"),
        }
    }
}

/// The node reports one entry, of a persona that it has served before.
#[track_caller]
fn reports_one_entry(node: &mut Connection) {
    assert_eq!((stat(node, "entries"), stat(node, "personas"), dbsize(node)), (1, 1, 1));
    let tier = map_of(ask(node, &["CHATCACHE.STATS"]));
    assert_eq!(tier["entries-response"], Value::Int(1), "{tier:?}");
    assert!(personas(node).keys().all(|name| name.starts_with("there")));
}

#[test]
fn entries_that_arrive_are_in_no_report_before_their_slot_is_served() {
    if skipped_without_atomic_slot_migration() {
        return;
    }
    let mut arriving = Arriving::start(1);
    let persona = arriving.persona.clone();
    let mut replica = arriving.cluster.node(3).connect();
    reports_one_entry(&mut arriving.target);
    eventually(|| {
        let keys = count(&mut replica, &args!["CLUSTER", "COUNTKEYSINSLOT", arriving.slot]);
        keys == ENTRIES as i64
    });
    reports_one_entry(&mut replica);
    expect_error(
        cmd(&mut arriving.target, &args!["CHATCACHE.GET", "response", "ann", persona, "q1"]),
        "MOVED",
    );
    arriving.hand_over();
    let Arriving { mut source, mut target, .. } = arriving;
    assert_eq!(stat(&mut target, "entries"), ENTRIES as i64 + 1);
    assert_eq!(personas(&mut target)[&persona].0, ENTRIES.to_string());
    eventually(|| stat(&mut replica, "entries") == ENTRIES as i64 + 1);
    assert_eq!(get(&mut target, "response", "ann", &persona, "q300"), Some("a300".into()));
    eventually(|| dbsize(&mut source) == 0);
    assert_eq!((stat(&mut source, "entries"), personas(&mut source).len()), (0, 0));
    assert_eq!(count(&mut target, &args!["CHATCACHE.INVALIDATE", persona]), ENTRIES as i64);
    reports_one_entry_after_reclaim(&mut target);
}

#[track_caller]
fn reports_one_entry_after_reclaim(node: &mut Connection) {
    eventually(|| dbsize(node) == 1);
    assert_eq!(stat(node, "entries"), 1);
}

#[test]
fn every_change_at_the_source_reaches_the_entries_that_have_arrived() {
    if skipped_without_atomic_slot_migration() {
        return;
    }
    let mut arriving = Arriving::start(0);
    let persona = arriving.persona.clone();
    let source = &mut arriving.source;
    set(source, "response", "ann", &persona, "q1", "newer");
    set(source, "response", "bob", &persona, "q1", "bob's");
    assert_eq!(count(source, &args!["CHATCACHE.DEL", "response", "ann", persona, "q2"]), 1);
    let mut leased = source_lease(source, &persona);
    let commit = args!["CHATCACHE.COMMIT", "response", "eve", persona, "q", "TOKEN", leased];
    ask(source, &args!["CHATCACHE.APPEND", "response", "eve", persona, "q", "first", "TOKEN", leased]);
    ask(source, &commit);
    leased.clear();
    assert_eq!(count(source, &args!["CHATCACHE.SOFTINVALIDATE", persona]), ENTRIES as i64 + 1);
    set(source, "response", "ann", &persona, "q3", "fresh again");
    arriving.hand_over();
    let target = &mut arriving.target;
    assert_eq!(get(target, "response", "ann", &persona, "q3"), Some("fresh again".into()));
    assert_eq!(get(target, "response", "ann", &persona, "q4"), None);
    let stale = ask(target, &args!["CHATCACHE.FETCH", "response", "ann", persona, "q1"]);
    let Value::Array(stale) = stale else { panic!("{stale:?}") };
    assert_eq!((text(&stale[0]), text(&stale[1])), ("stale".into(), "newer".into()));
    assert_eq!(personas(target)[&persona].0, (ENTRIES + 1).to_string());
}

/// Returns the token of a lease.
fn source_lease(source: &mut Connection, persona: &str) -> String {
    let reply = ask(source, &args!["CHATCACHE.FETCH", "response", "eve", persona, "q", "DETACHED"]);
    let Value::Array(reply) = reply else { panic!("{reply:?}") };
    text(&reply[2])
}

#[test]
fn an_invalidate_at_the_source_leaves_nothing_at_the_target() {
    if skipped_without_atomic_slot_migration() {
        return;
    }
    let mut arriving = Arriving::start(0);
    let persona = arriving.persona.clone();
    assert_eq!(count(&mut arriving.source, &args!["CHATCACHE.INVALIDATE", persona]), ENTRIES as i64);
    set(&mut arriving.source, "response", "ann", &persona, "q1", "new");
    arriving.wait_for_keys(1);
    arriving.hand_over();
    let target = &mut arriving.target;
    assert_eq!(get(target, "response", "ann", &persona, "q1"), Some("new".into()));
    assert_eq!(get(target, "response", "ann", &persona, "q2"), None);
    assert_eq!((stat(target, "entries"), dbsize(target)), (2, 2));
}

#[test]
fn a_cancelled_migration_leaves_nothing_at_the_target() {
    if skipped_without_atomic_slot_migration() {
        return;
    }
    let mut arriving = Arriving::start(1);
    let memory = |node: &mut Connection| stat(node, "index-bytes");
    ask(&mut arriving.source, &["CLUSTER", "CANCELSLOTMIGRATIONS"]);
    arriving.wait_for_keys(0);
    assert!(arriving.keys().is_empty());
    eventually(|| arriving.cluster.migration_state(1) == "failed");
    let mut replica = arriving.cluster.node(3).connect();
    eventually(|| count(&mut replica, &args!["CLUSTER", "COUNTKEYSINSLOT", arriving.slot]) == 0);
    for node in [&mut arriving.target, &mut replica] {
        reports_one_entry(node);
        assert!(memory(node) < 100_000, "{}", memory(node));
    }
    // The next attempt finds all as if the first had not been.
    arriving.cluster.begin_migration(arriving.slot..arriving.slot + 1, 0, 1);
    arriving.wait_for_keys(ENTRIES);
    arriving.hand_over();
    assert_eq!(stat(&mut arriving.target, "entries"), ENTRIES as i64 + 1);
    assert_eq!(stat(&mut arriving.target, "personas"), 2);
}

/// The source would not send a command that names no key on to the target.
#[test]
fn forget_and_flush_reply_tryagain_while_slots_move_as_a_whole() {
    if skipped_without_atomic_slot_migration() {
        return;
    }
    let mut arriving = Arriving::start(0);
    for node in [&mut arriving.source, &mut arriving.target] {
        expect_error(cmd(node, &["CHATCACHE.FORGET", "ann"]), "TRYAGAIN Slots are moving");
        expect_error(cmd(node, &["CHATCACHE.FLUSH"]), "TRYAGAIN Slots are moving");
        expect_error(cmd(node, &["CHATCACHE.FLUSH", "response"]), "TRYAGAIN Slots are moving");
    }
    arriving.hand_over();
    assert_eq!(count(&mut arriving.source, &["CHATCACHE.FORGET", "ann"]), 0);
    assert_eq!(count(&mut arriving.target, &["CHATCACHE.FORGET", "ann"]), ENTRIES as i64 + 1);
    reclaimed(arriving.cluster.node(1));
    assert_eq!(dbsize(&mut arriving.target), 0);
}

/// A failure of the target in the middle: the source goes on, and the target comes back without the entries.
#[test]
fn a_target_that_is_killed_in_the_middle_comes_back_without_what_had_arrived() {
    if skipped_without_atomic_slot_migration() {
        return;
    }
    let mut arriving = Arriving::start(0);
    arriving.cluster.node_mut(1).kill9();
    eventually(|| arriving.cluster.migration_state(0) == "failed");
    assert_eq!(stat(&mut arriving.source, "entries"), ENTRIES as i64);
    assert_eq!(get(&mut arriving.source, "response", "ann", &arriving.persona, "q1"), Some("a1".into()));
    arriving.cluster.start_again(1);
    arriving.cluster.eventually_agrees();
    let node: &Server = arriving.cluster.node(1);
    assert_eq!((stat(&mut node.connect(), "entries"), dbsize(&mut node.connect())), (0, 0));
    assert_eq!(count(&mut arriving.source, &["CHATCACHE.FORGET", "ann"]), ENTRIES as i64);
}
