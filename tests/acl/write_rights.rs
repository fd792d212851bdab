//! Writes: a user without rights to a persona neither replaces nor removes its responses, under any name.

use testkit::{Raw, Server, eventually, fields, fill_persona, items, set_line, text_of};

use super::users::{SHARED, assert_denied, assert_denied_in_script, of, store, user};

#[test]
fn an_entry_of_a_persona_without_write_rights_stays_as_it_is() {
    let server = Server::start();
    let mut admin = server.raw();
    for rights in ["~coder", "~coder %R~helper"] {
        for request in SHARED {
            admin.ok(&store(&of("helper", request), "helpers", ""));
            let mut cy = user(&server, "cy", rights);
            let token = format!("TOKEN {:032}", 7);
            for options in ["", "NX", "XX", "KEEPTTL", "PX 5 STALE 1000", &token] {
                assert_denied(&server, &mut cy, &store(request, "own", options));
            }
            assert_denied(&server, &mut cy, &format!("CHATCACHE.DEL {request}"));
            assert_eq!(admin.say(&format!("CHATCACHE.GET {request}")), Raw::bulk("helpers"), "{request}");
        }
    }
}

#[test]
fn scripts_and_transactions_write_no_more_than_their_user() {
    let server = Server::start();
    let mut admin = server.raw();
    admin.ok(&set_line("msg ann helper hi", "helpers", ""));
    let mut cy = user(&server, "cy", "~coder");
    let script = "return redis.call('chatcache.set', 'msg', 'ann', KEYS[1], 'hi', 'own')";
    assert_denied_in_script(&mut cy, script, "coder");
    assert_denied_in_script(
        &mut cy,
        "return redis.call('chatcache.del', 'msg', 'ann', KEYS[1], 'hi')",
        "coder",
    );
    let replies = cy.transaction(&["CHATCACHE.SET msg ann coder hi own", "CHATCACHE.DEL msg ann coder hi"]);
    assert!(
        replies.iter().all(|reply| matches!(reply, Raw::Error(text) if text.starts_with("NOPERM "))),
        "{replies:?}"
    );
    assert_eq!(admin.say("CHATCACHE.GET msg ann helper hi"), Raw::bulk("helpers"));
    assert_eq!(admin.call(&["EVAL", script, "1", "coder"]), Raw::simple("OK"));
    assert_eq!(cy.say("CHATCACHE.GET msg ann coder hi"), Raw::bulk("own"));
}

#[test]
fn a_writer_of_both_personas_moves_the_entry_to_the_named_one() {
    let server = Server::start();
    let mut admin = server.raw();
    admin.ok(&set_line("msg ann helper hi", "helpers", ""));
    let mut user = user(&server, "dee", "~coder %W~helper");
    user.ok(&set_line("msg ann coder hi", "coders", ""));
    assert_eq!(admin.number("CHATCACHE.INVALIDATE helper"), 0);
    assert_eq!(user.say("CHATCACHE.GET msg ann coder hi"), Raw::bulk("coders"));
    admin.ok(&set_line("msg ann helper hi", "helpers", ""));
    assert_eq!(user.number("CHATCACHE.DEL msg ann coder hi"), 1);
    assert_eq!(admin.say("CHATCACHE.GET msg ann helper hi"), Raw::NullBulk);
}

#[test]
fn the_key_of_a_tombstone_or_an_expired_entry_is_free_for_all_writers() {
    let server = Server::builder().config("chatcache.invalidate-sync-limit 0").start();
    let mut admin = server.raw();
    let mut cy = user(&server, "cy", "~coder");
    fill_persona(&mut admin, "ann", "helper", 20_000, 10);
    admin.ok(&set_line("msg ann helper hi", "helpers", ""));
    assert_denied(&server, &mut cy, &set_line("msg ann coder hi", "own", ""));
    assert_eq!(admin.number("CHATCACHE.INVALIDATE helper"), 20_001);
    cy.ok(&set_line("msg ann coder hi", "own", ""));
    admin.ok(&set_line("msg ann helper short", "helpers", "PX 1"));
    eventually(|| cy.say("CHATCACHE.SET msg ann coder short own") == Raw::simple("OK"));
    assert_eq!(admin.say("CHATCACHE.GET msg ann coder hi"), Raw::bulk("own"));
}

#[test]
fn an_entry_that_was_renamed_into_the_place_of_another_personas_stays_its_own() {
    let server = Server::start();
    let mut admin = server.raw();
    let mut cy = user(&server, "cy", "~coder");
    admin.ok(&set_line("response ann helper hi", "helpers", ""));
    let key = |persona| format!("response:ann:{persona}:49f68a5c8493ec2c0bf489821c21fc3b");
    assert_eq!(admin.text("CHATCACHE.KEY response ann helper hi"), key("helper"));
    admin.ok(&format!("RENAME {} {}", key("helper"), key("coder")));
    assert_eq!(cy.say("CHATCACHE.GET response ann coder hi"), Raw::NullBulk);
    assert_denied(&server, &mut cy, &set_line("response ann coder hi", "own", ""));
    assert_eq!(cy.number("CHATCACHE.DEL response ann coder hi"), 0);
    assert_eq!(admin.number(&format!("EXISTS {}", key("coder"))), 1);
    admin.ok(&set_line("response ann coder hi", "coders", ""));
    assert_eq!(cy.say("CHATCACHE.GET response ann coder hi"), Raw::bulk("coders"));
}

#[test]
fn refusals_are_in_the_acl_log() {
    let server = Server::start();
    let mut admin = server.raw();
    let mut cy = user(&server, "cy", "~coder");
    admin.ok(&set_line("msg ann helper hi", "helpers", ""));
    cy.say("CHATCACHE.SET msg ann coder hi own");
    cy.say("CHATCACHE.GET msg ann coder hi");
    cy.say("CHATCACHE.FLUSH");
    let log = items(admin.say("ACL LOG"));
    let objects: Vec<_> = log.into_iter().map(|entry| text_of(&fields(entry)["object"])).collect();
    assert_eq!(objects, ["*", "helper"]);
}

#[test]
fn in_a_cluster_personas_share_no_key() {
    let server = Server::builder().cluster().start();
    let mut admin = server.raw();
    let mut cy = user(&server, "cy", "~coder");
    for request in SHARED {
        admin.ok(&store(&of("helper", request), "helpers", ""));
        assert_eq!(cy.say(&format!("CHATCACHE.GET {request}")), Raw::NullBulk, "{request}");
        cy.ok(&store(request, "coders", ""));
        assert_eq!(cy.number(&format!("CHATCACHE.DEL {request}")), 1, "{request}");
        let get = format!("CHATCACHE.GET {}", of("helper", request));
        assert_eq!(admin.say(&get), Raw::bulk("helpers"), "{request}");
    }
    for line in ["CHATCACHE.FLUSH", "CHATCACHE.FORGET ann", "CHATCACHE.PERSONAS"] {
        assert_denied(&server, &mut cy, line);
    }
}
