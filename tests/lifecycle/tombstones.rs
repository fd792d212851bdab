//! Keys of tombstones, until they are reclaimed: other commands may still take hold of them.

use testkit::{Raw, Server, args, eventually, replica_caught_up, skipped_as_copy_changes_the_database};

use super::story::{Census, EMPTY, FULL, Fixture, MSG, POETS, RESPONSE, SESSION};

/// Nothing is reclaimed at once.
fn slow() -> Fixture {
    let mut fixture = Fixture::new(Server::builder().config("chatcache.invalidate-sync-limit 0").start());
    fixture.fresh();
    fixture
}

/// Drops all of helper and does something to the keys that it leaves, before any is reclaimed.
#[track_caller]
fn invalidate_and(fixture: &mut Fixture, commands: &[Vec<Vec<u8>>]) -> Vec<Raw> {
    fixture.ok(&["MULTI"]);
    fixture.run(&["CHATCACHE.INVALIDATE", "helper"]);
    for command in commands {
        assert_eq!(fixture.run(command), Raw::simple("QUEUED"));
    }
    match fixture.run(&["EXEC"]) {
        Raw::Array(replies) => replies,
        other => panic!("EXEC: {other:?}"),
    }
}

const POET: Census = Census { helper: (0, 0), poet: (1, 6), ann: 0, bob: 1, keys: 1 };

#[track_caller]
fn only_poet_is_left(fixture: &mut Fixture) {
    fixture.select(0);
    assert_eq!((fixture.get(MSG), fixture.get(SESSION), fixture.get(RESPONSE)), (None, None, None));
    fixture.reclaimed();
    fixture.holds(0, POET);
    fixture.holds(1, EMPTY);
    fixture.totals(&[POET]);
}

#[test]
fn a_tombstone_stays_one_after_rename_copy_and_move() {
    let mut fixture = slow();
    let [response, session, msg] = [fixture.key(RESPONSE), fixture.key(SESSION), fixture.key(MSG)];
    let replies = invalidate_and(
        &mut fixture,
        &[
            args!["RENAME", response, "elsewhere"].to_vec(),
            args!["RENAME", "elsewhere", response].to_vec(),
            args!["COPY", session, "copy"].to_vec(),
            args!["COPY", session, session, "DB", 1].to_vec(),
            args!["MOVE", msg, 1].to_vec(),
            args!["PERSIST", session].to_vec(),
        ],
    );
    let [Raw::Int(5), ..] = &replies[..] else { panic!("{replies:?}") };
    fixture.select(1);
    assert_eq!((fixture.get(MSG), fixture.get(SESSION)), (None, None));
    only_poet_is_left(&mut fixture);
}

#[test]
fn a_tombstone_stays_one_after_swapdb() {
    let mut fixture = slow();
    invalidate_and(&mut fixture, &[args!["SWAPDB", 0, 1].to_vec()]);
    fixture.select(1);
    assert_eq!(fixture.get(SESSION), None);
    fixture.responses(POETS);
    fixture.reclaimed();
    fixture.holds(1, POET);
    fixture.holds(0, EMPTY);
}

#[test]
fn a_new_entry_takes_the_place_of_an_invalidated_one_and_is_not_reclaimed_with_it() {
    let mut fixture = slow();
    let set = ["CHATCACHE.SET", "session", "ann", "helper", "hi", "new"];
    let replies = invalidate_and(
        &mut fixture,
        &[
            [&args!["CHATCACHE.SET"], &args!["session", "ann", "helper", "hi", "no", "XX"][..]].concat(),
            args!["TTL", "none"].to_vec(),
            set.map(|word| word.into()).to_vec(),
        ],
    );
    assert_eq!(replies[1..], [Raw::NullBulk, Raw::Int(-2), Raw::simple("OK")]);
    fixture.reclaimed();
    fixture.holds(0, Census { helper: (1, 3), poet: (1, 6), ann: 1, bob: 1, keys: 2 });
    assert_eq!(fixture.get(SESSION), Some(b"new".to_vec()));
    fixture.number(1, &["CHATCACHE.INVALIDATE", "helper"]);
    only_poet_is_left(&mut fixture);
}

#[test]
fn other_commands_may_delete_keys_during_their_reclaim() {
    let mut fixture = slow();
    let [response, session, msg] = [fixture.key(RESPONSE), fixture.key(SESSION), fixture.key(MSG)];
    let replies = invalidate_and(
        &mut fixture,
        &[
            args!["UNLINK", response].to_vec(),
            args!["SET", session, "text"].to_vec(),
            args!["PEXPIRE", msg, 1].to_vec(),
        ],
    );
    assert_eq!(replies[1..], [Raw::Int(1), Raw::simple("OK"), Raw::Int(1)]);
    fixture.reclaimed();
    // The text is no entry.
    assert_eq!(fixture.run(&args!["GET", session]), Raw::bulk("text"));
    eventually(|| fixture.run(&["DBSIZE"]) == Raw::Int(2));
    fixture.number(1, &args!["DEL", session]);
    only_poet_is_left(&mut fixture);
}

#[test]
fn flushing_ends_a_reclaim() {
    for flush in [["FLUSHDB", "SYNC"], ["FLUSHALL", "ASYNC"]] {
        let mut fixture = slow();
        invalidate_and(&mut fixture, &[flush.map(|word| word.into()).to_vec()]);
        fixture.reclaimed();
        fixture.totals(&[]);
        fixture.seed(0);
        fixture.holds(0, FULL);
    }
}

#[test]
fn a_small_invalidation_does_not_do_a_large_ones_reclaim_at_once() {
    const SCRIPT: &str = "for n = 1, 20000 do
        redis.call('CHATCACHE.SET', 'msg', '', 'helper', 'message ' .. n, 'answer') end";
    let mut fixture = Fixture::new(Server::start());
    fixture.run(&["EVAL", SCRIPT, "0"]);
    let replies = fixture.together(&[
        &["CHATCACHE.FLUSH", "msg"],
        &["CHATCACHE.SET", "persona", "ann", "helper", "hi", "one"],
        &["CHATCACHE.INVALIDATE", "helper"],
        &["CHATCACHE.STATS"],
    ]);
    let [Raw::Int(20_000), Raw::Simple(_), Raw::Int(1), Raw::Array(fields)] = &replies[..] else {
        panic!("{replies:?}")
    };
    let at = fields.iter().position(|field| *field == Raw::bulk("pending-reclaim")).expect("a counter");
    let Raw::Int(pending) = fields[at + 1] else { panic!("STATS: {fields:?}") };
    assert!(pending > 5000, "dropping 1 answer has reclaimed {} in one go", 20_000 - pending);
    fixture.reclaimed();
    fixture.holds(0, EMPTY);
}

#[test]
fn an_append_only_file_brings_the_same_state_where_an_invalidated_key_was_renamed_over_another() {
    let mut fixture =
        Fixture::new(Server::builder().appendonly().config("chatcache.invalidate-sync-limit 0").start());
    fixture.fresh();
    let [session, poets] = [fixture.key(SESSION), fixture.key(POETS)];
    // Poet's response is gone: the tombstone took its key.
    invalidate_and(&mut fixture, &[args!["RENAME", session, poets].to_vec()]);
    fixture.reclaimed();
    assert_eq!(fixture.get(POETS), None);
    fixture.holds(0, EMPTY);
    fixture.server.restart_without_saving();
    fixture.reconnect();
    assert_eq!(fixture.get(POETS), None, "the answer that was overwritten is back");
    fixture.holds(0, EMPTY);
}

#[test]
fn a_replica_accepts_new_keys_over_its_tombstones() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    // The master has reclaimed the tombstones when the next command comes; the replica has not.
    let mut fixture = Fixture::new(Server::start());
    let replica =
        Server::builder().config("chatcache.invalidate-sync-limit 0").replica_of(&fixture.server).start();
    fixture.fresh();
    let keys = [MSG, SESSION, RESPONSE].map(|answer| fixture.key(answer));
    let poets = fixture.key(POETS);
    let dump = fixture.dump(&poets);
    fixture.select(1);
    fixture.ok(&args!["RESTORE", keys[2], 0, dump]);
    fixture.select(0);
    let replies = invalidate_and(
        &mut fixture,
        &[
            args!["RESTORE", keys[0], 0, dump].to_vec(),
            args!["COPY", poets, keys[1]].to_vec(),
            args!["SELECT", 1].to_vec(),
            args!["MOVE", keys[2], 0].to_vec(),
        ],
    );
    let ok = Raw::simple("OK");
    assert_eq!(replies, [Raw::Int(5), ok.clone(), Raw::Int(1), ok, Raw::Int(1)]);
    let poet = Census { poet: (4, 24), bob: 4, keys: 4, ..POET };
    fixture.holds(0, poet);
    replica_caught_up(&fixture.server, &replica);
    let mut other = Fixture::new(replica);
    other.reclaimed();
    other.holds(0, poet);
    other.holds(1, EMPTY);
}
