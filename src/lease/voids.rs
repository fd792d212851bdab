//! Voided leases that have not passed on yet.
//!
//! Leases get ascending IDs when they are granted. To void all leases of a scope, the table notes the next ID for the
//! scope: from then on every lease of the scope with a smaller ID proves nothing, at the cost of one note. The backlog
//! lists the noted scopes, and `advance` works it off a few leases at a time, each scope in turn.
//!
//! Invariants: the backlog lists each noted scope once; a scope is noted only while it may have a void lease, so there
//! are at most as many notes as the leases have scopes.

use std::collections::VecDeque;
use std::hash::RandomState;

use hashbrown::HashMap;

use super::flights::{Flight, Mark, Scope};
use super::ids::{LeaseId, trim};
use super::report::LeaseEnd;

pub(super) struct Voids {
    /// For each scope the ID below which its leases are void.
    before: HashMap<Scope, LeaseId, RandomState>,
    backlog: VecDeque<Scope>,
}

/// Why the leases of this scope end.
fn end_of(scope: Scope) -> LeaseEnd {
    match scope {
        Scope::Mark(Mark::Holder(_)) => LeaseEnd::Disconnected,
        Scope::Mark(_) | Scope::Database(_) | Scope::All => LeaseEnd::Voided,
    }
}

impl Voids {
    pub fn new() -> Voids {
        Voids { before: HashMap::default(), backlog: VecDeque::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.backlog.is_empty()
    }

    /// Voids the scope's leases with smaller IDs.
    pub fn note(&mut self, scope: Scope, before: LeaseId) {
        match self.before.get_mut(&scope) {
            Some(noted) => *noted = before.max(*noted),
            None => {
                self.before.insert(scope, before);
                self.backlog.push_back(scope);
            }
        }
    }

    /// Why the flight's lease is void; None if it is not.
    pub fn voided(&self, flight: &Flight) -> Option<LeaseEnd> {
        if self.before.is_empty() {
            return None;
        }
        let notes = flight.scopes().filter_map(|scope| Some((*self.before.get(&scope)?, scope)));
        let first = notes.filter(|(before, _)| flight.lease.id < *before).min_by_key(|(before, _)| *before);
        first.map(|(_, scope)| end_of(scope))
    }

    /// The scope whose turn it is, with the ID below which its leases are void. It goes to the end of the backlog.
    pub fn rotate(&mut self) -> Option<(Scope, LeaseId)> {
        let scope = self.backlog.pop_front()?;
        self.backlog.push_back(scope);
        self.before.get(&scope).map(|before| (scope, *before))
    }

    /// Forgets the scope that `rotate` has returned: it has no void lease any more.
    pub fn forget_last(&mut self) {
        if let Some(scope) = self.backlog.pop_back() {
            self.before.remove(&scope);
        }
        trim(&mut self.before);
    }

    pub fn clear(&mut self) {
        *self = Voids::new();
    }

    pub fn heap_bytes(&self) -> usize {
        self.before.allocation_size() + self.backlog.capacity() * size_of::<Scope>()
    }
}

#[cfg(any(test, fuzzing))]
impl Voids {
    pub fn validate(&self) {
        assert_eq!(self.before.len(), self.backlog.len());
        assert!(self.backlog.iter().all(|scope| self.before.contains_key(scope)));
    }
}
