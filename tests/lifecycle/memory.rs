//! The memory of the index.

use testkit::{Server, args};

use super::story::Fixture;

const ENTRIES: u64 = 100_000;

#[test]
fn an_entry_takes_at_most_32_bytes_of_index() {
    // One persona, ten users: their own memory does not show.
    const SCRIPT: &str = "for n = ARGV[1], ARGV[2] do
        redis.call('CHATCACHE.SET', 'response', 'user ' .. n % 10, 'helper', 'message ' .. n, 'answer') end";
    let mut fixture = Fixture::new(Server::start());
    let mut index_bytes = |first: u64, last: u64| {
        fixture.run(&args!["EVAL", SCRIPT, 0, first, last]);
        let stats = fixture.stats();
        assert_eq!(stats["entries"], last);
        stats["index-bytes"]
    };
    let few = index_bytes(1, 1024);
    let many = index_bytes(1025, ENTRIES);
    println!("1,024 entries: {few} bytes of index; {ENTRIES}: {many}, {:.2} an entry", {
        many as f64 / ENTRIES as f64
    });
    // A page of the index, which is the step it grows in, and the names, are there once.
    let once = 32 * 1024 + 8192;
    assert!(many <= 32 * ENTRIES + once, "{many} bytes for {ENTRIES} entries");
    assert!(many - few <= 32 * ENTRIES, "{} bytes for {} more entries", many - few, ENTRIES - 1024);
    // However they came.
    fixture.run(&["DEBUG", "RELOAD"]);
    let reloaded = fixture.stats()["index-bytes"];
    assert!(reloaded <= 32 * ENTRIES + once, "{reloaded} bytes for {ENTRIES} entries after a reload");
    fixture.run(&["CHATCACHE.INVALIDATE", "helper"]);
    fixture.reclaimed();
    let empty = fixture.stats()["index-bytes"];
    println!("after all of them were dropped: {empty}");
    assert!(empty * 20 < many, "{empty} bytes for no entries");
}
