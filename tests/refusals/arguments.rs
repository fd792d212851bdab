//! Wrong numbers of arguments, unknown tiers, and names that are none.

use testkit::{Raw, args};

use super::witness::Witness;

const TIERS: &str = "ERR unknown tier: use msg, persona, session or response";
const TIERS_AND_ANY: &str = "ERR unknown tier: use msg, persona, session, response or any";

/// Returns a line for each command about one request, with these words between the tier and the options.
fn about_a_request(tier: &str, rest: &str) -> [String; 5] {
    let of = |command: &str, more: &str| format!("CHATCACHE.{command} {tier} {rest}{more}");
    [of("GET", ""), of("SET", " answer"), of("DEL", ""), of("KEY", ""), of("INSPECT", "")]
}

#[test]
fn a_wrong_number_of_arguments_has_the_server_s_own_text() {
    let mut witness = Witness::start();
    for line in [
        "CHATCACHE.GET",
        "CHATCACHE.GET msg ann helper",
        "CHATCACHE.SET",
        "CHATCACHE.SET msg ann helper hello",
        "CHATCACHE.DEL msg",
        "CHATCACHE.DEL msg ann helper",
        "CHATCACHE.KEY",
        "CHATCACHE.KEY msg ann helper",
        "CHATCACHE.INSPECT",
        "CHATCACHE.INSPECT msg ann helper",
        "CHATCACHE.INVALIDATE",
        "CHATCACHE.FORGET",
        "CHATCACHE.STATS helper coder",
        "CHATCACHE.STATS helper coder msg",
        "CHATCACHE.HELP me",
    ] {
        let command = line.split(' ').next().expect("a command").to_lowercase();
        witness.refuses_line(line, &format!("ERR wrong number of arguments for '{command}' command"));
    }
}

#[test]
fn an_unknown_tier_is_refused_with_the_list_of_tiers() {
    let mut witness = Witness::start();
    for tier in ["nowhere", "\"\"", "msgs", "ms", "msg\0", "*", "m\u{100}sg", "any\u{100}"] {
        for line in about_a_request(tier, "ann helper hello") {
            let text = if line.starts_with("CHATCACHE.GET") { TIERS_AND_ANY } else { TIERS };
            witness.refuses_line(&line, text);
        }
        witness.refuses_line(&format!("CHATCACHE.FLUSH {tier}"), TIERS);
        witness.refuses_line(&format!("CHATCACHE.FLUSH msg {tier} persona"), TIERS);
    }
}

#[test]
fn any_is_a_tier_for_get_alone() {
    let mut witness = Witness::start();
    for line in about_a_request("any", "ann helper hello").iter().skip(1) {
        witness.refuses_line(line, TIERS);
    }
    witness.refuses_line("CHATCACHE.FLUSH any", TIERS);
    assert_eq!(witness.con.say("CHATCACHE.GET any ann helper hello"), Raw::bulk("answer"));
}

#[test]
fn an_id_is_refused_outside_the_tier_session() {
    let mut witness = Witness::start();
    for tier in ["msg", "persona", "response"] {
        let text = format!("ERR the tier {tier} takes no ID: ID is for the tier session");
        for id in ["m-1", "\"\""] {
            for line in about_a_request(tier, "ann helper hello") {
                witness.refuses_line(&format!("{line} ID {id}"), &text);
            }
            for command in ["FETCH", "RELEASE"] {
                let line = format!("CHATCACHE.{command} {tier} ann helper hello ID {id}");
                let token = if command == "RELEASE" { " TOKEN t" } else { "" };
                witness.refuses_line(&(line + token), &text);
            }
        }
    }
    // For its look in the tier session any takes an ID.
    let reply = witness.con.say("CHATCACHE.GET any ann helper hello ID m-1");
    assert_eq!(reply, Raw::bulk("answer"));
}

#[test]
fn an_empty_name_is_refused_where_a_key_needs_it() {
    let mut witness = Witness::start();
    for tier in ["msg", "persona", "session", "response"] {
        for line in about_a_request(tier, "ann \"\" hello") {
            witness.refuses_line(&line, "ERR the persona is empty");
        }
    }
    for line in about_a_request("session", "ann helper hello") {
        witness.refuses_line(&(line + " ID \"\""), "ERR the ID is empty: leave ID out if there is none");
    }
    witness.refuses_line(
        "CHATCACHE.GET any ann helper hello ID \"\"",
        "ERR the ID is empty: leave ID out if there is none",
    );
    witness.refuses_line("CHATCACHE.GET any ann \"\" hello", "ERR the persona is empty");
    for tier in ["session", "response"] {
        for line in about_a_request(tier, "\"\" helper hello") {
            witness.refuses_line(&line, &format!("ERR the user is empty: the tier {tier} needs one"));
            witness.refuses_line(
                &(line + " ID m-1"),
                &format!("ERR the user is empty: the tier {tier} needs one"),
            );
        }
    }
    witness.refuses_line("CHATCACHE.INVALIDATE \"\"", "ERR the persona is empty");
    witness.refuses_line("CHATCACHE.INVALIDATE helper \"\"", "ERR the persona is empty");
    witness.refuses_line("CHATCACHE.FORGET \"\"", "ERR the user is empty");
    witness.refuses_line("CHATCACHE.FORGET ann \"\"", "ERR the user is empty");
    witness.refuses_line("CHATCACHE.STATS \"\"", "ERR the persona is empty");
}

#[test]
fn a_name_of_more_than_65535_bytes_is_refused() {
    let mut witness = Witness::start();
    let long = "n".repeat(65_536);
    for command in ["GET", "SET", "DEL", "KEY", "INSPECT"] {
        let mut line = args![format!("CHATCACHE.{command}"), "session", "ann", "helper", "hello"].to_vec();
        line.extend((command == "SET").then(|| b"answer".to_vec()));
        line.extend(args!["ID", "m-1"]);
        for (place, name) in [(2, "user"), (3, "persona"), (line.len() - 1, "ID")] {
            let mut line = line.clone();
            line[place] = long.clone().into_bytes();
            witness.refuses(&line, &format!("ERR the {name} is longer than 65535 bytes"));
        }
    }
    let persona = "ERR the persona is longer than 65535 bytes";
    witness.refuses(&["CHATCACHE.INVALIDATE", "helper", &long], persona);
    witness.refuses(&["CHATCACHE.STATS", &long], persona);
    witness.refuses(&["CHATCACHE.FORGET", "ann", &long], "ERR the user is longer than 65535 bytes");
}
