//! The statistics of a persona's look-ups.

/// The statistics of a persona's look-ups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PersonaStats {
    /// Look-ups that found an entry.
    pub hits: u64,
    /// Look-ups that found none.
    pub misses: u64,
    /// Milliseconds of the model's time that hits have saved.
    pub saved_ms: u64,
}

impl PersonaStats {
    pub(super) fn record_hit(&mut self, saved_ms: u64) {
        self.hits = self.hits.saturating_add(1);
        self.saved_ms = self.saved_ms.saturating_add(saved_ms);
    }

    pub(super) fn record_miss(&mut self) {
        self.misses = self.misses.saturating_add(1);
    }
}
