//! Single flight as clients and operators see it: RESP3, COMMAND, events, counters.

use testkit::{
    Q, Raw, Server, eventually, info, items, lease, set_line, store_stale, text_of, texts, waiter,
};

#[test]
fn replies_are_right_in_resp3() {
    let server = Server::start();
    let (mut holder, mut con) = (server.raw().resp3(), server.raw().resp3());
    let reply = items(holder.say(&format!("CHATCACHE.FETCH {Q}")));
    assert!(
        matches!(&reply[..], [Raw::Bulk(word), Raw::Null, Raw::Bulk(_), Raw::Int(_)] if word == b"lease"),
        "{reply:?}"
    );
    let token = text_of(&reply[2]);
    let busy = items(con.say(&format!("CHATCACHE.FETCH {Q}")));
    assert!(
        matches!(&busy[..], [Raw::Bulk(word), Raw::Null, Raw::Null, Raw::Int(_)] if word == b"busy"),
        "{busy:?}"
    );
    con.send(&testkit::words(&format!("CHATCACHE.FETCH {Q} WAIT 60000")));
    eventually(|| holder.stats("")["waiters"] == 1);
    assert_eq!(holder.say(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}")), Raw::Int(1));
    let reply = items(con.read());
    assert_eq!((reply.len(), &reply[0]), (4, &Raw::bulk("lease")));
    assert_eq!(holder.say(&set_line(Q, "late", &format!("TOKEN {token}"))), Raw::Null);
    con.ok(&set_line(Q, "hello", &format!("TOKEN {}", text_of(&reply[2]))));
    assert_eq!(con.say(&format!("CHATCACHE.FETCH {Q}")), testkit::hit("hello"));
    assert_eq!(con.say("CHATCACHE.SOFTINVALIDATE bot"), Raw::Int(1));
    let reply = items(con.say(&format!("CHATCACHE.FETCH {Q}")));
    assert!(matches!(&reply[..], [_, Raw::Bulk(_), Raw::Bulk(_), Raw::Int(_)]), "{reply:?}");
    assert_eq!(con.say(&format!("CHATCACHE.FETCH {Q}")), testkit::stale("hello"));
    assert_eq!(con.say(&format!("CHATCACHE.GET {Q}")), Raw::Null);
}

#[test]
fn a_response_of_any_bytes_reaches_the_waiters() {
    let server = Server::start();
    let mut holder = server.raw();
    let big = vec![0xff; 1_000_000];
    for response in [&b""[..], b"\0\r\n$-1\r\n\xff", &big] {
        let token = lease(&mut holder, Q);
        let mut con = waiter(&server, Q);
        let words =
            [&b"CHATCACHE.SET"[..], b"response", b"ann", b"bot", b"hi", response, b"TOKEN", token.as_bytes()];
        assert_eq!(holder.call(&words), Raw::simple("OK"));
        assert_eq!(con.read(), testkit::hit(response));
        holder.number(&format!("CHATCACHE.DEL {Q}"));
    }
}

#[test]
fn the_persona_is_the_key_and_the_flags_are_true() {
    let server = Server::start();
    let mut con = server.raw();
    for line in
        ["FETCH response ann bot hi WAIT 1", "RELEASE response ann bot hi TOKEN x", "SOFTINVALIDATE bot"]
    {
        assert_eq!(texts(con.say(&format!("COMMAND GETKEYS CHATCACHE.{line}"))), ["bot"], "{line}");
    }
    assert_eq!(texts(con.say("COMMAND GETKEYS CHATCACHE.SOFTINVALIDATE a b c")), ["a", "b", "c"]);
    let flags = |con: &mut testkit::RawClient, name: &str| {
        texts(items(items(con.say(&format!("COMMAND INFO CHATCACHE.{name}")))[0].clone())[2].clone())
    };
    let fetch = flags(&mut con, "FETCH");
    assert!(fetch.contains(&"blocking".to_owned()) && !fetch.contains(&"fast".to_owned()), "{fetch:?}");
    assert!(flags(&mut con, "SOFTINVALIDATE").contains(&"write".to_owned()));
}

#[test]
fn a_persona_without_rights_is_not_to_be_fetched() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("ACL SETUSER reader on nopass ~mine +@all");
    con.ok("AUTH reader x");
    for line in [
        format!("CHATCACHE.FETCH {Q}"),
        format!("CHATCACHE.RELEASE {Q} TOKEN x"),
        "CHATCACHE.SOFTINVALIDATE mine bot".to_owned(),
    ] {
        assert!(matches!(con.say(&line), Raw::Error(text) if text.starts_with("NOPERM ")), "{line}");
    }
    lease(&mut con, "response ann mine hi");
    assert_eq!(con.number("CHATCACHE.SOFTINVALIDATE mine"), 0);
}

#[test]
fn a_soft_invalidate_is_notified() {
    let server = Server::start();
    let (mut ears, mut con) = (server.raw(), server.raw());
    con.ok("CONFIG SET notify-keyspace-events Ed");
    ears.say("PSUBSCRIBE __keyevent@*__:*");
    con.number("CHATCACHE.SOFTINVALIDATE bot other");
    for persona in ["bot", "other"] {
        let message = texts(ears.read());
        assert_eq!(message[2..], ["__keyevent@0__:softinvalidate".to_owned(), persona.to_owned()]);
    }
}

#[test]
fn a_soft_invalidate_touches_a_watched_persona() {
    let server = Server::start();
    let (mut con, mut other) = (server.raw(), server.raw());
    con.ok("WATCH bot");
    other.number("CHATCACHE.SOFTINVALIDATE bot");
    con.ok("MULTI");
    con.say("PING");
    assert_eq!(con.say("EXEC"), Raw::NullArray);
}

#[test]
fn the_counters_tell_the_story() {
    let server = Server::start();
    let mut con = server.raw();
    let token = lease(&mut con, Q);
    lease(&mut con, "msg ann bot hi");
    let mut waiting = waiter(&server, Q);
    let stats = con.stats("");
    assert_eq!((stats["leases"], stats["leases-granted"], stats["waiters"]), (2, 2, 1));
    con.number(&format!("CHATCACHE.RELEASE {Q} TOKEN {token}"));
    waiting.read();
    con.say(&set_line(Q, "late", &format!("TOKEN {token}")));
    let stats = con.stats("");
    assert_eq!((stats["leases"], stats["leases-granted"], stats["leases-ended"]), (2, 3, 1));
    assert_eq!((stats["waiters"], stats["tokens-refused"], stats["misses"]), (0, 1, 3));
    store_stale(&mut con, "msg ann bot hi", "old");
    con.number("CHATCACHE.SOFTINVALIDATE bot");
    assert_eq!(con.stats("")["entries-stale"], 1);
    let told = info(&mut server.connect(), "chatcache");
    for (name, value) in con.stats("") {
        let field = format!("chatcache_{}", name.replace('-', "_"));
        assert_eq!(told.get(&field), Some(&value.to_string()), "{field} in {told:?}");
    }
}

#[test]
fn single_flight_works_in_a_cluster() {
    let server = Server::builder().cluster().start();
    let (mut holder, mut con) = (server.raw(), server.raw());
    // In a cluster the persona is in every key: another persona is another response.
    let token = lease(&mut holder, "msg ann bot hi");
    lease(&mut con, "msg ann other hi");
    let mut waiting = waiter(&server, "msg bob bot hi");
    holder.ok(&set_line("msg ann bot hi", "hello", &format!("TOKEN {token}")));
    assert_eq!(waiting.read(), testkit::hit("hello"));
    assert_eq!(con.say("CHATCACHE.GET msg ann other hi"), Raw::NullBulk);
}
