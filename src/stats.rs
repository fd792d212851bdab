//! Counters of the whole server since it started.
//!
//! They are plain numbers on the main thread, without atomics and without lookups. `report` adds the state of the moment.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use crate::tier::Tier;

/// Counts of events.
#[derive(Clone, Copy, Default)]
pub struct Counters {
    /// Fresh responses served, by tier.
    pub hits: [u64; 4],
    /// Reads that found no response.
    pub misses: u64,
    /// Responses stored.
    pub sets: u64,
    /// Responses deleted by DEL.
    pub deleted: u64,
    /// Calls of INVALIDATE, FORGET and FLUSH.
    pub drops: u64,
    /// Responses that these calls invalidated.
    pub dropped: u64,
    /// Invalidated responses whose keys have been deleted.
    pub reclaimed: u64,
    /// Stale responses served by FETCH.
    pub stale_hits: u64,
    /// Waits that ended with a response: model calls that were not made.
    pub coalesced: u64,
    /// The hits that L1 served.
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

    /// Counts a fresh response that was served.
    pub fn count_hit(&mut self, tier: Tier) {
        if let Some(hits) = self.hits.get_mut(tier as usize) {
            *hits += 1;
        }
    }

    /// Counts model time that was saved, in milliseconds.
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
