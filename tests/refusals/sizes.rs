//! Oversized arguments are refused by a limit of the module, before they cost memory or time.

use testkit::{Raw, RawClient, args, eventually, info_field};

use super::witness::Witness;

#[test]
fn a_response_over_the_limit_is_refused() {
    let mut witness = Witness::start();
    let response = vec![b'x'; 17 << 20];
    for tier in ["msg", "response"] {
        witness.refuses(
            &args!["CHATCACHE.SET", tier, "ann", "helper", "hello", response],
            "ERR the response is larger than chatcache.max-response-bytes (16777216)",
        );
    }
    witness.con.ok("CONFIG SET chatcache.max-response-bytes 10");
    witness.refuses_line(
        "CHATCACHE.SET msg ann helper hello 12345678901",
        "ERR the response is larger than chatcache.max-response-bytes (10)",
    );
    witness.con.ok("CHATCACHE.SET msg ann helper hello 1234567890");
}

#[test]
fn a_message_over_16_mb_is_refused_by_every_command() {
    let mut witness = Witness::start();
    let message = vec![b'x'; (16 << 20) + 1];
    for command in ["GET", "SET", "DEL", "KEY", "INSPECT"] {
        let mut line = args![format!("CHATCACHE.{command}"), "msg", "ann", "helper", message].to_vec();
        line.extend((command == "SET").then(|| b"answer".to_vec()));
        witness.refuses(&line, "ERR the message is longer than 16777216 bytes");
    }
    let get = args!["CHATCACHE.GET", "any", "ann", "helper", message];
    witness.refuses(&get, "ERR the message is longer than 16777216 bytes");
}

/// Sends a command with one argument of that many bytes, which this side never holds as a whole.
fn send_with_a_huge(con: &mut RawClient, line: &[&str], huge: usize) {
    con.send_bytes(format!("*{}\r\n", line.len()).as_bytes());
    for word in line {
        if *word != "HUGE" {
            con.send_bytes(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
            continue;
        }
        con.send_bytes(format!("${huge}\r\n").as_bytes());
        let megabyte = vec![b'h'; 1 << 20];
        for _ in 0..huge >> 20 {
            con.send_bytes(&megabyte);
        }
        con.send_bytes(&megabyte[..huge % (1 << 20)]);
        con.send_bytes(b"\r\n");
    }
}

#[test]
fn an_argument_as_large_as_the_server_takes_is_refused_by_the_limit() {
    const HUGE: usize = 512 << 20;
    let mut witness = Witness::start();
    let used = |witness: &Witness| -> i64 {
        let used = info_field(&mut witness.server.connect(), "memory", "used_memory");
        used.parse().expect("a number")
    };
    let before = (witness.state(), used(&witness));
    for (line, text) in [
        (
            "SET msg ann helper hello HUGE",
            "ERR the response is larger than chatcache.max-response-bytes (16777216)",
        ),
        ("SET msg ann helper HUGE answer", "ERR the message is longer than 16777216 bytes"),
        ("GET any ann HUGE hello", "ERR the persona is longer than 65535 bytes"),
        ("FORGET HUGE", "ERR the user is longer than 65535 bytes"),
    ] {
        let mut con = witness.server.raw();
        let line = format!("CHATCACHE.{line}");
        send_with_a_huge(&mut con, &line.split(' ').collect::<Vec<_>>(), HUGE);
        assert_eq!(con.read(), Raw::Error(text.to_owned()), "{line}");
        assert_eq!(con.text("PING"), "PONG");
        drop(con);
        // The server's own buffer of the argument is soon free again.
        eventually(|| used(&witness) - before.1 < 10 << 20);
    }
    assert_eq!(witness.state(), before.0);
}
