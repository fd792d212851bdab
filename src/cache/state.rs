//! The state of the main thread: an index for each database, L1, and the counters.
//!
//! The keyspace holds the entries. An `Index` for each database tells which persona, user and tier each entry belongs to,
//! and which entries are live. L1 holds the responses that are requested most.

use crate::cache::l1::{L1, Location};
use crate::cache::slot_moves::{MigrationName, SlotMoves};
use crate::index::{Handle, Index, Origin, Resolved};
use crate::redis::MainThread;
use crate::request::key_name::Layout;
use crate::stats::Counters;
use std::collections::BTreeMap;

/// The module's state. Borrow it for a few lines, with no call to the server in between that may call back.
pub static CACHE: MainThread<Cache> = MainThread::new(Cache::new());

/// Returns the number that the contents of a database have after a swap of two.
pub(super) fn after_swap(database: i32, (first, second): (i32, i32)) -> i32 {
    match database {
        _ if database == first => second,
        _ if database == second => first,
        other => other,
    }
}

/// See the head of this file.
pub struct Cache {
    /// The index of each database that has held an entry.
    pub(super) databases: BTreeMap<i32, Index>,
    /// Counters since the server started.
    pub counters: Counters,
    /// The layout of key names. It is fixed once the module has loaded.
    pub layout: Layout,
    /// The cluster slots that move.
    pub slot_moves: SlotMoves,
    /// L1, or None while it is off.
    pub(super) l1: Option<L1>,
    /// Entries that have left L1. The compressor takes them over before the event loop sleeps.
    pub(super) cooled: Vec<Location>,
}

impl Cache {
    const fn new() -> Self {
        Cache {
            databases: BTreeMap::new(),
            counters: Counters::new(),
            layout: Layout::Single,
            slot_moves: SlotMoves::new(),
            l1: None,
            cooled: Vec::new(),
        }
    }

    /// Returns the index of a database, and makes it if there is none.
    pub fn index(&mut self, database: i32) -> &mut Index {
        self.databases.entry(database).or_default()
    }

    /// Keeps a new entry out of the reports while its persona's slot is not served here.
    pub fn mark_arriving(&mut self, (database, handle): Location, persona: &[u8]) {
        if let Some(arrival) = self.slot_moves.arrival_of(persona) {
            self.index(database).mark_arriving(handle, arrival);
        }
    }

    /// Notes the end of a slot migration. Entries that arrived in it are in the reports from now on.
    pub fn end_slot_move(&mut self, name: &MigrationName) {
        if let Some(arrival) = self.slot_moves.end(name) {
            self.databases.values_mut().for_each(|index| index.settle(arrival));
        }
    }

    /// Returns the index of a database, or None if the database has never held an entry.
    pub fn known_index(&self, database: i32) -> Option<&Index> {
        self.databases.get(&database)
    }

    /// Returns the index of a database, to be changed, or None if the database has never held an entry.
    pub fn known_index_mut(&mut self, database: i32) -> Option<&mut Index> {
        self.databases.get_mut(&database)
    }

    /// Returns the indexes of all databases.
    pub fn indexes(&self) -> impl Iterator<Item = &Index> {
        self.databases.values()
    }

    /// Returns L1, or None while it is off.
    pub fn l1(&self) -> Option<&L1> {
        self.l1.as_ref()
    }

    /// Returns the databases that may hold entries.
    pub fn databases(&self) -> Vec<i32> {
        self.databases.keys().copied().collect()
    }

    /// Returns the databases that have tombstones to reclaim.
    pub fn databases_to_reclaim(&self) -> Vec<i32> {
        let pending = self.databases.iter().filter(|(_, index)| index.pending() > 0);
        pending.map(|(&database, _)| database).collect()
    }

    /// Returns true if the index knows the entry, live or invalidated.
    pub fn knows(&self, (database, handle): Location) -> bool {
        self.known_index(database).is_some_and(|index| index.contains(handle))
    }

    /// Walks from a handle to its group and persona, in the index of one database.
    pub fn resolve(&self, database: i32, handle: Option<Handle>) -> Resolved {
        match (handle, self.known_index(database)) {
            (Some(handle), Some(index)) => index.resolve(handle),
            _ => Resolved::UNKNOWN,
        }
    }

    /// Returns the origin of the entry with this handle. The entry is in this database; but MIGRATE saves a value in the
    /// name of its target's database, so the other indexes are searched after it.
    pub fn origin(&self, database: i32, handle: Handle) -> Option<Origin> {
        let here = self.known_index(database).and_then(|index| index.origin(handle));
        here.or_else(|| self.databases.values().find_map(|index| index.origin(handle)))
    }

    /// Takes the index of one database, or of all, out of the cache.
    pub(super) fn take_indexes(&mut self, database: Option<i32>) -> Vec<Index> {
        match database {
            Some(database) => self.databases.remove(&database).into_iter().collect(),
            None => std::mem::take(&mut self.databases).into_values().collect(),
        }
    }

    /// Replaces the indexes of all databases, and returns the old ones.
    pub(super) fn replace_indexes(&mut self, databases: BTreeMap<i32, Index>) -> Vec<Index> {
        std::mem::replace(&mut self.databases, databases).into_values().collect()
    }

    /// Swaps the indexes of two databases, and the entries that have left L1 with them.
    pub(super) fn swap_indexes(&mut self, first: i32, second: i32) {
        for (database, _) in &mut self.cooled {
            *database = after_swap(*database, (first, second));
        }
        let (one, other) = (self.databases.remove(&first), self.databases.remove(&second));
        self.databases.extend(one.map(|index| (second, index)));
        self.databases.extend(other.map(|index| (first, index)));
    }

    /// Takes all entries of a database out of L1, if they are fewer than L1 holds. Returns those that it held, or None if L1 had
    /// better be replaced.
    pub(super) fn take_from_l1(&mut self, database: i32) -> Option<Vec<Handle>> {
        let (Some(l1), Some(index)) = (&mut self.l1, self.databases.get(&database)) else {
            return Some(Vec::new());
        };
        // An index without entries has given its places back.
        (index.places() <= l1.len())
            .then(|| index.handles().filter(|&handle| l1.remove((database, handle))).collect())
    }

    /// Returns true if L1 holds the entry's response.
    pub fn is_hot(&self, location: Location) -> bool {
        self.l1.as_ref().is_some_and(|l1| l1.holds(location))
    }

    /// Takes an entry out of L1. Call it when the entry leaves its key, and when the TTL of its key changes.
    pub fn remove_from_l1(&mut self, location: Location) {
        if let Some(l1) = &mut self.l1 {
            l1.remove(location);
        }
    }
}
