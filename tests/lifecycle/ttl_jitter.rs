//! ttl-jitter: responses stored together do not end together.

use std::collections::BTreeSet;
use testkit::{RawClient, Server};

/// Returns the TTLs of responses stored with these options.
fn ttls(con: &mut RawClient, options: &str) -> Vec<i64> {
    let mut ttls = Vec::new();
    for n in 0..200 {
        let request = format!("response ann bot m-{n}");
        con.ok(format!("CHATCACHE.SET {request} answer {options}").trim_end());
        let key = con.text(&format!("CHATCACHE.KEY {request}"));
        ttls.push(con.number(&format!("PTTL {key}")));
    }
    ttls
}

#[test]
fn ttl_jitter_cuts_a_ttl_by_at_most_its_percentage() {
    let server =
        Server::builder().config("chatcache.ttl-jitter 50").config("chatcache.ttl-response 1000").start();
    let mut con = server.raw();
    for (options, grace) in [("", 0), ("EX 1000", 0), ("PX 1000000", 0), ("EX 1000 STALE 5000000", 5_000_000)]
    {
        let ttls = ttls(&mut con, options);
        let (least, most) =
            (ttls.iter().min().expect("some") - grace, ttls.iter().max().expect("some") - grace);
        assert!(least >= 490_000 && most <= 1_000_000, "{options}: {least} to {most}");
        assert!(least < 600_000 && most > 900_000, "{options}: {least} to {most}");
        assert!(BTreeSet::from_iter(&ttls).len() > 100, "{options}");
    }
    con.ok("CONFIG SET chatcache.ttl-jitter 10");
    let ttls = ttls(&mut con, "");
    assert!(ttls.iter().all(|ttl| (890_000..=1_000_000).contains(ttl)), "{ttls:?}");
}

#[test]
fn ttl_jitter_leaves_a_given_end_alone() {
    let server = Server::builder().config("chatcache.ttl-jitter 50").start();
    let mut con = server.raw();
    for (options, end) in [
        ("PXAT 4102444800123", 4_102_444_800_123),
        ("EXAT 4102444800", 4_102_444_800_000),
        ("PXAT 4102444800000 STALE 5", 4_102_444_800_005),
    ] {
        for n in 0..10 {
            con.ok(&format!("CHATCACHE.SET response ann bot m-{n} answer {options}"));
            let key = con.text(&format!("CHATCACHE.KEY response ann bot m-{n}"));
            assert_eq!(con.number(&format!("PEXPIRETIME {key}")), end, "{options}");
            con.ok(&format!("CHATCACHE.SET response ann bot m-{n} another KEEPTTL"));
            assert_eq!(con.number(&format!("PEXPIRETIME {key}")), end, "{options}");
        }
    }
}

#[test]
fn without_ttl_jitter_no_ttl_is_cut() {
    let server = Server::start();
    let mut con = server.raw();
    assert!(ttls(&mut con, "EX 1000").iter().all(|ttl| *ttl > 980_000));
}
