//! What was dropped and waits to be reclaimed: a first-in-first-out queue of chains of groups.
//!
//! A batch is the chain that one drop cut off its persona, user or tier; the groups that came already
//! dropped form one too. A batch is never empty: when its chain runs out it is gone, so the next node to
//! reclaim is always two steps away.

use super::pool::{Id, Pool};
use super::records::Group;

pub(super) struct Batch {
    pub head: Id<Group>,
    older: Option<Id<Batch>>,
    newer: Option<Id<Batch>>,
    stamp: u32,
}

/// The answers of one drop; knows nothing once they are all reclaimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchId {
    batch: Id<Batch>,
    stamp: u32,
}

impl BatchId {
    pub(super) fn id(self) -> Id<Batch> {
        self.batch
    }
}

pub(super) struct Batches {
    pool: Pool<Batch>,
    oldest: Option<Id<Batch>>,
    newest: Option<Id<Batch>>,
    stamp: u32,
}

impl Batches {
    pub const fn new() -> Self {
        Batches { pool: Pool::new(), oldest: None, newest: None, stamp: 0 }
    }

    pub fn oldest(&self) -> Option<&Batch> {
        self.pool.get(self.oldest?)
    }

    pub fn get(&self, id: BatchId) -> Option<&Batch> {
        self.pool.get(id.batch).filter(|batch| batch.stamp == id.stamp)
    }

    /// Queues a chain.
    pub fn push(&mut self, head: Id<Group>) -> Option<BatchId> {
        self.stamp = self.stamp.wrapping_add(1);
        let stamp = self.stamp;
        let batch = self.pool.insert(Batch { head, older: self.newest, newer: None, stamp })?;
        match self.newest.and_then(|newest| self.pool.get_mut(newest)) {
            Some(newest) => newest.newer = Some(batch),
            None => self.oldest = Some(batch),
        }
        self.newest = Some(batch);
        Some(BatchId { batch, stamp })
    }

    /// The chain begins with another group now; with none, the batch is done.
    pub fn set_head(&mut self, id: Id<Batch>, head: Option<Id<Group>>) {
        if let Some(head) = head {
            if let Some(batch) = self.pool.get_mut(id) {
                batch.head = head;
            }
            return;
        }
        let Some(done) = self.pool.remove(id) else { return };
        match done.older.and_then(|older| self.pool.get_mut(older)) {
            Some(older) => older.newer = done.newer,
            None => self.oldest = done.newer,
        }
        match done.newer.and_then(|newer| self.pool.get_mut(newer)) {
            Some(newer) => newer.older = done.older,
            None => self.newest = done.older,
        }
    }

    pub fn heap_bytes(&self) -> u64 {
        self.pool.heap_bytes()
    }
}

#[cfg(any(test, fuzzing))]
impl Batches {
    /// Oldest first, having checked the queue both ways.
    pub fn all(&self) -> Vec<(Id<Batch>, &Batch)> {
        self.pool.check();
        let mut all = Vec::new();
        let mut next = self.oldest;
        while let Some(id) = next {
            let batch = self.pool.get(id).unwrap();
            assert_eq!(batch.older, all.last().map(|(id, _)| *id));
            all.push((id, batch));
            next = batch.newer;
        }
        assert_eq!(self.newest, all.last().map(|(id, _)| *id));
        assert_eq!(self.pool.len(), all.len());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_leave_the_queue_from_any_place_and_their_ids_stay_theirs() {
        let mut batches = Batches::new();
        let group = |n| Id::from_number(n).unwrap();
        let ids: Vec<_> = (1..=4).filter_map(|n| batches.push(group(n))).collect();
        let heads =
            |batches: &Batches| batches.all().iter().map(|(_, b)| b.head.number()).collect::<Vec<_>>();
        batches.set_head(ids[1].id(), None);
        assert_eq!(heads(&batches), [1, 3, 4]);
        batches.set_head(ids[3].id(), None);
        batches.set_head(ids[0].id(), Some(group(9)));
        assert_eq!(heads(&batches), [9, 3]);
        let again = batches.push(group(5)).unwrap();
        assert!(batches.get(ids[3]).is_none() && batches.get(again).is_some());
        assert_eq!(batches.oldest().map(|batch| batch.head), Some(group(9)));
        batches.set_head(ids[0].id(), None);
        assert_eq!(heads(&batches), [3, 5]);
    }
}
