//! WAIT counts as 0 for clients that may not be blocked.

use testkit::{Q, Raw, Server, busy_of, hit, lease, lease_of, set_line};

#[test]
fn in_a_transaction_fetch_does_not_wait() {
    let server = Server::start();
    let (mut holder, mut con) = (server.raw(), server.raw());
    let token = lease(&mut holder, Q);
    let replies = con.transaction(&[
        &format!("CHATCACHE.FETCH {Q} WAIT 60000"),
        "CHATCACHE.FETCH msg ann bot new WAIT 60000",
    ]);
    assert!(busy_of(replies[0].clone()) > 0);
    let (own, _) = lease_of(replies[1].clone());
    con.transaction(&[&set_line("msg ann bot new", "answer", &format!("TOKEN {own}"))]);
    assert_eq!(con.say("CHATCACHE.FETCH msg ann bot new"), hit("answer"));
    let replies = holder
        .transaction(&[&set_line(Q, "hello", &format!("TOKEN {token}")), &format!("CHATCACHE.FETCH {Q}")]);
    assert_eq!(replies[0], Raw::simple("OK"));
    assert_eq!(replies[1], hit("hello"));
}

#[test]
fn in_a_script_or_a_function_fetch_does_not_wait() {
    let server = Server::start();
    let (mut holder, mut con) = (server.raw(), server.raw());
    let token = lease(&mut holder, Q);
    let fetch = "return redis.call('CHATCACHE.FETCH', 'response', 'ann', KEYS[1], ARGV[1], 'WAIT', '60000')";
    assert!(busy_of(con.call(&["EVAL", fetch, "1", "bot", "hi"])) > 0);
    assert!(busy_of(con.call(&["EVAL_RO", fetch, "1", "bot", "hi"])) > 0);
    let library =
        format!("#!lua name=lib\nredis.register_function('fetch', function(KEYS, ARGV) {fetch} end)");
    assert_eq!(con.call(&["FUNCTION", "LOAD", &library]), Raw::bulk("lib"));
    assert!(busy_of(con.say("FCALL fetch 1 bot hi")) > 0);
    let (own, _) = lease_of(con.call(&["EVAL", fetch, "1", "bot", "new"]));
    con.ok(&set_line("response ann bot new", "answer", &format!("TOKEN {own}")));
    let (own, _) = lease_of(con.say("FCALL fetch 1 bot newer"));
    con.ok(&set_line("response ann bot newer", "answer", &format!("TOKEN {own}")));
    let store =
        "return redis.call('CHATCACHE.SET', 'response', 'ann', KEYS[1], 'hi', 'hello', 'TOKEN', ARGV[1])";
    let mut waiting = testkit::waiter(&server, Q);
    assert_eq!(con.call(&["EVAL", store, "1", "bot", &token]), Raw::simple("OK"));
    assert_eq!(waiting.read(), hit("hello"));
    assert_eq!(con.call(&["EVAL", fetch, "1", "bot", "hi"]), hit("hello"));
    // A late one is nil in Lua: false.
    let late = "return redis.call('CHATCACHE.SET', 'response', 'ann', KEYS[1], 'hi', 'late', 'TOKEN', ARGV[1]) == false";
    assert_eq!(con.call(&["EVAL", late, "1", "bot", &token]), Raw::Int(1));
}
