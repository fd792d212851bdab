//! The lease table as plain lists, searched from end to end for every event.

use std::collections::{BTreeMap, VecDeque};

use crate::lease::{LeaseKey, Tie, Token, WaiterId};
use crate::tier::Tier;

pub struct Lease {
    pub lease_key: LeaseKey,
    pub token: Token,
    pub holder: u64,
    pub tie: Tie,
    /// The place of the lease in the order of grants and voids.
    pub number: u64,
    /// The same of the first lease in the row of those that passed on.
    pub flight: u64,
    pub granted: i64,
    pub ends: i64,
    pub persona: String,
    pub user: String,
}

pub struct Waiting {
    pub id: WaiterId,
    pub lease_key: LeaseKey,
    pub client: u64,
    pub tie: Tie,
    pub deadline: i64,
    pub lease_ms: u64,
    pub persona: String,
    pub user: String,
}

/// The expected outcome of a wait. The table chooses the tokens, as long as they are new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expected {
    Hit,
    Lease { ms: u64 },
    Busy { ms: u64 },
    Recheck,
}

/// The leases that one event voids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    Persona(i32, String),
    User(i32, String),
    Tier(i32, Tier),
    Database(i32),
    All,
    Holder(u64),
}

impl Scope {
    fn covers(&self, lease: &Lease) -> bool {
        let LeaseKey { database, tier, .. } = lease.lease_key;
        match self {
            Scope::Persona(here, persona) => *here == database && *persona == lease.persona,
            Scope::User(here, user) => *here == database && *user == lease.user && !user.is_empty(),
            Scope::Tier(here, of) => *here == database && *of == tier,
            Scope::Database(here) => *here == database,
            Scope::All => true,
            Scope::Holder(client) => *client == lease.holder && lease.tie == Tie::Connection,
        }
    }

    /// The order in which the void leases of the scope pass on.
    fn order(&self, lease: &Lease) -> (i32, Tier, u64) {
        match self {
            Scope::Database(_) | Scope::All => (lease.lease_key.database, lease.lease_key.tier, lease.number),
            _ => (0, Tier::Msg, lease.number),
        }
    }
}

/// The plain lists.
#[derive(Default)]
pub struct Model {
    pub numbers: u64,
    pub leases: Vec<Lease>,
    pub waiters: Vec<Waiting>,
    /// Scopes that may have void leases, which are those with smaller numbers.
    pub voids: VecDeque<(Scope, u64)>,
    pub invalidated: BTreeMap<i32, u64>,
    pub wakes: Vec<(WaiterId, u64, Expected)>,
}

impl Model {
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn is_void(&self, lease: &Lease) -> bool {
        self.voids.iter().any(|(scope, before)| scope.covers(lease) && lease.number < *before)
    }

    pub fn lease(&self, lease_key: LeaseKey) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.lease_key == lease_key)
    }

    pub fn left(&self, lease_key: LeaseKey, now: i64) -> u64 {
        let lease = self.lease(lease_key).filter(|lease| !self.is_void(lease));
        lease.map_or(0, |lease| (lease.ends - now).max(0) as u64)
    }

    pub fn holds(&self, lease_key: LeaseKey, token: Token, now: i64) -> Option<&Lease> {
        self.lease(lease_key).filter(|lease| lease.token == token && self.left(lease_key, now) > 0)
    }

    pub fn waits(&self, client: u64) -> Option<&Waiting> {
        self.waiters.iter().find(|waiter| waiter.client == client)
    }

    pub fn remove(&mut self, id: WaiterId) -> Waiting {
        let n = self.waiters.iter().position(|waiter| waiter.id == id).unwrap();
        self.waiters.remove(n)
    }

    pub fn pass_on(&mut self, lease_key: LeaseKey, now: i64) {
        let Some(n) = self.leases.iter().position(|lease| lease.lease_key == lease_key) else { return };
        let Lease { flight, .. } = self.leases.remove(n);
        let queue = self.waiters.iter().filter(|waiter| waiter.lease_key == lease_key);
        let over: Vec<_> = queue.clone().take_while(|waiter| waiter.deadline <= now).map(|w| w.id).collect();
        let next = queue.map(|waiter| waiter.id).nth(over.len());
        let mut left = 0;
        if let Some(next) = next {
            let Waiting { client, tie, lease_ms, persona, user, .. } = self.remove(next);
            left = lease_ms;
            self.wakes.push((next, client, Expected::Lease { ms: left }));
            let (token, number) = (Token::from_bytes([0; 16]), self.number());
            let (granted, ends, holder) = (now, now + lease_ms as i64, client);
            self.leases.push(Lease {
                lease_key,
                token,
                holder,
                tie,
                number,
                flight,
                granted,
                ends,
                persona,
                user,
            });
        }
        for id in over {
            let client = self.remove(id).client;
            self.wakes.push((id, client, Expected::Busy { ms: left }));
        }
        self.tidy();
    }

    /// Without leases there is nothing to void.
    pub fn tidy(&mut self) {
        if self.leases.is_empty() {
            self.invalidated.clear();
            self.voids.clear();
        }
    }

    /// Voids the scope's leases with smaller numbers; returns false if there are none.
    pub fn void(&mut self, scope: Scope, before: u64) -> bool {
        if !self.leases.iter().any(|lease| scope.covers(lease) && lease.number < before) {
            return false;
        }
        match self.voids.iter_mut().find(|(noted, _)| *noted == scope) {
            Some((_, noted)) => *noted = before.max(*noted),
            None => self.voids.push_back((scope, before)),
        }
        true
    }

    pub fn wake_all(&mut self, lease_key: LeaseKey, expected: Expected) {
        let woken = self.waiters.iter().filter(|waiter| waiter.lease_key == lease_key);
        self.wakes.extend(woken.map(|waiter| (waiter.id, waiter.client, expected)));
        if expected != Expected::Recheck {
            self.waiters.retain(|waiter| waiter.lease_key != lease_key);
        }
    }

    /// One step of the table's `advance`; returns false if there is nothing to do.
    pub fn advance_once(&mut self, now: i64) -> bool {
        let overdue = self.waiters.iter().filter(|waiter| waiter.deadline <= now);
        if let Some(id) = overdue.min_by_key(|waiter| (waiter.deadline, waiter.id)).map(|waiter| waiter.id) {
            let Waiting { client, lease_key, .. } = self.remove(id);
            self.wakes.push((id, client, Expected::Busy { ms: self.left(lease_key, now) }));
            return true;
        }
        let ended = self.leases.iter().filter(|lease| lease.ends <= now);
        if let Some(lease) = ended.min_by_key(|lease| (lease.ends, lease.flight)) {
            self.pass_on(lease.lease_key, now);
            return true;
        }
        let Some((scope, before)) = self.voids.pop_front() else { return false };
        let void = self.leases.iter().filter(|lease| scope.covers(lease) && lease.number < before);
        if let Some(lease) = void.min_by_key(|lease| scope.order(lease)) {
            let lease_key = lease.lease_key;
            self.voids.push_back((scope, before));
            self.pass_on(lease_key, now);
        }
        true
    }

    pub fn next_deadline(&self) -> Option<i64> {
        let ends = self.leases.iter().map(|lease| lease.ends);
        ends.chain(self.waiters.iter().map(|waiter| waiter.deadline)).min()
    }
}
