//! FORGET, FLUSH and PERSONAS concern all personas and need rights to all keys.

use testkit::{Raw, RawClient, Server, set_line};

use super::users::{assert_denied, assert_denied_in_script, user};

const WRITES: [&str; 3] = ["CHATCACHE.FORGET bob", "CHATCACHE.FLUSH", "CHATCACHE.FLUSH msg session"];
const READS: [&str; 2] = ["CHATCACHE.PERSONAS", "CHATCACHE.PERSONAS CURSOR 0 COUNT 5"];

fn server() -> Server {
    let server = Server::start();
    server.raw().ok(&set_line("msg ann helper hi", "helpers", ""));
    server
}

#[track_caller]
fn assert_allowed(con: &mut RawClient, line: &str) {
    let reply = con.say(line);
    assert!(!matches!(reply, Raw::Error(_)), "{line} gave {reply:?}");
}

/// Asserts the results of these commands for a user with these rights.
#[track_caller]
fn may(server: &Server, rights: &str, reads: bool, writes: bool) {
    let mut con = user(server, "cy", rights);
    for (lines, allowed) in [(&READS[..], reads), (&WRITES[..], writes)] {
        for line in lines {
            match allowed {
                true => assert_allowed(&mut con, line),
                false => assert_denied(server, &mut con, line),
            }
        }
    }
}

#[test]
fn rights_to_all_keys_are_the_pattern_for_all_keys() {
    let server = server();
    may(&server, "~*", true, true);
    may(&server, "allkeys", true, true);
    may(&server, "%RW~*", true, true);
    may(&server, "%R~* %W~*", true, true);
    may(&server, "%R~*", true, false);
    may(&server, "%W~*", false, true);
    may(&server, "%R~* ~helper", true, false);
    for rights in ["~helper", "", "~h* ~c*", "~?*", "~[a-z]*", "~**", "~helper %R~helper*"] {
        may(&server, rights, false, false);
    }
}

#[test]
fn a_selector_has_to_allow_the_command_and_all_keys() {
    let server = server();
    may(&server, "~helper (~* +@all)", true, true);
    may(&server, "~helper (%R~* +@all)", true, false);
    may(&server, "~helper (~* +chatcache.personas)", true, false);
    may(&server, "~helper (~* +chatcache.get +get)", false, false);
    may(&server, "~helper (~* +@all -chatcache.personas)", false, true);
    may(&server, "~helper (~other +@all) (%W~* +chatcache.flush +chatcache.forget)", false, true);
    // The commands are the root's, and all keys those of a part without them.
    may(&server, "~* -@all +auth (~helper +@all)", false, false);
}

#[test]
fn a_script_does_no_more_than_its_user() {
    let server = server();
    let mut cy = user(&server, "cy", "~helper");
    for line in READS.iter().chain(&WRITES) {
        let words: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
        let body = format!("return redis.call({})", words.join(","));
        assert_denied_in_script(&mut cy, &body, "helper");
        let reply = server.raw().call(&["EVAL", &body, "1", "helper"]);
        assert!(!matches!(reply, Raw::Error(_)), "{line} gave {reply:?}");
    }
    server.raw().ok(&set_line("msg ann helper hi", "helpers", ""));
    for line in READS.iter().chain(&WRITES) {
        match &cy.transaction(&[line])[..] {
            [Raw::Error(text)] => assert!(text.starts_with("NOPERM "), "{text}"),
            other => panic!("{line} gave {other:?}"),
        }
    }
    assert_eq!(server.raw().stats("")["entries"], 1);
}

#[test]
fn a_user_without_key_rights_sees_the_sums_of_stats_and_no_persona() {
    let server = server();
    let mut cy = user(&server, "cy", "");
    assert_eq!(cy.stats("")["entries"], 1);
    assert_denied(&server, &mut cy, "CHATCACHE.STATS helper");
    assert_denied(&server, &mut cy, "CHATCACHE.KEY msg ann helper hi");
}
