//! The lease table of single flight: who computes the answer to which question, and who waits for it.
//!
//! At most one client has the *lease* of a question, with a token that nobody can guess; others may wait, first
//! come first served. A lease ends when an answer is stored, when its holder gives it back or is gone, when it
//! runs out, or when what it would answer is dropped (`drops`). Then its token never holds again, and unless
//! there is an answer, the first waiter gets a new lease: its computation starts after the drop, so it is good.
//!
//! A pure state machine. Each event comes in as a call with a `Step`, which brings the time and the randomness;
//! what is to be done about waiters comes out as `Wake`s, in order, to be performed once the table is no longer
//! borrowed. Nothing here knows of Redis, reads a clock or blocks.
//!
//! Promises: a waiter only ever waits while somebody has the lease of its question; `Wake` ends its wait (but for
//! `LookAgain`) and comes once; `tick`, called at `next_deadline`, ends every lease and every wait in time; with
//! the last lease, the last byte goes.

use std::collections::BTreeMap;
use std::hash::RandomState;

use super::flights::{Flights, Lease, Mark};
use super::ids::{FlightId, Ids, WaiterId};
use super::names::{NameHash, Names};
use super::report::{Counters, End, Report};
use super::types::{Ask, FetchOutcome, LeaseKey, Leased, Leaving, Outcome, Step, Token, Wait, Wake};
use super::waiters::{Waiter, Waiters};

/// How far `closes_a_circle` follows who waits for whom.
const LONGEST_CHAIN: usize = 64;

/// See the head of this file.
pub struct LeaseTable {
    pub(super) flights: Flights,
    pub(super) waiters: Waiters,
    pub(super) ids: Ids,
    /// When something was last dropped in a database, as far as there are leases that are older; see `drops`.
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

    /// A caller finds no answer, not even a stale one.
    ///
    /// Who has the lease itself is told `Busy` at once, whatever it would wait: blocked, it could not store the
    /// answer that it waits for. (Clients that share a connection are one client here; one of them computes,
    /// and blocking would silence it.) The same goes for a caller whose wait would close a circle: the holder
    /// waits, at however many removes, for the caller. And a client waits for one question at a time.
    pub fn fetch(&mut self, ask: &Ask<'_>, wait: Wait, step: &mut Step<'_>) -> FetchOutcome {
        let Some(id) = self.current(&ask.lease_key, step) else {
            return FetchOutcome::Leased(self.grant(ask, step));
        };
        let busy = FetchOutcome::Busy { ms: self.left_ms(id, step.now_ms) };
        let Wait::Until { deadline_ms, max_waiters } = wait else { return busy };
        if deadline_ms <= step.now_ms || self.waiters.of_client(ask.client).is_some() {
            return busy;
        }
        if self.closes_a_circle(id, ask.client) {
            return busy;
        }
        if self.waiters.len() >= max_waiters {
            self.counters.turned_away += 1;
            return busy;
        }
        let names = Names::new(&self.names, ask.persona, ask.user);
        let Some(flight) = self.flights.get_mut(id) else { return busy };
        let waiter = Waiter::new(id, ask.client, deadline_ms, length(ask.lease_ms), names);
        self.counters.waited += 1;
        FetchOutcome::Waiting(self.waiters.push(&mut self.ids, &mut flight.queue, waiter))
    }

    /// A caller finds a stale answer, and uses it: the lease goes to exactly one, so that it is refreshed.
    pub fn refresh(&mut self, ask: &Ask<'_>, step: &mut Step<'_>) -> Option<Leased> {
        match self.current(&ask.lease_key, step) {
            Some(_) => None,
            None => Some(self.grant(ask, step)),
        }
    }

    /// Whether the lease, if somebody has it, was given for this persona and user: a token proves it for no others.
    pub fn is_for(&self, lease_key: &LeaseKey, persona: &[u8], user: &[u8]) -> bool {
        let lease =
            self.flights.find(lease_key).and_then(|id| self.flights.get(id)).map(|flight| &flight.lease);
        lease.is_none_or(|lease| lease.names == Names::new(&self.names, persona, user))
    }

    /// Whether the lease, if somebody has it, was given for this persona.
    pub fn is_for_persona(&self, lease_key: &LeaseKey, persona: &[u8]) -> bool {
        let lease =
            self.flights.find(lease_key).and_then(|id| self.flights.get(id)).map(|flight| &flight.lease);
        lease.is_none_or(|lease| lease.names.persona == NameHash::of(&self.names, persona))
    }

    /// Whether the token proves the lease of this question.
    pub fn proves(&self, lease_key: &LeaseKey, token: &Token, now_ms: i64) -> bool {
        self.holds(lease_key, token, now_ms).is_some()
    }

    /// Whether an answer may be stored with this token: if so, how long the lease was held, which is what the
    /// answer cost. Nothing changes until `stored`; what comes between belongs to the same command.
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

    /// An answer is stored, with a token that `check` has passed or without any: the lease ends, whoever had it,
    /// and all who wait have a hit.
    pub fn stored(&mut self, lease_key: &LeaseKey, step: &mut Step<'_>) {
        let Some(mut flight) = self.flights.find(lease_key).and_then(|id| self.flights.close(id)) else {
            return;
        };
        self.counters.answered += 1;
        while let Some((waiter, Waiter { client, .. })) = self.waiters.pop(&mut flight.queue) {
            self.counters.waits_hit += 1;
            step.wakes.push(Wake { waiter, client, outcome: Outcome::Hit });
        }
        self.tidy();
    }

    /// The key of the question has an answer that came by another way (RENAME, RESTORE, COPY): who waits may see
    /// whether it is one for them. They keep their places, and the holder its lease.
    pub fn response_appeared(&mut self, lease_key: &LeaseKey, step: &mut Step<'_>) {
        if let Some(id) = self.flights.find(lease_key) {
            self.look_again(id, step);
        }
    }

    /// The holder gives up. False if it has no such lease any more.
    pub fn release(&mut self, lease_key: &LeaseKey, token: &Token, step: &mut Step<'_>) -> bool {
        let Some(id) = self.holds(lease_key, token, step.now_ms) else { return false };
        self.pass_on(id, End::Released, step);
        self.tidy();
        true
    }

    /// A client's connection has closed: it waits no more, and what it was computing will not come.
    pub fn client_gone(&mut self, client: u64, step: &mut Step<'_>) {
        if let Some(waiter) = self.waiters.of_client(client) {
            self.leave(waiter, Leaving::Gone, step.now_ms);
        }
        for id in self.flights.marked(Mark::Holder(client)) {
            self.pass_on(id, End::Disconnected, step);
        }
        self.tidy();
    }

    /// A waiter that waits no more, for a reason that this table does not see. What is left of the lease that it
    /// waited for, to tell it; None if its wait had ended before.
    pub fn leave(&mut self, waiter: WaiterId, why: Leaving, now_ms: i64) -> Option<u64> {
        let id = self.waiters.get(waiter)?.flight;
        let flight = self.flights.get_mut(id)?;
        self.waiters.remove(&mut flight.queue, waiter)?;
        let counter = match why {
            Leaving::Answered => &mut self.counters.waits_hit,
            Leaving::TimedOut => &mut self.counters.waits_over,
            Leaving::Gone => &mut self.counters.waits_left,
        };
        *counter += 1;
        let ms = self.left_ms(id, now_ms);
        self.tidy();
        Some(ms)
    }

    /// Time has passed: leases that have run out pass on, and waits that are over end.
    pub fn tick(&mut self, step: &mut Step<'_>) {
        while let Some(id) = self.flights.run_out(step.now_ms) {
            self.pass_on(id, End::RanOut, step);
        }
        while let Some(waiter) = self.waiters.overdue(step.now_ms) {
            let Some(client) = self.waiters.get(waiter).map(|waiter| waiter.client) else { continue };
            if let Some(ms) = self.leave(waiter, Leaving::TimedOut, step.now_ms) {
                step.wakes.push(Wake { waiter, client, outcome: Outcome::Busy { ms } });
            }
        }
        self.tidy();
    }

    /// When to call `tick` next; it may be before now.
    pub fn next_deadline(&self) -> Option<i64> {
        [self.flights.next_end(), self.waiters.next_deadline()].into_iter().flatten().min()
    }

    pub fn report(&self) -> Report {
        Report { leases: self.flights.len(), waiters: self.waiters.len(), counters: self.counters }
    }

    /// What the table takes beside itself.
    pub fn heap_bytes(&self) -> usize {
        // The map has a node for at most every five of its entries, and one at least.
        let entry = size_of::<(i32, i64)>();
        let nodes = self.voided_at.len().div_ceil(5);
        self.flights.heap_bytes() + self.waiters.heap_bytes() + nodes * (11 * entry + 16)
    }

    /// The flight of a question, if its lease has not run out or has just passed on.
    pub(super) fn current(&mut self, lease_key: &LeaseKey, step: &mut Step<'_>) -> Option<FlightId> {
        let id = self.flights.find(lease_key)?;
        if self.left_ms(id, step.now_ms) == 0 {
            self.pass_on(id, End::RanOut, step);
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

    pub(super) fn grant(&mut self, ask: &Ask<'_>, step: &mut Step<'_>) -> Leased {
        let names = Names::new(&self.names, ask.persona, ask.user);
        let lease = self.new_lease(ask.client, length(ask.lease_ms), names, step);
        let leased = leased(&lease);
        self.flights.open(&mut self.ids, ask.lease_key, lease);
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

    /// A lease has ended without an answer: the first who still waits gets a new one. Those before it whose wait
    /// is over are told so.
    pub(super) fn pass_on(&mut self, id: FlightId, end: End, step: &mut Step<'_>) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        self.counters.ended.count(end);
        let mut over = Vec::new();
        let mut next = None;
        while let Some((waiter, wait)) = self.waiters.pop(&mut flight.queue) {
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
                let Leased { token, ms } = leased(&lease);
                self.flights.renew(id, lease);
                step.wakes.push(Wake { waiter, client, outcome: Outcome::Lease { token, ms } });
            }
            None => {
                self.flights.close(id);
            }
        }
        let ms = self.left_ms(id, step.now_ms);
        for (waiter, client) in over {
            self.counters.waits_over += 1;
            step.wakes.push(Wake { waiter, client, outcome: Outcome::Busy { ms } });
        }
    }

    pub(super) fn look_again(&self, id: FlightId, step: &mut Step<'_>) {
        let Some(flight) = self.flights.get(id) else { return };
        step.wakes.extend(self.waiters.queued(flight.queue).map(|(waiter, wait)| Wake {
            waiter,
            client: wait.client,
            outcome: Outcome::LookAgain,
        }));
    }

    /// Whether the one that a client would wait for waits for it, or is it. A chain too long to follow counts as
    /// a circle. No circle can come about otherwise: who gets a lease later has waited until then, and waits no
    /// more.
    pub(super) fn closes_a_circle(&self, mut id: FlightId, client: u64) -> bool {
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

    /// To be called at the end of every event that ends something.
    pub(super) fn tidy(&mut self) {
        self.flights.tidy();
        self.waiters.tidy();
        if self.flights.len() == 0 {
            self.voided_at = BTreeMap::new();
        }
    }
}

fn leased(lease: &Lease) -> Leased {
    Leased { token: lease.token, ms: lease.left_ms(lease.granted_at_ms) }
}

/// A lease lasts a moment at least: who gets one must be able to use it.
fn length(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).max(1)
}
