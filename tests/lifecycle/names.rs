//! Names that mean something elsewhere: to patterns, to keys, to C.

use testkit::{Raw, Server, args};

use super::story::{Fixture, story_on};

const NAMES: [&[u8]; 14] = [
    b"users",
    b"usersAbc",
    b"users:",
    b":users",
    b"*",
    b"u*",
    b"[a-z]*",
    b"{users}",
    b"{",
    b"}",
    b"%3A",
    b"a\0b",
    b"\xff\xfe\xc3",
    b"new\r\nline",
];

const TIERS: [&str; 4] = ["msg", "persona", "session", "response"];

fn fill(fixture: &mut Fixture) {
    for (number, persona) in NAMES.iter().enumerate() {
        for tier in TIERS {
            // The user has the persona's name: the two must not be confused.
            let set = args!["CHATCACHE.SET", tier, persona, persona, format!("message {number}"), "answer"];
            fixture.ok(&set);
        }
    }
}

#[track_caller]
fn responses(fixture: &mut Fixture, number: usize) -> usize {
    let name = NAMES[number];
    let message = format!("message {number}");
    let mut found = 0;
    for tier in TIERS {
        match fixture.run(&args!["CHATCACHE.GET", tier, name, name, message]) {
            Raw::NullBulk => {}
            reply => {
                assert_eq!(reply, Raw::bulk("answer"));
                found += 1;
            }
        }
    }
    found
}

#[test]
fn an_invalidation_takes_exactly_the_persona_or_user_of_that_name() {
    let mut fixture = Fixture::new(Server::start());
    for limit in ["512", "0"] {
        fixture.ok(&["CONFIG", "SET", "chatcache.invalidate-sync-limit", limit]);
        for drop in ["CHATCACHE.INVALIDATE", "CHATCACHE.FORGET"] {
            fixture.ok(&["FLUSHALL"]);
            fill(&mut fixture);
            for (number, name) in NAMES.iter().enumerate() {
                assert_eq!(responses(&mut fixture, number), 4);
                fixture.number(4, &args![drop, name]);
                fixture.number(0, &args![drop, name]);
                assert_eq!(responses(&mut fixture, number), 0);
                for other in number + 1..NAMES.len() {
                    assert_eq!(responses(&mut fixture, other), 4, "{} after {number}", other);
                }
            }
            fixture.reclaimed();
            fixture.number(0, &["DBSIZE"]);
        }
    }
}

#[test]
fn personas_of_any_name_come_back_from_a_restart_and_under_other_keys() {
    let mut fixture = Fixture::new(Server::start());
    fill(&mut fixture);
    for name in NAMES {
        let Raw::Bulk(key) = fixture.run(&args!["CHATCACHE.KEY", "response", name, name, "message 0"]) else {
            panic!("KEY")
        };
        // If there is one, it goes to a name made of the persona's own.
        if fixture.run(&args!["EXISTS", key]) == Raw::Int(1) {
            fixture.ok(&args!["RENAME", key, [b"elsewhere ", name].concat()]);
        }
    }
    fixture.server.restart();
    fixture.reconnect();
    for (number, name) in NAMES.iter().enumerate() {
        let left = responses(&mut fixture, number);
        assert_eq!(left, if number == 0 { 3 } else { 4 });
        fixture.number(4, &args!["CHATCACHE.INVALIDATE", name]);
    }
    fixture.reclaimed();
    fixture.number(0, &["DBSIZE"]);
    fixture.totals(&[]);
}

#[test]
fn an_entry_s_own_name_is_no_pattern() {
    use super::story::{Census, EMPTY, FULL};
    story_on(Server::builder(), [Census { keys: 8, ..FULL }, EMPTY], |fixture| {
        // Keys of others that look like the persona's.
        fixture.ok(&["SET", "persona:helper:x", "text"]);
        fixture.ok(&["SET", "response:ann:helper:x", "text"]);
    });
}
