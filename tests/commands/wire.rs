//! The replies as they are on the wire, in RESP2 and RESP3.

use testkit::{Raw, RawClient, Server};

/// Replies that both protocols write alike.
#[track_caller]
fn the_same_in_both(con: &mut RawClient, null: &Raw) {
    let ok = Raw::simple("OK");
    for (line, reply) in [
        ("CHATCACHE.GET msg ann helper hello", null.clone()),
        ("CHATCACHE.GET any ann helper hello", null.clone()),
        ("CHATCACHE.INSPECT msg ann helper hello", null.clone()),
        ("CHATCACHE.SET msg ann helper hello answer XX", null.clone()),
        ("CHATCACHE.DEL msg ann helper hello", Raw::Int(0)),
        ("CHATCACHE.SET msg ann helper hello answer", ok.clone()),
        ("CHATCACHE.SET msg ann helper hello answer NX", null.clone()),
        ("CHATCACHE.SET msg ann helper hello 42 XX", ok.clone()),
        ("CHATCACHE.GET msg ann helper hello", Raw::bulk("42")),
        ("CHATCACHE.KEY msg ann helper hello", Raw::bulk("msg:5d41402abc4b2a76b9719d911017c592")),
        ("CHATCACHE.DEL msg ann helper hello", Raw::Int(1)),
        ("CHATCACHE.PERSONAS", Raw::Array(vec![Raw::bulk("0"), Raw::Array(vec![])])),
        ("CHATCACHE.SET msg ann helper hello answer", ok),
        ("CHATCACHE.INVALIDATE helper", Raw::Int(1)),
        ("CHATCACHE.FORGET ann", Raw::Int(0)),
        ("CHATCACHE.FLUSH", Raw::Int(0)),
    ] {
        assert_eq!(con.say(line), reply, "{line}");
    }
    match con.say("CHATCACHE.HELP") {
        Raw::Array(lines) => assert!(lines.iter().all(|line| matches!(line, Raw::Simple(_)))),
        other => panic!("{other:?}"),
    }
    match con.say("CHATCACHE.GET nowhere ann helper hello") {
        Raw::Error(text) => assert!(text.starts_with("ERR "), "{text}"),
        other => panic!("{other:?}"),
    }
}

/// Asserts a flat array of an even number of elements, the names of which are bulk strings.
#[track_caller]
fn assert_flat(reply: &Raw, names: usize) {
    let Raw::Array(elements) = reply else { panic!("{reply:?}") };
    assert_eq!(elements.len(), 2 * names);
    assert!(elements.iter().step_by(2).all(|name| matches!(name, Raw::Bulk(_))), "{elements:?}");
}

/// Asserts a map of that many names, which are bulk strings.
#[track_caller]
fn assert_map(reply: &Raw, names: usize) {
    let Raw::Map(pairs) = reply else { panic!("{reply:?}") };
    assert_eq!(pairs.len(), names);
    assert!(pairs.iter().all(|(name, _)| matches!(name, Raw::Bulk(_))), "{pairs:?}");
}

const INSPECT: &str = "CHATCACHE.INSPECT msg ann helper hello";

#[track_caller]
fn persona_of(page: Raw) -> Raw {
    let Raw::Array(page) = page else { panic!("{page:?}") };
    assert_eq!((page.len(), &page[0]), (2, &Raw::bulk("0")));
    let Raw::Array(personas) = &page[1] else { panic!("{page:?}") };
    assert_eq!(personas.len(), 1);
    personas[0].clone()
}

#[test]
fn resp2_has_bulk_nulls_and_flat_arrays() {
    let server = Server::start();
    let mut con = server.raw();
    the_same_in_both(&mut con, &Raw::NullBulk);
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    assert_flat(&con.say(INSPECT), 12);
    assert_flat(&con.say("CHATCACHE.STATS"), 51);
    assert_flat(&con.say("CHATCACHE.STATS helper"), 5);
    assert_flat(&persona_of(con.say("CHATCACHE.PERSONAS")), 5);
}

#[test]
fn resp3_has_nulls_and_maps_of_its_own() {
    let server = Server::start();
    let mut con = server.raw().resp3();
    the_same_in_both(&mut con, &Raw::Null);
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    assert_map(&con.say(INSPECT), 12);
    assert_map(&con.say("CHATCACHE.STATS"), 51);
    assert_map(&con.say("CHATCACHE.STATS helper"), 5);
    assert_map(&persona_of(con.say("CHATCACHE.PERSONAS")), 5);
}

#[test]
fn a_client_may_change_its_protocol_between_two_questions() {
    let server = Server::start();
    let mut con = server.raw();
    assert_eq!(con.say("CHATCACHE.GET msg ann helper hello"), Raw::NullBulk);
    let mut con = con.resp3();
    assert_eq!(con.say("CHATCACHE.GET msg ann helper hello"), Raw::Null);
    con.say("HELLO 2");
    assert_eq!(con.say("CHATCACHE.GET msg ann helper hello"), Raw::NullBulk);
}

#[test]
fn commands_may_come_as_a_line_of_text() {
    let server = Server::start();
    let mut con = server.raw();
    con.send_bytes(
        b"CHATCACHE.SET msg ann helper hello \"an answer\" EX 100\r\nchatcache.get any ann helper hello\r\n",
    );
    assert_eq!(con.read(), Raw::simple("OK"));
    assert_eq!(con.read(), Raw::bulk("an answer"));
}
