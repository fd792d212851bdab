//! Counters of the whole server since it started.
//!
//! They are plain numbers on the main thread, without atomics and without look-ups. `report` adds the state of the moment.

use crate::tier::Tier;

/// What was counted.
#[derive(Clone, Copy, Default)]
pub struct Counters {
    /// Answers given, by the tier they came from.
    pub hits: [u64; 4],
    /// Reads that found no answer.
    pub misses: u64,
    /// Answers stored.
    pub sets: u64,
    /// Answers deleted one by one, by DEL.
    pub deleted: u64,
    /// Calls of INVALIDATE, FORGET and FLUSH.
    pub drops: u64,
    /// Answers that went with them.
    pub dropped: u64,
    /// Of those, the ones whose key has been deleted since.
    pub reclaimed: u64,
    /// Stale answers given by FETCH.
    pub stale_hits: u64,
    /// Waits that ended with an answer: model calls that were not made.
    pub coalesced: u64,
    /// Of the hits, those that L1 gave.
    pub hits_l1: u64,
    /// Milliseconds of model time that hits, stale hits and shared waits saved, by tier.
    pub saved_ms: [u64; 4],
}

impl Counters {
    /// All counters at 0.
    pub const fn new() -> Self {
        Counters {
            hits: [0; 4],
            misses: 0,
            sets: 0,
            deleted: 0,
            drops: 0,
            dropped: 0,
            reclaimed: 0,
            stale_hits: 0,
            coalesced: 0,
            hits_l1: 0,
            saved_ms: [0; 4],
        }
    }

    pub fn count_hit(&mut self, tier: Tier, saved_ms: u64) {
        if let Some(hits) = self.hits.get_mut(tier as usize) {
            *hits += 1;
        }
        self.count_saved(tier, saved_ms);
    }

    pub fn count_saved(&mut self, tier: Tier, saved_ms: u64) {
        if let Some(saved) = self.saved_ms.get_mut(tier as usize) {
            *saved += saved_ms;
        }
    }

    /// Milliseconds of model time that one tier has saved.
    pub fn saved_in(&self, tier: Tier) -> u64 {
        self.saved_ms.get(tier as usize).copied().unwrap_or(0)
    }

    /// Fresh responses that one tier has served.
    pub fn hits_in(&self, tier: Tier) -> u64 {
        self.hits.get(tier as usize).copied().unwrap_or(0)
    }
}
