//! Invalidations: they end the leases whose responses they would invalidate, so that no late response is stored.
//!
//! An invalidation concerns one database. It finds its leases by their marks (`flights`) and costs as much as there
//! are leases that it ends.
//!
//! **SWAPDB** lets clients keep the number of their database while its contents change, so leases and waiters stay
//! under their number too: a response goes where its client's SET goes. The waiters recheck, as the new contents may
//! hold their response. But these contents may bring an invalidation with them: a persona invalidated in database 1
//! must not get a response that was begun for database 0 before that, just because the two were swapped. So a swap
//! ends the leases that are older than the last invalidation of any kind in the contents that come. (Swaps are rare,
//! and one lease too many costs one model call.) Only invalidations younger than the oldest lease matter, so the table
//! keeps none while there are no leases.

use super::flights::Mark;
use super::ids::FlightId;
use super::names::NameHash;
use super::report::LeaseEnd;
use super::table::LeaseTable;
use super::types::{LeaseKey, Step, WaitOutcome, Wake};
use super::waiters::Waiter;
use crate::tier::Tier;

/// What an invalidation concerns: it voids these leases. The numbers are databases.
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
    /// Voids these leases: their tokens never prove anything again, and the first waiter of each gets a new lease.
    /// Returns the number of leases that ended.
    pub fn void(&mut self, what: VoidScope<'_>, step: &mut Step<'_>) -> usize {
        let (database, ids) = match what {
            VoidScope::LeaseKey(lease_key) => {
                (Some(lease_key.database), Vec::from_iter(self.flights.find(&lease_key)))
            }
            VoidScope::Persona(database, name) => {
                let name = NameHash::of(&self.names, name);
                (Some(database), self.flights.marked(Mark::Persona(database, name)))
            }
            VoidScope::User(database, name) => {
                let name = NameHash::of(&self.names, name);
                (Some(database), self.flights.marked(Mark::User(database, name)))
            }
            VoidScope::Tier(database, tier) => {
                (Some(database), self.flights.marked(Mark::Tier(database, tier)))
            }
            VoidScope::Database(database) => (Some(database), self.flights.of_database(database)),
            VoidScope::All => (None, self.flights.all()),
        };
        // After an invalidation of all no older lease remains.
        if let Some(database) = database {
            self.voided_at.insert(database, step.now_ms);
        }
        self.void_each(&ids, step);
        self.tidy();
        ids.len()
    }

    /// Two databases have swapped their contents. The head of this file tells what follows.
    pub fn swapped(&mut self, one: i32, other: i32, step: &mut Step<'_>) {
        if one == other {
            return;
        }
        let voided = (self.voided_at.remove(&one), self.voided_at.remove(&other));
        for (database, voided) in [(one, voided.1), (other, voided.0)] {
            let ids = self.flights.of_database(database);
            if let Some(voided) = voided {
                self.voided_at.insert(database, voided);
                let is_older =
                    |id: &FlightId| self.flights.get(*id).is_some_and(|f| f.lease.granted_at_ms <= voided);
                let old: Vec<_> = ids.iter().copied().filter(is_older).collect();
                self.void_each(&old, step);
            }
            for id in ids {
                self.recheck(id, step);
            }
        }
        self.tidy();
    }

    /// Ends all leases, and all waits with `Busy`: the server shuts down or becomes a replica.
    pub fn end_all(&mut self, step: &mut Step<'_>) {
        for id in self.flights.all() {
            self.flights.close(id);
            self.counters.ended.count(LeaseEnd::Voided);
            while let Some((waiter, Waiter { client, .. })) = self.waiters.pop(id) {
                self.counters.waits_over += 1;
                step.wakes.push(Wake { waiter, client, outcome: WaitOutcome::Busy { ms: 0 } });
            }
        }
        self.tidy();
    }

    fn void_each(&mut self, ids: &[FlightId], step: &mut Step<'_>) {
        for id in ids {
            self.pass_on(*id, LeaseEnd::Voided, step);
        }
    }
}
