//! Drops: the leases that end because what they would answer is dropped, so that no late answer comes.
//!
//! A drop is of one database, found by chains (`flights`), and costs as much as there are leases that it ends.
//!
//! **SWAPDB** lets clients keep the number of their database while its contents change, so leases and waiters
//! stay under their number too: an answer goes where its client's SET goes. The waiters look again, as there may
//! be an answer in the new contents. But these may bring a drop with them: a persona invalidated in database 1
//! must not get an answer that was begun for database 0 before that, because the two were swapped. So a swap
//! ends the leases that are older than the last drop in the contents that come (whatever that drop was: swaps
//! are rare, and a lease too many costs one model call). Only drops younger than the oldest lease matter, so
//! nothing is kept while there are no leases.

use super::flights::Mark;
use super::ids::FlightId;
use super::names::NameHash;
use super::report::End;
use super::table::LeaseTable;
use super::types::{LeaseKey, Outcome, Step, Wake};
use super::waiters::Waiter;
use crate::tier::Tier;

/// What was dropped, and in which database: the leases of that end.
#[derive(Clone, Copy, Debug)]
pub enum VoidScope<'a> {
    /// DEL, in whatever guise.
    LeaseKey(LeaseKey),
    /// INVALIDATE.
    Persona(i32, &'a [u8]),
    /// FORGET.
    User(i32, &'a [u8]),
    /// FLUSH of a tier.
    Tier(i32, Tier),
    /// FLUSH, FLUSHDB.
    Database(i32),
    /// FLUSHALL.
    All,
}

impl LeaseTable {
    /// Something was dropped: the tokens of its leases never hold again, and the first waiter of each, whose
    /// question is still without an answer, gets a new one. How many leases ended.
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
        // No lease is older than a drop of all.
        if let Some(database) = database {
            self.voided_at.insert(database, step.now_ms);
        }
        self.void_each(&ids, step);
        self.tidy();
        ids.len()
    }

    /// Two databases have swapped their contents; see the head of this file.
    pub fn swapped(&mut self, one: i32, other: i32, step: &mut Step<'_>) {
        if one == other {
            return;
        }
        let dropped = (self.voided_at.remove(&one), self.voided_at.remove(&other));
        for (database, dropped) in [(one, dropped.1), (other, dropped.0)] {
            let ids = self.flights.of_database(database);
            if let Some(dropped) = dropped {
                self.voided_at.insert(database, dropped);
                let is_older =
                    |id: &FlightId| self.flights.get(*id).is_some_and(|f| f.lease.granted_at_ms <= dropped);
                let old: Vec<_> = ids.iter().copied().filter(is_older).collect();
                self.void_each(&old, step);
            }
            for id in ids {
                self.look_again(id, step);
            }
        }
        self.tidy();
    }

    /// The server gives up its part (it shuts down, or becomes a replica): all leases end, and all waits with
    /// `Busy`.
    pub fn end_all(&mut self, step: &mut Step<'_>) {
        for id in self.flights.all() {
            let Some(mut flight) = self.flights.close(id) else { continue };
            self.counters.ended.count(End::Voided);
            while let Some((waiter, Waiter { client, .. })) = self.waiters.pop(&mut flight.queue) {
                self.counters.waits_over += 1;
                step.wakes.push(Wake { waiter, client, outcome: Outcome::Busy { ms: 0 } });
            }
        }
        self.tidy();
    }

    fn void_each(&mut self, ids: &[FlightId], step: &mut Step<'_>) {
        for id in ids {
            self.pass_on(*id, End::Voided, step);
        }
    }
}
