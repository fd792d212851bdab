//! DUMP and RESTORE: values that come as bytes from anywhere.

use testkit::{Raw, Server, args};

use super::story::{Census, EMPTY, FULL, Fixture, MSG, POETS, RESPONSE, SESSION, story, without_anns};

const ONE_MORE: Census = Census { helper: (6, 19), ann: 5, keys: 7, ..FULL };

#[test]
fn a_restored_entry_is_its_personas_again() {
    story([FULL, EMPTY], |fixture| {
        let key = fixture.key(RESPONSE);
        let dump = fixture.dump(&key);
        fixture.number(1, &args!["DEL", key]);
        assert_eq!(fixture.get(RESPONSE), None);
        fixture.ok(&args!["RESTORE", key, 0, dump]);
        fixture.responses(RESPONSE);
    });
    story([ONE_MORE, EMPTY], |fixture| {
        let key = fixture.key(RESPONSE);
        let dump = fixture.dump(&key);
        fixture.ok(&args!["RESTORE", "elsewhere", 100_000, dump]);
        fixture.responses(RESPONSE);
    });
    story([FULL, Census { helper: (1, 4), poet: (0, 0), ann: 1, bob: 0, keys: 1 }], |fixture| {
        let key = fixture.key(RESPONSE);
        let dump = fixture.dump(&key);
        fixture.select(1);
        fixture.ok(&args!["RESTORE", key, 0, dump]);
        fixture.responses(RESPONSE);
    });
}

#[test]
fn restore_takes_the_place_of_another_entry_only_with_replace() {
    story([Census { helper: (6, 19), poet: (0, 0), ann: 5, bob: 1, keys: 6 }, EMPTY], |fixture| {
        let [from, to] = [fixture.key(RESPONSE), fixture.key(POETS)];
        let dump = fixture.dump(&from);
        let refused = fixture.run(&args!["RESTORE", to, 0, dump]);
        assert!(matches!(&refused, Raw::Error(text) if text.starts_with("BUSYKEY")), "{refused:?}");
        fixture.responses(POETS);
        fixture.ok(&args!["RESTORE", to, 0, dump, "REPLACE"]);
    });
    story([FULL, EMPTY], |fixture| {
        let key = fixture.key(RESPONSE);
        let dump = fixture.dump(&key);
        fixture.ok(&args!["RESTORE", key, 0, dump, "REPLACE"]);
    });
}

#[test]
fn an_entry_restored_after_its_end_is_never_there() {
    story([FULL, EMPTY], |fixture| {
        let key = fixture.key(RESPONSE);
        let dump = fixture.dump(&key);
        fixture.ok(&args!["RESTORE", "elsewhere", 1000, dump, "ABSTTL"]);
        fixture.number(0, &args!["EXISTS", "elsewhere"]);
    });
    story([without_anns(1), EMPTY], |fixture| {
        let [from, to] = [fixture.key(RESPONSE), fixture.key(MSG)];
        let dump = fixture.dump(&from);
        fixture.ok(&args!["RESTORE", to, 1000, dump, "ABSTTL", "REPLACE"]);
    });
}

/// Returns the dump of a tombstone.
fn dump_of_invalidated(fixture: &mut Fixture) -> Vec<u8> {
    let key = fixture.key(RESPONSE);
    fixture.ok(&["CONFIG", "SET", "chatcache.invalidate-sync-limit", "0"]);
    fixture.ok(&["MULTI"]);
    fixture.run(&["CHATCACHE.INVALIDATE", "helper"]);
    fixture.run(&args!["DUMP", key]);
    let Raw::Array(replies) = fixture.run(&["EXEC"]) else { panic!("EXEC") };
    let [Raw::Int(5), Raw::Bulk(dump)] = &replies[..] else { panic!("{replies:?}") };
    fixture.reclaimed();
    dump.clone()
}

#[test]
fn the_dump_of_a_tombstone_is_restored_as_a_tombstone() {
    let mut fixture = Fixture::new(Server::start());
    let mut other = Fixture::new(Server::start());
    fixture.fresh();
    let dump = dump_of_invalidated(&mut fixture);
    let poets = Census { helper: (0, 0), ann: 0, bob: 1, keys: 1, ..FULL };
    let key = fixture.key(RESPONSE);
    fixture.holds(0, poets);
    fixture.ok(&args!["RESTORE", key, 0, dump]);
    assert_eq!(fixture.get(RESPONSE), None);
    assert_eq!(fixture.run(&["CHATCACHE.INSPECT", "response", "ann", "helper", "hi"]), Raw::NullBulk);
    fixture.number(0, &["CHATCACHE.INVALIDATE", "helper"]);
    fixture.number(0, &["CHATCACHE.DEL", "response", "ann", "helper", "hi"]);
    fixture.reclaimed();
    fixture.holds(0, poets);
    fixture.totals(&[poets]);
    other.ok(&args!["RESTORE", key, 0, dump]);
    assert_eq!(other.get(RESPONSE), None);
    other.reclaimed();
    other.holds(0, EMPTY);
    other.totals(&[]);
    assert!(!dump.windows(4).any(|bytes| bytes == b"4444"), "the answer is in the dump yet");
}

#[test]
fn a_restored_entry_replaces_a_tombstone() {
    let mut fixture = Fixture::new(Server::start());
    fixture.fresh();
    let key = fixture.key(SESSION);
    let live = fixture.dump(&key);
    fixture.ok(&["CONFIG", "SET", "chatcache.invalidate-sync-limit", "0"]);
    fixture.ok(&["MULTI"]);
    fixture.run(&["CHATCACHE.FORGET", "ann"]);
    fixture.run(&args!["RESTORE", key, 0, live, "REPLACE"]);
    assert_eq!(fixture.run(&["EXEC"]), Raw::Array(vec![Raw::Int(4), Raw::simple("OK")]));
    fixture.responses(SESSION);
    fixture.reclaimed();
    fixture.responses(SESSION);
    fixture.holds(0, Census { helper: (2, 8), poet: (1, 6), ann: 1, bob: 2, keys: 3 });
    fixture.number(1, &["CHATCACHE.FORGET", "ann"]);
}

/// The payload of a dump with the checksum that it should have.
fn sealed(mut value: Vec<u8>) -> Vec<u8> {
    let sum = crc::Crc::<u64>::new(&crc::CRC_64_REDIS).checksum(&value);
    value.extend(sum.to_le_bytes());
    value
}

#[test]
fn a_damaged_dump_is_refused() {
    let mut fixture = Fixture::new(Server::start());
    fixture.fresh();
    let key = fixture.key(RESPONSE);
    let dump = fixture.dump(&key);
    for at in 0..dump.len() {
        let mut damaged = dump.clone();
        damaged[at] ^= 1;
        let refused = fixture.run(&args!["RESTORE", "elsewhere", 0, damaged]);
        assert!(matches!(refused, Raw::Error(_)), "with byte {at} damaged: {refused:?}");
    }
    fixture.holds(0, FULL);
    fixture.totals(&[FULL]);
}

#[test]
fn a_corrupt_value_with_a_right_checksum_is_refused_or_counted_right_and_never_given_to_another() {
    let mut fixture = Fixture::new(Server::start());
    let key = fixture.key(RESPONSE);
    fixture.store(RESPONSE);
    let dump = fixture.dump(&key);
    fixture.ok(&["FLUSHALL"]);
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
        let reply = fixture.run(&args!["RESTORE", "elsewhere", 0, sealed(value)]);
        refused += usize::from(matches!(reply, Raw::Error(_)));
        assert_eq!(fixture.get(RESPONSE), None);
        fixture.run(&args!["RENAME", "elsewhere", key]);
        let stats = fixture.stats();
        let Raw::Int(keys) = fixture.run(&["DBSIZE"]) else { panic!("DBSIZE") };
        assert!(stats["entries"] <= keys as u64 && keys <= 1, "{} entries, {keys} keys", stats["entries"]);
        let flushed = fixture.run(&["CHATCACHE.FLUSH"]);
        assert_eq!(flushed, Raw::Int(stats["entries"] as i64));
        fixture.reclaimed();
        fixture.number(0, &["DBSIZE"]);
    }
    assert!(refused > 200, "only {refused} were refused");
    let log = fixture.server.log();
    assert!(log.contains("refused a value"), "nothing in the log");
    fixture.store(RESPONSE);
    fixture.responses(RESPONSE);
}
