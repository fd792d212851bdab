//! Databases that are emptied, swapped or replaced as a whole: the server calls `unlinked` for none of their entries.

use crate::cache::hot::{Held, renew_l1};
use crate::cache::state::{CACHE, Database, free};
use crate::index::Index;
use std::collections::BTreeMap;

/// Forgets all entries of one database, or of every one: the server is emptying it.
pub fn emptied(database: Option<i32>) {
    let gone = CACHE.with(|cache| cache.take_databases(database));
    let others = CACHE.with(|cache| cache.indexes().any(|index| index.nodes() > 0));
    match database.filter(|_| others) {
        None => renew_l1(Held::Gone),
        Some(database) => match CACHE.with(|cache| cache.l1.as_mut()?.remove_database(database)) {
            Some(removed) => free(removed.len() as u64, removed),
            // The entries of the other databases are cold from now on.
            None => renew_l1(Held::Stay),
        },
    }
    free(nodes(&gone), gone);
}

/// Replaces what is known of all databases: the server has replaced their contents.
pub fn replaced(indexes: BTreeMap<i32, Index>) {
    let gone = CACHE.with(|cache| cache.replace_indexes(indexes));
    if nodes(&gone) > 0 {
        renew_l1(Held::Gone);
    }
    free(nodes(&gone), gone);
}

/// Frees the indexes of databases that nobody has seen.
pub fn discard(indexes: BTreeMap<i32, Index>) {
    free(indexes.values().map(Index::nodes).sum(), indexes);
}

/// Swaps what is known of two databases: the server has swapped their contents.
pub fn swapped(first: i32, second: i32) {
    CACHE.with(|cache| cache.swap_databases(first, second));
}

/// Returns the number of entries, tombstones among them.
fn nodes(databases: &[Database]) -> u64 {
    databases.iter().map(|database| database.index.nodes()).sum()
}
