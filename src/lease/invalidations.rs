//! Invalidations: they end the leases whose responses they would invalidate, so that no late response is stored.
//!
//! An invalidation concerns one database. It voids its leases with one note (`voids`); `advance` passes them on.
//!
//! **SWAPDB** lets clients keep the number of their database while its contents change, so leases and waiters stay
//! under their number too: a response goes where its client's SET goes. The waiters recheck, as the new contents may
//! hold their response. But these contents may bring an invalidation with them: a persona invalidated in database 1
//! must not get a response that was begun for database 0 before that, just because the two were swapped. So a swap
//! ends the leases that are older than the last invalidation of any kind in the contents that come. (Swaps are rare,
//! and one lease too many costs one model call.) Only invalidations younger than the oldest lease matter, so the table
//! keeps none while there are no leases.

use super::flights::{Mark, Scope};
use super::ids::LeaseId;
use super::names::NameHash;
use super::report::LeaseEnd;
use super::table::LeaseTable;
use super::types::{LeaseKey, Step, WaitOutcome, Wake};
use super::waiters::Waiter;
use crate::tier::Tier;

/// The leases that an invalidation voids. The numbers are databases.
#[derive(Clone, Copy, Debug)]
pub enum VoidScope<'a> {
    /// One response was deleted: CHATCACHE.DEL, DEL, UNLINK and the like.
    LeaseKey(LeaseKey),
    /// INVALIDATE and SOFTINVALIDATE of a persona.
    Persona(i32, &'a [u8]),
    /// FORGET of a user.
    User(i32, &'a [u8]),
    /// FLUSH of a tier.
    Tier(i32, Tier),
    /// FLUSH, FLUSHDB.
    Database(i32),
    /// FLUSHALL.
    All,
}

impl LeaseTable {
    /// Voids these leases: from now on their tokens prove nothing. Their first waiters get new leases, at once for a
    /// lease key, and for the other scopes by `advance`.
    pub fn void(&mut self, what: VoidScope<'_>, step: &mut Step<'_>) {
        let next = self.ids.lease();
        let (database, scope) = match what {
            VoidScope::LeaseKey(lease_key) => {
                self.invalidated.insert(lease_key.database, next);
                self.drafts.void_key(&lease_key);
                if let Some(id) = self.flights.find(&lease_key) {
                    self.pass_on(id, LeaseEnd::Voided, step);
                }
                return self.tidy();
            }
            VoidScope::Persona(database, name) => {
                (database, Scope::Mark(Mark::Persona(database, NameHash::of(&self.names, name))))
            }
            VoidScope::User(database, name) => {
                (database, Scope::Mark(Mark::User(database, NameHash::of(&self.names, name))))
            }
            VoidScope::Tier(database, tier) => (database, Scope::Mark(Mark::Tier(database, tier))),
            VoidScope::Database(database) => (database, Scope::Database(database)),
            VoidScope::All => {
                self.void_before(Scope::All, next);
                return self.tidy();
            }
        };
        if self.flights.len() > 0 {
            self.invalidated.insert(database, next);
        }
        self.void_before(scope, next);
        self.tidy();
    }

    /// Two databases have swapped their contents. The head of this file tells what follows.
    pub fn swapped(&mut self, one: i32, other: i32, step: &mut Step<'_>) {
        if one == other {
            return;
        }
        let invalidated = (self.invalidated.remove(&one), self.invalidated.remove(&other));
        for (database, before) in [(one, invalidated.1), (other, invalidated.0)] {
            if let Some(before) = before {
                self.invalidated.insert(database, before);
                self.void_before(Scope::Database(database), before);
            }
            self.drafts.void(Scope::Database(database), LeaseId::LAST);
            for id in self.flights.of_database(database) {
                self.recheck(id, step);
            }
        }
        self.tidy();
    }

    /// Ends all leases, and all waits with `Busy`: the server shuts down or becomes a replica.
    pub fn end_all(&mut self, step: &mut Step<'_>) {
        for id in self.flights.all() {
            self.end_draft(id, None, step);
            self.flights.close(id);
            self.counters.ended.count(LeaseEnd::Voided);
            while let Some((waiter, Waiter { client, .. })) = self.waiters.pop(id) {
                self.counters.waits_over += 1;
                step.wakes.push(Wake { waiter, client, outcome: WaitOutcome::Busy { ms: 0 } });
            }
        }
        self.drafts.void(Scope::All, LeaseId::LAST);
        while let Some(lease) = self.ended.front().copied() {
            self.tell_end(lease, step);
        }
        self.tidy();
    }
}
