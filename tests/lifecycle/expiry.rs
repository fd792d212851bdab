//! Entries that expire, and entries that are evicted.

use testkit::{Raw, Server, args, eventually, info_field};

use super::story::{
    Census, EMPTY, FULL, Fixture, MSG, RESPONSE, RESPONSES, SESSION, story, story_on, without_anns,
};

fn expire_soon(fixture: &mut Fixture, response: super::story::Response) -> Vec<u8> {
    let key = fixture.key(response);
    fixture.number(1, &args!["PEXPIRE", key, 30]);
    key
}

#[test]
fn an_entry_that_expires_leaves_the_index_by_itself() {
    story([without_anns(4), EMPTY], |fixture| {
        expire_soon(fixture, RESPONSE);
        // No client touches the key: the server's own sweep finds it.
        eventually(|| fixture.run(&["DBSIZE"]) == Raw::Int(5));
    });
}

#[test]
fn an_entry_that_is_found_expired_leaves_the_index_when_it_is_found() {
    story([without_anns(4), EMPTY], |fixture| {
        fixture.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        let key = expire_soon(fixture, RESPONSE);
        eventually(|| fixture.run(&args!["EXISTS", key]) == Raw::Int(0));
    });
    story([without_anns(4), EMPTY], |fixture| {
        fixture.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        expire_soon(fixture, RESPONSE);
        eventually(|| fixture.get(RESPONSE).is_none());
    });
}

#[test]
fn an_expired_entry_counts_until_it_is_removed_and_is_never_given() {
    let mut fixture = Fixture::new(Server::start());
    for (drop, count) in [(["CHATCACHE.INVALIDATE", "helper"], 5), (["CHATCACHE.FORGET", "ann"], 4)] {
        fixture.fresh();
        fixture.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        let past = args!["CHATCACHE.SET", "msg", "ann", "helper", "hi", "1", "PXAT", 1000];
        fixture.ok(&past);
        fixture.holds(0, FULL);
        fixture.number(count, &drop);
        assert_eq!(fixture.get(MSG), None);
        fixture.number(6 - count, &["DBSIZE"]);
    }
}

#[test]
fn mixed_times_go_each_in_its_own() {
    let mut fixture = Fixture::new(Server::start());
    for number in 0..200 {
        let message = number.to_string();
        let persona = if number % 2 == 0 { "helper" } else { "poet" };
        let set = args!["CHATCACHE.SET", "msg", "ann", persona, message, "12345"];
        let px = args!["PX", 20 + number % 5 * 20];
        fixture.ok(&if number % 4 < 2 { [&set[..], &px].concat() } else { set.to_vec() });
    }
    // A short one beside a long one of the same persona takes nothing with it, and leaves nothing behind.
    eventually(|| fixture.run(&["DBSIZE"]) == Raw::Int(100));
    fixture.holds(0, Census { helper: (50, 250), poet: (50, 250), ann: 100, bob: 0, keys: 100 });
    fixture.number(50, &["CHATCACHE.INVALIDATE", "helper"]);
    fixture.holds(0, Census { helper: (0, 0), poet: (50, 250), ann: 50, bob: 0, keys: 50 });
    fixture.number(50, &["CHATCACHE.FORGET", "ann"]);
    fixture.holds(0, EMPTY);
}

#[test]
fn a_new_time_keeps_the_entry_in_the_index() {
    story([FULL, EMPTY], |fixture| {
        let key = expire_soon(fixture, SESSION);
        fixture.number(1, &args!["PERSIST", key]);
        let other = expire_soon(fixture, RESPONSE);
        fixture.number(1, &args!["EXPIRE", other, 1000]);
        let ends = expire_soon(fixture, MSG);
        fixture.ok(&["CHATCACHE.SET", "msg", "ann", "helper", "hi", "1"]);
        let ttl = fixture.run(&args!["PTTL", ends]);
        assert!(matches!(ttl, Raw::Int(ttl) if (200_000..=300_000).contains(&ttl)), "{ttl:?}");
        fixture.number(-1, &args!["PTTL", key]);
    });
}

#[test]
fn evicted_entries_leave_the_index() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-ttl", "volatile-lru"] {
        let mut fixture =
            Fixture::new(Server::builder().config(format!("maxmemory-policy {policy}")).start());
        let used: u64 =
            info_field(&mut fixture.server.connect(), "memory", "used_memory").parse().expect("bytes");
        fixture.ok(&args!["CONFIG", "SET", "maxmemory", used + 1_000_000]);
        let response = "x".repeat(5000);
        for number in 0..1000 {
            let persona = if number % 3 == 0 { "poet" } else { "helper" };
            fixture.ok(&args!["CHATCACHE.SET", "response", "ann", persona, number, response]);
        }
        fixture.ok(&["CONFIG", "SET", "maxmemory", "0"]);
        let left = |fixture: &mut Fixture, persona: &str| {
            let Raw::Array(keys) = fixture.run(&args!["KEYS", format!("response:ann:{persona}:*")]) else {
                panic!("KEYS")
            };
            keys.len() as u64
        };
        let (helper, poet) = (left(&mut fixture, "helper"), left(&mut fixture, "poet"));
        assert!((20..500).contains(&(helper + poet)), "{policy}: {helper} and {poet} are left");
        let census = Census {
            helper: (helper, helper * 5000),
            poet: (poet, poet * 5000),
            ann: helper + poet,
            bob: 0,
            keys: helper + poet,
        };
        fixture.holds(0, census);
        fixture.totals(&[census]);
        fixture.number(helper as i64, &["CHATCACHE.INVALIDATE", "helper"]);
        fixture.number(poet as i64, &["CHATCACHE.FORGET", "ann"]);
        fixture.holds(0, EMPTY);
    }
}

#[test]
fn no_memory_for_an_entry_leaves_the_old_one_and_the_index() {
    story_on(Server::builder().config("maxmemory-policy noeviction"), [FULL, EMPTY], |fixture| {
        fixture.ok(&["CONFIG", "SET", "maxmemory", "1"]);
        let refused = fixture.run(&["CHATCACHE.SET", "msg", "bob", "poet", "hi", "another"]);
        assert!(matches!(&refused, Raw::Error(text) if text.starts_with("OOM")), "{refused:?}");
        RESPONSES.into_iter().for_each(|response| fixture.responses(response));
        fixture.ok(&["CONFIG", "SET", "maxmemory", "0"]);
    });
}
