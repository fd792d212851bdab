//! Any input gets a well-formed reply that echoes nothing, and the server goes on.

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use testkit::{Raw, Server, args};

use super::witness::Witness;

/// Bytes that break careless code.
const NASTY: [&[u8]; 24] = [
    b"",
    b"\0",
    b"\r\n",
    b"\r\n+OK\r\n",
    b"\n",
    b"\xff\xfe",
    "\u{100}".as_bytes(),
    "\u{10ffff}".as_bytes(),
    b"%s%n%s",
    b"{}",
    b"*",
    b"-1",
    b"0",
    b"9223372036854775807",
    b"18446744073709551615",
    b"-9223372036854775808",
    b"msg",
    b"any",
    b"ID",
    b"EX",
    b"KEEPTTL",
    b"COUNT",
    b"CURSOR",
    b"helper",
];

const COMMANDS: [&str; 11] =
    ["GET", "SET", "DEL", "KEY", "INSPECT", "INVALIDATE", "FORGET", "FLUSH", "PERSONAS", "STATS", "HELP"];

/// A valid line of each command with every option.
fn good_lines() -> Vec<Vec<Vec<u8>>> {
    let line = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    [
        "CHATCACHE.GET any ann helper hello ID m-1",
        "CHATCACHE.SET session ann helper hello answer ID m-1 EX 100 NX",
        "CHATCACHE.SET msg ann helper hello answer PXAT 99999999999999 XX",
        "CHATCACHE.SET response ann helper hello answer KEEPTTL",
        "CHATCACHE.DEL session ann helper hello ID m-1",
        "CHATCACHE.KEY session ann helper hello ID m-1",
        "CHATCACHE.INSPECT session ann helper hello ID m-1",
        "CHATCACHE.INVALIDATE helper coder",
        "CHATCACHE.FORGET ann bob",
        "CHATCACHE.FLUSH msg session",
        "CHATCACHE.PERSONAS CURSOR 0 COUNT 10",
        "CHATCACHE.STATS helper",
        "CHATCACHE.HELP more",
    ]
    .map(line)
    .into()
}

#[test]
fn no_bytes_in_any_place_of_any_command_bring_the_server_down() {
    let server = Server::start();
    let mut con = server.raw();
    for good in good_lines() {
        for place in 1..good.len() {
            for nasty in NASTY {
                let mut line = good.clone();
                line[place] = nasty.to_vec();
                con.call(&line);
                // Cut off behind it, and with more behind it.
                con.call(&line[..=place]);
                line.push(nasty.to_vec());
                con.call(&line);
            }
        }
    }
    assert_eq!(con.text("PING"), "PONG");
    assert!(!server.log().contains("a bug in"), "a panic was caught:\n{}", server.log());
}

#[test]
fn no_mix_of_arguments_brings_the_server_down() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let server = Server::start();
    let mut con = server.raw();
    let commands: Vec<Vec<Vec<u8>>> = (0..20_000)
        .map(|_| {
            let command = COMMANDS.choose(&mut random).expect("a command");
            let mut line = args![format!("CHATCACHE.{command}")].to_vec();
            for _ in 0..random.random_range(0..12) {
                line.push(NASTY.choose(&mut random).expect("an argument").to_vec());
            }
            line
        })
        .collect();
    for (line, reply) in commands.iter().zip(con.pipeline(&commands)) {
        if let Raw::Error(text) = reply {
            assert!(!text.contains("internal error"), "{line:?} gave {text}");
        }
    }
    assert_eq!(con.text("PING"), "PONG");
    assert!(!server.log().contains("a bug in"), "a panic was caught:\n{}", server.log());
}

#[test]
fn no_error_echoes_the_arguments_of_a_client() {
    let mut witness = Witness::start();
    let marks: [&[u8]; 5] = [b"MARK", b"\r\n-MARK\r\n", b"MARK\0", b"\xffMARK\xff", "\u{100}MARK".as_bytes()];
    let mut errors = 0;
    for good in good_lines() {
        for (place, mark) in (1..good.len()).flat_map(|place| marks.map(|mark| (place, mark))) {
            for more in 0..2 {
                let mut line = good.clone();
                line[place] = mark.to_vec();
                line.extend((0..more).map(|_| mark.to_vec()));
                if let Raw::Error(text) = witness.con.call(&line) {
                    errors += 1;
                    assert!(!text.contains("MARK") && text.is_ascii(), "{line:?} gave {text:?}");
                }
            }
        }
    }
    assert!(errors > 200, "only {errors} refusals");
    assert_eq!(witness.con.text("PING"), "PONG");
}

#[test]
fn refusals_leave_a_transaction_and_a_pipeline_whole() {
    let mut witness = Witness::start();
    let replies = witness.con.transaction(&[
        "CHATCACHE.GET nowhere ann helper hello",
        "CHATCACHE.GET msg ann helper hello",
        "CHATCACHE.SET msg ann helper hello other EX 0",
        "CHATCACHE.INVALIDATE \"\"",
        "CHATCACHE.GET msg ann helper hello",
    ]);
    let is_error = |reply: &Raw| matches!(reply, Raw::Error(_));
    assert_eq!(replies.iter().map(is_error).collect::<Vec<_>>(), [true, false, true, true, false]);
    assert_eq!((&replies[1], &replies[4]), (&Raw::bulk("answer"), &Raw::bulk("answer")));
}
