//! The location of an entry.

use crate::index::Handle;
use std::hash::{BuildHasher, Hasher, RandomState};

/// The location of an entry: its database and its handle.
pub type Location = (i32, Handle);

/// Returns the number that the contents of a database have after a swap of two.
pub fn after_swap(database: i32, (first, second): (i32, i32)) -> i32 {
    match database {
        _ if database == first => second,
        _ if database == second => first,
        other => other,
    }
}

/// Hashes handles: numbers that the index gives out in a row, so that a secret factor is enough against collisions on
/// purpose. SipHash took 4 % of a GET that misses L1.
#[derive(Clone, Copy)]
pub struct ByHandle {
    factor: u64,
}

impl Default for ByHandle {
    fn default() -> Self {
        ByHandle::new()
    }
}

impl ByHandle {
    /// Returns a hasher with a factor of its own.
    pub fn new() -> Self {
        ByHandle { factor: RandomState::new().hash_one("factor") | 1 }
    }
}

impl BuildHasher for ByHandle {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { state: self.factor, factor: self.factor }
    }
}

/// Multiplies, and folds the upper half of the product into the lower.
pub struct Folded {
    state: u64,
    factor: u64,
}

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.state
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.state ^ number) * u128::from(self.factor);
        self.state = (product >> 64) as u64 ^ product as u64;
    }
}
