//! Reports of the index: counts, personas, and heap bytes.

use std::sync::Arc;

use super::counts::Amount;
use super::database::Index;
use super::records::Persona;
use super::size::Size;
use super::stats::PersonaStats;
use crate::tier::Tier;

/// A persona's live entries and the statistics of its look-ups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PersonaReport {
    /// Live entries.
    pub entries: u64,
    /// Live entries that are stale.
    pub stale: u64,
    /// Bytes of the live entries' responses as stored.
    pub bytes: u64,
    /// Look-ups that found an entry.
    pub hits: u64,
    /// Look-ups that found none.
    pub misses: u64,
    /// Milliseconds of the model's time that hits have saved.
    pub saved_ms: u64,
}

/// The most slots that one page of personas looks at, about 6 ms.
pub(super) const MAX_SLOTS_A_PAGE: usize = 10_000;

/// The bytes of names that end a page of personas.
const MAX_NAME_BYTES_A_PAGE: usize = 1 << 20;

/// Personas with their names.
pub type PersonaList = Vec<(Arc<[u8]>, PersonaReport)>;

impl PersonaReport {
    fn new(live: Amount, stats: PersonaStats) -> Self {
        let PersonaStats { hits, misses, saved_ms } = stats;
        let Amount { entries, stale, size } = live;
        let (entries, stale) = (u64::from(entries), u64::from(stale));
        PersonaReport { entries, stale, bytes: size.stored, hits, misses, saved_ms }
    }
}

impl Index {
    /// Returns the number of all entries that the index knows: live, invalidated, and of a cluster slot that arrives.
    pub fn nodes(&self) -> u64 {
        self.nodes.len() as u64
    }

    /// Returns the number of live entries.
    pub fn entries(&self) -> u64 {
        u64::from(self.ledger.total().entries)
    }

    /// Returns the number of live entries that are stale.
    pub fn stale(&self) -> u64 {
        u64::from(self.ledger.total().stale)
    }

    /// Returns the number of live entries of a tier.
    pub fn entries_of(&self, tier: Tier) -> u64 {
        u64::from(self.ledger.tier(tier).entries)
    }

    /// Returns the size of the live entries' responses.
    pub fn size(&self) -> Size {
        self.ledger.total().size
    }

    /// Returns the size of the responses of a tier's live entries.
    pub fn size_of(&self, tier: Tier) -> Size {
        self.ledger.tier(tier).size
    }

    /// Returns the number of tombstones: invalidated entries not yet reclaimed.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Returns the number of personas with live entries.
    pub fn personas_len(&self) -> u64 {
        self.ledger.personas_len()
    }

    /// Returns the number of users with entries, tombstones included. (To leave these out, invalidating a
    /// persona would have to visit each of its users.)
    pub fn users_len(&self) -> u64 {
        self.users.len() as u64
    }

    /// Returns the number of groups, those of tombstones included.
    pub fn groups_len(&self) -> u64 {
        self.groups.len() as u64
    }

    /// Returns the report of a persona, or None if it has no live entries and no statistics.
    pub fn persona_stats(&self, persona: &[u8]) -> Option<PersonaReport> {
        let report = match self.personas.find(persona).and_then(|id| self.personas.get(id)) {
            Some(record) => self.report(record),
            None => PersonaReport::new(Amount::default(), self.idle.get(persona)?),
        };
        // A record that waits for reclaim must not show.
        (report != PersonaReport::default()).then_some(report)
    }

    /// Returns at most `count` personas with live entries that are served, and the next cursor. An iteration begins and ends
    /// with cursor 0. As with SCAN, it returns every persona that has live entries from the first call to the
    /// last, and a call may return no persona before the end. A call looks at ten slots for each of `count`,
    /// at most at `MAX_SLOTS_A_PAGE`, and ends after the name that completes `MAX_NAME_BYTES_A_PAGE`.
    pub fn personas(&self, cursor: u64, count: usize) -> (u64, PersonaList) {
        let records = self.personas.records();
        let slots = records.slots();
        let count = count.max(1);
        let start = usize::try_from(cursor).unwrap_or(usize::MAX);
        // Vacant slots may come in long runs, and one call must not visit them all.
        let end = slots.min(start.saturating_add(count.saturating_mul(10).min(MAX_SLOTS_A_PAGE)));
        let (mut found, mut name_bytes) = (Vec::new(), 0);
        for slot in start..end {
            let Some(record) = records.at(slot) else { continue };
            let report = self.report(record);
            if report.entries == 0 || self.ledger.is_arriving(&record.data.counts) {
                continue;
            }
            name_bytes += record.name.len();
            found.push((Arc::clone(&record.name), report));
            let is_full = found.len() == count || name_bytes >= MAX_NAME_BYTES_A_PAGE;
            if is_full && slot + 1 < slots {
                return ((slot + 1) as u64, found);
            }
        }
        let next = if end < slots { end as u64 } else { 0 };
        (next, found)
    }

    /// Returns the personas with live entries of a tier, or None if the search would visit more than `most` slots.
    pub fn personas_of_tier(&self, tier: Tier, most: usize) -> Option<Vec<Arc<[u8]>>> {
        let records = self.personas.records();
        let slots = records.slots();
        let has_entries = |record: &&Persona| self.ledger.count(&record.data.counts, tier).entries > 0;
        let found = || (0..slots).filter_map(|slot| records.at(slot)).filter(has_entries);
        (slots <= most).then(|| found().map(|record| Arc::clone(&record.name)).collect())
    }

    /// Returns the heap bytes of the index, without the allocator's overhead.
    pub fn heap_bytes(&self) -> u64 {
        self.nodes.heap_bytes()
            + self.own_names.heap_bytes()
            + self.own_names_bytes
            + self.groups.heap_bytes()
            + self.personas.heap_bytes()
            + self.users.heap_bytes()
            + self.stored_groups.heap_bytes()
            + self.tombstone_groups.heap_bytes()
            + self.batches.heap_bytes()
            + self.idle.bytes()
    }

    fn report(&self, persona: &Persona) -> PersonaReport {
        PersonaReport::new(self.ledger.sum(&persona.data.counts), persona.data.stats)
    }
}
