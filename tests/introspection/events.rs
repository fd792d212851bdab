//! Keyspace notifications and CLIENT TRACKING.

use std::time::Duration;
use testkit::{Raw, RawClient, Server, eventually, text_of};

/// A subscriber to all events of the keyspace.
struct Listener {
    ears: RawClient,
    con: RawClient,
}

impl Listener {
    /// Events of these classes, by channels that begin like this.
    fn new(server: &Server, classes: &str, channels: &str) -> Listener {
        let (mut ears, mut con) = (server.raw(), server.raw());
        con.ok(&format!("CONFIG SET notify-keyspace-events {classes}"));
        assert!(matches!(ears.say(&format!("PSUBSCRIBE {channels}")), Raw::Array(_)));
        Listener { ears, con }
    }

    /// All that was heard since the last time, as `channel message`, without the channels' common part.
    #[track_caller]
    fn heard(&mut self) -> Vec<String> {
        assert_eq!(self.con.number("PUBLISH __keyevent@0__:end-of-story x"), 1);
        let mut heard = Vec::new();
        loop {
            let Raw::Array(message) = self.ears.read() else { panic!("no message") };
            let channel = text_of(&message[2]);
            if channel.ends_with(":end-of-story") {
                return heard;
            }
            let (place, rest) = channel.split_once("__:").expect("a channel of the keyspace");
            let database = place.split_once('@').expect("a database").1;
            heard.push(format!("{database} {rest} {}", text_of(&message[3])));
        }
    }
}

#[test]
fn listeners_hear_the_events_of_an_entry() {
    let server = Server::start();
    let mut listener = Listener::new(&server, "KEA", "__keyevent@*__:*");
    let mut con = server.raw();
    let key = con.text("CHATCACHE.KEY msg ann helper hello");
    let of = |event: &str| format!("0 {event} {key}");

    con.ok("CHATCACHE.SET msg ann helper hello answer");
    assert_eq!(listener.heard(), [of("set"), of("expire")]);
    con.ok("CHATCACHE.SET msg ann helper hello answer EX 10 XX");
    assert_eq!(listener.heard(), [of("set"), of("expire")]);
    con.say(&format!("PERSIST {key}"));
    con.ok("CHATCACHE.SET msg ann helper hello answer KEEPTTL");
    assert_eq!(listener.heard(), [of("persist"), of("set")]);

    // A command without effect sends no event.
    con.say("CHATCACHE.SET msg ann helper hello answer NX");
    con.say("CHATCACHE.SET msg ann helper bye answer XX");
    con.say("CHATCACHE.SET msg ann helper hello answer EX 0");
    con.say("CHATCACHE.GET any ann helper hello");
    con.say("CHATCACHE.INSPECT msg ann helper hello");
    con.say("CHATCACHE.DEL msg ann helper bye");
    con.say("CHATCACHE.INVALIDATE \"\"");
    assert_eq!(listener.heard(), [""; 0]);

    assert_eq!(con.number("CHATCACHE.DEL msg ann helper hello"), 1);
    assert_eq!(listener.heard(), [of("del")]);

    con.ok("CHATCACHE.SET msg ann helper hello answer PX 1");
    let mut heard = Vec::new();
    eventually(|| {
        heard.extend(listener.heard());
        heard.len() >= 3
    });
    assert_eq!(heard, [of("set"), of("expire"), of("expired")]);
}

#[test]
fn listeners_hear_that_a_persona_was_invalidated() {
    let server = Server::start();
    let mut listener = Listener::new(&server, "KEA", "__keyevent@*__:*");
    let mut con = server.raw();
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    con.ok("CHATCACHE.SET session ann helper hello answer");
    listener.heard();
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 2);
    assert_eq!(listener.heard(), ["0 invalidate helper"]);
    assert_eq!(con.number("CHATCACHE.INVALIDATE ghost helper ghost"), 0);
    assert_eq!(listener.heard(), ["0 invalidate ghost", "0 invalidate helper", "0 invalidate ghost"]);
    con.ok("SELECT 7");
    con.say("CHATCACHE.INVALIDATE helper");
    assert_eq!(listener.heard(), ["7 invalidate helper"]);
}

#[test]
fn each_event_has_the_class_that_asks_for_it() {
    for (classes, wanted) in
        [("Ed", &["set", "set", "invalidate"][..]), ("Eg", &["expire", "del", "expire"]), ("E$lshztxe", &[])]
    {
        let server = Server::start();
        let mut listener = Listener::new(&server, classes, "__keyevent@0__:*");
        let mut con = server.raw();
        con.ok("CHATCACHE.SET msg ann helper hello answer");
        con.say("CHATCACHE.DEL msg ann helper hello");
        con.ok("CHATCACHE.SET msg ann helper hello answer");
        con.say("CHATCACHE.INVALIDATE helper");
        let heard = listener.heard();
        let events: Vec<_> = heard.iter().filter_map(|event| event.split(' ').nth(1)).collect();
        assert_eq!(events, wanted, "{classes}");
    }
}

#[test]
fn the_channel_of_a_persona_carries_its_events() {
    let server = Server::start();
    let mut ears = server.raw();
    let mut con = server.raw();
    con.ok("CONFIG SET notify-keyspace-events Kd");
    ears.say("SUBSCRIBE __keyspace@0__:helper");
    con.say("CHATCACHE.INVALIDATE coder");
    con.say("CHATCACHE.INVALIDATE helper");
    let message = ["message", "__keyspace@0__:helper", "invalidate"].map(Raw::bulk);
    assert_eq!(ears.read(), Raw::Array(message.into()));
}

/// The keys that a client is told to invalidate.
fn old(key: &str) -> Raw {
    Raw::Push(vec![Raw::bulk("invalidate"), Raw::Array(vec![Raw::bulk(key)])])
}

const SILENCE: Duration = Duration::from_millis(100);

#[test]
fn trackers_that_read_a_persona_hear_of_its_invalidate() {
    let server = Server::start();
    let (mut reader, mut con) = (server.raw().resp3(), server.raw());
    reader.ok("CLIENT TRACKING ON");
    for read in [
        "CHATCACHE.GET msg ann helper hello",
        "CHATCACHE.GET any ann helper hello",
        "CHATCACHE.GET any ann helper never-asked",
        "CHATCACHE.INSPECT msg ann helper hello",
    ] {
        for drop in [
            "CHATCACHE.INVALIDATE coder helper",
            "CHATCACHE.FORGET ann",
            "CHATCACHE.DEL msg ann helper hello",
        ] {
            con.ok("CHATCACHE.SET msg ann helper hello answer");
            reader.say(read);
            con.say(drop);
            assert_eq!(reader.read(), old("helper"), "{read}, {drop}");
        }
    }
    // Told once, and then no more before it reads again.
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    con.say("CHATCACHE.INVALIDATE helper");
    assert_eq!(reader.read_within(SILENCE), None);
    // Another persona is no business of its.
    reader.say("CHATCACHE.GET msg ann helper hello");
    con.say("CHATCACHE.INVALIDATE coder helper2 help");
    con.say("CHATCACHE.FORGET bob");
    assert_eq!(reader.read_within(SILENCE), None);
    assert_eq!(reader.text("PING"), "PONG");
}

#[test]
fn trackers_hear_of_the_invalidate_of_a_large_persona_before_its_reclaim() {
    let server = Server::builder().config("chatcache.invalidate-sync-limit 0").start();
    let (mut reader, mut con) = (server.raw().resp3(), server.raw());
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    reader.ok("CLIENT TRACKING ON");
    assert_eq!(reader.say("CHATCACHE.GET any ann helper hello"), Raw::bulk("answer"));
    assert_eq!(con.number("CHATCACHE.INVALIDATE helper"), 1);
    assert_eq!(reader.read(), old("helper"));
    assert_eq!(reader.say("CHATCACHE.GET any ann helper hello"), Raw::Null);
}

#[test]
fn broadcast_tracking_of_a_prefix_covers_its_personas() {
    let server = Server::start();
    let (mut reader, mut con) = (server.raw().resp3(), server.raw());
    reader.ok("CLIENT TRACKING ON BCAST PREFIX help");
    con.say("CHATCACHE.INVALIDATE coder");
    con.say("CHATCACHE.INVALIDATE helper");
    assert_eq!(reader.read(), old("helper"));
}
