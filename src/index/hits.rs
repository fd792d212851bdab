//! Counting a persona's hits and misses.

use super::database::Index;
use super::handle::Handle;
use super::idle::IdleReport;
use super::liveness::Liveness;

impl Index {
    /// Counts a hit for the entry's persona, and the milliseconds it saved.
    pub fn record_hit(&mut self, handle: Handle, saved_ms: u64) {
        if let Some(persona) = self.group_of(handle).map(|group| group.persona)
            && let Some(persona) = self.personas.get_mut(persona)
        {
            persona.data.stats.record_hit(saved_ms);
        }
    }

    /// Does the same if the entry is fresh. Returns whether it is.
    pub fn record_fresh_hit(&mut self, handle: Handle, saved_ms: u64) -> bool {
        let Some(group) = self.group_of(handle) else { return false };
        if self.group_liveness(group) != Liveness::Fresh {
            return false;
        }
        let persona = group.persona;
        if let Some(persona) = self.personas.get_mut(persona) {
            persona.data.stats.record_hit(saved_ms);
        }
        true
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
