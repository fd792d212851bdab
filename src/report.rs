//! The counters and the state of the whole module, for INFO and CHATCACHE.STATS.
//!
//! Both print one list, `Report::fields`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

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
        for requests in cache.request_tables() {
            report.request_table_entries += requests.len() as u64;
            report.request_table_bytes += requests.heap_bytes();
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
            report.idle_personas += index.idle().personas;
            report.idle_bytes += index.idle().bytes;
        }
    });
    report
}

/// The state of all databases at one moment, and the counters.
#[derive(Clone, Copy, Default)]
pub struct Report {
    /// Counters since the server started.
    pub counters: Counters,
    /// Live entries.
    pub entries: u64,
    /// Live entries by tier.
    pub entries_by_tier: [u64; 4],
    /// Personas with live entries.
    pub personas: u64,
    /// Users with entries, tombstones included.
    pub users: u64,
    /// The length of all responses, in bytes.
    pub raw_bytes: u64,
    /// The bytes that they take in memory, compressed or raw.
    pub stored_bytes: u64,
    /// Tombstones, whose keys are still to be deleted.
    pub pending: u64,
    /// Live entries that SOFTINVALIDATE has made stale.
    pub stale: u64,
    /// Leases held.
    pub leases: u64,
    /// Clients that wait.
    pub waiters: u64,
    /// Of the clients that wait, those that read along.
    pub readers: u64,
    /// Drafts that grow.
    pub drafts: u64,
    /// Bytes of drafts, growing or remembered after their COMMIT.
    pub draft_bytes: u64,
    /// Leases granted so far.
    pub leases_granted: u64,
    /// Leases that ended without a response.
    pub leases_ended: u64,
    /// Leases that nobody shares, because of `max-leases`.
    pub leases_unshared: u64,
    /// Responses refused since their token was void.
    pub tokens_refused: u64,
    /// Timers of the server that run for the module.
    pub timers: u64,
    /// Responses in L1.
    pub l1_entries: u64,
    /// The bytes that L1 counts for them.
    pub l1_bytes: u64,
    /// Responses in the request tables.
    pub request_table_entries: u64,
    /// The memory of the request tables, in bytes.
    pub request_table_bytes: u64,
    /// Responses compressed so far.
    pub compressed: u64,
    /// Entries in the compressor's queue.
    pub waiting_to_compress: u64,
    /// zstd dictionaries trained so far.
    pub dictionaries: u64,
    /// The memory of the indexes, in bytes.
    pub index_bytes: u64,
    /// Personas without entries that have statistics.
    pub idle_personas: u64,
    /// The bytes of these statistics, which `index_bytes` includes.
    pub idle_bytes: u64,
}

impl Report {
    /// Returns all fields, in the order of the reply.
    pub fn fields(&self) -> [(&'static str, u64); 51] {
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
            ("request-table-entries", self.request_table_entries),
            ("request-table-bytes", self.request_table_bytes),
            ("compressed", self.compressed),
            ("waiting-to-compress", self.waiting_to_compress),
            ("dictionaries", self.dictionaries),
            ("index-bytes", self.index_bytes),
            ("timers", self.timers),
            ("idle-personas", self.idle_personas),
            ("idle-bytes", self.idle_bytes),
        ]
    }
}
