//! The invariants of a server that is quiet.

use std::collections::BTreeMap;
use testkit::{Raw, RawClient, items, numbers, pairs, text_of};

/// Counts the keyspace of database 0, and compares: with STATS, INFO and PERSONAS. Returns the reply of STATS. Nothing
/// may have run out and not been removed: SCAN does not tell it, and the others count it.
#[track_caller]
pub fn counts_agree(con: &mut RawClient) -> BTreeMap<String, i64> {
    // Nothing may come between these, the reclaim least of all.
    let replies = con.transaction(&[
        "SCAN 0 TYPE chatcache COUNT 10000000",
        "CHATCACHE.STATS",
        "INFO chatcache",
        "DBSIZE",
        "CHATCACHE.PERSONAS COUNT 100000",
    ]);
    let [scanned, stats, info, keys, personas] = <[Raw; 5]>::try_from(replies).expect("five replies");
    let stats = numbers(stats);
    let info = text_of(&info);
    for (name, value) in &stats {
        let line = format!("chatcache_{}:{value}", name.replace('-', "_"));
        assert!(info.lines().any(|told| told == line), "no {line} in {info}");
    }
    let [cursor, names] = <[Raw; 2]>::try_from(items(scanned)).expect("a cursor and a page");
    assert_eq!(text_of(&cursor), "0");
    let responses = items(names).len() as i64;
    assert_eq!(responses, stats["entries"] + stats["pending-reclaim"], "{responses} keys, {stats:?}");
    let Raw::Int(keys) = keys else { panic!("DBSIZE gave {keys:?}") };
    assert!(keys >= responses);

    let [cursor, page] = <[Raw; 2]>::try_from(items(personas)).expect("a cursor and a page");
    assert_eq!(text_of(&cursor), "0");
    let (mut entries, mut bytes, mut count) = (0, 0, 0);
    for persona in items(page) {
        let fields = numbers_of(persona);
        entries += fields["entries"];
        bytes += fields["bytes"];
        count += 1;
    }
    assert_eq!((entries, bytes, count), (stats["entries"], stats["stored-bytes"], stats["personas"]));
    stats
}

/// The numbers in a persona's map.
#[track_caller]
fn numbers_of(persona: Raw) -> BTreeMap<String, i64> {
    let number = |(name, value)| match value {
        Raw::Int(number) => Some((name, number)),
        _ => None,
    };
    pairs(persona).into_iter().filter_map(number).collect()
}

/// Waits until nothing is left to reclaim or to compress, and compares the counts.
#[track_caller]
pub fn quiet(con: &mut RawClient) -> BTreeMap<String, i64> {
    testkit::eventually_within(std::time::Duration::from_secs(40), || {
        let stats = con.stats("");
        stats["pending-reclaim"] == 0 && stats["waiting-to-compress"] == 0
    });
    counts_agree(con)
}
