//! Counters of the whole server since it started, and the list of all that INFO and STATS tell.
//!
//! Plain numbers on the main thread: no atomics, no look-ups. One list, `Report::fields`, feeds both INFO and
//! CHATCACHE.STATS, so that they cannot tell different things.

#![forbid(unsafe_code)]

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

    fn saved_in(&self, tier: Tier) -> u64 {
        self.saved_ms.get(tier as usize).copied().unwrap_or(0)
    }

    fn hits_in(&self, tier: Tier) -> u64 {
        self.hits.get(tier as usize).copied().unwrap_or(0)
    }
}

/// The state of all databases at one moment, and the counters.
#[derive(Clone, Copy, Default)]
pub struct Report {
    pub counters: Counters,
    pub entries: u64,
    /// Live entries by tier.
    pub entries_by_tier: [u64; 4],
    pub personas: u64,
    pub users: u64,
    /// The answers' bytes as they were given, and as they are kept.
    pub raw_bytes: u64,
    pub stored_bytes: u64,
    /// Dropped entries whose keys are still to be deleted.
    pub pending: u64,
    /// Live answers that SOFTINVALIDATE has made stale.
    pub stale: u64,
    /// Leases held, and clients that wait, now; leases that were given, and that ended without an answer.
    pub leases: u64,
    pub waiters: u64,
    pub leases_granted: u64,
    pub leases_ended: u64,
    pub tokens_refused: u64,
    /// What L1 holds, and the memory that takes.
    pub l1_entries: u64,
    pub l1_bytes: u64,
    /// Answers packed so far, those that wait to be looked at for it, and the dictionaries learnt from them.
    pub compressed: u64,
    pub waiting_to_compress: u64,
    pub dictionaries: u64,
    /// Memory of the indexes.
    pub index_bytes: u64,
}

impl Report {
    /// All fields, in the order in which they are told.
    pub fn fields(&self) -> [(&'static str, u64); 42] {
        let Report { counters, .. } = self;
        let entries = |tier: Tier| self.entries_by_tier.get(tier as usize).copied().unwrap_or(0);
        [
            ("hits", counters.hits.iter().sum()),
            ("hits-msg", counters.hits_in(Tier::Msg)),
            ("hits-persona", counters.hits_in(Tier::Persona)),
            ("hits-session", counters.hits_in(Tier::Session)),
            ("hits-response", counters.hits_in(Tier::Response)),
            ("hits-l1", counters.hits_l1),
            ("hits-l2", counters.hits.iter().sum::<u64>().saturating_sub(counters.hits_l1)),
            ("misses", counters.misses),
            ("stale-hits", counters.stale_hits),
            ("coalesced", counters.coalesced),
            ("saved-ms", counters.saved_ms.iter().sum()),
            ("saved-ms-msg", counters.saved_in(Tier::Msg)),
            ("saved-ms-persona", counters.saved_in(Tier::Persona)),
            ("saved-ms-session", counters.saved_in(Tier::Session)),
            ("saved-ms-response", counters.saved_in(Tier::Response)),
            ("leases", self.leases),
            ("leases-granted", self.leases_granted),
            ("leases-ended", self.leases_ended),
            ("tokens-refused", self.tokens_refused),
            ("waiters", self.waiters),
            ("sets", counters.sets),
            ("deleted", counters.deleted),
            ("drops", counters.drops),
            ("dropped", counters.dropped),
            ("reclaimed", counters.reclaimed),
            ("pending-reclaim", self.pending),
            ("entries", self.entries),
            ("entries-msg", entries(Tier::Msg)),
            ("entries-persona", entries(Tier::Persona)),
            ("entries-session", entries(Tier::Session)),
            ("entries-response", entries(Tier::Response)),
            ("entries-stale", self.stale),
            ("personas", self.personas),
            ("users", self.users),
            ("raw-bytes", self.raw_bytes),
            ("stored-bytes", self.stored_bytes),
            ("l1-entries", self.l1_entries),
            ("l1-bytes", self.l1_bytes),
            ("compressed", self.compressed),
            ("waiting-to-compress", self.waiting_to_compress),
            ("dictionaries", self.dictionaries),
            ("index-bytes", self.index_bytes),
        ]
    }
}
