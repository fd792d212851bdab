//! The flights: the questions that somebody has the lease of, and the leases by whom and what they belong to.
//!
//! A lease hangs in up to four chains, so that a drop or a disconnect finds those that it ends without a look at
//! any other. A flight keeps its place when its lease passes on; the lease is another one, in other chains.
//!
//! Invariants: `by_question` leads to every flight; a lease is in the chains of its marks and in no others; a
//! chain without leases has no head.

use std::hash::RandomState;

use hashbrown::HashMap;

use super::deadlines::Deadlines;
use super::ids::{FlightId, IdMap, Ids, Link, trim};
use super::names::{NameHash, Names};
use super::types::{LeaseKey, Token};
use super::waiters::Queue;
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
    /// What is left of it; nothing once it has run out.
    pub fn left_ms(&self, now_ms: i64) -> u64 {
        u64::try_from(self.ends_at_ms.saturating_sub(now_ms)).unwrap_or(0)
    }
}

pub(super) struct Flight {
    pub lease_key: LeaseKey,
    pub lease: Lease,
    pub queue: Queue,
    links: [Link<FlightId>; 4],
}

/// What a lease can be found by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mark {
    Tier(i32, Tier),
    Persona(i32, NameHash),
    User(i32, NameHash),
    Holder(u64),
}

impl Mark {
    /// Which of a flight's links is the one in this mark's chain.
    fn slot(self) -> usize {
        match self {
            Mark::Tier(..) => 0,
            Mark::Persona(..) => 1,
            Mark::User(..) => 2,
            Mark::Holder(..) => 3,
        }
    }
}

impl Flight {
    fn link(&self, mark: Mark) -> Link<FlightId> {
        self.links.get(mark.slot()).copied().unwrap_or_default()
    }

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
    /// The youngest lease of each chain.
    heads: HashMap<Mark, FlightId, RandomState>,
    ends: Deadlines<FlightId>,
}

impl Flights {
    pub fn new() -> Flights {
        Flights {
            by_id: IdMap::default(),
            by_key: HashMap::default(),
            heads: HashMap::default(),
            ends: Deadlines::new(),
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

    pub fn get_mut(&mut self, id: FlightId) -> Option<&mut Flight> {
        self.by_id.get_mut(&id)
    }

    /// Opens a flight for a question that has none.
    pub fn open(&mut self, ids: &mut Ids, lease_key: LeaseKey, lease: Lease) {
        let id = ids.flight();
        self.ends.push(lease.ends_at_ms, id);
        self.by_key.insert(lease_key, id);
        self.by_id
            .insert(id, Flight { lease_key, lease, queue: Queue::default(), links: Default::default() });
        self.link(id);
    }

    /// Puts a new lease in the place of one that has ended.
    pub fn renew(&mut self, id: FlightId, lease: Lease) {
        self.unlink(id);
        let Some(flight) = self.by_id.get_mut(&id) else { return };
        self.ends.push(lease.ends_at_ms, id);
        flight.lease = lease;
        self.link(id);
    }

    pub fn close(&mut self, id: FlightId) -> Option<Flight> {
        self.unlink(id);
        let flight = self.by_id.remove(&id)?;
        self.by_key.remove(&flight.lease_key);
        Some(flight)
    }

    /// Those whose leases have this mark, the oldest first.
    pub fn marked(&self, mark: Mark) -> Vec<FlightId> {
        let next = |id: &FlightId| self.by_id.get(id)?.link(mark).next;
        let mut ids: Vec<_> = std::iter::successors(self.heads.get(&mark).copied(), next).collect();
        ids.reverse();
        ids
    }

    pub fn of_database(&self, database: i32) -> Vec<FlightId> {
        Tier::ALL.into_iter().flat_map(|tier| self.marked(Mark::Tier(database, tier))).collect()
    }

    pub fn all(&self) -> Vec<FlightId> {
        let mut ids: Vec<_> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// One whose lease has run out, as often as there is one: it is for the caller to close or renew.
    pub fn run_out(&mut self, now_ms: i64) -> Option<FlightId> {
        loop {
            let (at_ms, id) = self.ends.pop_due(now_ms)?;
            if self.by_id.get(&id).is_some_and(|flight| flight.lease.ends_at_ms == at_ms) {
                return Some(id);
            }
        }
    }

    pub fn next_end(&self) -> Option<i64> {
        self.ends.next()
    }

    pub fn tidy(&mut self) {
        self.ends.tidy(self.by_id.len(), |at_ms, id| {
            self.by_id.get(&id).is_some_and(|flight| flight.lease.ends_at_ms == at_ms)
        });
        trim(&mut self.by_id);
        trim(&mut self.by_key);
        trim(&mut self.heads);
    }

    pub fn heap_bytes(&self) -> usize {
        self.by_id.allocation_size()
            + self.by_key.allocation_size()
            + self.heads.allocation_size()
            + self.ends.heap_bytes()
    }

    fn link(&mut self, id: FlightId) {
        let Some(flight) = self.by_id.get(&id) else { return };
        for mark in flight.marks() {
            let next = self.heads.insert(mark, id);
            self.set(next, mark, |link| link.prev = Some(id));
            self.set(Some(id), mark, |link| *link = Link { prev: None, next });
        }
    }

    fn unlink(&mut self, id: FlightId) {
        let Some(flight) = self.by_id.get(&id) else { return };
        for mark in flight.marks() {
            let Some(flight) = self.by_id.get(&id) else { return };
            let Link { prev, next } = flight.link(mark);
            self.set(next, mark, |link| link.prev = prev);
            match (prev, next) {
                (Some(_), _) => self.set(prev, mark, |link| link.next = next),
                (None, Some(next)) => {
                    self.heads.insert(mark, next);
                }
                (None, None) => {
                    self.heads.remove(&mark);
                }
            }
        }
    }

    fn set(&mut self, id: Option<FlightId>, mark: Mark, change: impl FnOnce(&mut Link<FlightId>)) {
        if let Some(flight) = id.and_then(|id| self.by_id.get_mut(&id))
            && let Some(link) = flight.links.get_mut(mark.slot())
        {
            change(link);
        }
    }
}

#[cfg(any(test, fuzzing))]
impl Flights {
    pub fn validate(&self) {
        use std::collections::{HashMap, HashSet};
        let mut by_mark: HashMap<Mark, HashSet<_>> = HashMap::new();
        for id in self.all() {
            let flight = self.get(id).unwrap();
            assert_eq!(self.find(&flight.lease_key), Some(id));
            for mark in flight.marks() {
                by_mark.entry(mark).or_default().insert(id);
            }
        }
        assert_eq!(self.by_key.len(), self.by_id.len());
        assert_eq!(self.heads.len(), by_mark.len());
        for (mark, expected) in by_mark {
            let chain = self.marked(mark);
            assert_eq!(chain.len(), expected.len());
            assert_eq!(chain.iter().copied().collect::<HashSet<_>>(), expected);
            let backwards = chain.iter().copied().chain([chain[0]]).skip(1);
            for (id, prev) in chain.iter().zip(backwards).take(chain.len() - 1) {
                assert_eq!(self.get(*id).unwrap().link(mark).prev, Some(prev));
            }
        }
        let first = self.by_id.values().map(|flight| flight.lease.ends_at_ms).min();
        assert_eq!(self.next_end(), first);
    }
}
