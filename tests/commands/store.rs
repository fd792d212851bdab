//! SET and DEL: one response stored, replaced or deleted.

use std::time::{SystemTime, UNIX_EPOCH};
use testkit::{Raw, RawClient, Server, fields, words};

use super::TIERS;

/// Seconds since 1970, by the clock that the server has too.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

/// Asserts that the request's key ends in this many seconds, less the delay of a slow machine.
#[track_caller]
fn assert_ends_in(con: &mut RawClient, request: &str, seconds: i64) {
    let key = con.text(&format!("CHATCACHE.KEY {request}"));
    let ms = con.number(&format!("PTTL {key}"));
    let range = (seconds - 30) * 1000..=(seconds + 1) * 1000;
    assert!(range.contains(&ms), "{request} ends in {ms} ms, not in {seconds} s");
}

#[test]
fn each_tier_has_a_ttl_of_its_own() {
    let server = Server::start();
    let mut con = server.raw();
    for (tier, seconds) in [("msg", 300), ("persona", 3600), ("session", 86_400), ("response", 3600)] {
        con.ok(&format!("CHATCACHE.SET {tier} ann helper hello answer"));
        assert_ends_in(&mut con, &format!("{tier} ann helper hello"), seconds);
    }
    con.ok("CHATCACHE.SET session ann helper hello answer ID m-1");
    assert_ends_in(&mut con, "session ann helper hello ID m-1", 86_400);
}

#[test]
fn every_option_is_taken_in_every_order_and_any_case() {
    let server = Server::start();
    let mut con = server.raw();
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let cases: [fn(&str) -> String; 3] = [
        |word| word.to_owned(),
        |word| word.to_lowercase(),
        |word| {
            word.char_indices().map(|(at, c)| if at % 2 == 0 { c.to_ascii_lowercase() } else { c }).collect()
        },
    ];
    let in_100_s = [
        "EX 100".to_owned(),
        "PX 100000".to_owned(),
        format!("EXAT {}", now_s() + 100),
        format!("PXAT {}", (now_s() + 100) * 1000),
        "KEEPTTL".to_owned(),
    ];
    let mut stored = 0;
    for expiry in in_100_s {
        for (condition, before) in [("NX", false), ("XX", true)] {
            for (order, case) in orders.iter().flat_map(|order| cases.map(|case| (order, case))) {
                con.say("CHATCACHE.DEL session ann helper hello ID m-1");
                if before {
                    con.ok("CHATCACHE.SET session ann helper hello old ID m-1 EX 100");
                }
                let options = ["ID m-1", &expiry, condition].map(case);
                let line = order.map(|at| options[at].as_str()).join(" ");
                stored += 1;
                con.ok(&format!("CHATCACHE.SET session ann helper hello answer-{stored} {line}"));
                let response = con.say("CHATCACHE.GET session ann helper \"\" ID m-1");
                assert_eq!(response, Raw::bulk(format!("answer-{stored}")), "{line}");
                // With nothing to keep, KEEPTTL gives the tier's own.
                let seconds = if expiry == "KEEPTTL" && !before { 86_400 } else { 100 };
                assert_ends_in(&mut con, "session ann helper hello ID m-1", seconds);
            }
        }
    }
}

#[test]
fn a_new_entry_takes_the_place_of_the_old_one_and_starts_anew() {
    let server = Server::start();
    let mut con = server.raw();
    for tier in TIERS {
        con.ok(&format!("CHATCACHE.SET {tier} ann helper hello old-answer EX 10000"));
        assert_eq!(con.say(&format!("CHATCACHE.GET {tier} ann helper hello")), Raw::bulk("old-answer"));
        con.ok(&format!("CHATCACHE.SET {tier} ann helper hello new EX 50"));
        assert_eq!(con.say(&format!("CHATCACHE.GET {tier} ann helper hello")), Raw::bulk("new"));
        assert_ends_in(&mut con, &format!("{tier} ann helper hello"), 50);
        let known = fields(con.say(&format!("CHATCACHE.INSPECT {tier} ann helper hello")));
        assert_eq!((&known["hits"], &known["raw-bytes"]), (&Raw::Int(1), &Raw::Int(3)));
    }
    let stats = con.stats("");
    assert_eq!((stats["entries"], stats["raw-bytes"], stats["sets"]), (4, 12, 8));
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    assert_ends_in(&mut con, "msg ann helper hello", 300);
}

#[test]
fn keepttl_keeps_the_ttl_that_is_left_and_none() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET msg ann helper hello first EX 100");
    con.ok("CHATCACHE.SET msg ann helper hello second KEEPTTL");
    assert_ends_in(&mut con, "msg ann helper hello", 100);
    assert_eq!(con.say("CHATCACHE.GET msg ann helper hello"), Raw::bulk("second"));

    let key = con.text("CHATCACHE.KEY msg ann helper hello");
    assert_eq!(con.number(&format!("PERSIST {key}")), 1);
    con.ok("CHATCACHE.SET msg ann helper hello third KEEPTTL");
    assert_eq!(con.number(&format!("PTTL {key}")), -1);
    con.ok("CHATCACHE.SET msg ann helper hello fourth");
    assert_ends_in(&mut con, "msg ann helper hello", 300);

    con.ok("CHATCACHE.SET msg ann helper unheard-of answer KEEPTTL");
    assert_ends_in(&mut con, "msg ann helper unheard-of", 300);
}

#[test]
fn nx_stores_only_absent_entries_and_xx_only_present_ones() {
    let server = Server::start();
    let mut con = server.raw();
    for tier in TIERS {
        let set =
            |response: &str, more: &str| format!("CHATCACHE.SET {tier} ann helper hello {response} {more}");
        let get = format!("CHATCACHE.GET {tier} ann helper hello");
        assert_eq!(con.say(&set("early", "XX")), Raw::NullBulk);
        assert_eq!(con.say(&get), Raw::NullBulk);
        con.ok(&set("first", "NX EX 100"));
        assert_eq!(con.say(&set("second", "NX EX 5000")), Raw::NullBulk);
        assert_eq!(con.say(&get), Raw::bulk("first"));
        assert_ends_in(&mut con, &format!("{tier} ann helper hello"), 100);
        con.ok(&set("third", "XX EX 200"));
        assert_eq!(con.say(&get), Raw::bulk("third"));
        assert_ends_in(&mut con, &format!("{tier} ann helper hello"), 200);
    }
    assert_eq!(con.stats("")["sets"], 8, "what was not stored does not count");
}

#[test]
fn nx_and_xx_do_not_see_tombstones() {
    let server = Server::builder().config("chatcache.invalidate-sync-limit 0").start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET msg ann helper hello old EX 5000");
    let replies = con.transaction(&[
        "CHATCACHE.INVALIDATE helper",
        "DBSIZE",
        "CHATCACHE.SET msg ann helper hello new XX",
        "CHATCACHE.DEL msg ann helper hello",
        "CHATCACHE.INSPECT msg ann helper hello",
        "CHATCACHE.SET msg ann helper hello new NX KEEPTTL",
        "CHATCACHE.GET msg ann helper hello",
    ]);
    let invalidated_and_stored = [
        Raw::Int(1),
        Raw::Int(1),
        Raw::NullBulk,
        Raw::Int(0),
        Raw::NullBulk,
        Raw::simple("OK"),
        Raw::bulk("new"),
    ];
    assert_eq!(replies, invalidated_and_stored);
    assert_ends_in(&mut con, "msg ann helper hello", 300);
    testkit::eventually(|| con.stats("")["pending-reclaim"] == 0);
    assert_eq!(con.say("CHATCACHE.GET msg ann helper hello"), Raw::bulk("new"));
}

#[test]
fn the_latest_set_owns_a_shared_entry() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET msg ann helper hello from-helper");
    con.ok("CHATCACHE.SET msg bob coder hello from-coder");
    assert_eq!(con.say("CHATCACHE.GET msg ann helper hello"), Raw::bulk("from-coder"));
    assert_eq!((con.stats("helper")["entries"], con.stats("coder")["entries"]), (0, 1));
    let known = fields(con.say("CHATCACHE.INSPECT msg ann helper hello"));
    assert_eq!((&known["persona"], &known["user"]), (&Raw::bulk("coder"), &Raw::bulk("bob")));
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 0);
    assert_eq!(con.number("CHATCACHE.FORGET ann"), 0);
    assert_eq!(con.say("CHATCACHE.GET msg ann helper hello"), Raw::bulk("from-coder"));
    assert_eq!(con.number("CHATCACHE.INVALIDATE coder"), 1);
    assert_eq!(con.say("CHATCACHE.GET msg ann helper hello"), Raw::NullBulk);

    // A session has no persona in its key either.
    con.ok("CHATCACHE.SET session ann helper hello from-helper");
    con.ok("CHATCACHE.SET session ann coder hello from-coder");
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 0);
    assert_eq!(con.number("CHATCACHE.INVALIDATE coder"), 1);

    // And under any user that stored a response that a persona's users share.
    con.ok("CHATCACHE.SET persona ann helper hello first");
    con.ok("CHATCACHE.SET persona bob helper hello second");
    assert_eq!(con.number("CHATCACHE.FORGET ann"), 0);
    assert_eq!(con.number("CHATCACHE.FORGET bob"), 1);
}

#[test]
fn del_deletes_one_entry_and_replies_1_if_it_existed() {
    let server = Server::start();
    let mut con = server.raw();
    for tier in TIERS {
        for message in ["hello", "bye"] {
            con.ok(&format!("CHATCACHE.SET {tier} ann helper {message} answer"));
        }
    }
    for (deleted, tier) in TIERS.into_iter().enumerate() {
        let key = con.text(&format!("CHATCACHE.KEY {tier} ann helper hello"));
        assert_eq!(con.number(&format!("EXISTS {key}")), 1);
        assert_eq!(con.number(&format!("CHATCACHE.DEL {tier} ann helper hello")), 1);
        assert_eq!(con.number(&format!("CHATCACHE.DEL {tier} ann helper hello")), 0);
        assert_eq!(con.number(&format!("EXISTS {key}")), 0);
        assert_eq!(con.say(&format!("CHATCACHE.GET {tier} ann helper hello")), Raw::NullBulk);
        assert_eq!(con.say(&format!("CHATCACHE.GET {tier} ann helper bye")), Raw::bulk("answer"));
        assert_eq!(con.stats("helper")["entries"], 7 - deleted as i64);
    }
    assert_eq!(con.number("CHATCACHE.DEL response bob helper bye"), 0);
    assert_eq!(con.stats("")["deleted"], 4);
}

#[test]
fn an_option_s_value_may_be_spelled_as_an_option() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET session EX NX PX KEEPTTL ID EX EX 100 NX");
    assert_eq!(con.say("CHATCACHE.GET session EX NX whatever ID EX"), Raw::bulk("KEEPTTL"));
    assert_ends_in(&mut con, "session EX NX whatever ID EX", 100);
    assert_eq!(words("a \"\" b"), ["a", "", "b"]);
}

#[test]
fn a_ttl_may_be_as_long_as_time_is() {
    let server = Server::start();
    let mut con = server.raw();
    for option in
        ["PXAT 9223372036854775807", "EXAT 9223372036854775", "PX 4611686018427387904", "EX 3153600000"]
    {
        con.ok(&format!("CHATCACHE.SET msg ann helper hello answer {option}"));
        assert_eq!(con.say("CHATCACHE.GET msg ann helper hello"), Raw::bulk("answer"), "{option}");
        let key = con.text("CHATCACHE.KEY msg ann helper hello");
        let left = con.number(&format!("PTTL {key}"));
        assert!(left > 3_000_000_000_000, "{option}: {left}");
        let known = fields(con.say("CHATCACHE.INSPECT msg ann helper hello"));
        assert!(matches!(known["ttl-ms"], Raw::Int(ms) if ms > 3_000_000_000_000), "{option}: {known:?}");
    }
}
