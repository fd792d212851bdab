//! The commands inside MULTI, Lua and functions, and under WATCH.

use testkit::{Raw, Server};

#[test]
fn invalidate_takes_effect_in_the_middle_of_a_transaction() {
    let server = Server::start();
    let mut con = server.raw();
    con.ok("CHATCACHE.SET msg ann helper hello old");
    let replies = con.transaction(&[
        "CHATCACHE.GET msg ann helper hello",
        "CHATCACHE.INVALIDATE helper",
        "CHATCACHE.GET msg ann helper hello",
        "CHATCACHE.SET msg ann helper hello new",
        "CHATCACHE.GET any ann helper hello",
        "CHATCACHE.INVALIDATE coder helper",
        "CHATCACHE.FORGET ann",
        "CHATCACHE.FLUSH",
    ]);
    let story = [
        Raw::bulk("old"),
        Raw::Int(1),
        Raw::NullBulk,
        Raw::simple("OK"),
        Raw::bulk("new"),
        Raw::Int(1),
        Raw::Int(0),
        Raw::Int(0),
    ];
    assert_eq!(replies, story);
    assert_eq!(con.number("DBSIZE"), 0);
}

#[test]
fn a_script_may_get_set_and_invalidate() {
    let server = Server::start();
    let mut con = server.raw();
    let script =
        "local set = redis.call('CHATCACHE.SET', 'msg', 'ann', KEYS[1], 'hello', 'answer', 'EX', 100)
        local got = redis.call('CHATCACHE.GET', 'any', 'ann', KEYS[1], 'hello')
        local went = redis.call('CHATCACHE.INVALIDATE', KEYS[1])
        local again = redis.call('CHATCACHE.GET', 'any', 'ann', KEYS[1], 'hello')
        return {set.ok, got, went, tostring(again)}";
    let told = Raw::Array(vec![Raw::bulk("OK"), Raw::bulk("answer"), Raw::Int(1), Raw::bulk("false")]);
    assert_eq!(con.call(&["EVAL", script, "1", "helper"]), told);
    assert_eq!(con.number("DBSIZE"), 0);

    con.ok("CHATCACHE.SET msg ann helper hello answer");
    let drop = "return redis.call('CHATCACHE.INVALIDATE', KEYS[1])";
    match con.call(&["EVAL_RO", drop, "1", "helper"]) {
        Raw::Error(text) => assert!(text.contains("Write commands are not allowed"), "{text}"),
        other => panic!("a read-only script dropped answers: {other:?}"),
    }
    let read = "return redis.call('CHATCACHE.GET', 'msg', 'ann', KEYS[1], 'hello')";
    assert_eq!(con.call(&["EVAL_RO", read, "1", "helper"]), Raw::bulk("answer"));
    assert_eq!(con.call(&["EVAL", drop, "1", "helper"]), Raw::Int(1));
}

#[test]
fn a_refusal_in_a_script_is_an_error_that_it_can_catch() {
    let server = Server::start();
    let mut con = server.raw();
    let script = "local reply = redis.pcall('CHATCACHE.GET', 'nowhere', 'ann', KEYS[1], 'hello')
        return reply.err";
    match con.call(&["EVAL", script, "1", "helper"]) {
        Raw::Bulk(text) => assert!(String::from_utf8_lossy(&text).contains("unknown tier"), "{text:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_function_may_invalidate_a_persona() {
    let server = Server::start();
    let mut con = server.raw();
    let library = "#!lua name=chat
        redis.register_function('new_prompt', function(keys)
            return redis.call('CHATCACHE.INVALIDATE', keys[1])
        end)
        redis.register_function{function_name='ask', flags={'no-writes'}, callback=function(keys)
            return redis.call('CHATCACHE.GET', 'any', 'ann', keys[1], 'hello')
        end}";
    assert_eq!(con.call(&["FUNCTION", "LOAD", library]), Raw::bulk("chat"));
    con.ok("CHATCACHE.SET persona ann helper hello answer");
    con.ok("CHATCACHE.SET msg ann helper hello answer");
    assert_eq!(con.say("FCALL_RO ask 1 helper"), Raw::bulk("answer"));
    assert_eq!(con.say("FCALL new_prompt 1 helper"), Raw::Int(2));
    assert_eq!(con.say("FCALL_RO ask 1 helper"), Raw::NullBulk);
    assert_eq!(con.say("FCALL new_prompt 1 helper"), Raw::Int(0));
}

/// Returns true if `line` of another client aborts a transaction that watches `key`.
#[track_caller]
fn is_called_off(server: &Server, key: &str, line: &str) -> bool {
    let (mut watcher, mut other) = (server.raw(), server.raw());
    watcher.ok(&format!("WATCH {key}"));
    let reply = other.say(line);
    assert!(!matches!(reply, Raw::Error(_)), "{line} gave {reply:?}");
    watcher.ok("MULTI");
    watcher.say("PING");
    match watcher.say("EXEC") {
        Raw::NullArray => true,
        Raw::Array(_) => false,
        other => panic!("EXEC gave {other:?}"),
    }
}

#[test]
fn a_watched_persona_is_touched_by_an_invalidate() {
    let server = Server::start();
    let mut con = server.raw();
    for line in
        ["CHATCACHE.INVALIDATE coder helper", "CHATCACHE.FORGET ann", "CHATCACHE.DEL msg ann helper hello"]
    {
        con.ok("CHATCACHE.SET msg ann helper hello answer");
        assert!(is_called_off(&server, "helper", line), "{line}");
    }
    for line in [
        "CHATCACHE.INVALIDATE coder",
        "CHATCACHE.FORGET bob",
        "CHATCACHE.GET msg ann helper hello",
        "CHATCACHE.STATS helper",
    ] {
        con.ok("CHATCACHE.SET msg ann helper hello answer");
        assert!(!is_called_off(&server, "helper", line), "{line}");
    }
}

#[test]
fn a_watched_key_is_touched_by_a_change_of_its_entry() {
    let server = Server::start();
    let mut con = server.raw();
    let key = con.text("CHATCACHE.KEY msg ann helper hello");
    for line in [
        "CHATCACHE.SET msg bob coder hello other",
        "CHATCACHE.SET msg ann helper hello answer KEEPTTL",
        "CHATCACHE.DEL msg bob coder hello",
        "CHATCACHE.INVALIDATE helper",
        "CHATCACHE.FORGET ann",
        "CHATCACHE.FLUSH msg",
    ] {
        con.ok("CHATCACHE.SET msg ann helper hello answer");
        assert!(is_called_off(&server, &key, line), "{line}");
    }
    assert!(is_called_off(&server, &key, "CHATCACHE.SET msg ann helper hello answer"), "from nothing");
    for line in [
        "CHATCACHE.GET msg ann helper hello",
        "CHATCACHE.INSPECT msg ann helper hello",
        "CHATCACHE.SET msg ann helper hello other NX",
        "CHATCACHE.SET msg ann helper bye other",
        "CHATCACHE.DEL msg ann helper bye",
        "CHATCACHE.INVALIDATE coder",
        "CHATCACHE.FLUSH session",
    ] {
        con.ok("CHATCACHE.SET msg ann helper hello answer");
        assert!(!is_called_off(&server, &key, line), "{line}");
    }
}
