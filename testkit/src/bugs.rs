//! Bugs and gaps of servers that stand in a test's way. Such a test asks here and ends early; it says so on its standard error
//! and, for a runner that counts (`scripts/matrix`), in a line of the file `CHATCACHE_SKIPS`: test, tab, reason.

use std::fs::File;
use std::io::Write;
use std::thread;

use super::raw::{Raw, RawClient};
use super::server::{is_valkey, server_version};

/// Returns true if the server under test leaves a client that sends COPY or MOVE into another database in that
/// database, as Valkey 8.1 and 9.0 do once a module listens to the keyspace (its pull request 4024): then the calling test, which
/// goes on in the database it was in, is to end.
pub fn skipped_as_copy_changes_the_database() -> bool {
    let has_it = is_valkey() && matches!(server_version(), (8, 1, _) | (9, 0, _));
    if has_it {
        skipped("COPY and MOVE into another database leave the client there (Valkey's 4024)");
    }
    has_it
}

/// Returns true if the server under test has no CLUSTER MIGRATESLOTS, which Valkey has since 9.0: then the calling test is
/// to end.
pub fn skipped_without_atomic_slot_migration() -> bool {
    let lacks_it = !is_valkey() || server_version() < (9, 0, 0);
    if lacks_it {
        skipped("the server has no CLUSTER MIGRATESLOTS");
    }
    lacks_it
}

/// Returns true if the server under test cannot defragment its memory, for which it needs its own build of jemalloc: then the
/// calling test is to end.
pub fn skipped_without_defragmentation(con: &mut RawClient) -> bool {
    let lacks_it = matches!(con.say("CONFIG SET activedefrag yes"), Raw::Error(_));
    if lacks_it {
        skipped("the server cannot defragment its memory");
    }
    lacks_it
}

fn skipped(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("{test} is skipped: {reason}");
    if let Some(file) = std::env::var_os("CHATCACHE_SKIPS") {
        let mut file = File::options().append(true).create(true).open(file).expect("open CHATCACHE_SKIPS");
        // One write a line, so that tests that run at the same time do not mix theirs.
        file.write_all(format!("{test}\t{reason}\n").as_bytes()).expect("write to CHATCACHE_SKIPS");
    }
}
