//! IDs of flights, leases and waiters, and the collections keyed by them.
//!
//! IDs ascend and are never reused, so an ID that is left over finds nothing, and the order of IDs is the order of
//! events. The table itself chooses them, and the server chooses client IDs, so maps by ID need no keyed hash:
//! a look-up among 100,000 IDs takes 11 ns with `foldhash` and 32 ns with SipHash (`tests/memory.rs`, test build).

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// A waiting client. The ID finds nothing once the wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(u64);

/// A lease key that is leased. The ID stays the same while the lease passes from client to client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FlightId(u64);

/// One lease of a flight: its ID is greater than that of any lease granted, or voided, before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LeaseId(u64);

impl LeaseId {
    pub const FIRST: LeaseId = LeaseId(0);
    pub const LAST: LeaseId = LeaseId(u64::MAX);
}

impl WaiterId {
    pub(super) const FIRST: WaiterId = WaiterId(0);
    pub(super) const LAST: WaiterId = WaiterId(u64::MAX);
}

/// Gives out IDs, one after the other.
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

    pub fn lease(&mut self) -> LeaseId {
        LeaseId(self.next())
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// A map by IDs of the table or the server.
pub(super) type IdMap<I, T> = HashMap<I, T, FixedState>;

/// Returns the memory of a map that was far larger, and all of it once the map is empty. Called once an event, it
/// costs nothing that the removals have not paid for.
pub(super) fn trim<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.is_empty() || map.len() * 8 < map.capacity() {
        map.shrink_to(map.len() * 2);
    }
}

/// The most bytes that an ordered set or map takes with this number of items of type `T`: the standard library fills
/// each node with at least 5 of 11 items.
pub(super) fn most_bytes<T>(items: usize) -> usize {
    items.div_ceil(5) * (11 * size_of::<T>() + 16)
}
