//! Names that mean something elsewhere: to patterns, to keys, to C.

use testkit::{Raw, Server, args};

use super::story::{Desk, story_on};

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

fn fill(desk: &mut Desk) {
    for (number, persona) in NAMES.iter().enumerate() {
        for tier in TIERS {
            // The user's name is the persona's: who is who must not be mixed up either.
            let set = args!["CHATCACHE.SET", tier, persona, persona, format!("message {number}"), "answer"];
            desk.ok(&set);
        }
    }
}

#[track_caller]
fn answers(desk: &mut Desk, number: usize) -> usize {
    let name = NAMES[number];
    let message = format!("message {number}");
    let mut found = 0;
    for tier in TIERS {
        match desk.run(&args!["CHATCACHE.GET", tier, name, name, message]) {
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
fn a_drop_takes_exactly_the_persona_or_user_of_that_name() {
    let mut desk = Desk::new(Server::start());
    for limit in ["512", "0"] {
        desk.ok(&["CONFIG", "SET", "chatcache.invalidate-sync-limit", limit]);
        for drop in ["CHATCACHE.INVALIDATE", "CHATCACHE.FORGET"] {
            desk.ok(&["FLUSHALL"]);
            fill(&mut desk);
            for (number, name) in NAMES.iter().enumerate() {
                assert_eq!(answers(&mut desk, number), 4);
                desk.number(4, &args![drop, name]);
                desk.number(0, &args![drop, name]);
                assert_eq!(answers(&mut desk, number), 0);
                for other in number + 1..NAMES.len() {
                    assert_eq!(answers(&mut desk, other), 4, "{} after {number}", other);
                }
            }
            desk.reclaimed();
            desk.number(0, &["DBSIZE"]);
        }
    }
}

#[test]
fn personas_of_any_name_come_back_from_a_restart_and_under_other_keys() {
    let mut desk = Desk::new(Server::start());
    fill(&mut desk);
    for name in NAMES {
        let Raw::Bulk(key) = desk.run(&args!["CHATCACHE.KEY", "response", name, name, "message 0"]) else {
            panic!("KEY")
        };
        // Where there is one, it goes to a name made of the persona's own.
        if desk.run(&args!["EXISTS", key]) == Raw::Int(1) {
            desk.ok(&args!["RENAME", key, [b"elsewhere ", name].concat()]);
        }
    }
    desk.server.restart();
    desk.reconnect();
    for (number, name) in NAMES.iter().enumerate() {
        let left = answers(&mut desk, number);
        assert_eq!(left, if number == 0 { 3 } else { 4 });
        desk.number(4, &args!["CHATCACHE.INVALIDATE", name]);
    }
    desk.reclaimed();
    desk.number(0, &["DBSIZE"]);
    desk.totals(&[]);
}

#[test]
fn an_answers_own_name_is_no_pattern() {
    use super::story::{Census, EMPTY, FULL};
    story_on(Server::builder(), [Census { keys: 8, ..FULL }, EMPTY], |desk| {
        // Keys of others that look like the persona's.
        desk.ok(&["SET", "persona:helper:x", "text"]);
        desk.ok(&["SET", "response:ann:helper:x", "text"]);
    });
}
