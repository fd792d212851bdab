//! The flights: the lease keys that are leased, and their leases by holder, persona, user and tier.
//!
//! Each lease stands in the set of marks once for every mark it has, so an invalidation or a disconnect finds the
//! leases that it ends without a look at any other. A flight keeps its ID when its lease passes on; the lease is
//! another one, with other marks.
//!
//! Invariants: `by_key` leads to every flight; a lease is in the set with its own marks and no others, and among the
//! deadlines once.

use std::collections::BTreeSet;
use std::hash::RandomState;

use hashbrown::HashMap;

use super::ids::{FlightId, IdMap, Ids, most_bytes, trim};
use super::names::{NameHash, Names};
use super::types::{LeaseKey, Token};
use crate::tier::Tier;

pub(super) struct Lease {
    pub token: Token,
    /// The client that has it.
    pub holder: u64,
    pub granted_at_ms: i64,
    pub ends_at_ms: i64,
    pub names: Names,
}

impl Lease {
    /// Milliseconds left; zero once the lease has run out.
    pub fn left_ms(&self, now_ms: i64) -> u64 {
        u64::try_from(self.ends_at_ms.saturating_sub(now_ms)).unwrap_or(0)
    }
}

pub(super) struct Flight {
    pub lease_key: LeaseKey,
    pub lease: Lease,
}

/// What a lease can be found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Mark {
    Tier(i32, Tier),
    Persona(i32, NameHash),
    User(i32, NameHash),
    Holder(u64),
}

impl Flight {
    fn marks(&self) -> impl Iterator<Item = Mark> + use<> {
        let LeaseKey { database, tier, .. } = self.lease_key;
        let Names { persona, user } = self.lease.names;
        [
            Some(Mark::Tier(database, tier)),
            Some(Mark::Persona(database, persona)),
            user.map(|user| Mark::User(database, user)),
            Some(Mark::Holder(self.lease.holder)),
        ]
        .into_iter()
        .flatten()
    }
}

pub(super) struct Flights {
    by_id: IdMap<FlightId, Flight>,
    by_key: HashMap<LeaseKey, FlightId, RandomState>,
    marks: BTreeSet<(Mark, FlightId)>,
    ends: BTreeSet<(i64, FlightId)>,
}

impl Flights {
    pub fn new() -> Flights {
        Flights {
            by_id: IdMap::default(),
            by_key: HashMap::default(),
            marks: BTreeSet::new(),
            ends: BTreeSet::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn find(&self, lease_key: &LeaseKey) -> Option<FlightId> {
        self.by_key.get(lease_key).copied()
    }

    pub fn get(&self, id: FlightId) -> Option<&Flight> {
        self.by_id.get(&id)
    }

    /// Opens a flight for a lease key that has none.
    pub fn open(&mut self, ids: &mut Ids, lease_key: LeaseKey, lease: Lease) {
        let id = ids.flight();
        self.by_key.insert(lease_key, id);
        self.insert(id, Flight { lease_key, lease });
    }

    /// Puts a new lease in the place of one that has ended.
    pub fn renew(&mut self, id: FlightId, lease: Lease) {
        if let Some(Flight { lease_key, .. }) = self.remove(id) {
            self.insert(id, Flight { lease_key, lease });
        }
    }

    pub fn close(&mut self, id: FlightId) {
        if let Some(flight) = self.remove(id) {
            self.by_key.remove(&flight.lease_key);
        }
    }

    /// The flights whose leases have this mark, the oldest first.
    pub fn marked(&self, mark: Mark) -> Vec<FlightId> {
        let range = (mark, FlightId::FIRST)..=(mark, FlightId::LAST);
        self.marks.range(range).map(|(_, id)| *id).collect()
    }

    pub fn of_database(&self, database: i32) -> Vec<FlightId> {
        Tier::ALL.into_iter().flat_map(|tier| self.marked(Mark::Tier(database, tier))).collect()
    }

    pub fn all(&self) -> Vec<FlightId> {
        let mut ids: Vec<_> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// The flight whose lease ends first, if it has run out. The caller closes or renews it.
    pub fn run_out(&self, now_ms: i64) -> Option<FlightId> {
        self.ends.first().filter(|(at_ms, _)| *at_ms <= now_ms).map(|(_, id)| *id)
    }

    pub fn next_end(&self) -> Option<i64> {
        self.ends.first().map(|(at_ms, _)| *at_ms)
    }

    pub fn tidy(&mut self) {
        trim(&mut self.by_id);
        trim(&mut self.by_key);
    }

    pub fn heap_bytes(&self) -> usize {
        self.by_id.allocation_size()
            + self.by_key.allocation_size()
            + most_bytes(&self.marks)
            + most_bytes(&self.ends)
    }

    fn insert(&mut self, id: FlightId, flight: Flight) {
        self.marks.extend(flight.marks().map(|mark| (mark, id)));
        self.ends.insert((flight.lease.ends_at_ms, id));
        self.by_id.insert(id, flight);
    }

    fn remove(&mut self, id: FlightId) -> Option<Flight> {
        let flight = self.by_id.remove(&id)?;
        for mark in flight.marks() {
            self.marks.remove(&(mark, id));
        }
        self.ends.remove(&(flight.lease.ends_at_ms, id));
        Some(flight)
    }
}

#[cfg(any(test, fuzzing))]
impl Flights {
    pub fn validate(&self) {
        let mut marks = 0;
        for (id, flight) in &self.by_id {
            assert_eq!(self.find(&flight.lease_key), Some(*id));
            assert!(self.ends.contains(&(flight.lease.ends_at_ms, *id)));
            for mark in flight.marks() {
                assert!(self.marks.contains(&(mark, *id)));
                marks += 1;
            }
        }
        assert_eq!(self.by_key.len(), self.by_id.len());
        assert_eq!(self.ends.len(), self.by_id.len());
        assert_eq!(self.marks.len(), marks);
    }
}
