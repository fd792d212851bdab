//! RDB files, DUMP and RESTORE.

use std::fs;

use redis::Value;
use testkit::{
    Server, args, ask, checked, cmd, count, dbsize, error_text, eventually, expect_error, fill, get,
    one_of_each, personas, saved_in_background, seen, set, stat,
};

#[test]
fn a_restart_with_an_rdb_keeps_every_entry_as_it_was() {
    let mut server = Server::start();
    let mut con = server.connect();
    let requests = one_of_each(&mut con);
    let before: Vec<_> = requests.iter().map(|request| seen(&mut con, request)).collect();
    let personas_before = personas(&mut con);
    server.restart();
    let mut con = server.connect();
    for (request, before) in requests.iter().zip(before) {
        assert_eq!(seen(&mut con, request), before);
    }
    assert_eq!(personas(&mut con), personas_before);
    assert_eq!(stat(&mut con, "entries"), requests.len() as i64);
    assert_eq!(dbsize(&mut con), requests.len() as i64);
    assert_eq!(stat(&mut con, "pending-reclaim"), 0);
}

#[test]
fn debug_reload_keeps_every_entry_as_it_was() {
    let server = Server::start();
    let mut con = server.connect();
    let requests = one_of_each(&mut con);
    let before: Vec<_> = requests.iter().map(|request| seen(&mut con, request)).collect();
    let personas_before = personas(&mut con);
    ask(&mut con, &["DEBUG", "RELOAD"]);
    // Once more without emptying first: each key is read over itself.
    ask(&mut con, &["DEBUG", "RELOAD", "NOFLUSH", "MERGE"]);
    for (request, before) in requests.iter().zip(before) {
        assert_eq!(seen(&mut con, request), before);
    }
    assert_eq!(personas(&mut con), personas_before);
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "helper"]), 6);
    assert_eq!(stat(&mut con, "entries"), 6);
}

#[test]
fn entries_in_a_bgsave_are_there_after_a_crash() {
    let mut server = Server::start();
    let mut con = server.connect();
    let requests = one_of_each(&mut con);
    let before: Vec<_> = requests.iter().map(|request| seen(&mut con, request)).collect();
    ask(&mut con, &["BGSAVE"]);
    saved_in_background(&mut con);
    set(&mut con, "msg", "", "helper", "too late for the file", "lost");
    server.kill9();
    server.start_again();
    let mut con = server.connect();
    for (request, before) in requests.iter().zip(before) {
        assert_eq!(seen(&mut con, request), before);
    }
    assert_eq!(get(&mut con, "msg", "", "helper", "too late for the file"), None);
}

#[test]
fn an_entry_s_age_goes_on_over_a_restart() {
    let mut server = Server::start();
    let mut con = server.connect();
    set(&mut con, "msg", "", "helper", "q", "a");
    let age = |con: &mut redis::Connection| {
        let fields = testkit::map_of(ask(con, &["CHATCACHE.INSPECT", "msg", "", "helper", "q"]));
        testkit::text(&fields["age-ms"]).parse::<i64>().expect("an age")
    };
    eventually(|| age(&mut con) >= 20);
    server.restart();
    assert!(age(&mut server.connect()) >= 20);
}

#[test]
fn entries_that_expired_while_the_server_was_down_are_neither_served_nor_counted() {
    let mut server = Server::start();
    let mut con = server.connect();
    ask(&mut con, &["CHATCACHE.SET", "msg", "", "brief", "q", "a", "PX", "700"]);
    let expires = {
        let key = ask(&mut con, &["CHATCACHE.KEY", "msg", "", "brief", "q"]);
        count(&mut con, &args!["PEXPIRETIME", testkit::text(&key)])
    };
    set(&mut con, "msg", "", "lasting", "q2", "a");
    server.shutdown("SAVE");
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        since.as_millis() as i64
    };
    eventually(|| now() > expires);
    server.start_again();
    let mut con = server.connect();
    assert_eq!(dbsize(&mut con), 1);
    assert_eq!(stat(&mut con, "entries"), 1);
    assert_eq!(personas(&mut con).into_keys().collect::<Vec<_>>(), ["lasting"]);
}

#[test]
fn each_database_gets_its_own_entries_back() {
    let mut server = Server::start();
    let mut con = server.connect();
    for database in [0, 3, 15] {
        ask(&mut con, &args!["SELECT", database]);
        fill(&mut con, "response", "ann", "helper", database + 1);
        set(&mut con, "msg", "", "helper", "same question", &format!("answer of {database}"));
    }
    server.restart();
    let mut con = server.connect();
    for database in [0, 3, 15] {
        ask(&mut con, &args!["SELECT", database]);
        let response = get(&mut con, "msg", "", "helper", "same question");
        assert_eq!(response, Some(format!("answer of {database}")));
        assert_eq!(count(&mut con, &["CHATCACHE.FORGET", "ann"]), database as i64 + 1);
        assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "helper"]), 1);
    }
    assert_eq!(stat(&mut con, "entries"), 0);
}

#[test]
fn while_the_server_loads_it_says_so() {
    let server = Server::builder()
        .config("key-load-delay 2000")
        .config("loading-process-events-interval-bytes 1024")
        .start();
    let mut con = server.connect();
    fill(&mut con, "persona", "", "helper", 500);
    let mut reloader = server.raw();
    reloader.send(&["DEBUG", "RELOAD"]);
    let mut refused = String::new();
    eventually(|| match cmd(&mut con, &["CHATCACHE.GET", "persona", "", "helper", "q500"]) {
        Ok(_) => false,
        Err(error) => {
            refused = error_text(&error);
            true
        }
    });
    assert!(refused.starts_with("LOADING"), "{refused}");
    let refused = cmd(&mut con, &["CHATCACHE.SET", "persona", "", "helper", "q", "a"]);
    expect_error(refused, "LOADING");
    assert!(matches!(ask(&mut con, &["CHATCACHE.HELP"]), Value::Array(_)));
    assert_eq!(reloader.read(), testkit::Raw::simple("OK"));
    assert_eq!(get(&mut con, "persona", "", "helper", "q500"), Some("a500".into()));
    assert_eq!(stat(&mut con, "entries"), 500);
}

#[test]
fn a_server_without_the_module_refuses_the_file_and_one_with_it_reads_it() {
    let mut server = Server::start();
    let mut con = server.connect();
    set(&mut con, "persona", "", "helper", "q", "a");
    server.shutdown("SAVE");
    let dump = fs::read(server.dir().join("dump.rdb")).expect("dump.rdb");
    let log = Server::builder().without_module().file("dump.rdb", dump.clone()).try_start();
    let log = log.err().expect("a server without the module must not drop the answers silently");
    assert!(log.contains("chatcache"), "the log does not name the missing module:\n{log}");
    let other = Server::builder().file("dump.rdb", dump).start();
    assert_eq!(get(&mut other.connect(), "persona", "", "helper", "q"), Some("a".into()));
}

#[test]
fn a_dump_of_one_server_is_restored_in_another_with_all_that_belongs_to_it() {
    let (one, other) = (Server::start(), Server::start());
    let (mut from, mut to) = (one.connect(), other.connect());
    for request in one_of_each(&mut from) {
        let (fields, expires) = seen(&mut from, &request);
        let restored = ask(&mut to, &args!["RESTORE", fields["key"], expires, fields["dump"], "ABSTTL"]);
        assert_eq!(restored, Value::Okay);
        assert_eq!(seen(&mut to, &request), (fields, expires));
    }
    assert_eq!(personas(&mut to), personas(&mut from));
    assert_eq!(count(&mut to, &["CHATCACHE.INVALIDATE", "helper"]), 6);
}

#[test]
fn migrate_takes_an_entry_to_another_server() {
    let (one, other) = (Server::start(), Server::start());
    let (mut from, mut to) = (one.connect(), other.connect());
    set(&mut from, "session", "ann", "helper", "q", "a");
    let key = ask(&mut from, &["CHATCACHE.KEY", "session", "ann", "helper", "q"]);
    let key = testkit::text(&key);
    let expires = count(&mut from, &args!["PEXPIRETIME", key]);
    ask(&mut from, &args!["MIGRATE", "127.0.0.1", other.port(), key, 0, 5000]);
    assert_eq!(get(&mut from, "session", "ann", "helper", "q"), None);
    assert_eq!(stat(&mut from, "entries"), 0);
    assert_eq!(get(&mut to, "session", "ann", "helper", "q"), Some("a".into()));
    // MIGRATE sends the remaining TTL, not its end.
    assert!((count(&mut to, &args!["PEXPIRETIME", key]) - expires).abs() < 5000);
    assert_eq!(count(&mut to, &["CHATCACHE.FORGET", "ann"]), 1);
}

#[test]
fn redis_check_rdb_finds_nothing_wrong() {
    let server = Server::start();
    let mut con = server.connect();
    one_of_each(&mut con);
    fill(&mut con, "persona", "", "helper", 1000);
    ask(&mut con, &["SAVE"]);
    let (good, text) = checked(&server, "rdb", &server.dir().join("dump.rdb"));
    assert!(good && text.contains("RDB looks OK"), "{text}");
    assert!(text.contains("1012 keys read"), "{text}");
}
