//! Replicated commands and those of an AOF need no rights: their senders had them.

use testkit::{Raw, RawClient, Server, eventually, fill_persona, replica_caught_up, set_line};

use super::users::user;

/// Commands that only an all-powerful user may give, each of which leaves its mark.
fn overwrite_all(con: &mut RawClient) {
    con.ok(&set_line("msg ann helper hi", "helpers", ""));
    con.ok(&set_line("msg ann coder hi", "coders", ""));
    con.ok(&set_line("session ann helper hi", "helpers", ""));
    con.ok(&set_line("session ann coder hi", "coders", "PX 100000"));
    con.ok(&set_line("msg ann helper gone", "x", ""));
    assert_eq!(con.number("CHATCACHE.DEL msg ann coder gone"), 1);
    con.ok(&set_line("response bob helper hi", "x", ""));
    assert_eq!(con.number("CHATCACHE.FORGET bob"), 1);
    con.ok(&set_line("persona bob helper hi", "x", ""));
    assert_eq!(con.number("CHATCACHE.FLUSH persona"), 1);
    let body = "redis.call('chatcache.set', 'msg', 'ann', 'helper', 'script', 'helpers') \
                redis.call('chatcache.set', 'msg', 'ann', KEYS[1], 'script', 'coders') return 1";
    assert_eq!(con.call(&["EVAL", body, "1", "coder"]), Raw::Int(1));
    con.transaction(&[
        "CHATCACHE.SET msg ann helper multi a",
        "CHATCACHE.SET msg ann coder multi b",
        "CHATCACHE.FLUSH response",
    ]);
}

#[track_caller]
fn assert_overwritten(con: &mut RawClient) {
    for (request, expected) in [
        ("msg ann coder hi", "coders"),
        ("session ann coder hi", "coders"),
        ("msg ann coder script", "coders"),
        ("msg ann coder multi", "b"),
    ] {
        assert_eq!(con.say(&format!("CHATCACHE.GET {request}")), Raw::bulk(expected), "{request}");
    }
    assert_eq!(con.stats("")["entries"], 4);
}

#[test]
fn a_replica_runs_all_commands_of_its_master_and_checks_its_own_users() {
    let master = Server::start();
    let replica = Server::builder()
        .replica_of(&master)
        .config("user default on nopass resetkeys ~nothing +@all")
        .start();
    overwrite_all(&mut master.raw());
    replica_caught_up(&master, &replica);
    let mut there = replica.raw();
    there.ok("ACL SETUSER admin on nopass ~* +@all");
    there.ok("AUTH admin x");
    assert_overwritten(&mut there);
    there.ok("ACL SETUSER cy on nopass ~other +@all");
    there.ok("AUTH cy x");
    assert_eq!(there.say("CHATCACHE.GET msg ann other hi"), Raw::NullBulk);
    assert!(matches!(there.say("CHATCACHE.PERSONAS"), Raw::Error(text) if text.starts_with("NOPERM ")));
}

#[test]
fn an_aof_is_replayed_without_the_rights_of_the_default_user() {
    let mut server = Server::builder()
        .appendonly()
        .config("appendfsync always")
        .config("user admin on nopass ~* +@all")
        .start();
    overwrite_all(&mut server.raw());
    assert_overwritten(&mut server.raw());
    // The server writes the new rights into its redis.conf.
    server.raw().ok("CONFIG REWRITE");
    let conf = server.dir().join("redis.conf");
    let mut text = std::fs::read_to_string(&conf).expect("read redis.conf");
    text = text.lines().filter(|line| !line.starts_with("user default")).collect::<Vec<_>>().join("\n");
    // For transactions the server itself asks for the default user's rights, so it has some.
    text.push_str("\nuser default on nopass ~helper ~coder +@all\n");
    std::fs::write(&conf, text).expect("write redis.conf");
    server.kill9();
    server.start_again();
    let mut con = server.raw();
    assert!(matches!(con.say("CHATCACHE.FLUSH"), Raw::Error(text) if text.starts_with("NOPERM ")));
    con.ok("AUTH admin x");
    assert_overwritten(&mut con);
}

#[test]
fn an_invalidated_persona_is_reclaimed_under_any_user_that_is_current() {
    let server = Server::start();
    let mut admin = server.raw();
    let mut cy = user(&server, "cy", "~coder");
    fill_persona(&mut admin, "ann", "helper", 20_000, 10);
    admin.number("CHATCACHE.INVALIDATE helper");
    eventually(|| {
        assert_eq!(cy.say("CHATCACHE.GET any ann coder m-1"), Raw::NullBulk);
        cy.stats("")["pending-reclaim"] == 0
    });
}
