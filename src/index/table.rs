//! A table from hashes to ids. The value of the id holds the name itself.

use super::pool::Id;
use crate::sharded_table::{ShardedTable, Slot, bits};

struct Place<T> {
    bits: u32,
    id: Id<T>,
}

impl<T> Slot for Place<T> {
    fn bits(&self) -> u32 {
        self.bits
    }
}

/// Ids by the hash of their names.
pub(super) struct Table<T>(ShardedTable<Place<T>>);

impl<T> Table<T> {
    pub const fn new() -> Self {
        Table(ShardedTable::new())
    }

    /// Returns the id under this hash for which `is` holds.
    pub fn find(&self, hash: u64, is: impl Fn(Id<T>) -> bool) -> Option<Id<T>> {
        self.0.find(hash, |place| is(place.id)).map(|place| place.id)
    }

    /// Inserts an id. The caller checks that the table has no other id of the same name.
    pub fn insert(&mut self, hash: u64, id: Id<T>) {
        self.0.insert(hash, Place { bits: bits(hash), id });
    }

    /// Replaces `old` by `new`.
    pub fn replace(&mut self, hash: u64, old: Id<T>, new: Id<T>) {
        if let Some(place) = self.0.find_mut(hash, |place| place.id == old) {
            place.id = new;
        }
    }

    /// Removes this id, unless another has replaced it.
    pub fn remove(&mut self, hash: u64, id: Id<T>) {
        self.0.remove(hash, |place| place.id == id);
    }

    pub fn heap_bytes(&self) -> u64 {
        self.0.heap_bytes()
    }
}

#[cfg(any(test, fuzzing))]
impl<T> Table<T> {
    pub fn ids(&self) -> Vec<Id<T>> {
        self.0.iter().map(|place| place.id).collect()
    }
}
