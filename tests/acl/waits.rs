//! Single flight: no client waits for a response that it may not read, and no holder holds others up.

use testkit::{
    Raw, RawClient, Server, all_quiet, busy_of, eventually, hit, lease, lease_of, set_line, waiter, waiters,
    words,
};

use super::users::{assert_denied, set_rights, user};

/// The same question, as two personas ask it.
const HELPERS: &str = "msg ann helper hi";
const CODERS: &str = "msg ann coder hi";

/// Returns a new connection of a user that waits for this.
#[track_caller]
fn waiter_of(server: &Server, name: &str, request: &str) -> RawClient {
    let mut operator = server.raw();
    let before = waiters(&mut operator);
    let mut con = server.raw();
    con.ok(&format!("AUTH {name} any"));
    con.send(&words(&format!("CHATCACHE.FETCH {request} WAIT 60000")));
    eventually(|| waiters(&mut operator) == before + 1);
    con
}

#[test]
fn users_with_rights_to_all_personas_share_one_lease() {
    let server = Server::start();
    let mut admin = server.raw();
    let token = lease(&mut admin, HELPERS);
    let mut waiting = waiter(&server, CODERS);
    admin.ok(&set_line(HELPERS, "helpers", &format!("TOKEN {token}")));
    assert_eq!(waiting.read(), hit("helpers"));
}

#[test]
fn fetch_does_not_wait_for_a_persona_without_read_rights() {
    for (helpers, coders) in [("~helper", "~coder"), ("~*", "~coder"), ("~helper", "~coder ~helper")] {
        let server = Server::start();
        let mut hal = user(&server, "hal", helpers);
        let mut cy = user(&server, "cy", coders);
        let his = lease(&mut hal, HELPERS);
        let hers = lease(&mut cy, CODERS);
        // Each of them waits for its own.
        assert!(busy_of(server_user(&server, "hal").say(&format!("CHATCACHE.FETCH {HELPERS}"))) > 0);
        let mut waiting = waiter_of(&server, "cy", CODERS);
        hal.ok(&set_line(HELPERS, "helpers", &format!("TOKEN {his}")));
        if coders == "~coder" {
            assert_denied(&server, &mut cy, &set_line(CODERS, "coders", &format!("TOKEN {hers}")));
            assert_eq!(cy.number(&format!("CHATCACHE.RELEASE {CODERS} TOKEN {hers}")), 1);
            lease_of(waiting.read());
        } else {
            cy.ok(&set_line(CODERS, "coders", &format!("TOKEN {hers}")));
            assert_eq!(waiting.read(), hit("coders"));
        }
    }
}

fn server_user(server: &Server, name: &str) -> RawClient {
    let mut con = server.raw();
    con.ok(&format!("AUTH {name} any"));
    con
}

#[test]
fn users_with_rights_to_the_same_persona_share_its_lease() {
    let server = Server::start();
    let mut cy = user(&server, "cy", "~coder");
    user(&server, "dee", "~cod*");
    let token = lease(&mut cy, CODERS);
    let mut waiting = [waiter_of(&server, "dee", CODERS), waiter_of(&server, "cy", CODERS)];
    cy.ok(&set_line(CODERS, "coders", &format!("TOKEN {token}")));
    for con in &mut waiting {
        assert_eq!(con.read(), hit("coders"));
    }
    all_quiet(&mut server.raw(), 0);
}

#[test]
fn a_response_wakes_all_waiters_with_read_rights() {
    let server = Server::start();
    let mut admin = server.raw();
    let mut cy = user(&server, "cy", "~coder");
    // The operator and the coder's user have a lease each, and each has somebody waiting.
    lease(&mut admin, CODERS);
    lease(&mut cy, CODERS);
    let mut waiting = [waiter(&server, HELPERS), waiter_of(&server, "cy", CODERS)];
    admin.ok(&set_line(CODERS, "coders", ""));
    for con in &mut waiting {
        assert_eq!(con.read(), hit("coders"));
    }
    all_quiet(&mut admin, 0);
    assert_eq!(admin.number("CHATCACHE.INVALIDATE coder"), 1);
    lease(&mut admin, HELPERS);
    let token = lease(&mut cy, CODERS);
    let mut waiting = waiter(&server, HELPERS);
    cy.ok(&set_line(CODERS, "coders", &format!("TOKEN {token}")));
    assert_eq!(waiting.read(), hit("coders"));
    all_quiet(&mut admin, 0);
}

#[test]
fn behind_a_hidden_entry_each_caller_computes_for_itself() {
    let server = Server::start();
    let mut admin = server.raw();
    admin.ok(&set_line(HELPERS, "helpers", ""));
    let mut cy = user(&server, "cy", "~coder");
    let mut other = server_user(&server, "cy");
    let (first, _) = lease_of(cy.say(&format!("CHATCACHE.FETCH {CODERS} WAIT 60000")));
    let (second, ms) = lease_of(other.say(&format!("CHATCACHE.FETCH {CODERS} WAIT 60000 LEASE 1234")));
    assert_ne!(first, second);
    assert_eq!(ms, 1234);
    all_quiet(&mut admin, 0);
    assert_denied(&server, &mut cy, &set_line(CODERS, "coders", &format!("TOKEN {first}")));
    assert_eq!(cy.number(&format!("CHATCACHE.RELEASE {CODERS} TOKEN {first}")), 0);
    // It holds no longer than any other that is void.
    assert_eq!(admin.number("CHATCACHE.INVALIDATE helper"), 1);
    assert_eq!(cy.say(&set_line(CODERS, "coders", &format!("TOKEN {first}"))), Raw::NullBulk);
}

#[test]
fn a_waiter_that_loses_its_rights_does_not_get_the_response() {
    for rights in ["+@all ~other", "-@all +auth ~coder", "+@all %W~coder"] {
        let server = Server::start();
        let mut admin = server.raw();
        user(&server, "cy", "~coder");
        let mut first = server_user(&server, "cy");
        lease(&mut first, CODERS);
        let mut waiting = waiter_of(&server, "cy", CODERS);
        set_rights(&server, "cy", rights);
        admin.ok(&set_line(CODERS, "coders", ""));
        assert_eq!(busy_of(waiting.read()), 0, "{rights}");
        assert!(matches!(waiting.say(&format!("CHATCACHE.GET {CODERS}")), Raw::Error(_)), "{rights}");
        all_quiet(&mut admin, 0);
        assert_eq!(admin.stats("")["coalesced"], 0);
    }
}

#[test]
fn a_waiter_whose_user_is_deleted_gets_no_response() {
    let server = Server::start();
    let mut admin = server.raw();
    user(&server, "cy", "~coder");
    lease(&mut admin, HELPERS);
    let mut holder = server_user(&server, "cy");
    lease(&mut holder, CODERS);
    let mut waiting = waiter_of(&server, "cy", CODERS);
    let replies = admin.transaction(&["ACL DELUSER cy", "CHATCACHE.SET msg ann coder hi coders"]);
    assert_eq!(replies, [Raw::Int(1), Raw::simple("OK")]);
    assert!(waiting.is_closed());
    eventually(|| waiters(&mut admin) == 0);
}

#[test]
fn a_response_that_comes_by_another_command_wakes_waiters_with_read_rights() {
    let server = Server::start();
    let mut admin = server.raw();
    let mut cy = user(&server, "cy", "~coder");
    let key = admin.text(&format!("CHATCACHE.KEY {HELPERS}"));
    admin.ok(&set_line(HELPERS, "helpers", ""));
    admin.ok(&format!("RENAME {key} aside"));
    lease(&mut admin, HELPERS);
    lease(&mut cy, CODERS);
    let mut patient = waiter_of(&server, "cy", CODERS);
    let mut waiting = waiter(&server, CODERS);
    admin.ok(&format!("RENAME aside {key}"));
    assert_eq!(waiting.read(), hit("helpers"));
    assert_eq!(waiters(&mut admin), 1);
    drop(cy);
    // The holder is gone: the wait goes on to the next.
    lease_of(patient.read());
}

#[test]
fn a_delete_voids_the_leases_that_its_user_may_write_and_no_others() {
    let server = Server::start();
    let mut admin = server.raw();
    let mut cy = user(&server, "cy", "~coder");
    let helpers = lease(&mut admin, HELPERS);
    let coders = lease(&mut cy, CODERS);
    assert_eq!(cy.number(&format!("CHATCACHE.DEL {CODERS}")), 0);
    assert_eq!(cy.say(&set_line(CODERS, "late", &format!("TOKEN {coders}"))), Raw::NullBulk);
    admin.ok(&set_line(HELPERS, "helpers", &format!("TOKEN {helpers}")));
    // The operator's DEL voids both; and cy's own voids a lease of the operator's for the coder.
    assert_eq!(admin.number("CHATCACHE.DEL msg ann helper hi"), 1);
    let helpers = lease(&mut admin, HELPERS);
    let coders = lease(&mut cy, CODERS);
    assert_eq!(admin.number(&format!("CHATCACHE.DEL {CODERS}")), 0);
    assert_eq!(cy.say(&set_line(CODERS, "late", &format!("TOKEN {coders}"))), Raw::NullBulk);
    assert_eq!(admin.say(&set_line(HELPERS, "late", &format!("TOKEN {helpers}"))), Raw::NullBulk);
    let coders = lease(&mut admin, CODERS);
    assert_eq!(cy.number(&format!("CHATCACHE.DEL {CODERS}")), 0);
    assert_eq!(admin.say(&set_line(CODERS, "late", &format!("TOKEN {coders}"))), Raw::NullBulk);
}

#[test]
fn a_token_is_worth_nothing_under_another_persona() {
    let server = Server::start();
    let mut admin = server.raw();
    let mut cy = user(&server, "cy", "~coder");
    let helpers = lease(&mut admin, HELPERS);
    assert_eq!(cy.say(&set_line(CODERS, "coders", &format!("TOKEN {helpers}"))), Raw::NullBulk);
    assert_eq!(cy.number(&format!("CHATCACHE.RELEASE {CODERS} TOKEN {helpers}")), 0);
    admin.ok(&set_line(HELPERS, "helpers", &format!("TOKEN {helpers}")));
    let token = lease(&mut cy, "msg ann coder own");
    assert_eq!(admin.number(&format!("CHATCACHE.RELEASE msg ann helper own TOKEN {token}")), 0);
    // Its holder may use it under any user.
    admin.ok(&set_line("msg ann coder own", "coders", &format!("TOKEN {token}")));
}

#[test]
fn invalidate_voids_the_leases_of_its_persona_for_all_holders() {
    let server = Server::start();
    let mut admin = server.raw();
    let mut cy = user(&server, "cy", "~coder");
    let (one, other) = (lease(&mut cy, CODERS), lease(&mut admin, CODERS));
    admin.number("CHATCACHE.INVALIDATE coder");
    for token in [one, other] {
        assert_eq!(admin.say(&set_line(CODERS, "late", &format!("TOKEN {token}"))), Raw::NullBulk);
    }
}
