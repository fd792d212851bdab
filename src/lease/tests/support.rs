//! A table with a clock and a source of tokens, and one-letter names for the rest.

use std::collections::HashSet;

use crate::lease::{
    Ask, Fetched, LeaseTable, Leased, Outcome, Question, Token, Turn, Void, Wait, WaiterId, Wake,
};
use crate::tier::Tier;

pub const LEASE_MS: u64 = 1000;
pub const MANY: usize = 1_000_000;

pub struct Desk {
    pub table: LeaseTable,
    pub now_ms: i64,
    pub max_waiters: usize,
    tokens: u128,
}

pub fn question(n: u8) -> Question {
    Question { database: 0, tier: Tier::Response, identity: [n; 32] }
}

impl Desk {
    pub fn new() -> Desk {
        Desk::with_at_most(MANY)
    }

    pub fn with_at_most(max_waiters: usize) -> Desk {
        Desk { table: LeaseTable::new(), now_ms: 5000, max_waiters, tokens: 0 }
    }

    /// One event, and what it does to waiters; nobody's wait ends twice in it.
    pub fn turn<R>(&mut self, event: impl FnOnce(&mut LeaseTable, &mut Turn<'_>) -> R) -> (R, Vec<Wake>) {
        let tokens = &mut self.tokens;
        let mut random = || {
            *tokens += 1;
            tokens.to_le_bytes()
        };
        let mut wakes = Vec::new();
        let mut turn = Turn { now_ms: self.now_ms, random: &mut random, wakes: &mut wakes };
        let result = event(&mut self.table, &mut turn);
        let ended: Vec<_> = wakes.iter().filter(|wake| wake.outcome != Outcome::LookAgain).collect();
        assert_eq!(ended.iter().map(|wake| wake.waiter).collect::<HashSet<_>>().len(), ended.len());
        self.table.validate();
        (result, wakes)
    }

    pub fn ask<'a>(question: Question, persona: &'a str, user: &'a str, client: u64) -> Ask<'a> {
        let (persona, user) = (persona.as_bytes(), user.as_bytes());
        Ask { question, persona, user, client, lease_ms: LEASE_MS }
    }

    pub fn fetch(&mut self, ask: Ask<'_>, wait_ms: u64) -> (Fetched, Vec<Wake>) {
        let deadline_ms = self.now_ms + wait_ms as i64;
        let wait = match wait_ms {
            0 => Wait::No,
            _ => Wait::Until { deadline_ms, max_waiters: self.max_waiters },
        };
        self.turn(|table, turn| table.fetch(&ask, wait, turn))
    }

    /// A fetch that gets the lease, by persona `p` for `ann`.
    pub fn lease(&mut self, question: Question, client: u64) -> Token {
        self.lease_as(Desk::ask(question, "p", "ann", client))
    }

    pub fn lease_as(&mut self, ask: Ask<'_>) -> Token {
        match self.fetch(ask, 0) {
            (Fetched::Leased(Leased { token, ms }), wakes) => {
                assert_eq!((ms, wakes), (ask.lease_ms, vec![]));
                token
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    /// A fetch that waits, by persona `p` for `ann`.
    pub fn wait(&mut self, question: Question, client: u64, wait_ms: u64) -> WaiterId {
        self.wait_as(Desk::ask(question, "p", "ann", client), wait_ms)
    }

    pub fn wait_as(&mut self, ask: Ask<'_>, wait_ms: u64) -> WaiterId {
        match self.fetch(ask, wait_ms) {
            (Fetched::Waiting(waiter), wakes) => {
                assert_eq!(wakes, vec![]);
                waiter
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    pub fn busy(&mut self, question: Question, client: u64, wait_ms: u64) -> u64 {
        match self.fetch(Desk::ask(question, "p", "ann", client), wait_ms) {
            (Fetched::Busy { ms }, _) => ms,
            (other, _) => panic!("{other:?}"),
        }
    }

    pub fn refresh(&mut self, question: Question, client: u64) -> Option<Leased> {
        self.turn(|table, turn| table.refresh(&Desk::ask(question, "p", "ann", client), turn)).0
    }

    pub fn check(&mut self, question: Question, token: Token) -> Option<u64> {
        self.table.check(&question, &token, self.now_ms)
    }

    pub fn stored(&mut self, question: Question) -> Vec<Wake> {
        self.turn(|table, turn| table.stored(&question, turn)).1
    }

    pub fn release(&mut self, question: Question, token: Token) -> (bool, Vec<Wake>) {
        self.turn(|table, turn| table.release(&question, &token, turn))
    }

    pub fn gone(&mut self, client: u64) -> Vec<Wake> {
        self.turn(|table, turn| table.client_gone(client, turn)).1
    }

    pub fn void(&mut self, what: Void<'_>) -> (usize, Vec<Wake>) {
        self.turn(|table, turn| table.void(what, turn))
    }

    /// Time passes, and the timer fires.
    pub fn pass(&mut self, ms: i64) -> Vec<Wake> {
        self.now_ms += ms;
        self.turn(|table, turn| table.tick(turn)).1
    }
}

/// Whose waits ended with an answer.
pub fn hits(wakes: &[Wake]) -> Vec<WaiterId> {
    let is_hit = |wake: &&Wake| wake.outcome == Outcome::Hit;
    let hits: Vec<_> = wakes.iter().filter(is_hit).map(|wake| wake.waiter).collect();
    assert_eq!(hits.len(), wakes.len(), "{wakes:?}");
    hits
}

/// The one waiter that got a lease, and its token.
pub fn passed_on(wakes: &[Wake]) -> (WaiterId, Token) {
    match wakes {
        [Wake { waiter, outcome: Outcome::Lease { token, ms: LEASE_MS }, .. }] => (*waiter, *token),
        other => panic!("{other:?}"),
    }
}
