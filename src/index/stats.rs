//! How a persona's look-ups went, and the memory of those whose answers are all gone.

use std::hash::RandomState;
use std::sync::Arc;

use hashlink::LruCache;

use super::core::Index;
use super::names::name_bytes;

/// How many personas without an answer keep their statistics. Anybody can ask for a persona that nobody has
/// heard of, so there must be a bound.
const IDLE: usize = 4096;

/// How a persona's look-ups went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PersonaStats {
    pub hits: u64,
    pub misses: u64,
    /// The time that the hits did not wait for a model.
    pub saved_ms: u64,
}

impl PersonaStats {
    pub(super) fn record_hit(&mut self, saved_ms: u64) {
        self.hits = self.hits.saturating_add(1);
        self.saved_ms = self.saved_ms.saturating_add(saved_ms);
    }
}

/// The statistics of personas that have no record, the least recently counted forgotten first.
pub(super) struct Idle {
    stats: LruCache<Arc<[u8]>, PersonaStats, RandomState>,
}

impl Idle {
    pub fn new() -> Self {
        Idle { stats: LruCache::with_hasher(IDLE, RandomState::new()) }
    }

    pub fn get(&self, persona: &[u8]) -> Option<PersonaStats> {
        self.stats.peek(persona).copied()
    }

    /// Takes over from a record that goes; nothing counted is nothing kept.
    pub fn put(&mut self, persona: Arc<[u8]>, stats: PersonaStats) {
        if stats != PersonaStats::default() {
            self.stats.insert(persona, stats);
        }
    }

    /// Hands over to a record that comes.
    pub fn take(&mut self, persona: &[u8]) -> PersonaStats {
        self.stats.remove(persona).unwrap_or_default()
    }

    pub fn record_miss(&mut self, persona: &[u8]) {
        match self.stats.get_mut(persona) {
            Some(stats) => stats.misses = stats.misses.saturating_add(1),
            None => {
                self.stats.insert(Arc::from(persona), PersonaStats { misses: 1, ..PersonaStats::default() });
            }
        }
    }

    pub fn heap_bytes(&self) -> u64 {
        // A list node of key, value and two links, and its place in the hash table, half full.
        const NODE: usize = size_of::<(Arc<[u8]>, PersonaStats, usize, usize)>() + 2 * size_of::<usize>() + 2;
        self.stats.iter().map(|(name, _)| NODE as u64 + name_bytes(name)).sum()
    }
}

impl Index {
    /// Counts a miss for a persona, of whom there need not be any entry.
    pub fn record_miss(&mut self, persona: &[u8]) {
        match self.personas.find(persona).and_then(|id| self.personas.get_mut(id)) {
            Some(record) => {
                let stats = &mut record.more.stats;
                stats.misses = stats.misses.saturating_add(1);
            }
            None => self.idle.record_miss(persona),
        }
    }
}
