//! What the index can tell: counts, the personas, and the memory it takes.

use std::sync::Arc;

use super::core::{Index, Size};
use super::counts::Amount;
use super::records::Persona;
use super::stats::PersonaStats;
use crate::tier::Tier;

/// One persona's live answers, and how its look-ups went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PersonaReport {
    pub entries: u64,
    /// How many of the entries are softly stale.
    pub stale: u64,
    /// What they take as they are stored.
    pub bytes: u64,
    pub hits: u64,
    pub misses: u64,
    pub saved_ms: u64,
}

/// Personas by name.
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
    /// Live answers.
    pub fn entries(&self) -> u64 {
        u64::from(self.ledger.total().entries)
    }

    /// Live answers that are softly stale.
    pub fn stale(&self) -> u64 {
        u64::from(self.ledger.total().stale)
    }

    /// Live answers of a tier.
    pub fn entries_of(&self, tier: Tier) -> u64 {
        u64::from(self.ledger.tier(tier).entries)
    }

    /// The size of the live answers.
    pub fn size(&self) -> Size {
        self.ledger.total().size
    }

    /// The size of the live answers of a tier.
    pub fn size_of(&self, tier: Tier) -> Size {
        self.ledger.tier(tier).size
    }

    /// Dropped answers that are not reclaimed yet.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Personas with live answers.
    pub fn personas_len(&self) -> u64 {
        self.ledger.personas_len()
    }

    /// Users with answers, live or not yet reclaimed. (Those with live ones only could not be told without
    /// visiting every user of a persona that is dropped.)
    pub fn users_len(&self) -> u64 {
        self.users.len() as u64
    }

    /// Groups, live or not yet reclaimed.
    pub fn groups_len(&self) -> u64 {
        self.groups.len() as u64
    }

    /// What is known of a persona; None if it has no live answers and nothing was ever counted.
    pub fn persona_stats(&self, persona: &[u8]) -> Option<PersonaReport> {
        let report = match self.personas.find(persona).and_then(|id| self.personas.get(id)) {
            Some(record) => self.report(record),
            None => PersonaReport::new(Amount::default(), self.idle.get(persona)?),
        };
        // How far reclaim has come must not show.
        (report != PersonaReport::default()).then_some(report)
    }

    /// Some personas with live answers, and the cursor to go on with: begin with 0, and 0 ends. As SCAN
    /// does, it looks at about `count` of them at a time, brings every persona that has answers from the
    /// first call to the last, and may bring nobody and yet go on.
    pub fn personas(&self, cursor: u64, count: usize) -> (u64, PersonaList) {
        let records = self.personas.records();
        let slots = records.slots();
        let count = count.max(1);
        let start = usize::try_from(cursor).unwrap_or(usize::MAX);
        // Slots may be vacant, in long runs: a call must not walk them all.
        let end = slots.min(start.saturating_add(count.saturating_mul(10)));
        let mut found = Vec::new();
        for slot in start..end {
            let Some(record) = records.at(slot) else { continue };
            let report = self.report(record);
            if report.entries == 0 {
                continue;
            }
            found.push((Arc::clone(&record.name), report));
            if found.len() == count && slot + 1 < slots {
                return ((slot + 1) as u64, found);
            }
        }
        let next = if end < slots { end as u64 } else { 0 };
        (next, found)
    }

    /// The personas with live answers of a tier; None where looking for them might take longer than at `most` personas.
    pub fn personas_of_tier(&self, tier: Tier, most: usize) -> Option<Vec<Arc<[u8]>>> {
        let records = self.personas.records();
        let slots = records.slots();
        let has_answers = |record: &&Persona| self.ledger.count(&record.more.counts, tier).entries > 0;
        let found = || (0..slots).filter_map(|slot| records.at(slot)).filter(has_answers);
        (slots <= most).then(|| found().map(|record| Arc::clone(&record.name)).collect())
    }

    /// All memory held, but for the `Index` itself and what the allocator adds.
    pub fn heap_bytes(&self) -> u64 {
        self.nodes.heap_bytes()
            + self.own_names.heap_bytes()
            + self.own_names_bytes
            + self.groups.heap_bytes()
            + self.personas.heap_bytes()
            + self.users.heap_bytes()
            + self.by_key.heap_bytes()
            + self.tombstone_groups.heap_bytes()
            + self.batches.heap_bytes()
            + self.idle.heap_bytes()
    }

    fn report(&self, persona: &Persona) -> PersonaReport {
        PersonaReport::new(self.ledger.sum(&persona.more.counts), persona.more.stats)
    }
}
