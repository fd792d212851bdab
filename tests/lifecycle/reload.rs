//! Entries that come back from an RDB file.

use std::time::{Duration, Instant};
use testkit::{Raw, Server, args, eventually, info_field, skipped_as_copy_changes_the_database};

use super::story::{BOBS, Census, EMPTY, FULL, Fixture, MSG, POETS, RESPONSE, SESSION, story, without_anns};

/// Moves some entries to names and databases that do not tell their persona.
fn scatter(fixture: &mut Fixture) {
    let [response, poets] = [fixture.key(RESPONSE), fixture.key(POETS)];
    fixture.ok(&args!["RENAME", response, "elsewhere"]);
    fixture.number(1, &args!["COPY", "elsewhere", poets, "DB", 1]);
}

const COPIED: Census = Census { helper: (1, 4), poet: (0, 0), ann: 1, bob: 0, keys: 1 };

#[test]
fn a_reload_brings_every_entry_back_to_its_persona_and_database() {
    story([FULL, COPIED], |fixture| {
        scatter(fixture);
        fixture.ok(&["DEBUG", "RELOAD"]);
        fixture.select(0);
        fixture.responses(SESSION);
    });
}

#[test]
fn a_restart_brings_every_entry_back_to_its_persona_and_database() {
    story([FULL, COPIED], |fixture| {
        scatter(fixture);
        fixture.server.restart();
        fixture.reconnect();
        fixture.responses(BOBS);
    });
}

#[test]
fn a_background_save_keeps_the_entries_of_its_beginning() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    story([FULL, COPIED], |fixture| {
        scatter(fixture);
        assert_eq!(fixture.run(&["BGSAVE"]), Raw::simple("Background saving started"));
        fixture.number(1, &["CHATCACHE.DEL", "session", "ann", "helper", "hi"]);
        let mut con = fixture.server.connect();
        eventually(|| info_field(&mut con, "persistence", "rdb_bgsave_in_progress") == "0");
        fixture.server.kill9();
        fixture.server.start_again();
        fixture.reconnect();
        fixture.responses(SESSION);
    });
}

#[test]
fn entries_that_expired_while_the_server_was_down_are_not_counted() {
    story([without_anns(4), EMPTY], |fixture| {
        let key = fixture.key(RESPONSE);
        let began = Instant::now();
        fixture.number(1, &args!["PEXPIRE", key, 100]);
        fixture.ok(&["SAVE"]);
        fixture.server.kill9();
        std::thread::sleep(Duration::from_millis(110).saturating_sub(began.elapsed()));
        fixture.server.start_again();
        fixture.reconnect();
    });
}

#[test]
fn an_entry_keeps_its_time_and_its_hits_over_a_restart() {
    let mut fixture = Fixture::new(Server::start());
    fixture.fresh();
    fixture.ok(&["CHATCACHE.SET", "msg", "ann", "helper", "hi", "1", "PXAT", "4102444800000"]);
    fixture.responses(MSG);
    let key = fixture.key(MSG);
    fixture.server.restart();
    fixture.reconnect();
    fixture.number(4_102_444_800_000, &args!["PEXPIRETIME", key]);
    let Raw::Array(fields) = fixture.run(&["CHATCACHE.INSPECT", "msg", "ann", "helper", "hi"]) else {
        panic!("INSPECT")
    };
    let at = fields.iter().position(|field| *field == Raw::bulk("hits")).expect("hits");
    assert_eq!(fields[at + 1], Raw::Int(1));
}

/// Stores many responses of helper, to be reclaimed for a while.
fn many(fixture: &mut Fixture, count: usize) {
    const SCRIPT: &str = "for n = 1, ARGV[1] do
        redis.call('CHATCACHE.SET', 'persona', 'ann', 'helper', 'message ' .. n, 'answer') end";
    fixture.run(&args!["EVAL", SCRIPT, 0, count]);
}

/// Checks that only poet's response to bob is left, and none of helper comes back.
#[track_caller]
fn only_poet_is_left(fixture: &mut Fixture) {
    let poet = Census { helper: (0, 0), ann: 0, bob: 1, keys: 1, ..FULL };
    fixture.select(0);
    assert_eq!(fixture.run(&["CHATCACHE.GET", "persona", "ann", "helper", "message 1"]), Raw::NullBulk);
    assert_eq!(fixture.get(SESSION), None);
    fixture.responses(POETS);
    fixture.number(0, &["CHATCACHE.INVALIDATE", "helper"]);
    fixture.number(0, &["CHATCACHE.FORGET", "ann"]);
    fixture.reclaimed();
    fixture.holds(0, poet);
    fixture.totals(&[poet]);
}

#[test]
fn invalidated_entries_stay_invalidated_over_a_reload_during_their_reclaim() {
    let mut fixture = Fixture::new(Server::builder().config("chatcache.invalidate-sync-limit 0").start());
    fixture.fresh();
    many(&mut fixture, 30_000);
    let replies = fixture.together(&[&["CHATCACHE.INVALIDATE", "helper"], &["DBSIZE"], &["DEBUG", "RELOAD"]]);
    let [Raw::Int(30_005), Raw::Int(keys), Raw::Simple(_)] = replies[..] else { panic!("{replies:?}") };
    assert!(keys > 1000, "the reclaim was over before the reload: {keys} keys");
    only_poet_is_left(&mut fixture);
}

#[test]
fn invalidated_entries_stay_invalidated_over_a_restart_during_their_reclaim() {
    let mut fixture = Fixture::new(Server::builder().config("chatcache.invalidate-sync-limit 0").start());
    fixture.fresh();
    many(&mut fixture, 20_000);
    let replies = fixture.together(&[&["CHATCACHE.INVALIDATE", "helper"], &["SAVE"], &["DBSIZE"]]);
    let [Raw::Int(20_005), Raw::Simple(_), Raw::Int(keys)] = replies[..] else { panic!("{replies:?}") };
    assert!(keys > 1000, "the reclaim was over before the save: {keys} keys");
    fixture.server.kill9();
    fixture.server.start_again();
    fixture.reconnect();
    only_poet_is_left(&mut fixture);
}
