//! The table as plain lists, searched from end to end for every event.

use std::collections::BTreeMap;

use crate::lease::{LeaseKey, Token, WaiterId};

pub struct Lease {
    pub lease_key: LeaseKey,
    pub token: Token,
    pub holder: u64,
    pub granted: i64,
    pub ends: i64,
    pub persona: String,
    pub user: String,
}

pub struct Waiting {
    pub id: WaiterId,
    pub lease_key: LeaseKey,
    pub client: u64,
    pub deadline: i64,
    pub lease_ms: u64,
    pub persona: String,
    pub user: String,
}

/// What should come out. Tokens are whatever the table makes of them, as long as they are new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expected {
    Hit,
    Lease { ms: u64 },
    Busy { ms: u64 },
    Recheck,
}

/// The plain lists.
#[derive(Default)]
pub struct Model {
    pub leases: Vec<Lease>,
    pub waiters: Vec<Waiting>,
    pub dropped: BTreeMap<i32, i64>,
    pub wakes: Vec<(WaiterId, u64, Expected)>,
}

impl Model {
    pub fn lease(&mut self, lease_key: LeaseKey) -> Option<&mut Lease> {
        self.leases.iter_mut().find(|lease| lease.lease_key == lease_key)
    }

    pub fn left(&self, lease_key: LeaseKey, now: i64) -> u64 {
        let lease = self.leases.iter().find(|lease| lease.lease_key == lease_key);
        lease.map_or(0, |lease| (lease.ends - now).max(0) as u64)
    }

    pub fn holds(&self, lease_key: LeaseKey, token: Token, now: i64) -> Option<&Lease> {
        self.leases.iter().find(|l| l.lease_key == lease_key && l.token == token && l.ends > now)
    }

    pub fn waits(&self, client: u64) -> Option<&Waiting> {
        self.waiters.iter().find(|waiter| waiter.client == client)
    }

    /// Whether this holder, or whoever it waits for in turn, is the client.
    pub fn leads_to(&self, holder: u64, client: u64) -> bool {
        holder == client
            || self.waits(holder).is_some_and(|wait| {
                let next = self.leases.iter().find(|lease| lease.lease_key == wait.lease_key).unwrap();
                self.leads_to(next.holder, client)
            })
    }

    pub fn remove(&mut self, id: WaiterId) -> Waiting {
        let n = self.waiters.iter().position(|waiter| waiter.id == id).unwrap();
        self.waiters.remove(n)
    }

    pub fn pass_on(&mut self, lease_key: LeaseKey, now: i64) {
        self.leases.retain(|lease| lease.lease_key != lease_key);
        let queue = self.waiters.iter().filter(|waiter| waiter.lease_key == lease_key);
        let over: Vec<_> = queue.clone().take_while(|waiter| waiter.deadline <= now).map(|w| w.id).collect();
        let next = queue.map(|waiter| waiter.id).nth(over.len());
        let mut left = 0;
        if let Some(next) = next {
            let Waiting { client, lease_ms, persona, user, .. } = self.remove(next);
            left = lease_ms;
            self.wakes.push((next, client, Expected::Lease { ms: left }));
            let token = Token::from_bytes([0; 16]);
            let (granted, ends, holder) = (now, now + lease_ms as i64, client);
            self.leases.push(Lease { lease_key, token, holder, granted, ends, persona, user });
        }
        for id in over {
            let client = self.remove(id).client;
            self.wakes.push((id, client, Expected::Busy { ms: left }));
        }
    }

    pub fn end_where(&mut self, now: i64, ends: impl Fn(&Lease) -> bool) -> usize {
        let lease_keys: Vec<_> =
            self.leases.iter().filter(|l| ends(l)).map(|lease| lease.lease_key).collect();
        for lease_key in &lease_keys {
            self.pass_on(*lease_key, now);
        }
        lease_keys.len()
    }

    pub fn wake_all(&mut self, lease_key: LeaseKey, expected: Expected) {
        let woken = self.waiters.iter().filter(|waiter| waiter.lease_key == lease_key);
        self.wakes.extend(woken.map(|waiter| (waiter.id, waiter.client, expected)));
        if expected != Expected::Recheck {
            self.waiters.retain(|waiter| waiter.lease_key != lease_key);
        }
    }

    pub fn tick(&mut self, now: i64) {
        self.end_where(now, |lease| lease.ends <= now);
        while let Some(id) = self.waiters.iter().find(|waiter| waiter.deadline <= now).map(|w| w.id) {
            let Waiting { client, lease_key, .. } = self.remove(id);
            self.wakes.push((id, client, Expected::Busy { ms: self.left(lease_key, now) }));
        }
    }

    pub fn next_deadline(&self) -> Option<i64> {
        let ends = self.leases.iter().map(|lease| lease.ends);
        ends.chain(self.waiters.iter().map(|waiter| waiter.deadline)).min()
    }
}
