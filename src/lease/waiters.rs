//! The waiters: who is blocked on which question, in which order, and until when.
//!
//! Invariants: a waiter is in the queue of its flight and in no other; a client waits for one question at most.

use super::deadlines::Deadlines;
use super::ids::{FlightId, IdMap, Ids, Link, WaiterId, trim};
use super::names::Names;

pub(super) struct Waiter {
    pub flight: FlightId,
    pub client: u64,
    pub deadline_ms: i64,
    /// How long a lease it wants.
    pub lease_ms: i64,
    pub names: Names,
    link: Link<WaiterId>,
}

impl Waiter {
    pub fn new(flight: FlightId, client: u64, deadline_ms: i64, lease_ms: i64, names: Names) -> Waiter {
        Waiter { flight, client, deadline_ms, lease_ms, names, link: Link::default() }
    }
}

/// The waiters for one question: the first has waited longest.
#[derive(Clone, Copy, Default)]
pub(super) struct Queue {
    first: Option<WaiterId>,
    last: Option<WaiterId>,
}

pub(super) struct Waiters {
    by_id: IdMap<WaiterId, Waiter>,
    by_client: IdMap<u64, WaiterId>,
    deadlines: Deadlines<WaiterId>,
}

impl Waiters {
    pub fn new() -> Waiters {
        Waiters { by_id: IdMap::default(), by_client: IdMap::default(), deadlines: Deadlines::new() }
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn get(&self, id: WaiterId) -> Option<&Waiter> {
        self.by_id.get(&id)
    }

    pub fn of_client(&self, client: u64) -> Option<WaiterId> {
        self.by_client.get(&client).copied()
    }

    /// Queues a waiter whose client waits for nothing else.
    pub fn push(&mut self, ids: &mut Ids, queue: &mut Queue, mut waiter: Waiter) -> WaiterId {
        let id = ids.waiter();
        waiter.link.prev = queue.last.replace(id);
        match waiter.link.prev.and_then(|prev| self.by_id.get_mut(&prev)) {
            Some(prev) => prev.link.next = Some(id),
            None => queue.first = Some(id),
        }
        self.by_client.insert(waiter.client, id);
        self.deadlines.push(waiter.deadline_ms, id);
        self.by_id.insert(id, waiter);
        id
    }

    /// Takes a waiter out of its queue.
    pub fn remove(&mut self, queue: &mut Queue, id: WaiterId) -> Option<Waiter> {
        let waiter = self.by_id.remove(&id)?;
        self.by_client.remove(&waiter.client);
        let Link { prev, next } = waiter.link;
        match prev.and_then(|prev| self.by_id.get_mut(&prev)) {
            Some(prev) => prev.link.next = next,
            None => queue.first = next,
        }
        match next.and_then(|next| self.by_id.get_mut(&next)) {
            Some(next) => next.link.prev = prev,
            None => queue.last = prev,
        }
        Some(waiter)
    }

    /// Takes out the one who has waited longest.
    pub fn pop(&mut self, queue: &mut Queue) -> Option<(WaiterId, Waiter)> {
        let id = queue.first?;
        self.remove(queue, id).map(|waiter| (id, waiter))
    }

    /// A queue from its first to its last.
    pub fn queued(&self, queue: Queue) -> impl Iterator<Item = (WaiterId, &Waiter)> {
        std::iter::successors(self.entry(queue.first), |(_, waiter)| self.entry(waiter.link.next))
    }

    /// One whose deadline has come, as often as there is one: it is for the caller to remove.
    pub fn overdue(&mut self, now_ms: i64) -> Option<WaiterId> {
        loop {
            let (_, id) = self.deadlines.pop_due(now_ms)?;
            if self.by_id.contains_key(&id) {
                return Some(id);
            }
        }
    }

    pub fn next_deadline(&self) -> Option<i64> {
        self.deadlines.next()
    }

    pub fn tidy(&mut self) {
        self.deadlines.tidy(self.by_id.len(), |_, id| self.by_id.contains_key(&id));
        trim(&mut self.by_id);
        trim(&mut self.by_client);
    }

    pub fn heap_bytes(&self) -> usize {
        self.by_id.allocation_size() + self.by_client.allocation_size() + self.deadlines.heap_bytes()
    }

    fn entry(&self, id: Option<WaiterId>) -> Option<(WaiterId, &Waiter)> {
        let id = id?;
        self.by_id.get(&id).map(|waiter| (id, waiter))
    }
}

#[cfg(any(test, fuzzing))]
impl Waiters {
    pub fn validate(&self) {
        assert_eq!(self.by_client.len(), self.by_id.len());
        for (client, id) in &self.by_client {
            assert_eq!(self.get(*id).unwrap().client, *client);
        }
        let first = self.by_id.values().map(|waiter| waiter.deadline_ms).min();
        assert_eq!(self.next_deadline(), first);
    }
}
