//! Invalidations of more responses than are deleted at once: unreachable now, reclaimed in slices.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use testkit::{Raw, RawClient, Server, eventually, fill_persona, info_field, numbers, patient};

const MANY: usize = 20_000;

fn used_memory(server: &Server) -> i64 {
    info_field(&mut server.connect(), "memory", "used_memory").parse().expect("a number of bytes")
}

/// GET of each response that `fill` stored.
fn gets(user: &str, persona: &str, count: usize) -> Vec<Vec<String>> {
    let get = |n| ["CHATCACHE.GET", "response", user, persona, &format!("m-{n}")].map(String::from).to_vec();
    (0..count).map(get).collect()
}

/// Waits for the end of a reclaim, and gives all the numbers of entries that were seen to wait for it.
fn watch_reclaim(con: &mut RawClient) -> BTreeSet<i64> {
    let mut seen = BTreeSet::new();
    // Not with `eventually`: its pauses would miss the slices.
    let started = Instant::now();
    while !seen.contains(&0) {
        seen.insert(con.stats("")["pending-reclaim"]);
        assert!(started.elapsed() < patient(Duration::from_secs(20)), "the reclaim does not end: {seen:?}");
    }
    seen
}

#[test]
fn a_large_persona_is_unreachable_at_once_and_its_memory_comes_back_in_slices() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET response bob coder hello other");
    let memory = used_memory(&server);
    fill_persona(&mut con, "ann", "helper", MANY, 300);
    let full = used_memory(&server);
    assert!(full - memory > 300 * MANY as i64);

    let replies =
        con.transaction(&["CHATCACHE.INVALIDATE helper", "CHATCACHE.STATS", "CHATCACHE.STATS helper"]);
    assert_eq!(replies[0], Raw::Int(MANY as i64));
    let (all, helper) = (numbers(replies[1].clone()), numbers(replies[2].clone()));
    assert_eq!((all["pending-reclaim"], all["entries"], all["dropped"]), (MANY as i64, 1, MANY as i64));
    assert_eq!((all["personas"], all["raw-bytes"], helper["entries"]), (1, 5, 0));

    let seen = watch_reclaim(&mut con);
    let between = seen.iter().filter(|pending| (1..MANY as i64).contains(*pending)).count();
    assert!(between > 0, "others are served between the slices, but saw only {seen:?}");
    assert_eq!(con.number("DBSIZE"), 1);
    let stats = con.stats("");
    assert_eq!((stats["reclaimed"], stats["entries"]), (MANY as i64, 1));
    assert_eq!(con.say("CHATCACHE.GET response bob coder hello"), Raw::bulk("other"));
    // The table of the keyspace shrinks by and by.
    eventually(|| used_memory(&server) - memory < (full - memory) / 10);
}

#[test]
fn every_entry_of_a_large_persona_is_gone_for_another_client_as_soon_as_the_reply_is_there() {
    let server = Server::start();
    let (mut con, mut other) = (server.raw(), server.raw());
    fill_persona(&mut con, "ann", "helper", MANY, 10);
    let gets = gets("ann", "helper", MANY);
    assert!(con.pipeline(&gets).iter().all(|reply| *reply == Raw::bulk("xxxxxxxxxx")));
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), MANY as i64);
    assert!(other.pipeline(&gets).iter().all(|reply| *reply == Raw::NullBulk));
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 0);
    watch_reclaim(&mut con);
    assert_eq!(con.number("DBSIZE"), 0);
}

#[test]
fn an_entry_stored_again_during_a_reclaim_stays() {
    let server = Server::start();
    let mut con = server.raw();
    fill_persona(&mut con, "ann", "helper", 5_000, 10);
    con.ok("MULTI");
    con.say("CHATCACHE.INVALIDATE helper");
    for n in (0..5_000).step_by(50) {
        con.say(&format!("CHATCACHE.SET response ann helper m-{n} again"));
    }
    con.say("CHATCACHE.STATS");
    let Raw::Array(replies) = con.say("EXEC") else { panic!("EXEC gave no array") };
    let stats = numbers(replies.last().expect("replies").clone());
    assert_eq!((stats["entries"], stats["pending-reclaim"]), (100, 4_900));
    watch_reclaim(&mut con);
    assert_eq!(con.number("DBSIZE"), 100);
    let found = con.pipeline(&gets("ann", "helper", 5_000));
    assert_eq!(found.iter().filter(|reply| **reply == Raw::bulk("again")).count(), 100);
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 100);
}

#[test]
fn up_to_the_sync_limit_invalidate_deletes_the_keys_at_once() {
    let server = Server::builder().config("chatcache.invalidate-sync-limit 100").start();
    let mut con = server.raw();
    for (responses, left) in [(100, 0), (101, 101)] {
        for drop in ["CHATCACHE.INVALIDATE helper", "CHATCACHE.FORGET ann", "CHATCACHE.FLUSH response"] {
            fill_persona(&mut con, "ann", "helper", responses, 10);
            let replies = con.transaction(&[drop, "DBSIZE"]);
            assert_eq!(replies, [Raw::Int(responses as i64), Raw::Int(left)], "{drop}");
            eventually(|| con.number("DBSIZE") == 0);
        }
    }
}

#[test]
fn a_small_invalidation_does_not_wait_for_a_large_one_that_is_still_being_reclaimed() {
    let server = Server::start();
    let mut con = server.raw();
    for (large, small) in [
        ("CHATCACHE.FORGET ann", "CHATCACHE.INVALIDATE helper"),
        ("CHATCACHE.FORGET ann", "CHATCACHE.FLUSH response"),
        ("CHATCACHE.INVALIDATE helper", "CHATCACHE.FLUSH response"),
        ("CHATCACHE.INVALIDATE helper", "CHATCACHE.FORGET ann"),
        ("CHATCACHE.FLUSH response", "CHATCACHE.INVALIDATE helper"),
        ("CHATCACHE.FLUSH response", "CHATCACHE.FORGET ann"),
    ] {
        fill_persona(&mut con, "ann", "helper", MANY, 10);
        let left = if small.ends_with("ann") { "ann" } else { "bob" };
        let replies = con.transaction(&[
            large,
            &format!("CHATCACHE.SET msg {left} helper hello answer"),
            &format!("CHATCACHE.SET response {left} helper hello answer"),
            small,
            "CHATCACHE.STATS",
        ]);
        let pending = numbers(replies[4].clone())["pending-reclaim"];
        assert!(pending > MANY as i64 - 1_000, "{small} reclaimed {} of {large}", MANY as i64 - pending);
        con.say("CHATCACHE.FLUSH");
        watch_reclaim(&mut con);
        assert_eq!(con.number("DBSIZE"), 0);
    }
}

#[test]
fn a_reclaim_goes_on_in_a_database_that_no_client_has_selected() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("SELECT 3");
    fill_persona(&mut con, "ann", "helper", 2_000, 10);
    con.ok("SELECT 5");
    fill_persona(&mut con, "ann", "helper", 2_000, 10);
    assert_eq!(con.number("CHATCACHE.FLUSH"), 2_000);
    con.ok("SELECT 3");
    assert_eq!(con.number("CHATCACHE.FORGET ann"), 2_000);
    con.ok("SELECT 0");
    eventually(|| con.stats("")["pending-reclaim"] == 0);
    for database in [3, 5] {
        con.ok(&format!("SELECT {database}"));
        assert_eq!(con.number("DBSIZE"), 0);
    }
}
