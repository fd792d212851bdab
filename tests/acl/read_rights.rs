//! Reads: a user without rights to another persona does not see its entry.

use testkit::{
    Raw, RawClient, Server, fields, hit, lease, refresh, skipped_as_copy_changes_the_database, stale,
    store_stale, text_of,
};

use super::users::{SHARED, of, set_rights, store, user};

/// Returns a server with the helper's response to every shared request, and a user with rights to the coder only.
fn helper_responses() -> (Server, RawClient) {
    let server = Server::start();
    let mut admin = server.raw();
    for request in SHARED {
        admin.ok(&store(&of("helper", request), "helpers", ""));
    }
    let cy = user(&server, "cy", "~coder");
    (server, cy)
}

#[test]
fn an_entry_of_a_persona_without_read_rights_is_a_miss() {
    let (server, mut cy) = helper_responses();
    for request in SHARED {
        assert_eq!(cy.say(&format!("CHATCACHE.GET {request}")), Raw::NullBulk, "{request}");
        assert_eq!(cy.say(&format!("CHATCACHE.INSPECT {request}")), Raw::NullBulk, "{request}");
        lease(&mut cy, request);
        // And it is there for others, whatever persona they name.
        let mut admin = server.raw();
        assert_eq!(admin.say(&format!("CHATCACHE.GET {request}")), Raw::bulk("helpers"), "{request}");
    }
    let mut admin = server.raw();
    assert_eq!(admin.stats("coder")["misses"], 6);
    assert_eq!(admin.stats("helper")["hits"], 3);
    let seen = fields(admin.say("CHATCACHE.INSPECT msg ann coder hi"));
    assert_eq!((text_of(&seen["persona"]), seen["hits"].clone()), ("helper".to_owned(), Raw::Int(1)));
}

#[test]
fn any_looks_on_in_the_next_tier() {
    let (server, mut cy) = helper_responses();
    assert_eq!(cy.say("CHATCACHE.GET any ann coder hi"), Raw::NullBulk);
    let mut admin = server.raw();
    for tier in ["persona", "response"] {
        admin.ok(&format!("CHATCACHE.SET {tier} ann coder hi {tier}"));
        assert_eq!(cy.say("CHATCACHE.GET any ann coder hi"), Raw::bulk(tier));
        assert_eq!(admin.say("CHATCACHE.GET any ann coder hi"), Raw::bulk("helpers"));
    }
}

#[test]
fn a_script_a_function_and_a_transaction_read_no_more_than_their_user() {
    let (server, mut cy) = helper_responses();
    let mut admin = server.raw();
    let code = "#!lua name=lib\nredis.register_function{function_name='ask', \
                callback=function(keys, args) return redis.call('chatcache.get', args[1], 'ann', keys[1], 'hi') end, \
                flags={'no-writes'}}";
    assert_eq!(admin.call(&["FUNCTION", "LOAD", code]), Raw::bulk("lib"));
    let body = "return redis.call('chatcache.get', ARGV[1], 'ann', KEYS[1], 'hi')";
    for tier in ["msg", "session", "any"] {
        for (con, expected) in [(&mut cy, Raw::NullBulk), (&mut admin, Raw::bulk("helpers"))] {
            for command in ["EVAL", "EVAL_RO"] {
                assert_eq!(con.call(&[command, body, "1", "coder", tier]), expected, "{command} {tier}");
            }
            for command in ["FCALL", "FCALL_RO"] {
                assert_eq!(con.call(&[command, "ask", "1", "coder", tier]), expected, "{command} {tier}");
            }
            let get = format!("CHATCACHE.GET {tier} ann coder hi");
            assert_eq!(con.transaction(&[&get]), [expected], "{tier}");
        }
    }
    let fetch = "return redis.call('chatcache.fetch', 'msg', 'ann', KEYS[1], 'hi')[1]";
    assert_eq!(cy.call(&["EVAL", fetch, "1", "coder"]), Raw::bulk("lease"));
    assert_eq!(admin.call(&["EVAL", fetch, "1", "coder"]), Raw::bulk("hit"));
}

#[test]
fn a_right_to_read_both_personas_is_enough() {
    let (server, _) = helper_responses();
    for rights in ["~coder ~helper", "~coder %R~help*", "%R~*", "~coder (+@all ~coder %R~helper)"] {
        let mut user = user(&server, "dee", rights);
        for request in SHARED {
            assert_eq!(user.say(&format!("CHATCACHE.GET {request}")), Raw::bulk("helpers"), "{rights}");
            assert_eq!(user.say(&format!("CHATCACHE.FETCH {request}")), hit("helpers"), "{rights}");
        }
    }
    let mut user = user(&server, "dee", "~coder %W~helper");
    assert_eq!(user.say("CHATCACHE.GET msg ann coder hi"), Raw::NullBulk);
}

#[test]
fn a_selector_gives_its_keys_to_its_own_commands_only() {
    let (server, _) = helper_responses();
    let mut user = user(&server, "dee", "~coder (-@all +chatcache.inspect ~helper)");
    assert_eq!(user.say("CHATCACHE.GET msg ann coder hi"), Raw::NullBulk);
    let seen = fields(user.say("CHATCACHE.INSPECT msg ann coder hi"));
    assert_eq!(text_of(&seen["persona"]), "helper");
}

#[test]
fn rights_that_change_hold_at_once() {
    let (server, mut cy) = helper_responses();
    for (rights, expected) in [
        ("+@all ~coder ~helper", Raw::bulk("helpers")),
        ("+@all ~coder", Raw::NullBulk),
        ("+@all ~*", Raw::bulk("helpers")),
        ("+@all ~coder ~other", Raw::NullBulk),
    ] {
        set_rights(&server, "cy", rights);
        assert_eq!(cy.say("CHATCACHE.GET msg ann coder hi"), expected, "{rights}");
    }
}

#[test]
fn an_entry_that_was_moved_or_copied_is_still_its_personas() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    let (server, mut cy) = helper_responses();
    let mut admin = server.raw();
    let key = admin.text("CHATCACHE.KEY msg ann coder hi");
    assert_eq!(admin.number(&format!("COPY {key} {key} DB 1")), 1);
    assert_eq!(admin.number(&format!("MOVE {key} 2")), 1);
    for database in [1, 2] {
        cy.ok(&format!("SELECT {database}"));
        admin.ok(&format!("SELECT {database}"));
        assert_eq!(cy.say("CHATCACHE.GET msg ann coder hi"), Raw::NullBulk);
        assert_eq!(admin.say("CHATCACHE.GET msg ann coder hi"), Raw::bulk("helpers"));
    }
}

#[test]
fn a_stale_entry_is_refreshed_by_users_with_write_rights() {
    let server = Server::start();
    let mut admin = server.raw();
    store_stale(&mut admin, "msg ann helper hi", "old");
    let mut blind = user(&server, "cy", "~coder");
    lease(&mut blind, "msg ann coder hi");
    let mut reader = user(&server, "dee", "~coder %R~helper");
    assert_eq!(reader.say("CHATCACHE.FETCH msg ann coder hi"), stale("old"));
    let mut writer = user(&server, "eve", "~coder ~helper");
    let token = refresh(&mut writer, "msg ann coder hi");
    writer.ok(&format!("CHATCACHE.SET msg ann coder hi new TOKEN {token}"));
    assert_eq!(blind.say("CHATCACHE.GET msg ann coder hi"), Raw::bulk("new"));
}
