//! Tombstones: a first-in-first-out queue of chains of groups to reclaim.
//!
//! A batch is the chain that an invalidation cut off its persona, user or tier. Groups whose entries arrived
//! as tombstones form a batch too. A batch is never empty: it is removed with the last group of its chain,
//! so the next node to reclaim is always two steps away.

use super::pool::{Id, Pool};
use super::records::{Batch, BatchId, Group};

/// The queue of batches, oldest first.
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

    /// Queues a chain and returns its batch.
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

    /// Gives the batch another head; without one, removes the batch.
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
    /// Returns all batches, oldest first, and checks the links of the queue.
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
    fn a_batch_leaves_the_queue_from_any_place_and_its_id_is_not_given_again() {
        let mut batches = Batches::new();
        let group = |n| Id::from_number(n).unwrap();
        let ids: Vec<_> = (1..=4).filter_map(|n| batches.push(group(n))).collect();
        let heads =
            |batches: &Batches| batches.all().iter().map(|(_, b)| b.head.number()).collect::<Vec<_>>();
        batches.set_head(ids[1].batch, None);
        assert_eq!(heads(&batches), [1, 3, 4]);
        batches.set_head(ids[3].batch, None);
        batches.set_head(ids[0].batch, Some(group(9)));
        assert_eq!(heads(&batches), [9, 3]);
        let again = batches.push(group(5)).unwrap();
        assert!(batches.get(ids[3]).is_none() && batches.get(again).is_some());
        assert_eq!(batches.oldest().map(|batch| batch.head), Some(group(9)));
        batches.set_head(ids[0].batch, None);
        assert_eq!(heads(&batches), [3, 5]);
    }
}
