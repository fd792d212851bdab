//! ACL: a right to a persona is a right to its responses.

use testkit::{Raw, RawClient, Server};

const READS: [&str; 6] = [
    "GET msg ann helper hello",
    "GET any ann helper hello",
    "INSPECT msg ann helper hello",
    "STATS helper",
    "KEY msg ann helper hello",
    "HELP",
];

const WRITES: [&str; 3] =
    ["SET msg ann helper hello answer", "DEL msg ann helper other", "INVALIDATE helper"];

/// A server with a user of these rights, one answer of the helper, and the user's connection.
fn server_with_user(rights: &str) -> (Server, RawClient) {
    let server = Server::start();
    let mut con = server.raw();
    con.ok(&format!("ACL SETUSER cy on nopass {rights}"));
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    con.ok("CHATCACHE.SET msg ann coder bye answer");
    let mut user = server.raw();
    user.ok("AUTH cy anything");
    (server, user)
}

#[track_caller]
fn assert_allowed(con: &mut RawClient, line: &str) {
    let reply = con.say(&format!("CHATCACHE.{line}"));
    assert!(!matches!(reply, Raw::Error(_)), "{line} gave {reply:?}");
}

/// Asserts that the line is refused and nothing changed.
#[track_caller]
fn assert_refused(server: &Server, con: &mut RawClient, line: &str) {
    let mut admin = server.raw();
    let before = (admin.text("DEBUG DIGEST"), admin.stats(""));
    match con.say(&format!("CHATCACHE.{line}")) {
        Raw::Error(text) => assert!(text.starts_with("NOPERM "), "{line} gave {text}"),
        other => panic!("{line} gave {other:?}"),
    }
    assert_eq!((admin.text("DEBUG DIGEST"), admin.stats("")), before, "{line}");
}

#[test]
fn a_user_with_read_rights_gets_entries_and_changes_none() {
    let (server, mut user) = server_with_user("+@all %R~helper");
    for line in READS {
        assert_allowed(&mut user, line);
    }
    for line in WRITES {
        assert_refused(&server, &mut user, line);
    }
    for line in READS.iter().chain(&WRITES).filter(|line| line.contains("helper")) {
        assert_refused(&server, &mut user, &line.replace("helper", "coder"));
    }
    assert_eq!(user.say("CHATCACHE.GET any ann helper hello"), Raw::bulk("answer"));
}

#[test]
fn a_user_with_all_rights_to_a_persona_has_none_to_another() {
    let (server, mut user) = server_with_user("+@all ~helper");
    for line in READS.iter().chain(&WRITES) {
        assert_allowed(&mut user, line);
    }
    for line in READS.iter().chain(&WRITES).filter(|line| line.contains("helper")) {
        assert_refused(&server, &mut user, &line.replace("helper", "coder"));
        assert_refused(&server, &mut user, &line.replace("helper", "helper2"));
    }
    assert_refused(&server, &mut user, "INVALIDATE helper coder");
    assert_refused(&server, &mut user, "INVALIDATE coder helper");
}

#[test]
fn a_user_with_write_rights_alone_cannot_read_a_persona() {
    let (server, mut user) = server_with_user("+@all %W~helper");
    for line in WRITES {
        assert_allowed(&mut user, line);
    }
    for line in [
        "GET msg ann helper hello",
        "GET any ann helper hello",
        "INSPECT msg ann helper hello",
        "STATS helper",
    ] {
        assert_refused(&server, &mut user, line);
    }
}

#[test]
fn a_pattern_gives_rights_to_many_personas() {
    let (server, mut user) = server_with_user("+@all ~help*");
    assert_allowed(&mut user, "GET msg ann helper hello");
    assert_allowed(&mut user, "INVALIDATE helper help helping");
    assert_refused(&server, &mut user, "INVALIDATE helper coder");
}

#[test]
fn a_user_has_the_commands_that_were_given_and_no_others() {
    let (server, mut user) = server_with_user("~* -@all +chatcache.get +chatcache.stats");
    assert_allowed(&mut user, "GET msg ann helper hello");
    assert_allowed(&mut user, "STATS");
    for line in [
        "SET msg ann helper hello other",
        "DEL msg ann helper hello",
        "INVALIDATE helper",
        "FORGET ann",
        "FLUSH",
        "PERSONAS",
    ] {
        assert_refused(&server, &mut user, line);
    }
}
