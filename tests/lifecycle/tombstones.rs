//! Keys of dropped answers, until they are reclaimed: other commands may still take hold of them.

use testkit::{Raw, Server, args, eventually, replica_caught_up, skipped_as_copy_changes_the_database};

use super::story::{Census, Desk, EMPTY, FULL, MSG, POETS, RESPONSE, SESSION};

/// Nothing is reclaimed at once.
fn slow() -> Desk {
    let mut desk = Desk::new(Server::builder().config("chatcache.invalidate-sync-limit 0").start());
    desk.fresh();
    desk
}

/// Drops all of helper and does something to the keys that it leaves, before any is reclaimed.
#[track_caller]
fn drop_and(desk: &mut Desk, commands: &[Vec<Vec<u8>>]) -> Vec<Raw> {
    desk.ok(&["MULTI"]);
    desk.run(&["CHATCACHE.INVALIDATE", "helper"]);
    for command in commands {
        assert_eq!(desk.run(command), Raw::simple("QUEUED"));
    }
    match desk.run(&["EXEC"]) {
        Raw::Array(replies) => replies,
        other => panic!("EXEC: {other:?}"),
    }
}

const POET: Census = Census { helper: (0, 0), poet: (1, 6), ann: 0, bob: 1, keys: 1 };

#[track_caller]
fn only_poet_is_left(desk: &mut Desk) {
    desk.select(0);
    assert_eq!((desk.get(MSG), desk.get(SESSION), desk.get(RESPONSE)), (None, None, None));
    desk.reclaimed();
    desk.holds(0, POET);
    desk.holds(1, EMPTY);
    desk.totals(&[POET]);
}

#[test]
fn a_dropped_answer_stays_dropped_wherever_it_is_renamed_copied_or_moved() {
    let mut desk = slow();
    let [response, session, msg] = [desk.key(RESPONSE), desk.key(SESSION), desk.key(MSG)];
    let replies = drop_and(
        &mut desk,
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
    desk.select(1);
    assert_eq!((desk.get(MSG), desk.get(SESSION)), (None, None));
    only_poet_is_left(&mut desk);
}

#[test]
fn a_dropped_answer_stays_dropped_where_databases_are_swapped() {
    let mut desk = slow();
    drop_and(&mut desk, &[args!["SWAPDB", 0, 1].to_vec()]);
    desk.select(1);
    assert_eq!(desk.get(SESSION), None);
    desk.answers(POETS);
    desk.reclaimed();
    desk.holds(1, POET);
    desk.holds(0, EMPTY);
}

#[test]
fn a_new_answer_takes_the_place_of_a_dropped_one_and_is_not_reclaimed_with_it() {
    let mut desk = slow();
    let set = ["CHATCACHE.SET", "session", "ann", "helper", "hi", "new"];
    let replies = drop_and(
        &mut desk,
        &[
            [&args!["CHATCACHE.SET"], &args!["session", "ann", "helper", "hi", "no", "XX"][..]].concat(),
            args!["TTL", "none"].to_vec(),
            set.map(|word| word.into()).to_vec(),
        ],
    );
    assert_eq!(replies[1..], [Raw::NullBulk, Raw::Int(-2), Raw::simple("OK")]);
    desk.reclaimed();
    desk.holds(0, Census { helper: (1, 3), poet: (1, 6), ann: 1, bob: 1, keys: 2 });
    assert_eq!(desk.get(SESSION), Some(b"new".to_vec()));
    desk.number(1, &["CHATCACHE.INVALIDATE", "helper"]);
    only_poet_is_left(&mut desk);
}

#[test]
fn other_commands_may_delete_what_is_being_reclaimed() {
    let mut desk = slow();
    let [response, session, msg] = [desk.key(RESPONSE), desk.key(SESSION), desk.key(MSG)];
    let replies = drop_and(
        &mut desk,
        &[
            args!["UNLINK", response].to_vec(),
            args!["SET", session, "text"].to_vec(),
            args!["PEXPIRE", msg, 1].to_vec(),
        ],
    );
    assert_eq!(replies[1..], [Raw::Int(1), Raw::simple("OK"), Raw::Int(1)]);
    desk.reclaimed();
    // The text is no answer of anybody's.
    assert_eq!(desk.run(&args!["GET", session]), Raw::bulk("text"));
    eventually(|| desk.run(&["DBSIZE"]) == Raw::Int(2));
    desk.number(1, &args!["DEL", session]);
    only_poet_is_left(&mut desk);
}

#[test]
fn flushing_ends_a_reclaim() {
    for flush in [["FLUSHDB", "SYNC"], ["FLUSHALL", "ASYNC"]] {
        let mut desk = slow();
        drop_and(&mut desk, &[flush.map(|word| word.into()).to_vec()]);
        desk.reclaimed();
        desk.totals(&[]);
        desk.seed(0);
        desk.holds(0, FULL);
    }
}

#[test]
fn a_small_drop_does_not_do_a_large_ones_reclaim_at_once() {
    const SCRIPT: &str = "for n = 1, 20000 do
        redis.call('CHATCACHE.SET', 'msg', '', 'helper', 'message ' .. n, 'answer') end";
    let mut desk = Desk::new(Server::start());
    desk.run(&["EVAL", SCRIPT, "0"]);
    let replies = desk.together(&[
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
    desk.reclaimed();
    desk.holds(0, EMPTY);
}

#[test]
fn an_append_only_file_brings_the_same_state_where_a_dropped_key_was_renamed_over_another() {
    let mut desk =
        Desk::new(Server::builder().appendonly().config("chatcache.invalidate-sync-limit 0").start());
    desk.fresh();
    let [session, poets] = [desk.key(SESSION), desk.key(POETS)];
    // Of poet's answer nothing is left: the dropped one took its key.
    drop_and(&mut desk, &[args!["RENAME", session, poets].to_vec()]);
    desk.reclaimed();
    assert_eq!(desk.get(POETS), None);
    desk.holds(0, EMPTY);
    desk.server.restart_without_saving();
    desk.reconnect();
    assert_eq!(desk.get(POETS), None, "the answer that was overwritten is back");
    desk.holds(0, EMPTY);
}

#[test]
fn a_replica_takes_what_comes_in_the_place_of_what_it_has_yet_to_reclaim() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    // The master has deleted the dropped keys when the next command comes; the replica has not.
    let mut desk = Desk::new(Server::start());
    let replica =
        Server::builder().config("chatcache.invalidate-sync-limit 0").replica_of(&desk.server).start();
    desk.fresh();
    let keys = [MSG, SESSION, RESPONSE].map(|answer| desk.key(answer));
    let poets = desk.key(POETS);
    let dump = desk.dump(&poets);
    desk.select(1);
    desk.ok(&args!["RESTORE", keys[2], 0, dump]);
    desk.select(0);
    let replies = drop_and(
        &mut desk,
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
    desk.holds(0, poet);
    replica_caught_up(&desk.server, &replica);
    let mut other = Desk::new(replica);
    other.reclaimed();
    other.holds(0, poet);
    other.holds(1, EMPTY);
}
