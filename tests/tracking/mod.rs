//! CLIENT TRACKING by persona: a client that keeps responses of its own is told when they are old.

use testkit::{Raw, RawClient, Server, fill_persona, replica_caught_up};

/// Commands that make an entry of the helper old, each after the line that prepares it.
const CHANGES: [(&str, &str); 8] = [
    ("", "CHATCACHE.INVALIDATE helper"),
    ("", "CHATCACHE.SOFTINVALIDATE helper"),
    ("", "CHATCACHE.SET msg ann helper hi other"),
    ("", "CHATCACHE.DEL msg ann helper hi"),
    ("", "CHATCACHE.FORGET ann"),
    ("", "CHATCACHE.FLUSH"),
    ("CHATCACHE.SET response bob helper hi hello", "CHATCACHE.FLUSH response"),
    ("CHATCACHE.SET msg ann helper hi hello PX 1 STALE 60000", "CHATCACHE.SET msg ann helper hi fresh"),
];

/// Waits until a listener hears that this is old. It may hear of the keys of entries too.
#[track_caller]
fn hears(listener: &mut RawClient, key: &str, why: &str) {
    loop {
        let Raw::Push(push) = listener.read() else { panic!("{why}: a reply to nothing") };
        match &push[..] {
            [_, Raw::Array(keys)] if keys.contains(&Raw::bulk(key)) => return,
            [word, Raw::Array(_)] => assert_eq!(*word, Raw::bulk("invalidate"), "{why}"),
            other => panic!("{why}: {other:?}"),
        }
    }
}

/// Reads over all that a listener has been told.
fn catch_up(listener: &mut RawClient) {
    listener.send(&["PING"]);
    while let Raw::Push(_) = listener.read() {}
}

/// Asserts that a listener is told nothing: the reply to its next command comes next.
#[track_caller]
fn hears_nothing(listener: &mut RawClient, why: &str) {
    assert_eq!(listener.say("PING"), Raw::simple("PONG"), "{why}");
}

#[test]
fn trackers_that_read_an_entry_hear_of_each_change_of_its_persona() {
    let server = Server::start();
    let (mut listener, mut con) = (server.raw().resp3(), server.raw());
    listener.ok("CLIENT TRACKING ON");
    for (before, change) in CHANGES {
        con.ok("CHATCACHE.SET msg ann helper hi hello");
        if !before.is_empty() {
            con.ok(before);
        }
        listener.say("CHATCACHE.GET any ann helper hi");
        con.say(change);
        hears(&mut listener, "helper", change);
        // Once, as it has read nothing since.
        con.say(change);
        hears_nothing(&mut listener, change);
    }
}

#[test]
fn a_command_that_leaves_a_persona_as_it_is_notifies_no_tracker() {
    let server = Server::start();
    let (mut listener, mut con) = (server.raw().resp3(), server.raw());
    con.ok("CHATCACHE.SET msg ann helper hi hello");
    listener.ok("CLIENT TRACKING ON");
    for line in [
        "CHATCACHE.SET msg ann helper new hello",
        "CHATCACHE.SET msg ann helper hi hello NX",
        "CHATCACHE.DEL msg ann helper never",
        "CHATCACHE.INVALIDATE coder helper2 help",
        "CHATCACHE.SOFTINVALIDATE coder",
        "CHATCACHE.SET msg ann coder hello hello",
        "CHATCACHE.DEL msg ann coder hello",
        "CHATCACHE.FORGET bob",
        "CHATCACHE.FLUSH response",
        "CHATCACHE.GET msg ann helper hi",
        "CHATCACHE.FETCH msg ann helper hi",
    ] {
        listener.say("CHATCACHE.GET any ann helper hi");
        con.say(line);
        hears_nothing(&mut listener, line);
    }
}

#[test]
fn trackers_of_a_prefix_hear_of_each_matching_persona() {
    let server = Server::start();
    let (mut listener, mut con) = (server.raw().resp3(), server.raw());
    listener.ok("CLIENT TRACKING ON BCAST PREFIX help PREFIX cod");
    for (before, change) in CHANGES {
        con.ok("CHATCACHE.SET msg ann helper hi hello");
        if !before.is_empty() {
            con.ok(before);
        }
        catch_up(&mut listener);
        con.say(change);
        hears(&mut listener, "helper", change);
    }
    con.say("CHATCACHE.INVALIDATE other");
    hears_nothing(&mut listener, "another persona");
    con.say("CHATCACHE.INVALIDATE coder");
    hears(&mut listener, "coder", "the other prefix");
}

#[test]
fn trackers_of_all_keys_hear_of_personas() {
    let server = Server::start();
    let (mut listener, mut con) = (server.raw().resp3(), server.raw());
    listener.ok("CLIENT TRACKING ON BCAST");
    con.ok("CHATCACHE.SET response ann helper hi hello");
    con.say("CHATCACHE.SOFTINVALIDATE helper");
    hears(&mut listener, "helper", "SOFTINVALIDATE");
    con.say("CHATCACHE.INVALIDATE helper");
    hears(&mut listener, "helper", "INVALIDATE");
}

#[test]
fn trackers_hear_of_a_large_invalidate_or_flush_before_its_reclaim() {
    let server = Server::builder().config("chatcache.invalidate-sync-limit 0").start();
    let (mut listener, mut con) = (server.raw().resp3(), server.raw());
    listener.ok("CLIENT TRACKING ON");
    for change in ["CHATCACHE.INVALIDATE helper", "CHATCACHE.FLUSH", "CHATCACHE.FORGET ann"] {
        fill_persona(&mut con, "ann", "helper", 2_000, 10);
        assert_ne!(listener.say("CHATCACHE.GET any ann helper m-1"), Raw::Null);
        con.say(change);
        hears(&mut listener, "helper", change);
        assert_eq!(listener.say("CHATCACHE.GET any ann helper m-1"), Raw::Null, "{change}");
    }
}

#[test]
fn a_replica_tells_its_own_clients() {
    let master = Server::start();
    let replica = Server::builder().replica_of(&master).start();
    let (mut listener, mut con) = (replica.raw().resp3(), master.raw());
    listener.ok("CLIENT TRACKING ON");
    for (before, change) in CHANGES {
        con.ok("CHATCACHE.SET msg ann helper hi hello");
        if !before.is_empty() {
            con.ok(before);
        }
        replica_caught_up(&master, &replica);
        listener.say("CHATCACHE.GET any ann helper hi");
        con.say(change);
        hears(&mut listener, "helper", change);
    }
}

#[test]
fn trackers_that_read_a_shared_entry_hear_of_its_replacement() {
    let server = Server::start();
    let (mut listener, mut con) = (server.raw().resp3(), server.raw());
    con.ok("CHATCACHE.SET msg ann helper hi hello");
    listener.ok("CLIENT TRACKING ON");
    listener.say("CHATCACHE.GET msg ann helper hi");
    con.ok("CHATCACHE.SET msg ann coder hi other");
    hears(&mut listener, "helper", "SET");
    listener.say("CHATCACHE.GET msg ann coder hi");
    con.say("CHATCACHE.DEL msg ann coder hi");
    hears(&mut listener, "coder", "DEL");
}

#[test]
fn a_transaction_that_watches_a_persona_does_not_run_when_its_entries_have_changed() {
    let server = Server::start();
    let (mut watcher, mut con) = (server.raw(), server.raw());
    for (before, change) in CHANGES {
        con.ok("CHATCACHE.SET msg ann helper hi hello");
        if !before.is_empty() {
            con.ok(before);
        }
        watcher.ok("WATCH helper");
        con.say(change);
        watcher.ok("MULTI");
        watcher.say("PING");
        assert_eq!(watcher.say("EXEC"), Raw::NullArray, "{change}");
    }
}
