//! A table with a clock and a source of tokens, and one-letter names for the rest.

use std::collections::HashSet;

use crate::lease::{
    AppendOutcome, DraftLimits, FetchOutcome, GrantedLease, LeaseKey, LeaseRequest, LeaseTable, Step,
    StoredAs, Stream, Tie, Token, VoidScope, Wait, WaitOutcome, WaiterId, Wake,
};
use crate::tier::Tier;

pub const LEASE_MS: u64 = 1000;
pub const PACE_MS: i64 = 20;
pub const MANY: usize = 1_000_000;

pub struct Harness {
    pub table: LeaseTable,
    pub now_ms: i64,
    pub max_waiters: usize,
    tokens: u128,
}

/// The bounds of a draft in these tests.
const LIMITS: DraftLimits = DraftLimits { max_bytes: 1 << 20, pace_ms: PACE_MS };

pub fn lease_key(n: u8) -> LeaseKey {
    LeaseKey { database: 0, tier: Tier::Response, identity: [n; 32] }
}

impl Harness {
    pub fn new() -> Harness {
        Harness::with_at_most(MANY)
    }

    pub fn with_at_most(max_waiters: usize) -> Harness {
        Harness { table: LeaseTable::new(), now_ms: 5000, max_waiters, tokens: 0 }
    }

    /// One event, and what it does to waiters; nobody's wait ends twice in it.
    pub fn step<R>(&mut self, event: impl FnOnce(&mut LeaseTable, &mut Step<'_>) -> R) -> (R, Vec<Wake>) {
        let tokens = &mut self.tokens;
        let mut random = || {
            *tokens += 1;
            tokens.to_le_bytes()
        };
        let mut wakes = Vec::new();
        let mut step = Step { now_ms: self.now_ms, random: &mut random, wakes: &mut wakes };
        let result = event(&mut self.table, &mut step);
        let ended: Vec<_> = wakes.iter().filter(|wake| wake.outcome != WaitOutcome::Recheck).collect();
        assert_eq!(ended.iter().map(|wake| wake.waiter).collect::<HashSet<_>>().len(), ended.len());
        self.table.validate();
        (result, wakes)
    }

    pub fn request<'a>(
        lease_key: LeaseKey,
        persona: &'a str,
        user: &'a str,
        client: u64,
    ) -> LeaseRequest<'a> {
        let (persona, user) = (persona.as_bytes(), user.as_bytes());
        LeaseRequest {
            lease_key,
            persona,
            user,
            client,
            account: client,
            tie: Tie::Connection,
            lease_ms: LEASE_MS,
            stream: Stream::No,
            max_leases: MANY,
        }
    }

    pub fn fetch(&mut self, request: LeaseRequest<'_>, wait_ms: u64) -> (FetchOutcome, Vec<Wake>) {
        let deadline_ms = self.now_ms + wait_ms as i64;
        let wait = match wait_ms {
            0 => Wait::No,
            _ => Wait::Until { deadline_ms, max_waiters: self.max_waiters },
        };
        self.step(|table, step| table.fetch(&request, wait, step))
    }

    /// A fetch that gets the lease, by persona `p` for `ann`.
    pub fn lease(&mut self, lease_key: LeaseKey, client: u64) -> Token {
        self.lease_as(Harness::request(lease_key, "p", "ann", client))
    }

    pub fn lease_as(&mut self, request: LeaseRequest<'_>) -> Token {
        match self.fetch(request, 0) {
            (FetchOutcome::Leased(GrantedLease { token, ms }), wakes) => {
                assert_eq!((ms, wakes), (request.lease_ms, vec![]));
                token
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    /// A fetch that waits, by persona `p` for `ann`.
    pub fn wait(&mut self, lease_key: LeaseKey, client: u64, wait_ms: u64) -> WaiterId {
        self.wait_as(Harness::request(lease_key, "p", "ann", client), wait_ms)
    }

    pub fn wait_as(&mut self, request: LeaseRequest<'_>, wait_ms: u64) -> WaiterId {
        match self.fetch(request, wait_ms) {
            (FetchOutcome::Waiting(waiter), wakes) => {
                assert_eq!(wakes, vec![]);
                waiter
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    pub fn busy(&mut self, lease_key: LeaseKey, client: u64, wait_ms: u64) -> u64 {
        match self.fetch(Harness::request(lease_key, "p", "ann", client), wait_ms) {
            (FetchOutcome::Busy { ms }, _) => ms,
            (other, _) => panic!("{other:?}"),
        }
    }

    pub fn refresh(&mut self, lease_key: LeaseKey, client: u64) -> Option<GrantedLease> {
        self.step(|table, step| table.refresh(&Harness::request(lease_key, "p", "ann", client), step)).0
    }

    pub fn check(&mut self, lease_key: LeaseKey, token: Token) -> Option<u64> {
        self.table.check(&lease_key, &token, self.now_ms)
    }

    pub fn stored(&mut self, lease_key: LeaseKey) -> Vec<Wake> {
        self.stored_as(lease_key, StoredAs::Response)
    }

    /// Bytes appended by the holder; returns the draft's length.
    pub fn append(&mut self, lease_key: LeaseKey, token: Token, piece: &[u8]) -> usize {
        match self.append_within(lease_key, token, piece, LIMITS) {
            AppendOutcome::Appended(length) => length,
            other => panic!("{other:?}"),
        }
    }

    pub fn append_within(
        &mut self,
        lease_key: LeaseKey,
        token: Token,
        piece: &[u8],
        limits: DraftLimits,
    ) -> AppendOutcome {
        self.step(|table, step| table.append(&lease_key, &token, piece, limits, step)).0
    }

    /// The random bytes that the last event to ask for some was given.
    pub fn last_random(&self) -> [u8; 16] {
        self.tokens.to_le_bytes()
    }

    /// The draft of the lease is stored, and all its readers are told.
    pub fn commit(&mut self, lease_key: LeaseKey, token: Token) -> Vec<Wake> {
        let mut wakes = self.stored_as(lease_key, StoredAs::Draft(token));
        wakes.extend(self.advance(MANY));
        wakes
    }

    pub fn stored_as(&mut self, lease_key: LeaseKey, stored_as: StoredAs) -> Vec<Wake> {
        self.step(|table, step| table.stored(&lease_key, stored_as, step)).1
    }

    /// A fetch with STREAM.
    pub fn read(&mut self, lease_key: LeaseKey, client: u64, stream: Stream, wait_ms: u64) -> FetchOutcome {
        let request = LeaseRequest { stream, ..Harness::request(lease_key, "p", "ann", client) };
        self.fetch(request, wait_ms).0
    }

    pub fn release(&mut self, lease_key: LeaseKey, token: Token) -> (bool, Vec<Wake>) {
        self.step(|table, step| table.release(&lease_key, &token, step))
    }

    /// A client disconnects, and the table passes all its leases on.
    pub fn gone(&mut self, client: u64) -> Vec<Wake> {
        let ((), wakes) = self.step(|table, step| table.client_gone(client, step.now_ms));
        assert_eq!(wakes, vec![]);
        self.advance(MANY)
    }

    /// An invalidation, after which the table passes all void leases on.
    pub fn void(&mut self, what: VoidScope<'_>) -> Vec<Wake> {
        let ((), mut wakes) = self.step(|table, step| table.void(what, step));
        wakes.extend(self.advance(MANY));
        wakes
    }

    /// One slice.
    pub fn advance(&mut self, budget: usize) -> Vec<Wake> {
        self.step(|table, step| table.advance(step, budget)).1
    }

    /// Time passes, and the timer fires.
    pub fn pass(&mut self, ms: i64) -> Vec<Wake> {
        self.now_ms += ms;
        self.advance(MANY)
    }
}

/// Whose waits ended with an answer.
pub fn hits(wakes: &[Wake]) -> Vec<WaiterId> {
    let is_hit = |wake: &&Wake| wake.outcome == WaitOutcome::Hit;
    let hits: Vec<_> = wakes.iter().filter(is_hit).map(|wake| wake.waiter).collect();
    assert_eq!(hits.len(), wakes.len(), "{wakes:?}");
    hits
}

/// The one waiter that got a lease, and its token.
pub fn passed_on(wakes: &[Wake]) -> (WaiterId, Token) {
    match wakes {
        [Wake { waiter, outcome: WaitOutcome::Lease { token, ms: LEASE_MS }, .. }] => (*waiter, *token),
        other => panic!("{other:?}"),
    }
}
