//! Counting a persona's hits and misses.

use super::database::Index;
use super::idle::IdleReport;
use super::resolve::Resolved;

impl Index {
    /// Counts a hit for the entry's persona, and the milliseconds of model time that it saved.
    pub fn record_hit(&mut self, resolved: Resolved, saved_ms: u64) {
        if let Some(persona) = resolved.persona.and_then(|id| self.personas.get_mut(id)) {
            persona.data.stats.record_hit(saved_ms);
        }
    }

    /// Counts a miss for a persona, which may have no entry: `idle` bounds what such personas take.
    pub fn record_miss(&mut self, persona: &[u8]) {
        match self.personas.find(persona).and_then(|id| self.personas.get_mut(id)) {
            Some(record) => record.data.stats.record_miss(),
            None => self.idle.record_miss(persona),
        }
    }

    /// Forgets the statistics of all personas without entries and frees their memory.
    pub fn forget_idle(&mut self) {
        self.idle.forget();
    }

    /// Returns the memory of personas without entries.
    pub fn idle(&self) -> IdleReport {
        self.idle.report()
    }
}
