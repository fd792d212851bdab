//! Keys that change their name or their database, and are their persona's and user's as before.

use testkit::{Server, args, replica_caught_up, skipped_as_copy_changes_the_database};

use super::story::{
    BOBS, Census, EMPTY, FULL, Fixture, MSG, ONE, PERSONA, POETS, RESPONSE, SESSION, story, without_anns,
};

#[test]
fn a_renamed_entry_is_its_personas_and_its_users_under_any_name() {
    for name in
        [&b"elsewhere"[..], b"persona:poet:hi", b"{*}:%\0\xff", b"msg:49f68a5c8493ec2c0bf489821c21fc3"]
    {
        story([FULL, EMPTY], |fixture| {
            let key = fixture.key(RESPONSE);
            fixture.ok(&args!["RENAME", key, name]);
            assert_eq!(fixture.get(RESPONSE), None);
        });
    }
}

#[test]
fn an_entry_renamed_away_and_back_is_found_again() {
    story([FULL, EMPTY], |fixture| {
        let key = fixture.key(SESSION);
        fixture.ok(&args!["RENAME", key, "elsewhere"]);
        fixture.ok(&args!["RENAME", "elsewhere", key]);
        fixture.ok(&args!["RENAME", key, key]);
        fixture.responses(SESSION);
    });
}

#[test]
fn renaming_over_another_personas_entry_replaces_it() {
    story([Census { poet: (0, 0), bob: 1, keys: 5, ..FULL }, EMPTY], |fixture| {
        let [from, to] = [fixture.key(RESPONSE), fixture.key(POETS)];
        fixture.ok(&args!["RENAME", from, to]);
        assert_eq!((fixture.get(RESPONSE), fixture.get(POETS)), (None, None));
    });
    story([without_anns(4), EMPTY], |fixture| {
        let [from, to] = [fixture.key(POETS), fixture.key(RESPONSE)];
        fixture.ok(&args!["RENAME", from, to]);
    });
    story([without_anns(4), EMPTY], |fixture| {
        let to = fixture.key(RESPONSE);
        fixture.ok(&args!["SET", "text", "text"]);
        fixture.number(1, &args!["DEL", to]);
        fixture.ok(&args!["RENAME", "text", to]);
        fixture.number(1, &args!["DEL", to]);
    });
}

#[test]
fn renamenx_moves_where_it_may() {
    story([FULL, EMPTY], |fixture| {
        let [from, to] = [fixture.key(RESPONSE), fixture.key(POETS)];
        fixture.number(0, &args!["RENAMENX", from, to]);
        fixture.responses(RESPONSE);
        fixture.responses(POETS);
        fixture.number(1, &args!["RENAMENX", from, "elsewhere"]);
    });
}

#[test]
fn a_copy_counts_as_one_more() {
    story([Census { helper: (6, 19), ann: 5, keys: 7, ..FULL }, EMPTY], |fixture| {
        let key = fixture.key(RESPONSE);
        fixture.number(1, &args!["COPY", key, "elsewhere"]);
        fixture.responses(RESPONSE);
    });
    story([FULL, ONE], |fixture| {
        let key = fixture.key(RESPONSE);
        fixture.number(1, &args!["COPY", key, key, "DB", 1]);
        fixture.select(1);
        fixture.responses(RESPONSE);
        fixture.select(0);
        fixture.responses(RESPONSE);
    });
}

#[test]
fn a_copy_takes_the_place_of_another_entry_only_with_replace() {
    story([Census { helper: (6, 19), poet: (0, 0), ann: 5, bob: 1, keys: 6 }, EMPTY], |fixture| {
        let [from, to] = [fixture.key(RESPONSE), fixture.key(POETS)];
        fixture.number(0, &args!["COPY", from, to]);
        fixture.responses(POETS);
        fixture.number(1, &args!["COPY", from, to, "REPLACE"]);
    });
}

#[test]
fn a_moved_entry_is_found_in_its_new_database() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    story([without_anns(4), ONE], |fixture| {
        let key = fixture.key(RESPONSE);
        fixture.number(1, &args!["MOVE", key, 1]);
        assert_eq!(fixture.get(RESPONSE), None);
        fixture.select(1);
        fixture.responses(RESPONSE);
    });
    // If the target exists, nothing moves.
    story([FULL, ONE], |fixture| {
        let key = fixture.key(RESPONSE);
        fixture.number(1, &args!["COPY", key, key, "DB", 1]);
        fixture.number(0, &args!["MOVE", key, 1]);
    });
}

/// Moves two of helper's responses to this database of another server.
#[track_caller]
fn migrate_to(database: usize) {
    let mut target = Fixture::new(Server::start());
    target.fresh();
    let (port, target) = (target.server.port(), std::cell::RefCell::new(target));
    story([Census { helper: (3, 8), ann: 3, bob: 1, keys: 4, ..FULL }, EMPTY], |fixture| {
        let mut target = target.borrow_mut();
        target.ok(&["FLUSHALL"]);
        let [one, other] = [fixture.key(PERSONA), fixture.key(BOBS)];
        fixture.ok(&args!["MIGRATE", "127.0.0.1", port, "", database, 5000, "KEYS", one, other]);
        target.holds(database, Census { helper: (2, 7), poet: (0, 0), ann: 1, bob: 1, keys: 2 });
        target.responses(PERSONA);
        target.number(2, &["CHATCACHE.INVALIDATE", "helper"]);
        target.holds(database, EMPTY);
    });
}

#[test]
fn a_migrated_entry_leaves_this_server_and_arrives_at_the_other() {
    migrate_to(0);
}

#[test]
fn a_migrated_entry_arrives_in_a_database_of_another_number() {
    migrate_to(1);
}

#[test]
fn a_replica_keeps_the_same_index_through_all_of_it() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    let mut fixture = Fixture::new(Server::start());
    let replica = Server::builder().replica_of(&fixture.server).start();
    fixture.fresh();
    let [response, poets, msg] = [fixture.key(RESPONSE), fixture.key(POETS), fixture.key(MSG)];
    fixture.ok(&args!["RENAME", response, "elsewhere"]);
    fixture.number(1, &args!["COPY", "elsewhere", poets, "DB", 1]);
    fixture.number(1, &args!["MOVE", msg, 1]);
    fixture.ok(&["SWAPDB", "0", "1"]);
    let here = Census { helper: (2, 5), poet: (0, 0), ann: 2, bob: 0, keys: 2 };
    let there = Census { helper: (4, 14), poet: (1, 6), ann: 3, bob: 2, keys: 5 };
    fixture.holds(0, here);
    fixture.holds(1, there);
    replica_caught_up(&fixture.server, &replica);
    let mut other = Fixture::new(replica);
    other.holds(0, here);
    other.holds(1, there);
    fixture.number(3, &["CHATCACHE.FORGET", "ann"]);
    replica_caught_up(&fixture.server, &other.server);
    other.holds(1, Census { helper: (1, 5), ann: 0, keys: 2, ..there });
    other.holds(0, here);
}
