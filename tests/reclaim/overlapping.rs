//! Invalidations that hit the same responses in several ways, while others wait to be reclaimed.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redis::Connection;
use testkit::{
    NOTHING_AT_ONCE, Raw, Server, args, ask, count, dbsize, fill, get, in_one_go, pending, pending_in,
    personas, reclaimed, seed, set, stat,
};

const TIERS: [&str; 4] = ["msg", "persona", "session", "response"];
const USERS: [&str; 3] = ["ann", "bob", "cid"];
const PERSONAS: [&str; 3] = ["p1", "p2", "p3"];

/// The live entries: tier, user, persona and message. Messages name all four, so no two responses share a key.
type Model = BTreeSet<(usize, usize, usize, usize)>;

fn counts_agree(con: &mut Connection, model: &Model) {
    assert_eq!(stat(con, "entries"), model.len() as i64);
    for (number, tier) in TIERS.iter().enumerate() {
        let live = model.iter().filter(|response| response.0 == number).count();
        assert_eq!(stat(con, &format!("entries-{tier}")), live as i64, "{tier}");
    }
    let listed = personas(con);
    for (number, persona) in PERSONAS.iter().enumerate() {
        let live = model.iter().filter(|response| response.2 == number).count();
        let listed = listed.get(*persona).map_or("0", |(entries, _)| entries);
        assert_eq!(listed, live.to_string(), "{persona}");
    }
}

#[test]
fn invalidations_of_intersecting_sets_count_every_entry_once() {
    let mut random = StdRng::seed_from_u64(seed());
    let server = Server::builder().config(NOTHING_AT_ONCE).start();
    let mut con = server.connect();
    let mut model = Model::new();
    let message = |(tier, user, persona, number)| format!("{tier} {user} {persona} {number}");
    for round in 0..60 {
        // Stored in one pipeline, with the tombstones that earlier invalidations have left.
        let mut pipeline = redis::pipe();
        for _ in 0..400 {
            let response = (
                random.random_range(0..4),
                random.random_range(0..3),
                random.random_range(0..3),
                random.random_range(0..60),
            );
            let (tier, user, persona) = (TIERS[response.0], USERS[response.1], PERSONAS[response.2]);
            let question = message(response);
            pipeline
                .cmd("CHATCACHE.SET")
                .arg(tier)
                .arg(user)
                .arg(persona)
                .arg(&question)
                .arg(&question)
                .ignore();
            model.insert(response);
        }
        pipeline.query::<()>(&mut con).expect("the answers are stored");
        for _ in 0..random.random_range(1..4) {
            let which = random.random_range(0..4);
            let before = model.len();
            let number = match which {
                0 => {
                    let persona = random.random_range(0..3);
                    model.retain(|response| response.2 != persona);
                    count(&mut con, &["CHATCACHE.INVALIDATE", PERSONAS[persona]])
                }
                1 => {
                    let user = random.random_range(0..3);
                    model.retain(|response| response.1 != user);
                    count(&mut con, &["CHATCACHE.FORGET", USERS[user]])
                }
                2 => {
                    let tier = random.random_range(0..4);
                    model.retain(|response| response.0 != tier);
                    count(&mut con, &["CHATCACHE.FLUSH", TIERS[tier]])
                }
                _ => {
                    model.retain(|response| response.2 == 1);
                    count(&mut con, &["CHATCACHE.INVALIDATE", "p1", "p3", "p1"])
                }
            };
            assert_eq!(number, (before - model.len()) as i64, "round {round}");
        }
        counts_agree(&mut con, &model);
        if round % 20 == 7 {
            ask(&mut con, &["CONFIG", "SET", "chatcache.invalidate-sync-limit", "200"]);
        }
        if round % 20 == 17 {
            reclaimed(&server);
            assert_eq!(dbsize(&mut con), model.len() as i64);
            ask(&mut con, &["CONFIG", "SET", "chatcache.invalidate-sync-limit", "0"]);
        }
        for _ in 0..20 {
            let response = (
                random.random_range(0..4),
                random.random_range(0..3),
                random.random_range(0..3),
                random.random_range(0..60),
            );
            let (tier, user, persona) = (TIERS[response.0], USERS[response.1], PERSONAS[response.2]);
            let question = message(response);
            let expected = model.contains(&response).then(|| question.clone());
            assert_eq!(get(&mut con, tier, user, persona, &question), expected);
        }
    }
    reclaimed(&server);
    assert_eq!(dbsize(&mut con), model.len() as i64);
    counts_agree(&mut con, &model);
}

#[test]
fn three_invalidations_of_the_same_entries_count_them_once() {
    let server = Server::start();
    let mut con = server.connect();
    fill(&mut con, "response", "ann", "p1", 20_000);
    fill(&mut con, "response", "ann", "p2", 20_000);
    fill(&mut con, "session", "bob", "p1", 20_000);
    let replies = in_one_go(
        &server,
        &[
            &["CHATCACHE.INVALIDATE", "p1"],
            &["CHATCACHE.FORGET", "ann"],
            &["CHATCACHE.FLUSH", "session", "response"],
            &["CHATCACHE.FORGET", "bob", "ann"],
            &["INFO", "everything"],
        ],
    );
    assert_eq!(replies[..4], [Raw::Int(40_000), Raw::Int(20_000), Raw::Int(0), Raw::Int(0)]);
    assert_eq!(pending_in(&replies[4]), 60_000);
    reclaimed(&server);
    assert_eq!(dbsize(&mut con), 0);
    assert_eq!((stat(&mut con, "dropped"), stat(&mut con, "reclaimed")), (60_000, 60_000));
    assert_eq!((stat(&mut con, "personas"), stat(&mut con, "users")), (0, 0));
}

#[test]
fn a_persona_filled_and_invalidated_again_during_its_reclaim() {
    let server = Server::builder().config(NOTHING_AT_ONCE).start();
    let mut con = server.connect();
    fill(&mut con, "persona", "", "helper", 40_000);
    let set = |question| ["CHATCACHE.SET", "persona", "", "helper", question, "new"];
    let replies = in_one_go(
        &server,
        &[
            &["CHATCACHE.INVALIDATE", "helper"],
            &set("q1"),
            &set("q40000"),
            &set("another"),
            &["CHATCACHE.INVALIDATE", "helper"],
            &["INFO", "everything"],
            &set("q1"),
            &["CHATCACHE.GET", "persona", "", "helper", "q40000"],
            &["CHATCACHE.INVALIDATE", "helper"],
            &set("q2"),
        ],
    );
    assert_eq!((&replies[0], &replies[4]), (&Raw::Int(40_000), &Raw::Int(3)));
    assert_eq!(pending_in(&replies[5]), 40_001);
    assert_eq!((&replies[7], &replies[8]), (&Raw::NullBulk, &Raw::Int(1)));
    reclaimed(&server);
    assert_eq!((dbsize(&mut con), stat(&mut con, "entries")), (1, 1));
    assert_eq!(get(&mut con, "persona", "", "helper", "q2"), Some("new".into()));
}

#[test]
fn reclaims_are_pending_in_several_databases_at_once() {
    let server = Server::builder().config(NOTHING_AT_ONCE).start();
    let mut con = server.connect();
    for database in [0, 1, 9] {
        ask(&mut con, &args!["SELECT", database]);
        fill(&mut con, "response", "ann", "helper", 15_000);
        set(&mut con, "response", "ann", "kept", "q", &format!("of {database}"));
    }
    let invalidated: &[&str] = &["CHATCACHE.INVALIDATE", "helper"];
    let replies = in_one_go(
        &server,
        &[invalidated, &["SELECT", "9"], invalidated, &["SELECT", "1"], invalidated, &["INFO", "everything"]],
    );
    assert_eq!(pending_in(&replies[5]), 45_000);
    reclaimed(&server);
    for database in [0, 1, 9] {
        ask(&mut con, &args!["SELECT", database]);
        assert_eq!(dbsize(&mut con), 1);
        assert_eq!(get(&mut con, "response", "ann", "kept", "q"), Some(format!("of {database}")));
    }
}

#[test]
fn an_invalidation_in_one_database_leaves_the_others_alone() {
    let server = Server::start();
    let mut con = server.connect();
    fill(&mut con, "response", "ann", "helper", 5_000);
    ask(&mut con, &["SELECT", "1"]);
    fill(&mut con, "response", "ann", "helper", 5_000);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "helper"]), 5_000);
    reclaimed(&server);
    assert_eq!(dbsize(&mut con), 0);
    ask(&mut con, &["SELECT", "0"]);
    assert_eq!(dbsize(&mut con), 5_000);
    assert_eq!(get(&mut con, "response", "ann", "helper", "q5000"), Some("a5000".into()));
    assert_eq!(pending(&mut con), 0);
}
