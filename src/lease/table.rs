//! The table: each event of a lease or a waiter is one method. The room's head (`mod.rs`) tells the whole idea.

use std::collections::BTreeMap;
use std::hash::RandomState;

use super::flights::{Flights, Lease, Mark};
use super::ids::{FlightId, Ids, WaiterId};
use super::names::{NameHash, Names};
use super::report::{Counters, LeaseEnd, LeaseReport};
use super::types::{
    FetchOutcome, GrantedLease, LeaseKey, LeaseRequest, LeaveReason, Step, Token, Wait, WaitOutcome, Wake,
};
use super::waiters::{Waiter, Waiters};

/// Number of waits that `would_deadlock` follows.
const LONGEST_CHAIN: usize = 64;

/// The leases and waiters of one server; `mod.rs` tells the idea.
pub struct LeaseTable {
    pub(super) flights: Flights,
    pub(super) waiters: Waiters,
    pub(super) ids: Ids,
    /// The time of the last invalidation in each database, as far as older leases remain; see `void`.
    pub(super) voided_at: BTreeMap<i32, i64>,
    pub(super) names: RandomState,
    pub(super) counters: Counters,
}

impl Default for LeaseTable {
    fn default() -> Self {
        LeaseTable::new()
    }
}

impl LeaseTable {
    /// An empty table.
    pub fn new() -> LeaseTable {
        LeaseTable {
            flights: Flights::new(),
            waiters: Waiters::new(),
            ids: Ids::default(),
            voided_at: BTreeMap::new(),
            names: RandomState::new(),
            counters: Counters::default(),
        }
    }

    /// A caller found no response, not even a stale one: it gets the lease, hears that the lease is held, or waits.
    ///
    /// The holder itself hears `Busy` at once for any `wait`: blocked, it could not store the response. (Callers that
    /// share a connection are one client here.) The same holds for a caller whose wait would close a circle, as the
    /// holder waits, directly or indirectly, for the caller. A client has one wait at a time.
    pub fn fetch(&mut self, request: &LeaseRequest<'_>, wait: Wait, step: &mut Step<'_>) -> FetchOutcome {
        let Some(id) = self.current(&request.lease_key, step) else {
            return FetchOutcome::Leased(self.grant(request, step));
        };
        let busy = FetchOutcome::Busy { ms: self.left_ms(id, step.now_ms) };
        let Wait::Until { deadline_ms, max_waiters } = wait else { return busy };
        if deadline_ms <= step.now_ms || self.waiters.of_client(request.client).is_some() {
            return busy;
        }
        if self.would_deadlock(id, request.client) {
            return busy;
        }
        if self.waiters.len() >= max_waiters {
            self.counters.turned_away += 1;
            return busy;
        }
        let names = Names::new(&self.names, request.persona, request.user);
        let lease_ms = length(request.lease_ms);
        let waiter = Waiter { flight: id, client: request.client, deadline_ms, lease_ms, names };
        self.counters.waited += 1;
        FetchOutcome::Waiting(self.waiters.push(&mut self.ids, waiter))
    }

    /// A caller found a stale response and uses it. Returns the lease if it is free, so that one caller refreshes.
    pub fn refresh(&mut self, request: &LeaseRequest<'_>, step: &mut Step<'_>) -> Option<GrantedLease> {
        match self.current(&request.lease_key, step) {
            Some(_) => None,
            None => Some(self.grant(request, step)),
        }
    }

    /// Returns false if the lease is held for another persona or user: a token proves it for no others.
    pub fn is_for(&self, lease_key: &LeaseKey, persona: &[u8], user: &[u8]) -> bool {
        let lease =
            self.flights.find(lease_key).and_then(|id| self.flights.get(id)).map(|flight| &flight.lease);
        lease.is_none_or(|lease| lease.names == Names::new(&self.names, persona, user))
    }

    /// Returns false if the lease is held for another persona.
    pub fn is_for_persona(&self, lease_key: &LeaseKey, persona: &[u8]) -> bool {
        let lease =
            self.flights.find(lease_key).and_then(|id| self.flights.get(id)).map(|flight| &flight.lease);
        lease.is_none_or(|lease| lease.names.persona == NameHash::of(&self.names, persona))
    }

    /// Returns true if the token proves the lease of this key.
    pub fn proves(&self, lease_key: &LeaseKey, token: &Token, now_ms: i64) -> bool {
        self.holds(lease_key, token, now_ms).is_some()
    }

    /// Returns for how many milliseconds the lease has been held, which is the response's cost. Returns None if the
    /// token proves no lease, so that nothing may be stored. The lease goes on until `stored`.
    pub fn check(&mut self, lease_key: &LeaseKey, token: &Token, now_ms: i64) -> Option<u64> {
        let held = self.holds(lease_key, token, now_ms).and_then(|id| self.flights.get(id));
        match held {
            Some(flight) => {
                Some(u64::try_from(now_ms.saturating_sub(flight.lease.granted_at_ms)).unwrap_or(0))
            }
            None => {
                self.counters.refused += 1;
                None
            }
        }
    }

    /// A response is stored, with a token that `check` has accepted or without a token: the lease ends for any holder,
    /// and every waiter has a hit.
    pub fn stored(&mut self, lease_key: &LeaseKey, step: &mut Step<'_>) {
        let Some(id) = self.flights.find(lease_key) else { return };
        self.flights.close(id);
        self.counters.answered += 1;
        while let Some((waiter, Waiter { client, .. })) = self.waiters.pop(id) {
            self.counters.waits_hit += 1;
            step.wakes.push(Wake { waiter, client, outcome: WaitOutcome::Hit });
        }
        self.tidy();
    }

    /// The key got a response by RENAME, RESTORE or COPY: its waiters recheck whether they may have it. They keep their
    /// places, and the holder keeps its lease.
    pub fn response_appeared(&mut self, lease_key: &LeaseKey, step: &mut Step<'_>) {
        if let Some(id) = self.flights.find(lease_key) {
            self.recheck(id, step);
        }
    }

    /// The holder gives up. Returns false if the token proves no lease.
    pub fn release(&mut self, lease_key: &LeaseKey, token: &Token, step: &mut Step<'_>) -> bool {
        let Some(id) = self.holds(lease_key, token, step.now_ms) else { return false };
        self.pass_on(id, LeaseEnd::Released, step);
        self.tidy();
        true
    }

    /// A client's connection has closed: its wait ends, and its leases pass on.
    pub fn client_gone(&mut self, client: u64, step: &mut Step<'_>) {
        if let Some(waiter) = self.waiters.of_client(client) {
            self.leave(waiter, LeaveReason::Gone, step.now_ms);
        }
        for id in self.flights.marked(Mark::Holder(client)) {
            self.pass_on(id, LeaseEnd::Disconnected, step);
        }
        self.tidy();
    }

    /// A waiter leaves the queue for a reason outside this table. Returns the milliseconds left of the lease that it
    /// waited for, or None if its wait had ended before.
    pub fn leave(&mut self, waiter: WaiterId, why: LeaveReason, now_ms: i64) -> Option<u64> {
        let id = self.waiters.get(waiter)?.flight;
        self.waiters.remove(waiter)?;
        let counter = match why {
            LeaveReason::Answered => &mut self.counters.waits_hit,
            LeaveReason::TimedOut => &mut self.counters.waits_over,
            LeaveReason::Gone => &mut self.counters.waits_left,
        };
        *counter += 1;
        let ms = self.left_ms(id, now_ms);
        self.tidy();
        Some(ms)
    }

    /// Time has passed: leases that have run out pass on, and waits past their deadline end.
    pub fn tick(&mut self, step: &mut Step<'_>) {
        while let Some(id) = self.flights.run_out(step.now_ms) {
            self.pass_on(id, LeaseEnd::RanOut, step);
        }
        while let Some(waiter) = self.waiters.overdue(step.now_ms) {
            let Some(client) = self.waiters.get(waiter).map(|waiter| waiter.client) else { continue };
            if let Some(ms) = self.leave(waiter, LeaveReason::TimedOut, step.now_ms) {
                step.wakes.push(Wake { waiter, client, outcome: WaitOutcome::Busy { ms } });
            }
        }
        self.tidy();
    }

    /// The time of the next `tick` in milliseconds of the step's clock; it may be in the past. None without leases.
    pub fn next_deadline(&self) -> Option<i64> {
        [self.flights.next_end(), self.waiters.next_deadline()].into_iter().flatten().min()
    }

    /// The counters and the present size.
    pub fn report(&self) -> LeaseReport {
        LeaseReport { leases: self.flights.len(), waiters: self.waiters.len(), counters: self.counters }
    }

    /// Bytes that the table takes beside itself; an upper bound, within a factor of two.
    pub fn heap_bytes(&self) -> usize {
        // The map has a node for at most every five of its entries, and one at least.
        let entry = size_of::<(i32, i64)>();
        let nodes = self.voided_at.len().div_ceil(5);
        self.flights.heap_bytes() + self.waiters.heap_bytes() + nodes * (11 * entry + 16)
    }

    /// The flight of a lease key. A lease that has run out unnoticed first passes on or closes.
    pub(super) fn current(&mut self, lease_key: &LeaseKey, step: &mut Step<'_>) -> Option<FlightId> {
        let id = self.flights.find(lease_key)?;
        if self.left_ms(id, step.now_ms) == 0 {
            self.pass_on(id, LeaseEnd::RanOut, step);
            self.tidy();
        }
        self.flights.find(lease_key)
    }

    pub(super) fn holds(&self, lease_key: &LeaseKey, token: &Token, now_ms: i64) -> Option<FlightId> {
        let id = self.flights.find(lease_key)?;
        let lease = &self.flights.get(id)?.lease;
        (lease.token == *token && lease.left_ms(now_ms) > 0).then_some(id)
    }

    pub(super) fn left_ms(&self, id: FlightId, now_ms: i64) -> u64 {
        self.flights.get(id).map_or(0, |flight| flight.lease.left_ms(now_ms))
    }

    pub(super) fn grant(&mut self, request: &LeaseRequest<'_>, step: &mut Step<'_>) -> GrantedLease {
        let names = Names::new(&self.names, request.persona, request.user);
        let lease = self.new_lease(request.client, length(request.lease_ms), names, step);
        let leased = leased(&lease);
        self.flights.open(&mut self.ids, request.lease_key, lease);
        leased
    }

    pub(super) fn new_lease(
        &mut self,
        holder: u64,
        length_ms: i64,
        names: Names,
        step: &mut Step<'_>,
    ) -> Lease {
        self.counters.granted += 1;
        let ends_at_ms = step.now_ms.saturating_add(length_ms);
        let token = Token::from_bytes((step.random)());
        Lease { token, holder, granted_at_ms: step.now_ms, ends_at_ms, names }
    }

    /// A lease has ended without a response: the first waiter before its deadline gets a new lease. Waiters ahead of
    /// it, whose deadline is past, hear `Busy`.
    pub(super) fn pass_on(&mut self, id: FlightId, end: LeaseEnd, step: &mut Step<'_>) {
        self.counters.ended.count(end);
        let mut over = Vec::new();
        let mut next = None;
        while let Some((waiter, wait)) = self.waiters.pop(id) {
            if wait.deadline_ms > step.now_ms {
                next = Some((waiter, wait));
                break;
            }
            over.push((waiter, wait.client));
        }
        match next {
            Some((waiter, Waiter { client, lease_ms, names, .. })) => {
                self.counters.passed_on.count(end);
                let lease = self.new_lease(client, lease_ms, names, step);
                let GrantedLease { token, ms } = leased(&lease);
                self.flights.renew(id, lease);
                step.wakes.push(Wake { waiter, client, outcome: WaitOutcome::Lease { token, ms } });
            }
            None => {
                self.flights.close(id);
            }
        }
        let ms = self.left_ms(id, step.now_ms);
        for (waiter, client) in over {
            self.counters.waits_over += 1;
            step.wakes.push(Wake { waiter, client, outcome: WaitOutcome::Busy { ms } });
        }
    }

    pub(super) fn recheck(&self, id: FlightId, step: &mut Step<'_>) {
        step.wakes.extend(self.waiters.queued(id).map(|(waiter, wait)| Wake {
            waiter,
            client: wait.client,
            outcome: WaitOutcome::Recheck,
        }));
    }

    /// Returns true if the holder is the client or waits for it, directly or indirectly. A chain too long to follow
    /// counts as a circle. No circle arises otherwise: a client that gets a lease later has ended its wait by then.
    pub(super) fn would_deadlock(&self, mut id: FlightId, client: u64) -> bool {
        for _ in 0..LONGEST_CHAIN {
            let Some(holder) = self.flights.get(id).map(|flight| flight.lease.holder) else { return false };
            if holder == client {
                return true;
            }
            let Some(wait) = self.waiters.of_client(holder).and_then(|waiter| self.waiters.get(waiter))
            else {
                return false;
            };
            id = wait.flight;
        }
        true
    }

    /// Returns spare memory; called at the end of every event that ends something.
    pub(super) fn tidy(&mut self) {
        self.flights.tidy();
        self.waiters.tidy();
        if self.flights.len() == 0 {
            self.voided_at = BTreeMap::new();
        }
    }
}

fn leased(lease: &Lease) -> GrantedLease {
    GrantedLease { token: lease.token, ms: lease.left_ms(lease.granted_at_ms) }
}

/// The length of a lease is at least one millisecond, so that its holder can use it.
fn length(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).max(1)
}
