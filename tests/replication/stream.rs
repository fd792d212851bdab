//! The replication stream, read as a replica reads it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use redis::{Connection, Value};
use testkit::{
    NOTHING_AT_ONCE, Server, args, as_text, ask, cmd, count, dbsize, eventually, fill, fill_with, info_field,
    patient, reclaimed, set, text,
};

/// A replica that applies nothing: it only reads.
struct Listener(BufReader<TcpStream>);

impl Listener {
    /// Has the RDB behind it when this returns.
    fn of(master: &Server) -> Listener {
        let stream = TcpStream::connect(("127.0.0.1", master.port())).expect("connect");
        stream.set_read_timeout(Some(patient(Duration::from_secs(20)))).expect("a time-out");
        let mut listener = Listener(BufReader::new(stream));
        listener.0.get_mut().write_all(b"SYNC\r\n").expect("SYNC");
        let header = loop {
            // While the file is made, the master sends empty lines.
            let line = listener.line();
            if !line.is_empty() {
                break line;
            }
        };
        let length: u64 = header.strip_prefix('$').and_then(|length| length.parse().ok()).expect("a length");
        std::io::copy(&mut listener.0.by_ref().take(length), &mut std::io::sink()).expect("the RDB");
        listener
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the stream goes on");
        line.trim_end().to_owned()
    }

    /// The next command that is not SELECT or PING.
    fn next(&mut self) -> String {
        loop {
            let header = self.line();
            let words = header.strip_prefix('*').and_then(|words| words.parse().ok()).unwrap_or(0);
            let command: Vec<Vec<u8>> = (0..words)
                .map(|_| {
                    let length: usize = self.line()[1..].parse().expect("a length");
                    let mut word = vec![0; length + 2];
                    self.0.read_exact(&mut word).expect("a word");
                    word.truncate(length);
                    word
                })
                .collect();
            if let [name, ..] = &command[..]
                && !name.eq_ignore_ascii_case(b"SELECT")
                && !name.eq_ignore_ascii_case(b"PING")
            {
                return as_text(&command);
            }
        }
    }
}

/// When the key of a request in the session tier ends.
fn end(con: &mut Connection, message: &str) -> i64 {
    let key = text(&ask(con, &["CHATCACHE.KEY", "session", "ann", "helper", message]));
    count(con, &args!["PEXPIRETIME", key])
}

#[test]
fn an_entry_travels_with_the_moment_of_its_end_and_without_conditions() {
    let master = Server::start();
    let mut stream = Listener::of(&master);
    let mut con = master.connect();
    for (number, options) in
        ["", "ex 100", "PX 123456", "EXAT 4000000000", "NX", "NX PX 777777"].into_iter().enumerate()
    {
        let mut command: Vec<Vec<u8>> =
            args!["chatcache.set", "session", "ann", "helper", number, "a"].into();
        command.extend(options.split_whitespace().map(|word| word.as_bytes().to_vec()));
        assert_eq!(ask(&mut con, &command), Value::Okay);
        let end = end(&mut con, &number.to_string());
        assert_eq!(stream.next(), format!("CHATCACHE.SET session ann helper {number} a PXAT {end}"));
    }
    let before = end(&mut con, "2");
    ask(&mut con, &["CHATCACHE.SET", "session", "ann", "helper", "2", "b", "XX", "KEEPTTL"]);
    assert_eq!(stream.next(), format!("CHATCACHE.SET session ann helper 2 b PXAT {before}"));
    // A response without a TTL keeps none.
    let key = text(&ask(&mut con, &["CHATCACHE.KEY", "session", "ann", "helper", "2"]));
    ask(&mut con, &args!["PERSIST", key]);
    assert_eq!(stream.next(), format!("PERSIST {key}"));
    ask(&mut con, &["CHATCACHE.SET", "session", "ann", "helper", "2", "c", "KEEPTTL"]);
    assert_eq!(stream.next(), "CHATCACHE.SET session ann helper 2 c KEEPTTL");
    ask(&mut con, &["CHATCACHE.SET", "session", "ann", "helper", "", "a", "PX", "5000", "ID", "one"]);
    let sent = stream.next();
    assert!(sent.starts_with("CHATCACHE.SET session ann helper  a ID one PXAT "), "{sent}");
}

#[test]
fn refused_commands_and_those_without_effect_are_not_replicated() {
    let master = Server::start();
    let mut con = master.connect();
    set(&mut con, "persona", "", "helper", "there", "a");
    ask(&mut con, &["SET", "plain", "x"]);
    let mut stream = Listener::of(&master);
    for silent in [
        &["CHATCACHE.GET", "any", "ann", "helper", "there"][..],
        &["CHATCACHE.SET", "persona", "", "helper", "there", "b", "NX"],
        &["CHATCACHE.SET", "persona", "", "helper", "not there", "b", "XX"],
        &["CHATCACHE.DEL", "persona", "", "helper", "not there"],
    ] {
        ask(&mut con, silent);
    }
    for refused in [
        &["CHATCACHE.SET", "persona", "", "helper", "q", "a", "EX", "-1"][..],
        &["CHATCACHE.SET", "nonsense", "", "helper", "q", "a"],
        &["CHATCACHE.INVALIDATE", "helper", ""],
        &["CHATCACHE.FORGET", ""],
        &["CHATCACHE.FLUSH", "msg", "nonsense"],
    ] {
        assert!(cmd(&mut con, refused).is_err());
    }
    ask(&mut con, &["SET", "end", "of this"]);
    assert_eq!(stream.next(), "SET end of this");
}

#[test]
fn invalidations_travel_once_each_as_they_came() {
    let master = Server::start();
    let mut con = master.connect();
    fill(&mut con, "persona", "", "helper", 100);
    fill(&mut con, "response", "ann", "helper", 100);
    let mut stream = Listener::of(&master);
    for command in [
        &["CHATCACHE.DEL", "persona", "", "helper", "q1"][..],
        &["CHATCACHE.FORGET", "ann", "nobody"],
        &["CHATCACHE.INVALIDATE", "helper", "unknown"],
        &["chatcache.flush", "msg", "RESPONSE"],
        &["CHATCACHE.FLUSH"],
    ] {
        ask(&mut con, command);
        assert_eq!(stream.next(), command.join(" "));
    }
}

#[test]
fn a_transaction_and_a_script_travel_whole_and_by_their_effects() {
    let master = Server::start();
    let mut stream = Listener::of(&master);
    let mut con = master.connect();
    let script = "redis.call('CHATCACHE.SET', 'session', 'ann', 'helper', ARGV[1], 'a', 'EX', 50)
        redis.call('CHATCACHE.GET', 'session', 'ann', 'helper', ARGV[1])
        return redis.call('CHATCACHE.INVALIDATE', 'other')";
    ask(&mut con, &args!["EVAL", script, 0, "lua"]);
    let ends = end(&mut con, "lua");
    assert_eq!(stream.next(), "MULTI");
    assert_eq!(stream.next(), format!("CHATCACHE.SET session ann helper lua a PXAT {ends}"));
    assert_eq!(stream.next(), "CHATCACHE.INVALIDATE other");
    assert_eq!(stream.next(), "EXEC");
    for command in [
        &["MULTI"][..],
        &["CHATCACHE.SET", "session", "ann", "helper", "multi", "a"],
        &["CHATCACHE.INVALIDATE", "other"],
        &["CHATCACHE.GET", "session", "ann", "helper", "multi"],
        &["EXEC"],
    ] {
        ask(&mut con, command);
    }
    let ends = end(&mut con, "multi");
    assert_eq!(stream.next(), "MULTI");
    assert_eq!(stream.next(), format!("CHATCACHE.SET session ann helper multi a PXAT {ends}"));
    assert_eq!(stream.next(), "CHATCACHE.INVALIDATE other");
    assert_eq!(stream.next(), "EXEC");
}

#[test]
fn an_invalidation_of_ten_thousand_entries_is_one_small_command_and_its_reclaim_sends_nothing() {
    // No PINGs, which would count in the offset.
    let master = Server::builder().config("repl-ping-replica-period 3600").start();
    let offset = |con: &mut Connection| -> i64 {
        info_field(con, "replication", "master_repl_offset").parse().expect("an offset")
    };
    for limit in ["512", "1000000", "0"] {
        let mut con = master.connect();
        ask(&mut con, &["CONFIG", "SET", "chatcache.invalidate-sync-limit", limit]);
        fill(&mut con, "persona", "", "helper", 10_000);
        let mut stream = Listener::of(&master);
        let before = offset(&mut con);
        assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "helper"]), 10_000);
        let after = offset(&mut con);
        assert!((1..1024).contains(&(after - before)), "{} bytes were sent", after - before);
        reclaimed(&master);
        assert_eq!(dbsize(&mut con), 0);
        assert_eq!(offset(&mut con), after);
        ask(&mut con, &["SET", "end", "of this"]);
        assert_eq!(stream.next(), "CHATCACHE.INVALIDATE helper");
        assert_eq!(stream.next(), "SET end of this");
        ask(&mut con, &["DEL", "end"]);
    }
}

#[test]
fn forget_and_flush_of_thousands_send_one_command_too() {
    let master = Server::builder().config(NOTHING_AT_ONCE).start();
    let mut con = master.connect();
    fill(&mut con, "response", "ann", "helper", 5_000);
    fill(&mut con, "session", "bob", "helper", 5_000);
    let mut stream = Listener::of(&master);
    assert_eq!(count(&mut con, &["CHATCACHE.FORGET", "ann"]), 5_000);
    assert_eq!(count(&mut con, &["CHATCACHE.FLUSH", "session"]), 5_000);
    reclaimed(&master);
    assert_eq!(dbsize(&mut con), 0);
    ask(&mut con, &["SET", "end", "of this"]);
    for sent in ["CHATCACHE.FORGET ann", "CHATCACHE.FLUSH session", "SET end of this"] {
        assert_eq!(stream.next(), sent);
    }
}

#[test]
fn entries_that_are_expired_when_they_are_reclaimed_send_no_more_than_expiry_does() {
    let master = Server::builder().config(NOTHING_AT_ONCE).start();
    let mut con = master.connect();
    ask(&mut con, &["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    fill_with(&mut con, "persona", "", "helper", 3_000, "PX 300");
    let key = text(&ask(&mut con, &["CHATCACHE.KEY", "persona", "", "helper", "q3000"]));
    let mut stream = Listener::of(&master);
    // Asking for it deletes that one.
    eventually(|| count(&mut con, &args!["PTTL", key]) < 0);
    let sent = stream.next();
    assert!(sent.ends_with(&key), "{sent}");
    assert_eq!(count(&mut con, &["CHATCACHE.INVALIDATE", "helper"]), 2_999);
    reclaimed(&master);
    assert_eq!(dbsize(&mut con), 0);
    ask(&mut con, &["SET", "end", "of this"]);
    assert_eq!(stream.next(), "CHATCACHE.INVALIDATE helper");
    // The server itself sends one deletion for an expired key that anybody opens; there is nothing else.
    let mut deletions = 0;
    loop {
        let sent = stream.next();
        match sent.split_once(' ') {
            _ if sent == "SET end of this" => break,
            Some(("DEL" | "UNLINK", key)) => {
                assert!(key.starts_with("persona:helper:"), "{sent}");
                deletions += 1;
            }
            _ => assert!(["MULTI", "EXEC"].contains(&&*sent), "{sent}"),
        }
    }
    assert!(deletions <= 2_999, "{deletions}");
}
