//! Values that no module wrote, or a newer one: refused, and never the server's end.

use std::fs;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redis::Connection;
use testkit::{
    Server, args, ask, cmd, count, dbsize, get, one_of_each, personas, seed, seen, set, stat, text,
};

/// Persona and message of the one response in the file that is to be damaged.
const PERSONA: &str = "the persona whose header is bent";

/// An RDB file with one answer, not compressed and without a checksum, and where its header begins.
fn a_file() -> (Vec<u8>, usize) {
    let server = Server::builder().config("rdbcompression no").config("rdbchecksum no").start();
    let mut con = server.connect();
    set(&mut con, "response", "ann", PERSONA, "q", "the answer in the file");
    ask(&mut con, &["SAVE"]);
    let file = fs::read(server.dir().join("dump.rdb")).expect("dump.rdb");
    // The header begins with state, tier, encoding and the length of the persona. The key has the name too.
    let start: Vec<u8> = [&[0, 3, 0, PERSONA.len() as u8], PERSONA.as_bytes()].concat();
    let at = file.windows(start.len()).position(|window| window == start).expect("the header");
    (file, at)
}

/// The log of a server that is given this file, which must refuse to start with it.
#[track_caller]
fn refused(file: Vec<u8>) -> String {
    let builder = Server::builder().config("rdbchecksum no").file("dump.rdb", file);
    let log = builder.try_start().err().expect("the server started with a damaged file");
    for crash in ["BUG REPORT", "panicked", "Guru"] {
        assert!(!log.contains(crash), "{log}");
    }
    log
}

#[test]
fn the_undamaged_file_is_read() {
    let (file, _) = a_file();
    let server = Server::builder().config("rdbchecksum no").file("dump.rdb", file).start();
    let response = get(&mut server.connect(), "response", "ann", PERSONA, "q");
    assert_eq!(response, Some("the answer in the file".into()));
}

#[test]
fn a_corrupt_header_in_the_rdb_is_refused_and_the_log_gives_the_reason() {
    let (file, at) = a_file();
    let bends: [(usize, u8, &str); 5] = [
        (0, 9, "unknown state 9"),
        (1, 7, "unknown tier 7"),
        (2, 5, "unknown encoding 5"),
        // The persona's length claims 4 GB, then one byte less than it is.
        (3, 0xfd, "damaged"),
        (3, PERSONA.len() as u8 - 1, "refused a value"),
    ];
    for (offset, byte, reason) in bends {
        let mut bent = file.clone();
        bent[at + offset] = byte;
        let log = refused(bent);
        let line = log.lines().find(|line| line.contains("refused a value"));
        let line = line.unwrap_or_else(|| panic!("no refusal of offset {offset} in\n{log}"));
        assert!(line.contains(reason), "{line}");
    }
}

#[test]
fn a_file_cut_short_is_refused() {
    let (file, at) = a_file();
    for length in [at, at + 2, at + 40, at + 120, file.len() - 12] {
        refused(file[..length.min(file.len() - 12)].to_vec());
    }
}

#[test]
fn a_file_of_a_newer_module_is_refused_with_both_versions() {
    let (mut file, _) = a_file();
    let id = chatcache::entry::dump::type_id("chatcache", 1);
    let newer = chatcache::entry::dump::type_id("chatcache", 2);
    let at = file.windows(8).position(|window| window == id.to_be_bytes()).expect("the type's number");
    file[at..at + 8].copy_from_slice(&newer.to_be_bytes());
    let log = refused(file);
    assert!(log.contains("it has version 2, and this module reads versions up to 1"), "{log}");
}

/// A DUMP payload without its end, which is two bytes of version and the checksum.
fn body_of(con: &mut Connection, persona: &str) -> (Vec<u8>, [u8; 2]) {
    let (fields, _) = seen(con, &args!["response", "ann", persona, "q"].into());
    let dump = &fields["dump"];
    let end = dump.len() - 10;
    (dump[..end].to_vec(), [dump[end], dump[end + 1]])
}

/// A payload that RESTORE takes for undamaged.
fn signed(body: &[u8], version: [u8; 2]) -> Vec<u8> {
    const CRC64: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_REDIS);
    let payload = [body, &version].concat();
    let sum = CRC64.checksum(&payload).to_le_bytes();
    [payload, sum.to_vec()].concat()
}

/// Checks that the server still has its responses, and that the counts agree with the keyspace.
#[track_caller]
fn is_sane(con: &mut Connection) {
    assert_eq!(get(con, "response", "ann", "helper", "q"), Some("a".into()));
    let sum: i64 = personas(con).values().map(|(entries, _)| entries.parse::<i64>().expect("a number")).sum();
    assert_eq!(sum, stat(con, "entries"));
    assert_eq!(dbsize(con), stat(con, "entries") + stat(con, "pending-reclaim"));
}

#[test]
fn restore_of_corrupt_values_with_right_checksums_is_an_error_or_a_valid_entry() {
    let mut random = StdRng::seed_from_u64(seed());
    let server = Server::builder().config("rdbcompression no").start();
    let mut con = server.connect();
    set(&mut con, "response", "ann", "helper", "q", "a");
    let long = "x".repeat(500);
    ask(&mut con, &args!["CHATCACHE.SET", "response", "ann", "long", "q", long]);
    let bodies = [body_of(&mut con, "helper"), body_of(&mut con, "long")];
    let (mut taken, mut refusals) = (0, 0);
    for round in 0..2000 {
        let (body, version) = &bodies[round % 2];
        let mut bent = body.clone();
        // The type stays: with another one this would test the server's own types.
        let first = 10;
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(first..bent.len());
            match random.random_range(0..5) {
                0 => bent[at] ^= 1 << random.random_range(0..8),
                1 => bent[at] = random.random(),
                2 => {
                    bent[at] =
                        [0, 1, 0x3f, 0x40, 0x80, 0x81, 0xc3, 0xfb, 0xfd, 0xff][random.random_range(0..10)]
                }
                3 => bent.insert(at, random.random()),
                _ => bent.truncate(at.max(first + 1)),
            }
        }
        match cmd(&mut con, &args!["RESTORE", "bent", 0, signed(&bent, *version), "REPLACE"]) {
            Ok(_) => {
                taken += 1;
                assert_eq!(text(&ask(&mut con, &["TYPE", "bent"])), "chatcache");
                ask(&mut con, &["DUMP", "bent"]);
                ask(&mut con, &["MEMORY", "USAGE", "bent"]);
                ask(&mut con, &["COPY", "bent", "copy of bent", "REPLACE"]);
                if round % 3 == 0 {
                    ask(&mut con, &["DEL", "bent", "copy of bent"]);
                }
            }
            Err(error) => {
                assert!(error.to_string().contains("Bad data format"), "{error}");
                refusals += 1;
            }
        }
        if round % 50 == 0 {
            is_sane(&mut con);
        }
    }
    assert!(taken > 50 && refusals > 50, "{taken} taken and {refusals} refused: this tests nothing");
    is_sane(&mut con);
    ask(&mut con, &["DEBUG", "RELOAD"]);
    is_sane(&mut con);
    ask(&mut con, &["CHATCACHE.FLUSH"]);
    assert_eq!(stat(&mut con, "entries"), 0);
}

#[test]
fn restore_of_a_value_cut_anywhere_is_refused_and_changes_nothing() {
    let server = Server::start();
    let mut con = server.connect();
    set(&mut con, "response", "ann", "helper", "q", "a");
    // Longer than the payload's end, which RESTORE lets a value read on into.
    set(&mut con, "response", "ann", "other", "q", "an answer that is not as short as a checksum");
    let (body, version) = body_of(&mut con, "other");
    for length in 9..body.len() {
        let cut = signed(&body[..length], version);
        // Read on into the payload's version and checksum, it is a value after all where these have the mark of a
        // value's end in the right place: two bytes less always, and once in 256 by chance.
        if cut.get(body.len() - 1) == Some(&0) {
            continue;
        }
        let restored = cmd(&mut con, &args!["RESTORE", "cut", 0, cut]);
        assert!(restored.is_err(), "cut at {length} was taken");
    }
    assert_eq!(dbsize(&mut con), 2);
    is_sane(&mut con);
    assert_eq!(ask(&mut con, &args!["RESTORE", "whole", 0, signed(&body, version)]), redis::Value::Okay);
    is_sane(&mut con);
}

#[test]
fn restore_of_a_newer_version_is_refused_with_both_versions_in_the_log() {
    let server = Server::start();
    let mut con = server.connect();
    one_of_each(&mut con);
    set(&mut con, "response", "ann", "helper", "q", "a");
    let (mut body, version) = body_of(&mut con, "helper");
    body[2..10].copy_from_slice(&chatcache::entry::dump::type_id("chatcache", 2).to_be_bytes());
    assert!(cmd(&mut con, &args!["RESTORE", "newer", 0, signed(&body, version)]).is_err());
    assert!(server.log().contains("it has version 2, and this module reads versions up to 1"));
    assert_eq!(count(&mut con, &["EXISTS", "newer"]), 0);
    assert_eq!(get(&mut con, "response", "ann", "helper", "q"), Some("a".into()));
}
