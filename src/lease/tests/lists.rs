//! The lease table as plain lists, searched from end to end for every event.

use std::collections::{BTreeMap, VecDeque};

use crate::lease::{DraftName, LeaseKey, Tie, Token, WaiterId};
use crate::tier::Tier;

pub struct Draft {
    pub name: DraftName,
    pub text: Vec<u8>,
    pub pace: i64,
    /// When readers are next to be woken, if there is anything for them.
    pub due: Option<i64>,
    /// While they are being woken: the length that they wait beyond.
    pub waking: Option<usize>,
    pub woken: Option<i64>,
}

/// A committed draft.
pub struct Kept {
    pub lease_key: LeaseKey,
    pub number: u64,
    pub name: DraftName,
    pub text: Vec<u8>,
    pub until: i64,
    pub persona: String,
    pub user: String,
}

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
    pub length: i64,
    pub persona: String,
    pub user: String,
    pub draft: Option<Draft>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    Response,
    /// The response, or the first bytes of a draft.
    Stream,
    /// Bytes of that lease's draft beyond the offset.
    Draft(u64, usize),
}

pub struct Waiting {
    pub id: WaiterId,
    pub lease_key: LeaseKey,
    /// The flight of the lease that it waits for.
    pub flight: u64,
    pub waits_for: WaitsFor,
    pub client: u64,
    pub tie: Tie,
    pub deadline: i64,
    pub lease_ms: u64,
    pub persona: String,
    pub user: String,
}

/// The expected outcome of a wait. The table chooses the tokens, as long as they are new.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expected {
    Hit,
    Lease { ms: u64 },
    Busy { ms: u64 },
    Part { name: DraftName, bytes: Vec<u8>, next: usize },
    Rest { bytes: Vec<u8> },
    Lost,
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
        match self {
            Scope::Holder(client) => *client == lease.holder && lease.tie == Tie::Connection,
            _ => self.covers_response(lease.lease_key, &lease.persona, &lease.user),
        }
    }

    fn covers_response(&self, lease_key: LeaseKey, of_persona: &str, of_user: &str) -> bool {
        let LeaseKey { database, tier, .. } = lease_key;
        match self {
            Scope::Persona(here, persona) => *here == database && persona == of_persona,
            Scope::User(here, user) => *here == database && user == of_user && !user.is_empty(),
            Scope::Tier(here, of) => *here == database && *of == tier,
            Scope::Database(here) => *here == database,
            Scope::All => true,
            Scope::Holder(_) => false,
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
    pub kept: Vec<Kept>,
    /// Ended leases whose readers have yet to hear how the draft ended.
    pub ended: VecDeque<u64>,
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

    /// Milliseconds left of the lease that a waiter waits for, or of those that it has passed on to.
    pub fn left_for(&self, id: WaiterId, now: i64) -> u64 {
        let waiter = self.waiters.iter().find(|waiter| waiter.id == id).unwrap();
        let lease = self.lease(waiter.lease_key).filter(|lease| lease.flight == waiter.flight);
        lease.map_or(0, |lease| self.left(lease.lease_key, now))
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

    /// Ends the lease of a key, with its draft if it has one. It is the response if the token is the lease's.
    pub fn end(&mut self, lease_key: LeaseKey, committed: Option<Token>, now: i64) -> Option<Lease> {
        let n = self.leases.iter().position(|lease| lease.lease_key == lease_key)?;
        let mut lease = self.leases.remove(n);
        if let Some(Draft { name, text, .. }) = lease.draft.take() {
            if committed == Some(lease.token) {
                self.kept.retain(|kept| kept.lease_key != lease_key);
                let (persona, user) = (lease.persona.clone(), lease.user.clone());
                let (number, until) = (lease.number, now + lease.length);
                self.kept.push(Kept { lease_key, number, name, text, until, persona, user });
            }
            if self.next_reader(lease.number, usize::MAX).is_some() {
                self.ended.push_back(lease.number);
            }
        }
        Some(lease)
    }

    /// A reader of the lease's draft with an offset below the length, and its offset.
    fn next_reader(&self, number: u64, length: usize) -> Option<(WaiterId, usize)> {
        let readers = self.waiters.iter().filter_map(|waiter| match waiter.waits_for {
            WaitsFor::Draft(of, offset) if of == number && offset < length => Some((offset, waiter.id)),
            _ => None,
        });
        readers.min().map(|(offset, id)| (id, offset))
    }

    /// The news at once for a reader of the draft with this name; None if it has all there is.
    pub fn read(&self, lease_key: LeaseKey, name: DraftName, offset: usize, now: i64) -> Option<Expected> {
        let kept = self.kept.iter().find(|kept| kept.name == name && kept.lease_key == lease_key);
        if let Some(bytes) = kept.and_then(|kept| kept.text.get(offset..)) {
            return Some(Expected::Rest { bytes: bytes.to_vec() });
        }
        let draft = self.lease(lease_key).and_then(|lease| lease.draft.as_ref());
        let draft = draft.filter(|draft| draft.name == name && self.left(lease_key, now) > 0);
        match draft.and_then(|draft| draft.text.get(offset..)) {
            Some([]) => None,
            Some(bytes) => Some(Expected::Part { name, bytes: bytes.to_vec(), next: offset + bytes.len() }),
            None => Some(Expected::Lost),
        }
    }

    /// Returns true if readers of the draft of a lease key are being woken.
    pub fn is_due(&self, lease_key: LeaseKey, now: i64) -> bool {
        let draft = self.lease(lease_key).and_then(|lease| lease.draft.as_ref());
        draft.and_then(|draft| draft.due).is_some_and(|due| due <= now)
    }

    /// The first bytes of the draft of a lease key.
    pub fn start(&self, lease_key: LeaseKey) -> Option<Expected> {
        let draft = self.lease(lease_key)?.draft.as_ref().filter(|draft| !draft.text.is_empty())?;
        Some(Expected::Part { name: draft.name, bytes: draft.text.clone(), next: draft.text.len() })
    }

    /// Wakes one reader of a draft that is due, or ends that draft's turn.
    fn wake_reader(&mut self, lease_key: LeaseKey, now: i64) {
        if self.left(lease_key, now) == 0 {
            return self.pass_on(lease_key, now);
        }
        let lease = self.leases.iter_mut().find(|lease| lease.lease_key == lease_key).unwrap();
        let (number, draft) = (lease.number, lease.draft.as_mut().unwrap());
        let (name, text) = (draft.name, draft.text.clone());
        let length = *draft.waking.get_or_insert(text.len());
        let is_stream =
            |waiter: &&Waiting| waiter.lease_key == lease_key && waiter.waits_for == WaitsFor::Stream;
        let stream = self.waiters.iter().find(is_stream).map(|waiter| (waiter.id, 0));
        if let Some((id, offset)) = stream.or_else(|| self.next_reader(number, length)) {
            let client = self.remove(id).client;
            let bytes = text[offset..].to_vec();
            return self.wakes.push((id, client, Expected::Part { name, bytes, next: text.len() }));
        }
        let lease = self.leases.iter_mut().find(|lease| lease.lease_key == lease_key).unwrap();
        let draft = lease.draft.as_mut().unwrap();
        (draft.waking, draft.woken) = (None, Some(now));
        draft.due = (length < text.len()).then_some(now + draft.pace);
    }

    /// Tells one reader of an ended lease how its draft ended.
    pub fn tell_end(&mut self, number: u64) {
        let Some((id, offset)) = self.next_reader(number, usize::MAX) else {
            self.ended.pop_front();
            return;
        };
        let kept = self.kept.iter().find(|kept| kept.number == number);
        let news = kept.map_or(Expected::Lost, |kept| Expected::Rest { bytes: kept.text[offset..].to_vec() });
        let client = self.remove(id).client;
        self.wakes.push((id, client, news));
    }

    pub fn pass_on(&mut self, lease_key: LeaseKey, now: i64) {
        let Some(Lease { flight, .. }) = self.end(lease_key, None, now) else { return };
        let queue = self.queue(lease_key);
        let over: Vec<_> = queue.clone().take_while(|waiter| waiter.deadline <= now).map(|w| w.id).collect();
        let next = queue.map(|waiter| waiter.id).nth(over.len());
        let mut left = 0;
        if let Some(next) = next {
            let Waiting { client, tie, lease_ms, persona, user, .. } = self.remove(next);
            left = lease_ms;
            self.wakes.push((next, client, Expected::Lease { ms: left }));
            let (token, number) = (Token::from_bytes([0; 16]), self.number());
            let (granted, ends, length, holder) = (now, now + lease_ms as i64, lease_ms as i64, client);
            self.leases.push(Lease {
                lease_key,
                token,
                holder,
                tie,
                number,
                flight,
                granted,
                ends,
                length,
                persona,
                user,
                draft: None,
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

    /// The waiters to which the lease of a key may pass, first come first.
    fn queue(&self, lease_key: LeaseKey) -> impl Iterator<Item = &Waiting> + Clone {
        let waits = move |waiter: &&Waiting| {
            waiter.lease_key == lease_key && !matches!(waiter.waits_for, WaitsFor::Draft(..))
        };
        self.waiters.iter().filter(waits)
    }

    /// Forgets the scope's committed drafts with smaller numbers.
    pub fn forget(&mut self, scope: &Scope, before: u64) {
        self.kept.retain(|kept| {
            kept.number >= before || !scope.covers_response(kept.lease_key, &kept.persona, &kept.user)
        });
    }

    /// Voids the scope's leases with smaller numbers, and forgets its committed drafts; returns false without a lease.
    pub fn void(&mut self, scope: Scope, before: u64) -> bool {
        self.forget(&scope, before);
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
        let woken: Vec<_> = self.queue(lease_key).map(|waiter| (waiter.id, waiter.client)).collect();
        for (id, client) in woken {
            if expected != Expected::Recheck {
                self.remove(id);
            }
            self.wakes.push((id, client, expected.clone()));
        }
    }

    /// One step of the table's `advance`; returns false if there is nothing to do.
    pub fn advance_once(&mut self, now: i64) -> bool {
        let overdue = self.waiters.iter().filter(|waiter| waiter.deadline <= now);
        if let Some(id) = overdue.min_by_key(|waiter| (waiter.deadline, waiter.id)).map(|waiter| waiter.id) {
            let ms = self.left_for(id, now);
            let client = self.remove(id).client;
            self.wakes.push((id, client, Expected::Busy { ms }));
            return true;
        }
        let ended = self.leases.iter().filter(|lease| lease.ends <= now);
        if let Some(lease) = ended.min_by_key(|lease| (lease.ends, lease.flight)) {
            self.pass_on(lease.lease_key, now);
            return true;
        }
        let due = self.leases.iter().filter_map(|lease| {
            let at = lease.draft.as_ref()?.due.filter(|at| *at <= now)?;
            Some((at, lease.number, lease.lease_key))
        });
        if let Some((_, _, lease_key)) = due.min() {
            self.wake_reader(lease_key, now);
            return true;
        }
        if let Some(number) = self.ended.front().copied() {
            self.tell_end(number);
            return true;
        }
        let over = self.told().filter(|kept| kept.until <= now).map(|kept| (kept.until, kept.number)).min();
        if let Some((_, number)) = over {
            self.kept.retain(|kept| kept.number != number);
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

    /// The committed drafts whose readers have all been told.
    fn told(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter().filter(|kept| !self.ended.contains(&kept.number))
    }

    pub fn next_deadline(&self) -> Option<i64> {
        let ends = self.leases.iter().map(|lease| lease.ends);
        let waits = self.waiters.iter().map(|waiter| waiter.deadline);
        let due = self.leases.iter().filter_map(|lease| lease.draft.as_ref()?.due);
        ends.chain(waits).chain(due).chain(self.told().map(|kept| kept.until)).min()
    }
}
