//! A table from hashes to ids. The value of the id holds the name itself.
//!
//! The table is split into 64 shards, so that growth moves a 64th of it at once, and a slot keeps 32 bits of
//! its hash, so that growth reads no name: an index of ten million groups must not stall the event loop. The
//! shard is chosen by other bits of the hash.
//!
//! `cargo bench --bench index` compares the shards with one hashbrown table. With 2.2 million names (24 November
//! 2026, 2 cores, other work beside it) the longest 50 insertions took 27 ms in one table, and 50 whole calls
//! of `link`, with two sharded tables and three pools, 0.85 ms.
//!
//! The caller gives hashes that must be keyed (`RandomState`), as an attacker may choose the names.

use hashbrown::HashTable;

use super::pool::Id;

const SHARDS: usize = 64;

struct Slot<T> {
    hash: u32,
    id: Id<T>,
}

/// Returns a hash from the 32 bits: hashbrown takes the bucket from the low bits and a 7-bit tag from the top.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// Ids by the hash of their names.
pub(super) struct Table<T> {
    /// Empty before the first insert, then `SHARDS`.
    shards: Vec<HashTable<Slot<T>>>,
}

impl<T> Table<T> {
    pub const fn new() -> Self {
        Table { shards: Vec::new() }
    }

    /// Returns the id under this hash for which `is` holds.
    pub fn find(&self, hash: u64, is: impl Fn(Id<T>) -> bool) -> Option<Id<T>> {
        let (shard, hash) = split(hash);
        let slot = self.shards.get(shard)?.find(spread(hash), |slot| slot.hash == hash && is(slot.id))?;
        Some(slot.id)
    }

    /// Inserts an id. The caller checks that the table has no other id of the same name.
    pub fn insert(&mut self, hash: u64, id: Id<T>) {
        if self.shards.is_empty() {
            self.shards.resize_with(SHARDS, HashTable::new);
        }
        let (shard, hash) = split(hash);
        if let Some(table) = self.shards.get_mut(shard) {
            table.insert_unique(spread(hash), Slot { hash, id }, |slot| spread(slot.hash));
        }
    }

    /// Replaces `old` by `new`.
    pub fn replace(&mut self, hash: u64, old: Id<T>, new: Id<T>) {
        let (shard, hash) = split(hash);
        if let Some(table) = self.shards.get_mut(shard)
            && let Some(slot) = table.find_mut(spread(hash), |slot| slot.id == old)
        {
            slot.id = new;
        }
    }

    /// Removes this id, unless another has replaced it.
    pub fn remove(&mut self, hash: u64, id: Id<T>) {
        let (shard, hash) = split(hash);
        let Some(table) = self.shards.get_mut(shard) else { return };
        if let Ok(slot) = table.find_entry(spread(hash), |slot| slot.id == id) {
            slot.remove();
        }
        // A shard returns the memory of removed ids; at an eighth, it does not soon grow again.
        if table.len() < table.capacity() / 8 {
            table.shrink_to(table.len() * 2, |slot| spread(slot.hash));
        }
    }

    pub fn heap_bytes(&self) -> u64 {
        let tables: usize = self.shards.iter().map(HashTable::allocation_size).sum();
        (tables + self.shards.capacity() * size_of::<HashTable<Slot<T>>>()) as u64
    }
}

fn split(hash: u64) -> (usize, u32) {
    ((hash >> 32) as usize % SHARDS, hash as u32)
}

#[cfg(any(test, fuzzing))]
impl<T> Table<T> {
    pub fn ids(&self) -> Vec<Id<T>> {
        self.shards.iter().flat_map(|table| table.iter().map(|slot| slot.id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    #[test]
    fn a_table_finds_replaces_and_removes_ids_under_their_hash() {
        let keys = RandomState::new();
        let hash = |n: u32| keys.hash_one(n);
        let id = |n: u32| Id::<u32>::from_number(n).unwrap();
        let mut table = Table::new();
        for n in 1..=20_000 {
            table.insert(hash(n), id(n));
        }
        assert!(table.shards.iter().all(|shard| (100..600).contains(&shard.len())), "shards fill evenly");
        let full = table.heap_bytes();
        for n in 1..=20_000 {
            assert_eq!(table.find(hash(n), |found| found == id(n)), Some(id(n)));
            assert_eq!(table.find(hash(n), |_| false), None);
        }
        table.replace(hash(1), id(1), id(30_000));
        table.remove(hash(1), id(1));
        assert_eq!(table.find(hash(1), |_| true), Some(id(30_000)));
        table.remove(hash(1), id(30_000));
        for n in 2..=20_000 {
            table.remove(hash(n), id(n));
        }
        assert!(table.ids().is_empty());
        assert!(table.heap_bytes() < full / 8, "{} of {full}", table.heap_bytes());
    }
}
