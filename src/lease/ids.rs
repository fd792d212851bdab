//! The ids of leases and waiters, and the small things made of them: maps by id, and links between records.
//!
//! An id is never given out twice, so one that is left over somewhere finds nothing, and can do no harm.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::num::NonZeroU64;

use hashbrown::HashMap;

/// A client that waits. It means nothing any more once the wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(NonZeroU64);

/// A question that somebody has the lease of, for as long as anybody has: the lease may pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FlightId(NonZeroU64);

/// Gives out ids, one after the other.
#[derive(Default)]
pub(super) struct Ids {
    last: u64,
}

impl Ids {
    pub fn waiter(&mut self) -> WaiterId {
        WaiterId(self.next())
    }

    pub fn flight(&mut self) -> FlightId {
        FlightId(self.next())
    }

    fn next(&mut self) -> NonZeroU64 {
        self.last = self.last.wrapping_add(1);
        NonZeroU64::new(self.last).unwrap_or(NonZeroU64::MIN)
    }
}

/// The neighbours of a record in a list.
#[derive(Clone, Copy)]
pub(super) struct Link<I> {
    pub prev: Option<I>,
    pub next: Option<I>,
}

// Derived, this would ask the same of I.
impl<I> Default for Link<I> {
    fn default() -> Self {
        Link { prev: None, next: None }
    }
}

/// A map by ids of ours or the server's. Nobody else chooses them, so they need no keyed hash.
pub(super) type IdMap<I, T> = HashMap<I, T, BuildHasherDefault<Spread>>;

/// Numbers that follow each other go to slots that follow each other; the top bits, which hashbrown tells
/// neighbours apart by, come from all bits.
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
}

/// Gives back the memory of a map that was far larger, and all of it once the map is empty. To be called
/// once an event, it costs nothing that the removals have not paid for.
pub(super) fn trim<K: Eq + Hash, V, S: std::hash::BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.is_empty() || map.len() * 8 < map.capacity() {
        map.shrink_to(map.len() * 2);
    }
}
