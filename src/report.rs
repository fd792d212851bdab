//! The counters and the state of the whole module, as INFO and CHATCACHE.STATS tell them.
//!
//! One list, `Report::fields`, feeds both, so that they cannot differ.

use crate::cache::{CACHE, compressor};
use crate::entry::compression;
use crate::flight;
use crate::redis::timers_running;
use crate::stats::Counters;
use crate::tier::Tier;

/// Returns the state of the whole module at this moment.
pub fn report() -> Report {
    let (flight, compressor) = (flight::report(), compressor::report());
    let mut report = Report {
        leases: flight.leases as u64,
        waiters: flight.waiters as u64,
        readers: flight.readers as u64,
        drafts: flight.drafts as u64,
        draft_bytes: flight.draft_bytes as u64,
        leases_granted: flight.counters.granted,
        leases_ended: flight.counters.ended.total(),
        leases_unshared: flight.counters.unshared,
        tokens_refused: flight.counters.refused,
        timers: timers_running(),
        compressed: compressor.compressed,
        waiting_to_compress: compressor.waiting,
        dictionaries: compression::dictionaries(),
        ..Report::default()
    };
    CACHE.with(|cache| {
        report.counters = cache.counters;
        if let Some(l1) = cache.l1() {
            report.l1_entries = l1.len() as u64;
            report.l1_bytes = l1.bytes();
        }
        for index in cache.indexes() {
            report.entries += index.entries();
            for (sum, tier) in report.entries_by_tier.iter_mut().zip(Tier::ALL) {
                *sum += index.entries_of(tier);
            }
            report.personas += index.personas_len();
            report.users += index.users_len();
            report.raw_bytes += index.size().raw;
            report.stored_bytes += index.size().stored;
            report.pending += index.pending();
            report.stale += index.stale();
            report.index_bytes += index.heap_bytes();
        }
    });
    report
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
    /// Of the clients that wait, those that read along.
    pub readers: u64,
    /// Drafts that grow.
    pub drafts: u64,
    /// Bytes of drafts, growing or remembered after their COMMIT.
    pub draft_bytes: u64,
    pub leases_granted: u64,
    pub leases_ended: u64,
    /// Leases that nobody shares, because of `max-leases`.
    pub leases_unshared: u64,
    pub tokens_refused: u64,
    /// Timers of the server that run for the module.
    pub timers: u64,
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
    pub fn fields(&self) -> [(&'static str, u64); 47] {
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
            ("leases-unshared", self.leases_unshared),
            ("tokens-refused", self.tokens_refused),
            ("waiters", self.waiters),
            ("readers", self.readers),
            ("drafts", self.drafts),
            ("draft-bytes", self.draft_bytes),
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
            ("timers", self.timers),
        ]
    }
}
