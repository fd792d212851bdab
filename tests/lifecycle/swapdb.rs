//! SWAPDB: each entry keeps its persona, its user and its state in the database to which it goes.

use testkit::{Raw, args};

use super::story::{EMPTY, FULL, MSG, ONE, RESPONSE, story, without_anns};

#[test]
fn swapdb_takes_the_indexes_along() {
    story([EMPTY, FULL], |fixture| fixture.ok(&["SWAPDB", "0", "1"]));
    story([ONE, FULL], |fixture| {
        let key = fixture.key(RESPONSE);
        fixture.number(1, &args!["COPY", key, key, "DB", 1]);
        fixture.ok(&["SWAPDB", "1", "0"]);
        fixture.select(0);
        fixture.responses(RESPONSE);
        assert_eq!(fixture.get(MSG), None);
    });
    story([FULL, ONE], |fixture| {
        let key = fixture.key(RESPONSE);
        fixture.number(1, &args!["COPY", key, key, "DB", 1]);
        fixture.ok(&["SWAPDB", "0", "1"]);
        fixture.ok(&["SWAPDB", "0", "0"]);
        fixture.ok(&["SWAPDB", "1", "0"]);
    });
}

#[test]
fn an_entry_that_expires_after_swapdb_leaves_the_index_of_its_new_database() {
    story([EMPTY, without_anns(4)], |fixture| {
        let key = fixture.key(RESPONSE);
        fixture.number(1, &args!["PEXPIRE", key, 40]);
        fixture.ok(&["SWAPDB", "0", "1"]);
        fixture.select(1);
        testkit::eventually(|| fixture.run(&["DBSIZE"]) == Raw::Int(5));
    });
}
