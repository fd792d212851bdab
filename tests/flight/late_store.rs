//! Late responses: a token that holds no more stores nothing, and no client, replica or file ever sees of it.

use testkit::{
    Q, Raw, Server, all_quiet, args, comes_too_late, eventually, hit, info_field, lease, lease_of, set_line,
};

use super::invalidate_lease::INVALIDATIONS;

#[test]
fn after_any_invalidation_an_older_response_stores_nothing() {
    let server = Server::start();
    let mut con = server.raw();
    for drop in INVALIDATIONS {
        let token = lease(&mut con, Q);
        assert!(!matches!(con.say(drop), Raw::Error(_)), "{drop}");
        let sets = con.stats("")["sets"];
        comes_too_late(&mut con, Q, &token);
        assert_eq!(con.number("DBSIZE"), 0, "{drop}");
        assert_eq!(con.stats("")["sets"], sets, "{drop}");
        all_quiet(&mut con, 0);
    }
    assert_eq!(con.stats("")["tokens-refused"], INVALIDATIONS.len() as i64);
}

#[test]
fn after_its_lease_has_run_out_a_response_stores_nothing() {
    let server = Server::start();
    let mut con = server.raw();
    let (token, _) = lease_of(con.say(&format!("CHATCACHE.FETCH {Q} LEASE 30")));
    eventually(|| con.stats("")["leases"] == 0);
    comes_too_late(&mut con, Q, &token);
    // Also where another has it now, and after that one has stored.
    let next = lease(&mut con, Q);
    comes_too_late(&mut con, Q, &token);
    con.ok(&set_line(Q, "new", &format!("TOKEN {next}")));
    comes_too_late(&mut con, Q, &token);
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("new"));
}

#[test]
fn after_its_release_a_response_stores_nothing() {
    let server = Server::start();
    let mut con = server.raw();
    let token = lease(&mut con, Q);
    assert_eq!(con.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}")), 1);
    comes_too_late(&mut con, Q, &token);
    assert_eq!(con.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}")), 0);
}

#[test]
fn after_another_response_the_late_one_stores_nothing() {
    let server = Server::start();
    let mut con = server.raw();
    let token = lease(&mut con, Q);
    server.raw().ok(&set_line(Q, "first", ""));
    comes_too_late(&mut con, Q, &token);
    assert_eq!(con.say(&format!("CHATCACHE.FETCH {Q}")), hit("first"));
    // Nor does a token serve twice.
    con.number(&format!("CHATCACHE.DEL {Q}"));
    let token = lease(&mut con, Q);
    con.ok(&set_line(Q, "once", &format!("TOKEN {token}")));
    comes_too_late(&mut con, Q, &token);
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::bulk("once"));
}

#[test]
fn a_token_proves_nothing_but_its_own_lease() {
    let server = Server::start();
    let mut con = server.raw();
    let token = lease(&mut con, Q);
    let upper = token.to_uppercase();
    let other = lease(&mut con, "response ann bot bye");
    let long = format!("{token}0");
    let wrong = [
        &other,
        &token[..31],
        &long,
        "\"\"",
        "0",
        "00000000000000000000000000000000",
        "ffffffffffffffffffffffffffffffff",
        "gggggggggggggggggggggggggggggggg",
        "TOKEN",
    ];
    for wrong in wrong {
        comes_too_late(&mut con, Q, wrong);
        assert_eq!(con.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {wrong}")), 0, "{wrong}");
    }
    for bytes in [&b"\0\xff\r\n"[..], &[0; 32], &[0xff; 16], &[b'a'; 100_000]] {
        let words = args!["CHATCACHE.SET", "response", "ann", "bot", "hi", "late", "TOKEN", bytes];
        assert_eq!(con.call(&words), Raw::NullBulk);
    }
    for request in
        ["response bob bot hi", "response ann other hi", "session ann bot hi ID 1", "msg ann bot hi"]
    {
        assert_eq!(con.number(&format!("CHATCACHE.RELEASE {request} TOKEN {token}")), 0, "{request}");
    }
    // Hex digits are hex digits, in either case.
    con.ok(&set_line(Q, "hello", &format!("TOKEN {upper}")));
}

#[test]
fn tokens_do_not_repeat() {
    let server = Server::start();
    let mut con = server.raw();
    let tokens: Vec<String> = (0..500).map(|n| lease(&mut con, &format!("msg ann bot m-{n}"))).collect();
    let mut unique = tokens.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), tokens.len());
    // No byte of them stays the same, or counts up.
    for at in 0..32 {
        let column = unique.iter().map(|token| token.as_bytes()[at]);
        assert_eq!(std::collections::BTreeSet::from_iter(column).len(), 16, "digit {at}");
    }
}

#[test]
fn a_condition_that_fails_leaves_the_lease_as_it_is() {
    let server = Server::start();
    let mut con = server.raw();
    let token = lease(&mut con, Q);
    assert_eq!(con.say(&set_line(Q, "hello", &format!("XX TOKEN {token}"))), Raw::NullBulk);
    assert_eq!(con.say(&set_line(Q, "hello", "XX")), Raw::NullBulk);
    assert!(matches!(con.say(&set_line(Q, "hello", &format!("EX x TOKEN {token}"))), Raw::Error(_)));
    con.ok(&set_line(Q, "hello", &format!("NX TOKEN {token}")));
}

#[test]
fn a_late_response_is_not_replicated_and_not_in_the_aof() {
    let server = Server::builder().appendonly().start();
    let mut watch = server.connect();
    let offset = |con: &mut redis::Connection| -> u64 {
        info_field(con, "persistence", "aof_current_size").parse().expect("a size")
    };
    let mut con = server.raw();
    con.ok(&set_line("msg ann bot first", "answer", ""));
    let token = lease(&mut con, Q);
    con.number("CHATCACHE.INVALIDATE bot");
    eventually(|| info_field(&mut watch, "persistence", "aof_pending_bio_fsync") == "0");
    let before = offset(&mut watch);
    comes_too_late(&mut con, Q, &token);
    con.say(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}"));
    let token = lease(&mut con, Q);
    con.say(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}"));
    assert_eq!(offset(&mut watch), before, "nothing of leases is written");
    // SET is replicated without its token.
    let token = lease(&mut con, Q);
    con.ok(&set_line(Q, "hello", &format!("TOKEN {token}")));
    assert!(offset(&mut watch) > before);
    let mut found = false;
    for file in std::fs::read_dir(server.dir().join("appendonlydir")).expect("the directory") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("read the file");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains(&token) && !text.contains("TOKEN") && !text.contains("late"), "{text}");
        found |= text.contains("hello");
    }
    assert!(found, "the answer is in the AOF");
}
