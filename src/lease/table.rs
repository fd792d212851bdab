//! The table: each event of a lease or a waiter is one method. The room's head (`mod.rs`) tells the whole idea.

use std::collections::{BTreeMap, VecDeque};
use std::hash::RandomState;

use super::drafts::Drafts;
use super::flights::{Flight, Flights, Lease, Mark, Scope};
use super::ids::{FlightId, Ids, LeaseId, WaiterId, most_bytes};
use super::names::{NameHash, Names};
use super::report::{Counters, LeaseEnd, LeaseReport};
use super::types::{
    DraftNews, FetchOutcome, GrantedLease, LeaseKey, LeaseRequest, LeaveReason, Step, StoredAs, Stream, Tie,
    Token, Wait, WaitOutcome, Wake,
};
use super::voids::Voids;
use super::waiters::{Waiter, Waiters, WaitsFor};

/// The leases and waiters of one server; `mod.rs` tells the idea.
pub struct LeaseTable {
    pub(super) flights: Flights,
    pub(super) waiters: Waiters,
    pub(super) ids: Ids,
    pub(super) voids: Voids,
    pub(super) drafts: Drafts,
    /// Ended leases whose readers have yet to hear how the draft ended.
    pub(super) ended: VecDeque<LeaseId>,
    /// For each database an ID greater than those of the leases before its last invalidation; see `invalidations`.
    pub(super) invalidated: BTreeMap<i32, LeaseId>,
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
            voids: Voids::new(),
            drafts: Drafts::new(),
            ended: VecDeque::new(),
            invalidated: BTreeMap::new(),
            names: RandomState::new(),
            counters: Counters::default(),
        }
    }

    /// A caller found no response, not even a stale one: it gets the lease, hears that the lease is held, or waits.
    ///
    /// A client that holds the lease waits as any other: with a connection pool, the next FETCH on that connection is
    /// another caller's. A client has one wait at a time. REFRESH is a fetch too; its caller treats the response that
    /// is there as missing.
    pub fn fetch(&mut self, request: &LeaseRequest<'_>, wait: Wait, step: &mut Step<'_>) -> FetchOutcome {
        if let Stream::From { name, offset } = request.stream
            && let Some(news) = self.read(request, name, offset, wait, step)
        {
            return FetchOutcome::Draft(news);
        }
        let Some(id) = self.current(&request.lease_key, step) else {
            return match self.grant(request, step) {
                Some(lease) => FetchOutcome::Leased(lease),
                None => {
                    self.counters.unshared += 1;
                    FetchOutcome::Unshared
                }
            };
        };
        let waits_for = match request.stream {
            Stream::No => WaitsFor::Response,
            Stream::FromStart => {
                let lease = self.flights.get(id).map(|flight| flight.lease.id);
                if let Some(news) = lease.and_then(|lease| self.part(lease, 0)) {
                    return FetchOutcome::Draft(news);
                }
                WaitsFor::Stream
            }
            Stream::From { offset, .. } => match self.flights.get(id) {
                Some(flight) => WaitsFor::Draft(flight.lease.id, offset),
                None => return FetchOutcome::Draft(DraftNews::Lost),
            },
        };
        let busy = FetchOutcome::Busy { ms: self.left_ms(id, step.now_ms) };
        let Wait::Until { deadline_ms, max_waiters } = wait else { return busy };
        if !self.may_wait(request.client, wait, step.now_ms) {
            self.counters.turned_away += u64::from(self.waiters.len() >= max_waiters);
            return busy;
        }
        let names = Names::new(&self.names, request.persona, request.user);
        let lease_ms = length(request.lease_ms);
        let LeaseRequest { client, account, tie, .. } = *request;
        let waiter = Waiter { flight: id, waits_for, client, account, tie, deadline_ms, lease_ms, names };
        self.counters.waited += 1;
        FetchOutcome::Waiting(self.waiters.push(&mut self.ids, waiter))
    }

    pub(super) fn may_wait(&self, client: u64, wait: Wait, now_ms: i64) -> bool {
        match wait {
            Wait::No => false,
            Wait::Until { deadline_ms, max_waiters } => {
                deadline_ms > now_ms
                    && self.waiters.of_client(client).is_none()
                    && self.waiters.len() < max_waiters
            }
        }
    }

    /// A caller found a stale response and uses it. Returns the lease if it is free, so that one caller refreshes.
    /// Returns None too if `max_leases` forbids one more lease.
    pub fn refresh(&mut self, request: &LeaseRequest<'_>, step: &mut Step<'_>) -> Option<GrantedLease> {
        match self.current(&request.lease_key, step) {
            Some(_) => None,
            None => self.grant(request, step),
        }
    }

    /// Returns false if the lease is held for another persona or user: a token proves it for no others.
    pub fn is_for(&self, lease_key: &LeaseKey, persona: &[u8], user: &[u8]) -> bool {
        let flight = self.valid(lease_key);
        flight.is_none_or(|flight| flight.lease.names == Names::new(&self.names, persona, user))
    }

    /// Returns false if the lease is held for another persona.
    pub fn is_for_persona(&self, lease_key: &LeaseKey, persona: &[u8]) -> bool {
        let flight = self.valid(lease_key);
        flight.is_none_or(|flight| flight.lease.names.persona == NameHash::of(&self.names, persona))
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
    pub fn stored(&mut self, lease_key: &LeaseKey, stored_as: StoredAs, step: &mut Step<'_>) {
        let Some(id) = self.flights.find(lease_key) else { return };
        match self.flights.get(id).and_then(|flight| self.voids.voided(flight)) {
            Some(end) => self.counters.ended.count(end),
            None => self.counters.answered += 1,
        }
        self.end_draft(id, Some(stored_as), step);
        self.flights.close(id);
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

    /// A client's connection has closed: its wait ends, and its leases are void.
    pub fn client_gone(&mut self, client: u64, now_ms: i64) {
        if let Some(waiter) = self.waiters.of_client(client) {
            self.leave(waiter, LeaveReason::Gone, now_ms);
        }
        let next = self.ids.lease();
        self.void_leases(Scope::Mark(Mark::Holder(client)), next);
    }

    /// A waiter leaves the queue for a reason outside this table. Returns the milliseconds left of the lease that it
    /// waited for, or None if its wait had ended before.
    pub fn leave(&mut self, waiter: WaiterId, reason: LeaveReason, now_ms: i64) -> Option<u64> {
        let left_ms = self.end_wait(waiter, reason, now_ms);
        self.tidy();
        left_ms
    }

    fn end_wait(&mut self, waiter: WaiterId, reason: LeaveReason, now_ms: i64) -> Option<u64> {
        let Waiter { flight, .. } = self.waiters.remove(waiter)?;
        let counter = match reason {
            LeaveReason::Answered => &mut self.counters.waits_hit,
            LeaveReason::TimedOut => &mut self.counters.waits_over,
            LeaveReason::Gone => &mut self.counters.waits_left,
        };
        *counter += 1;
        Some(self.left_ms(flight, now_ms))
    }

    /// Ends waits past their deadline, and passes on leases that have run out or are void, in this order. `budget`
    /// bounds the steps taken, each of them one wait, one lease or one scope that has no void lease left.
    pub fn advance(&mut self, step: &mut Step<'_>, budget: usize) {
        for _ in 0..budget {
            if !self.advance_once(step) {
                break;
            }
        }
        self.tidy();
    }

    fn advance_once(&mut self, step: &mut Step<'_>) -> bool {
        if let Some(waiter) = self.waiters.overdue(step.now_ms) {
            let client = self.waiters.get(waiter).map(|waiter| waiter.client);
            let left = self.end_wait(waiter, LeaveReason::TimedOut, step.now_ms);
            if let (Some(client), Some(ms)) = (client, left) {
                step.wakes.push(Wake { waiter, client, outcome: WaitOutcome::Busy { ms } });
            }
            true
        } else if let Some(id) = self.flights.run_out(step.now_ms) {
            self.settle(id, step);
            true
        } else if let Some((lease, flight, length)) = self.drafts.due(step.now_ms) {
            self.wake_reader(lease, flight, length, step);
            true
        } else if let Some(lease) = self.ended.front().copied() {
            self.tell_end(lease, step);
            true
        } else if self.drafts.forget_overdue(step.now_ms) {
            true
        } else if let Some((scope, before)) = self.voids.rotate() {
            match self.flights.older(scope, before) {
                Some(id) => self.settle(id, step),
                None => self.voids.forget_last(),
            }
            true
        } else {
            false
        }
    }

    /// Returns true if `advance` has something to do at this time.
    pub fn has_backlog(&self, now_ms: i64) -> bool {
        !self.voids.is_empty()
            || !self.ended.is_empty()
            || self.next_deadline().is_some_and(|deadline_ms| deadline_ms <= now_ms)
    }

    /// Returns true if nothing is left: no lease, no waiter, no draft.
    pub fn is_empty(&self) -> bool {
        self.flights.len() == 0 && self.waiters.len() == 0 && self.drafts.is_empty() && self.ended.is_empty()
    }

    /// Returns the time of the next deadline in milliseconds of the step's clock, or None if there is none. It may be in the
    /// past.
    pub fn next_deadline(&self) -> Option<i64> {
        [
            self.flights.next_end(),
            self.waiters.next_deadline(),
            self.drafts.next_due(),
            self.drafts.next_kept_until(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The counters and the present size.
    pub fn report(&self) -> LeaseReport {
        LeaseReport {
            leases: self.flights.len(),
            waiters: self.waiters.len(),
            readers: self.waiters.readers(),
            drafts: self.drafts.len(),
            draft_bytes: self.drafts.bytes(),
            counters: self.counters,
        }
    }

    /// Bytes that the table takes beside itself; an upper bound, within a factor of two.
    pub fn heap_bytes(&self) -> usize {
        self.flights.heap_bytes()
            + self.waiters.heap_bytes()
            + self.voids.heap_bytes()
            + self.drafts.heap_bytes()
            + self.ended.capacity() * size_of::<LeaseId>()
            + most_bytes::<(i32, LeaseId)>(self.invalidated.len())
    }

    /// The flight of a lease key. A lease that is void or has run out first passes on, or its flight closes.
    pub(super) fn current(&mut self, lease_key: &LeaseKey, step: &mut Step<'_>) -> Option<FlightId> {
        let id = self.flights.find(lease_key)?;
        if self.left_ms(id, step.now_ms) == 0 {
            self.settle(id, step);
            self.tidy();
        }
        self.flights.find(lease_key)
    }

    pub(super) fn holds(&self, lease_key: &LeaseKey, token: &Token, now_ms: i64) -> Option<FlightId> {
        let id = self.flights.find(lease_key)?;
        let flight = self.flights.get(id)?;
        (flight.lease.token == *token && self.left_ms(id, now_ms) > 0).then_some(id)
    }

    /// Milliseconds left of the flight's lease; zero if it is void or has run out.
    pub(super) fn left_ms(&self, id: FlightId, now_ms: i64) -> u64 {
        let flight = self.flights.get(id).filter(|flight| self.voids.voided(flight).is_none());
        flight.map_or(0, |flight| flight.lease.left_ms(now_ms))
    }

    /// The flight of a lease key whose lease is not void; it may have run out unnoticed.
    fn valid(&self, lease_key: &LeaseKey) -> Option<&Flight> {
        let flight = self.flights.get(self.flights.find(lease_key)?)?;
        self.voids.voided(flight).is_none().then_some(flight)
    }

    /// Voids the scope's leases with IDs smaller than `before`, and forgets its committed drafts. `advance` passes the
    /// leases on.
    pub(super) fn void_before(&mut self, scope: Scope, before: LeaseId) {
        self.drafts.void(scope, before);
        self.void_leases(scope, before);
    }

    fn void_leases(&mut self, scope: Scope, before: LeaseId) {
        if self.flights.older(scope, before).is_some() {
            self.voids.note(scope, before);
        }
    }

    /// Ends a lease that is void or has run out.
    pub(super) fn settle(&mut self, id: FlightId, step: &mut Step<'_>) {
        let voided = self.flights.get(id).and_then(|flight| self.voids.voided(flight));
        self.pass_on(id, voided.unwrap_or(LeaseEnd::RanOut), step);
    }

    /// Grants a lease of a key that has none, unless the bounds forbid it.
    pub(super) fn grant(&mut self, request: &LeaseRequest<'_>, step: &mut Step<'_>) -> Option<GrantedLease> {
        if self.flights.len() >= request.max_leases
            || self.flights.held_by(request.client) >= request.max_leases_per_client()
            || self.flights.held_by_account(request.account) >= request.max_leases_per_account()
        {
            return None;
        }
        let names = Names::new(&self.names, request.persona, request.user);
        let LeaseRequest { client, account, tie, .. } = *request;
        let lease = self.new_lease((client, account), tie, length(request.lease_ms), names, step);
        let leased = leased(&lease);
        self.flights.open(&mut self.ids, request.lease_key, lease);
        Some(leased)
    }

    pub(super) fn new_lease(
        &mut self,
        (holder, account): (u64, u64),
        tie: Tie,
        length_ms: i64,
        names: Names,
        step: &mut Step<'_>,
    ) -> Lease {
        self.counters.granted += 1;
        let ends_at_ms = step.now_ms.saturating_add(length_ms);
        let token = Token::from_bytes((step.random)());
        let id = self.ids.lease();
        Lease { id, token, holder, account, tie, granted_at_ms: step.now_ms, ends_at_ms, length_ms, names }
    }

    /// A lease has ended without a response: the first waiter before its deadline gets a new lease. Waiters ahead of
    /// it, whose deadline is past, hear `Busy`.
    pub(super) fn pass_on(&mut self, id: FlightId, end: LeaseEnd, step: &mut Step<'_>) {
        self.counters.ended.count(end);
        self.end_draft(id, None, step);
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
            Some((waiter, Waiter { client, account, tie, lease_ms, names, .. })) => {
                self.counters.passed_on.count(end);
                let lease = self.new_lease((client, account), tie, lease_ms, names, step);
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

    /// Returns spare memory; called at the end of every event that ends something.
    pub(super) fn tidy(&mut self) {
        self.flights.tidy();
        self.waiters.tidy();
        self.drafts.tidy();
        if self.ended.is_empty() {
            self.ended = VecDeque::new();
        }
        if self.flights.len() == 0 {
            self.invalidated = BTreeMap::new();
            self.voids.clear();
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
