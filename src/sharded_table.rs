//! A hash table in 64 shards, so that no insertion stalls the event loop.
//!
//! Growth moves a 64th of the table at once. A slot keeps 32 bits of its hash, so that growth reads nothing that a slot leads
//! to. Other bits of the hash choose the shard.
//!
//! `cargo bench --bench index` compares the shards with one hashbrown table. With 2.2 million names (24 November
//! 2026, 2 cores, other work beside it) the longest 50 insertions took 27 ms in one table, and 50 whole calls
//! of `Index::link`, with two sharded tables and three pools, 0.85 ms.
//!
//! The caller gives hashes that are keyed by a secret, as an attacker may choose what is hashed.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use hashbrown::HashTable;

const SHARDS: usize = 64;

/// A slot of a sharded table. Each has the bits among its own fields, as these may leave a gap for them.
pub trait Slot {
    /// Returns the bits of the slot's hash: those that `bits` returns.
    fn bits(&self) -> u32;
}

/// A hash table in shards. See the head of this file.
pub struct ShardedTable<S> {
    /// Empty before the first insert, then `SHARDS`.
    shards: Vec<HashTable<S>>,
}

impl<S> Default for ShardedTable<S> {
    fn default() -> Self {
        ShardedTable::new()
    }
}

impl<S> ShardedTable<S> {
    /// Returns an empty table.
    pub const fn new() -> Self {
        ShardedTable { shards: Vec::new() }
    }

    /// Returns the bytes that the table takes.
    pub fn heap_bytes(&self) -> u64 {
        let tables: usize = self.shards.iter().map(HashTable::allocation_size).sum();
        (tables + self.shards.capacity() * size_of::<HashTable<S>>()) as u64
    }
}

impl<S: Slot> ShardedTable<S> {
    /// Returns the slot under this hash for which `is` holds.
    pub fn find(&self, hash: u64, is: impl Fn(&S) -> bool) -> Option<&S> {
        let bits = bits(hash);
        self.shards.get(shard(hash))?.find(spread(bits), |slot| slot.bits() == bits && is(slot))
    }

    /// Returns the slot under this hash for which `is` holds, to be changed. Its bits must stay.
    pub fn find_mut(&mut self, hash: u64, is: impl Fn(&S) -> bool) -> Option<&mut S> {
        let bits = bits(hash);
        self.shards.get_mut(shard(hash))?.find_mut(spread(bits), |slot| slot.bits() == bits && is(slot))
    }

    /// Inserts a slot. The caller checks that the table has no other for the same thing.
    pub fn insert(&mut self, hash: u64, slot: S) {
        if self.shards.is_empty() {
            self.shards.resize_with(SHARDS, HashTable::new);
        }
        if let Some(table) = self.shards.get_mut(shard(hash)) {
            table.insert_unique(spread(bits(hash)), slot, |slot| spread(slot.bits()));
        }
    }

    /// Removes the slot under this hash for which `is` holds.
    pub fn remove(&mut self, hash: u64, is: impl Fn(&S) -> bool) -> Option<S> {
        let bits = bits(hash);
        let table = self.shards.get_mut(shard(hash))?;
        let slot = table.find_entry(spread(bits), |slot| slot.bits() == bits && is(slot)).ok()?;
        let (slot, _) = slot.remove();
        // A shard returns the memory of removed slots; at an eighth, it does not soon grow again.
        if table.len() < table.capacity() / 8 {
            table.shrink_to(table.len() * 2, |slot| spread(slot.bits()));
        }
        Some(slot)
    }
}

#[cfg(any(test, fuzzing))]
impl<S> ShardedTable<S> {
    /// Returns all slots.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        self.shards.iter().flat_map(HashTable::iter)
    }

    /// Returns the number of slots in each shard.
    #[cfg(test)]
    pub fn shard_lengths(&self) -> impl Iterator<Item = usize> {
        self.shards.iter().map(HashTable::len)
    }
}

/// Returns the bits of a hash that a slot keeps.
pub fn bits(hash: u64) -> u32 {
    hash as u32
}

fn shard(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}

/// Returns a hash from the 32 bits: hashbrown takes the bucket from the low bits and a 7-bit tag from the top.
fn spread(bits: u32) -> u64 {
    u64::from(bits) << 32 | u64::from(bits)
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    struct Numbered(u32, u32);

    impl Slot for Numbered {
        fn bits(&self) -> u32 {
            self.0
        }
    }

    #[test]
    fn a_table_finds_changes_and_removes_slots_under_their_hash() {
        let keys = RandomState::new();
        let hash = |n: u32| keys.hash_one(n);
        let mut table = ShardedTable::new();
        for n in 1..=20_000 {
            assert!(table.find(hash(n), |slot: &Numbered| slot.1 == n).is_none());
            table.insert(hash(n), Numbered(bits(hash(n)), n));
        }
        assert!(table.shard_lengths().all(|length| (100..600).contains(&length)), "shards fill evenly");
        let full = table.heap_bytes();
        for n in 1..=20_000 {
            assert!(table.find(hash(n), |slot| slot.1 == n).is_some());
            assert!(table.find(hash(n), |_| false).is_none());
        }
        table.find_mut(hash(1), |slot| slot.1 == 1).expect("the first").1 = 30_000;
        assert!(table.remove(hash(1), |slot| slot.1 == 1).is_none());
        assert!(table.remove(hash(1), |slot| slot.1 == 30_000).is_some());
        for n in 2..=20_000 {
            assert!(table.remove(hash(n), |slot| slot.1 == n).is_some());
        }
        assert_eq!(table.iter().count(), 0);
        assert!(table.heap_bytes() < full / 8, "{} of {full}", table.heap_bytes());
    }
}
