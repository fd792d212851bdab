//! Answers whose time is over, and answers that give way to others.

use testkit::{Raw, Server, args, eventually, info_field};

use super::story::{
    ANSWERS, Census, Desk, EMPTY, FULL, MSG, RESPONSE, SESSION, story, story_on, without_anns,
};

fn expire_soon(desk: &mut Desk, answer: super::story::Answer) -> Vec<u8> {
    let key = desk.key(answer);
    desk.number(1, &args!["PEXPIRE", key, 30]);
    key
}

#[test]
fn an_answer_that_expires_leaves_the_index_by_itself() {
    story([without_anns(4), EMPTY], |desk| {
        expire_soon(desk, RESPONSE);
        // Nobody touches the key: the server's own sweep finds it.
        eventually(|| desk.run(&["DBSIZE"]) == Raw::Int(5));
    });
}

#[test]
fn an_answer_that_is_found_expired_leaves_the_index_when_it_is_found() {
    story([without_anns(4), EMPTY], |desk| {
        desk.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        let key = expire_soon(desk, RESPONSE);
        eventually(|| desk.run(&args!["EXISTS", key]) == Raw::Int(0));
    });
    story([without_anns(4), EMPTY], |desk| {
        desk.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        expire_soon(desk, RESPONSE);
        eventually(|| desk.get(RESPONSE).is_none());
    });
}

#[test]
fn an_expired_answer_counts_until_it_is_removed_and_is_never_given() {
    let mut desk = Desk::new(Server::start());
    for (drop, count) in [(["CHATCACHE.INVALIDATE", "helper"], 5), (["CHATCACHE.FORGET", "ann"], 4)] {
        desk.fresh();
        desk.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        let past = args!["CHATCACHE.SET", "msg", "ann", "helper", "hi", "1", "PXAT", 1000];
        desk.ok(&past);
        desk.holds(0, FULL);
        desk.number(count, &drop);
        assert_eq!(desk.get(MSG), None);
        desk.number(6 - count, &["DBSIZE"]);
    }
}

#[test]
fn mixed_times_go_each_in_its_own() {
    let mut desk = Desk::new(Server::start());
    for number in 0..200 {
        let message = number.to_string();
        let persona = if number % 2 == 0 { "helper" } else { "poet" };
        let set = args!["CHATCACHE.SET", "msg", "ann", persona, message, "12345"];
        let px = args!["PX", 20 + number % 5 * 20];
        desk.ok(&if number % 4 < 2 { [&set[..], &px].concat() } else { set.to_vec() });
    }
    // A short one beside a long one of the same persona takes nothing with it, and leaves nothing behind.
    eventually(|| desk.run(&["DBSIZE"]) == Raw::Int(100));
    desk.holds(0, Census { helper: (50, 250), poet: (50, 250), ann: 100, bob: 0, keys: 100 });
    desk.number(50, &["CHATCACHE.INVALIDATE", "helper"]);
    desk.holds(0, Census { helper: (0, 0), poet: (50, 250), ann: 50, bob: 0, keys: 50 });
    desk.number(50, &["CHATCACHE.FORGET", "ann"]);
    desk.holds(0, EMPTY);
}

#[test]
fn a_new_time_keeps_the_answer_in_the_index() {
    story([FULL, EMPTY], |desk| {
        let key = expire_soon(desk, SESSION);
        desk.number(1, &args!["PERSIST", key]);
        let other = expire_soon(desk, RESPONSE);
        desk.number(1, &args!["EXPIRE", other, 1000]);
        let ends = expire_soon(desk, MSG);
        desk.ok(&["CHATCACHE.SET", "msg", "ann", "helper", "hi", "1"]);
        let ttl = desk.run(&args!["PTTL", ends]);
        assert!(matches!(ttl, Raw::Int(ttl) if (200_000..=300_000).contains(&ttl)), "{ttl:?}");
        desk.number(-1, &args!["PTTL", key]);
    });
}

#[test]
fn evicted_answers_leave_the_index() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-ttl", "volatile-lru"] {
        let mut desk = Desk::new(Server::builder().config(format!("maxmemory-policy {policy}")).start());
        let used: u64 =
            info_field(&mut desk.server.connect(), "memory", "used_memory").parse().expect("bytes");
        desk.ok(&args!["CONFIG", "SET", "maxmemory", used + 1_000_000]);
        let answer = "x".repeat(5000);
        for number in 0..1000 {
            let persona = if number % 3 == 0 { "poet" } else { "helper" };
            desk.ok(&args!["CHATCACHE.SET", "response", "ann", persona, number, answer]);
        }
        desk.ok(&["CONFIG", "SET", "maxmemory", "0"]);
        let left = |desk: &mut Desk, persona: &str| {
            let Raw::Array(keys) = desk.run(&args!["KEYS", format!("response:ann:{persona}:*")]) else {
                panic!("KEYS")
            };
            keys.len() as u64
        };
        let (helper, poet) = (left(&mut desk, "helper"), left(&mut desk, "poet"));
        assert!((20..500).contains(&(helper + poet)), "{policy}: {helper} and {poet} are left");
        let census = Census {
            helper: (helper, helper * 5000),
            poet: (poet, poet * 5000),
            ann: helper + poet,
            bob: 0,
            keys: helper + poet,
        };
        desk.holds(0, census);
        desk.totals(&[census]);
        desk.number(helper as i64, &["CHATCACHE.INVALIDATE", "helper"]);
        desk.number(poet as i64, &["CHATCACHE.FORGET", "ann"]);
        desk.holds(0, EMPTY);
    }
}

#[test]
fn no_memory_for_an_answer_leaves_the_old_one_and_the_index() {
    story_on(Server::builder().config("maxmemory-policy noeviction"), [FULL, EMPTY], |desk| {
        desk.ok(&["CONFIG", "SET", "maxmemory", "1"]);
        let refused = desk.run(&["CHATCACHE.SET", "msg", "bob", "poet", "hi", "another"]);
        assert!(matches!(&refused, Raw::Error(text) if text.starts_with("OOM")), "{refused:?}");
        ANSWERS.into_iter().for_each(|answer| desk.answers(answer));
        desk.ok(&["CONFIG", "SET", "maxmemory", "0"]);
    });
}
