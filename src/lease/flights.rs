//! The flights: the lease keys that are leased, and their leases by holder, persona, user and tier.
//!
//! Each lease stands in the set of marks once for every mark it has, so an invalidation or a disconnect finds the
//! leases that it ends without a look at any other. A flight keeps its ID when its lease passes on; the lease is
//! another one, with other marks.
//!
//! Invariants: `by_key` leads to every flight; a lease is in the set with its own marks and no others, and among the
//! deadlines once.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::RandomState;
use std::ops::Bound;

use hashbrown::HashMap;

use super::ids::{FlightId, IdMap, Ids, LeaseId, most_bytes, trim};
use super::names::{NameHash, Names};
use super::types::{LeaseKey, Tie, Token};
use crate::tier::Tier;

pub(super) struct Lease {
    pub id: LeaseId,
    pub token: Token,
    /// The client that it was granted to; it counts for the client's share even if it is detached.
    pub holder: u64,
    /// The account that it counts for.
    pub account: u64,
    pub tie: Tie,
    pub granted_at_ms: i64,
    pub ends_at_ms: i64,
    /// The length that an APPEND renews it for.
    pub length_ms: i64,
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

/// A property by which leases are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Mark {
    Tier(i32, Tier),
    Persona(i32, NameHash),
    User(i32, NameHash),
    Holder(u64),
}

/// The leases that one event voids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    Mark(Mark),
    Database(i32),
    All,
}

impl Scope {
    /// The first and the last mark of the scope.
    fn marks(self) -> (Mark, Mark) {
        match self {
            Scope::Mark(mark) => (mark, mark),
            Scope::Database(number) => (Mark::Tier(number, Tier::Msg), Mark::Tier(number, Tier::Response)),
            Scope::All => (Mark::Tier(i32::MIN, Tier::Msg), Mark::Tier(i32::MAX, Tier::Response)),
        }
    }
}

impl Flight {
    /// The scopes that the lease belongs to.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> + use<> {
        let wide = [Scope::Database(self.lease_key.database), Scope::All];
        self.marks().map(Scope::Mark).chain(wide)
    }

    /// The scopes of invalidations that concern the lease's response; the holder's connection is none.
    pub fn response_scopes(&self) -> impl Iterator<Item = Scope> + use<> {
        self.scopes().filter(|scope| !matches!(scope, Scope::Mark(Mark::Holder(_))))
    }

    fn marks(&self) -> impl Iterator<Item = Mark> + use<> {
        let LeaseKey { database, tier, .. } = self.lease_key;
        let Names { persona, user } = self.lease.names;
        [
            Some(Mark::Tier(database, tier)),
            Some(Mark::Persona(database, persona)),
            user.map(|user| Mark::User(database, user)),
            (self.lease.tie == Tie::Connection).then_some(Mark::Holder(self.lease.holder)),
        ]
        .into_iter()
        .flatten()
    }
}

pub(super) struct Flights {
    by_id: IdMap<FlightId, Flight>,
    by_key: HashMap<LeaseKey, FlightId, RandomState>,
    marks: BTreeMap<(Mark, LeaseId), FlightId>,
    /// The number of leases of each client that holds one.
    by_holder: IdMap<u64, usize>,
    /// The number of leases of each account that has one.
    by_account: IdMap<u64, usize>,
    ends: BTreeSet<(i64, FlightId)>,
}

impl Flights {
    pub fn new() -> Flights {
        Flights {
            by_id: IdMap::default(),
            by_key: HashMap::default(),
            marks: BTreeMap::new(),
            by_holder: IdMap::default(),
            by_account: IdMap::default(),
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

    /// Moves the end of a lease.
    pub fn extend(&mut self, id: FlightId, ends_at_ms: i64) {
        let Some(flight) = self.by_id.get_mut(&id) else { return };
        self.ends.remove(&(flight.lease.ends_at_ms, id));
        flight.lease.ends_at_ms = ends_at_ms;
        self.ends.insert((ends_at_ms, id));
    }

    pub fn close(&mut self, id: FlightId) {
        if let Some(flight) = self.remove(id) {
            self.by_key.remove(&flight.lease_key);
        }
    }

    /// The number of leases that the client holds.
    pub fn held_by(&self, client: u64) -> usize {
        self.by_holder.get(&client).copied().unwrap_or(0)
    }

    /// The number of leases of the account.
    pub fn held_by_account(&self, account: u64) -> usize {
        self.by_account.get(&account).copied().unwrap_or(0)
    }

    /// A flight of the scope whose lease has an ID smaller than `before`: the oldest of its first mark that has one.
    /// The search visits each mark of the scope once, and a database has four.
    pub fn older(&self, scope: Scope, before: LeaseId) -> Option<FlightId> {
        let (first, last) = scope.marks();
        let end = Bound::Included((last, LeaseId::LAST));
        let mut start = Bound::Included((first, LeaseId::FIRST));
        loop {
            let ((mark, lease), id) = self.marks.range((start, end)).next()?;
            if *lease < before {
                return Some(*id);
            }
            start = Bound::Excluded((*mark, LeaseId::LAST));
        }
    }

    pub fn of_database(&self, database: i32) -> Vec<FlightId> {
        let (first, last) = Scope::Database(database).marks();
        self.marks.range((first, LeaseId::FIRST)..=(last, LeaseId::LAST)).map(|(_, id)| *id).collect()
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
        trim(&mut self.by_holder);
        trim(&mut self.by_account);
    }

    pub fn heap_bytes(&self) -> usize {
        self.by_id.allocation_size()
            + self.by_key.allocation_size()
            + most_bytes::<(Mark, LeaseId, FlightId)>(self.marks.len())
            + most_bytes::<(i64, FlightId)>(self.ends.len())
            + self.by_holder.allocation_size()
            + self.by_account.allocation_size()
    }

    fn insert(&mut self, id: FlightId, flight: Flight) {
        self.marks.extend(flight.marks().map(|mark| ((mark, flight.lease.id), id)));
        *self.by_holder.entry(flight.lease.holder).or_default() += 1;
        *self.by_account.entry(flight.lease.account).or_default() += 1;
        self.ends.insert((flight.lease.ends_at_ms, id));
        self.by_id.insert(id, flight);
    }

    fn remove(&mut self, id: FlightId) -> Option<Flight> {
        let flight = self.by_id.remove(&id)?;
        for mark in flight.marks() {
            self.marks.remove(&(mark, flight.lease.id));
        }
        for (counts, owner) in
            [(&mut self.by_holder, flight.lease.holder), (&mut self.by_account, flight.lease.account)]
        {
            if let Some(held) = counts.get_mut(&owner) {
                *held -= 1;
                if *held == 0 {
                    counts.remove(&owner);
                }
            }
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
                assert_eq!(self.marks.get(&(mark, flight.lease.id)), Some(id));
                marks += 1;
            }
        }
        assert_eq!(self.by_key.len(), self.by_id.len());
        assert_eq!(self.ends.len(), self.by_id.len());
        assert_eq!(self.marks.len(), marks);
        assert_eq!(self.by_holder.values().sum::<usize>(), self.by_id.len());
        assert!(self.by_holder.values().all(|held| *held > 0));
        assert_eq!(self.by_account.values().sum::<usize>(), self.by_id.len());
        assert!(self.by_account.values().all(|held| *held > 0));
    }
}
