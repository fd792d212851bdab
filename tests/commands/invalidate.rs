//! INVALIDATE, FORGET and FLUSH: many responses invalidated with one command.

use std::time::{SystemTime, UNIX_EPOCH};
use testkit::{Raw, RawClient, Server, eventually};

use super::TIERS;

/// Stores one response in each tier, of this persona to this user, to a message of their own.
fn responses(con: &mut RawClient, user: &str, persona: &str) {
    for tier in TIERS {
        con.ok(&format!("CHATCACHE.SET {tier} {user} {persona} {user}-{persona} answer"));
    }
}

/// Returns the number of tiers in which that message has its response.
fn found(con: &mut RawClient, user: &str, persona: &str) -> usize {
    let is_there = |tier: &&&str| {
        con.say(&format!("CHATCACHE.GET {tier} {user} {persona} {user}-{persona}")) == Raw::bulk("answer")
    };
    TIERS.iter().filter(is_there).count()
}

#[test]
fn invalidate_removes_the_entries_of_one_persona_from_every_tier() {
    let server = Server::start();
    let mut con = server.raw();
    // One name is the beginning of the other, and one is a pattern.
    for persona in ["helper", "helper2", "help", "helper:", "*"] {
        responses(&mut con, "ann", persona);
    }
    con.ok("CHATCACHE.SET session ann helper hello answer ID m-1");
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 5);
    assert_eq!(found(&mut con, "ann", "helper"), 0);
    assert_eq!(con.say("CHATCACHE.GET session ann helper hello ID m-1"), Raw::NullBulk);
    for persona in ["helper2", "help", "helper:", "*"] {
        assert_eq!(found(&mut con, "ann", persona), 4, "{persona}");
    }
    assert_eq!(con.number("CHATCACHE.INVALIDATE *"), 4);
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 0);
    assert_eq!(con.number("DBSIZE"), 12, "a small persona goes keys and all");
    assert_eq!(con.stats("")["entries"], 12);
}

#[test]
fn invalidate_takes_several_personas_and_counts_each_entry_once() {
    let server = Server::start();
    let mut con = server.raw();
    for persona in ["one", "two", "three"] {
        responses(&mut con, "ann", persona);
    }
    assert_eq!(con.number("CHATCACHE.INVALIDATE one ghost two one two"), 8);
    assert_eq!(found(&mut con, "ann", "three"), 4);
    assert_eq!(con.number("CHATCACHE.INVALIDATE one ghost two one two"), 0);
    assert_eq!(con.number("CHATCACHE.INVALIDATE ghost"), 0);
}

#[test]
fn an_entry_stored_after_an_invalidate_stays() {
    let server = Server::start();
    let mut con = server.raw();
    for _ in 0..3 {
        responses(&mut con, "ann", "helper");
        assert_eq!(found(&mut con, "ann", "helper"), 4);
        assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 4);
        assert_eq!(found(&mut con, "ann", "helper"), 0);
    }
}

#[test]
fn expired_keys_that_still_exist_count_as_in_dbsize() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    con.ok("CHATCACHE.SET msg ann helper hello answer PX 1");
    con.ok("CHATCACHE.SET msg ann helper bye answer");
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis();
    let stored_by = now();
    eventually(|| now() > stored_by + 5);
    assert_eq!(con.number("DBSIZE"), 2);
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 2);
    assert_eq!(con.number("DBSIZE"), 0);
}

#[test]
fn forget_invalidates_the_entries_of_one_user_in_every_tier() {
    let server = Server::start();
    let mut con = server.raw();
    for user in ["ann", "bob", "annabel"] {
        for persona in ["helper", "coder"] {
            responses(&mut con, user, persona);
        }
    }
    // It is ann's request, although others share the entry.
    assert_eq!(con.number("CHATCACHE.FORGET ann"), 8);
    for (user, left) in [("ann", 0), ("bob", 4), ("annabel", 4)] {
        for persona in ["helper", "coder"] {
            assert_eq!(found(&mut con, user, persona), left, "{user} {persona}");
        }
    }
    assert_eq!(con.stats("helper")["entries"], 8);
    assert_eq!(con.number("CHATCACHE.FORGET ann"), 0);
    assert_eq!(con.number("CHATCACHE.FORGET bob ghost annabel bob"), 16);
    assert_eq!(con.number("DBSIZE"), 0);
    assert_eq!(con.say("CHATCACHE.PERSONAS"), Raw::Array(vec![Raw::bulk("0"), Raw::Array(vec![])]));
}

#[test]
fn flush_invalidates_the_given_tiers_or_all() {
    let server = Server::start();
    let mut con = server.raw();
    for (line, invalidated) in [
        ("CHATCACHE.FLUSH msg", &["msg"][..]),
        ("CHATCACHE.FLUSH Persona", &["persona"]),
        ("CHATCACHE.FLUSH session RESPONSE", &["session", "response"]),
        ("chatcache.flush msg persona session response", &TIERS),
        ("CHATCACHE.FLUSH", &TIERS),
    ] {
        responses(&mut con, "ann", "helper");
        responses(&mut con, "bob", "coder");
        assert_eq!(con.number("DBSIZE"), 8);
        assert_eq!(con.number(line), 2 * invalidated.len() as i64, "{line}");
        assert_eq!(con.number(line), 0, "{line}");
        for tier in TIERS {
            let wanted = if invalidated.contains(&tier) { Raw::NullBulk } else { Raw::bulk("answer") };
            assert_eq!(
                con.say(&format!("CHATCACHE.GET {tier} ann helper ann-helper")),
                wanted,
                "{line}: {tier}"
            );
            assert_eq!(
                con.say(&format!("CHATCACHE.GET {tier} bob coder bob-coder")),
                wanted,
                "{line}: {tier}"
            );
        }
        assert_eq!(con.stats("")["entries"], 8 - 2 * invalidated.len() as i64, "{line}");
    }
}

#[test]
fn a_tier_that_is_flushed_twice_in_one_command_counts_once() {
    let server = Server::start();
    let mut con = server.raw();
    responses(&mut con, "ann", "helper");
    assert_eq!(con.number("CHATCACHE.FLUSH msg msg MSG"), 1);
}

#[test]
fn invalidate_forget_and_flush_leave_other_keys_and_databases_alone() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("SET helper string");
    responses(&mut con, "ann", "helper");
    con.ok("SELECT 1");
    responses(&mut con, "ann", "helper");
    con.ok("SELECT 0");
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 4);
    assert_eq!(con.number("CHATCACHE.FORGET ann"), 0);
    assert_eq!(con.number("CHATCACHE.FLUSH"), 0);
    assert_eq!(con.text("GET helper"), "string");
    con.ok("SELECT 1");
    assert_eq!(found(&mut con, "ann", "helper"), 4);
    assert_eq!(con.stats("helper")["entries"], 4);
    con.ok("SELECT 0");
    assert_eq!(con.stats("helper")["entries"], 0);
    con.ok("SELECT 1");
    assert_eq!(con.number("CHATCACHE.FORGET ann"), 4);
}
