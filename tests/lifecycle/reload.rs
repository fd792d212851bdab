//! Answers that come back from an RDB file.

use std::time::{Duration, Instant};
use testkit::{Raw, Server, args, eventually, info_field, skipped_as_copy_changes_the_database};

use super::story::{BOBS, Census, Desk, EMPTY, FULL, MSG, POETS, RESPONSE, SESSION, story, without_anns};

/// Moves some answers about, to where their names and databases don't tell whose they are.
fn scatter(desk: &mut Desk) {
    let [response, poets] = [desk.key(RESPONSE), desk.key(POETS)];
    desk.ok(&args!["RENAME", response, "elsewhere"]);
    desk.number(1, &args!["COPY", "elsewhere", poets, "DB", 1]);
}

const COPIED: Census = Census { helper: (1, 4), poet: (0, 0), ann: 1, bob: 0, keys: 1 };

#[test]
fn a_reload_brings_every_answer_back_to_its_persona_and_database() {
    story([FULL, COPIED], |desk| {
        scatter(desk);
        desk.ok(&["DEBUG", "RELOAD"]);
        desk.select(0);
        desk.answers(SESSION);
    });
}

#[test]
fn a_restart_brings_every_answer_back_to_its_persona_and_database() {
    story([FULL, COPIED], |desk| {
        scatter(desk);
        desk.server.restart();
        desk.reconnect();
        desk.answers(BOBS);
    });
}

#[test]
fn a_background_save_has_what_was_there_when_it_began() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    story([FULL, COPIED], |desk| {
        scatter(desk);
        assert_eq!(desk.run(&["BGSAVE"]), Raw::simple("Background saving started"));
        desk.number(1, &["CHATCACHE.DEL", "session", "ann", "helper", "hi"]);
        let mut con = desk.server.connect();
        eventually(|| info_field(&mut con, "persistence", "rdb_bgsave_in_progress") == "0");
        desk.server.kill9();
        desk.server.start_again();
        desk.reconnect();
        desk.answers(SESSION);
    });
}

#[test]
fn answers_whose_time_ran_out_while_the_server_was_down_are_not_counted() {
    story([without_anns(4), EMPTY], |desk| {
        let key = desk.key(RESPONSE);
        let began = Instant::now();
        desk.number(1, &args!["PEXPIRE", key, 100]);
        desk.ok(&["SAVE"]);
        desk.server.kill9();
        std::thread::sleep(Duration::from_millis(110).saturating_sub(began.elapsed()));
        desk.server.start_again();
        desk.reconnect();
    });
}

#[test]
fn an_answer_keeps_its_time_and_its_hits_over_a_restart() {
    let mut desk = Desk::new(Server::start());
    desk.fresh();
    desk.ok(&["CHATCACHE.SET", "msg", "ann", "helper", "hi", "1", "PXAT", "4102444800000"]);
    desk.answers(MSG);
    let key = desk.key(MSG);
    desk.server.restart();
    desk.reconnect();
    desk.number(4_102_444_800_000, &args!["PEXPIRETIME", key]);
    let Raw::Array(fields) = desk.run(&["CHATCACHE.INSPECT", "msg", "ann", "helper", "hi"]) else {
        panic!("INSPECT")
    };
    let at = fields.iter().position(|field| *field == Raw::bulk("hits")).expect("hits");
    assert_eq!(fields[at + 1], Raw::Int(1));
}

/// Many answers of helper, to be reclaimed for a while.
fn many(desk: &mut Desk, count: usize) {
    const SCRIPT: &str = "for n = 1, ARGV[1] do
        redis.call('CHATCACHE.SET', 'persona', 'ann', 'helper', 'message ' .. n, 'answer') end";
    desk.run(&args!["EVAL", SCRIPT, 0, count]);
}

/// Only bob's answer of poet is left, and nothing of helper comes back.
#[track_caller]
fn only_poet_is_left(desk: &mut Desk) {
    let poet = Census { helper: (0, 0), ann: 0, bob: 1, keys: 1, ..FULL };
    desk.select(0);
    assert_eq!(desk.run(&["CHATCACHE.GET", "persona", "ann", "helper", "message 1"]), Raw::NullBulk);
    assert_eq!(desk.get(SESSION), None);
    desk.answers(POETS);
    desk.number(0, &["CHATCACHE.INVALIDATE", "helper"]);
    desk.number(0, &["CHATCACHE.FORGET", "ann"]);
    desk.reclaimed();
    desk.holds(0, poet);
    desk.totals(&[poet]);
}

#[test]
fn what_is_dropped_stays_dropped_over_a_reload_in_the_middle_of_its_reclaim() {
    let mut desk = Desk::new(Server::builder().config("chatcache.invalidate-sync-limit 0").start());
    desk.fresh();
    many(&mut desk, 30_000);
    let replies = desk.together(&[&["CHATCACHE.INVALIDATE", "helper"], &["DBSIZE"], &["DEBUG", "RELOAD"]]);
    let [Raw::Int(30_005), Raw::Int(keys), Raw::Simple(_)] = replies[..] else { panic!("{replies:?}") };
    assert!(keys > 1000, "the reclaim was over before the reload: {keys} keys");
    only_poet_is_left(&mut desk);
}

#[test]
fn what_is_dropped_stays_dropped_over_a_restart_in_the_middle_of_its_reclaim() {
    let mut desk = Desk::new(Server::builder().config("chatcache.invalidate-sync-limit 0").start());
    desk.fresh();
    many(&mut desk, 20_000);
    let replies = desk.together(&[&["CHATCACHE.INVALIDATE", "helper"], &["SAVE"], &["DBSIZE"]]);
    let [Raw::Int(20_005), Raw::Simple(_), Raw::Int(keys)] = replies[..] else { panic!("{replies:?}") };
    assert!(keys > 1000, "the reclaim was over before the save: {keys} keys");
    desk.server.kill9();
    desk.server.start_again();
    desk.reconnect();
    only_poet_is_left(&mut desk);
}
