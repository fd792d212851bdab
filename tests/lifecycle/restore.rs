//! DUMP and RESTORE: values that come as bytes from anywhere.

use testkit::{Raw, Server, args};

use super::story::{Census, Desk, EMPTY, FULL, MSG, POETS, RESPONSE, SESSION, story, without_anns};

const ONE_MORE: Census = Census { helper: (6, 19), ann: 5, keys: 7, ..FULL };

#[test]
fn a_restored_answer_is_its_personas_again() {
    story([FULL, EMPTY], |desk| {
        let key = desk.key(RESPONSE);
        let dump = desk.dump(&key);
        desk.number(1, &args!["DEL", key]);
        assert_eq!(desk.get(RESPONSE), None);
        desk.ok(&args!["RESTORE", key, 0, dump]);
        desk.answers(RESPONSE);
    });
    story([ONE_MORE, EMPTY], |desk| {
        let key = desk.key(RESPONSE);
        let dump = desk.dump(&key);
        desk.ok(&args!["RESTORE", "elsewhere", 100_000, dump]);
        desk.answers(RESPONSE);
    });
    story([FULL, Census { helper: (1, 4), poet: (0, 0), ann: 1, bob: 0, keys: 1 }], |desk| {
        let key = desk.key(RESPONSE);
        let dump = desk.dump(&key);
        desk.select(1);
        desk.ok(&args!["RESTORE", key, 0, dump]);
        desk.answers(RESPONSE);
    });
}

#[test]
fn restore_takes_the_place_of_another_answer_only_with_replace() {
    story([Census { helper: (6, 19), poet: (0, 0), ann: 5, bob: 1, keys: 6 }, EMPTY], |desk| {
        let [from, to] = [desk.key(RESPONSE), desk.key(POETS)];
        let dump = desk.dump(&from);
        let refused = desk.run(&args!["RESTORE", to, 0, dump]);
        assert!(matches!(&refused, Raw::Error(text) if text.starts_with("BUSYKEY")), "{refused:?}");
        desk.answers(POETS);
        desk.ok(&args!["RESTORE", to, 0, dump, "REPLACE"]);
    });
    story([FULL, EMPTY], |desk| {
        let key = desk.key(RESPONSE);
        let dump = desk.dump(&key);
        desk.ok(&args!["RESTORE", key, 0, dump, "REPLACE"]);
    });
}

#[test]
fn what_is_restored_after_its_time_was_never_there() {
    story([FULL, EMPTY], |desk| {
        let key = desk.key(RESPONSE);
        let dump = desk.dump(&key);
        desk.ok(&args!["RESTORE", "elsewhere", 1000, dump, "ABSTTL"]);
        desk.number(0, &args!["EXISTS", "elsewhere"]);
    });
    story([without_anns(1), EMPTY], |desk| {
        let [from, to] = [desk.key(RESPONSE), desk.key(MSG)];
        let dump = desk.dump(&from);
        desk.ok(&args!["RESTORE", to, 1000, dump, "ABSTTL", "REPLACE"]);
    });
}

/// A dump of an answer that a drop has hit and whose key still stands.
fn dump_of_dropped(desk: &mut Desk) -> Vec<u8> {
    let key = desk.key(RESPONSE);
    desk.ok(&["CONFIG", "SET", "chatcache.invalidate-sync-limit", "0"]);
    desk.ok(&["MULTI"]);
    desk.run(&["CHATCACHE.INVALIDATE", "helper"]);
    desk.run(&args!["DUMP", key]);
    let Raw::Array(replies) = desk.run(&["EXEC"]) else { panic!("EXEC") };
    let [Raw::Int(5), Raw::Bulk(dump)] = &replies[..] else { panic!("{replies:?}") };
    desk.reclaimed();
    dump.clone()
}

#[test]
fn a_dropped_answer_is_dropped_wherever_its_dump_is_restored() {
    let mut desk = Desk::new(Server::start());
    let mut other = Desk::new(Server::start());
    desk.fresh();
    let dump = dump_of_dropped(&mut desk);
    let poets = Census { helper: (0, 0), ann: 0, bob: 1, keys: 1, ..FULL };
    let key = desk.key(RESPONSE);
    desk.holds(0, poets);
    desk.ok(&args!["RESTORE", key, 0, dump]);
    assert_eq!(desk.get(RESPONSE), None);
    assert_eq!(desk.run(&["CHATCACHE.INSPECT", "response", "ann", "helper", "hi"]), Raw::NullBulk);
    desk.number(0, &["CHATCACHE.INVALIDATE", "helper"]);
    desk.number(0, &["CHATCACHE.DEL", "response", "ann", "helper", "hi"]);
    desk.reclaimed();
    desk.holds(0, poets);
    desk.totals(&[poets]);
    other.ok(&args!["RESTORE", key, 0, dump]);
    assert_eq!(other.get(RESPONSE), None);
    other.reclaimed();
    other.holds(0, EMPTY);
    other.totals(&[]);
    assert!(!dump.windows(4).any(|bytes| bytes == b"4444"), "the answer is in the dump yet");
}

#[test]
fn a_dropped_answer_gives_way_to_a_restored_one() {
    let mut desk = Desk::new(Server::start());
    desk.fresh();
    let key = desk.key(SESSION);
    let live = desk.dump(&key);
    desk.ok(&["CONFIG", "SET", "chatcache.invalidate-sync-limit", "0"]);
    desk.ok(&["MULTI"]);
    desk.run(&["CHATCACHE.FORGET", "ann"]);
    desk.run(&args!["RESTORE", key, 0, live, "REPLACE"]);
    assert_eq!(desk.run(&["EXEC"]), Raw::Array(vec![Raw::Int(4), Raw::simple("OK")]));
    desk.answers(SESSION);
    desk.reclaimed();
    desk.answers(SESSION);
    desk.holds(0, Census { helper: (2, 8), poet: (1, 6), ann: 1, bob: 2, keys: 3 });
    desk.number(1, &["CHATCACHE.FORGET", "ann"]);
}

/// The payload of a dump with the checksum that it should have.
fn sealed(mut value: Vec<u8>) -> Vec<u8> {
    let sum = crc::Crc::<u64>::new(&crc::CRC_64_REDIS).checksum(&value);
    value.extend(sum.to_le_bytes());
    value
}

#[test]
fn a_damaged_dump_is_refused() {
    let mut desk = Desk::new(Server::start());
    desk.fresh();
    let key = desk.key(RESPONSE);
    let dump = desk.dump(&key);
    for at in 0..dump.len() {
        let mut damaged = dump.clone();
        damaged[at] ^= 1;
        let refused = desk.run(&args!["RESTORE", "elsewhere", 0, damaged]);
        assert!(matches!(refused, Raw::Error(_)), "with byte {at} damaged: {refused:?}");
    }
    desk.holds(0, FULL);
    desk.totals(&[FULL]);
}

#[test]
fn a_bent_value_with_a_right_checksum_is_refused_or_counted_right_and_never_given_to_another() {
    let mut desk = Desk::new(Server::start());
    let key = desk.key(RESPONSE);
    desk.store(RESPONSE);
    let dump = desk.dump(&key);
    desk.ok(&["FLUSHALL"]);
    let value = &dump[..dump.len() - 8];
    assert_eq!(sealed(value.to_vec()), dump);
    let end = value.len() - 2;
    let mut bent: Vec<Vec<u8>> = Vec::new();
    // The first byte says that it is a module's value: any other would not be ours to refuse.
    for at in 1..end {
        for byte in [value[at] ^ 1, value[at] ^ 0x80, 0, 0x7f, 0xfc, 0xff] {
            let mut changed = value.to_vec();
            changed[at] = byte;
            bent.push(changed);
        }
        // Cut short there, or with something between.
        bent.push([&value[..at], &value[end..]].concat());
        bent.push([&value[..at], b"\0", &value[at..]].concat());
    }
    let mut refused = 0;
    for value in bent {
        let reply = desk.run(&args!["RESTORE", "elsewhere", 0, sealed(value)]);
        refused += usize::from(matches!(reply, Raw::Error(_)));
        assert_eq!(desk.get(RESPONSE), None);
        desk.run(&args!["RENAME", "elsewhere", key]);
        let stats = desk.stats();
        let Raw::Int(keys) = desk.run(&["DBSIZE"]) else { panic!("DBSIZE") };
        assert!(stats["entries"] <= keys as u64 && keys <= 1, "{} entries, {keys} keys", stats["entries"]);
        let flushed = desk.run(&["CHATCACHE.FLUSH"]);
        assert_eq!(flushed, Raw::Int(stats["entries"] as i64));
        desk.reclaimed();
        desk.number(0, &["DBSIZE"]);
    }
    assert!(refused > 200, "only {refused} were refused");
    let log = desk.server.log();
    assert!(log.contains("refused a value"), "nothing in the log");
    desk.store(RESPONSE);
    desk.answers(RESPONSE);
}
