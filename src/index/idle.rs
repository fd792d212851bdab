//! The statistics of personas without entries.
//!
//! Any client can ask for personas that have no entry, so their number and their bytes are bounded: at most
//! 4,096 personas and 1 MiB an index, names and nodes counted. The persona whose statistics changed least
//! recently is evicted first. A persona with a name longer than 1 KiB keeps no statistics here, so a few
//! long names cannot evict all others.

use std::hash::RandomState;
use std::sync::Arc;

use hashlink::LruCache;

use super::names::name_bytes;
use super::stats::PersonaStats;

/// The most personas that keep statistics.
pub(super) const MAX_PERSONAS: usize = 4096;

/// The most bytes that their names and nodes take.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// The longest name that keeps statistics, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 1024;

/// Bytes of a list node with key, value and two links, and of its place in the hash table, half full.
const NODE_BYTES: u64 =
    (size_of::<(Arc<[u8]>, PersonaStats, usize, usize)>() + 2 * size_of::<usize>() + 2) as u64;

/// The memory of personas without entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdleReport {
    /// Personas whose statistics are kept.
    pub personas: u64,
    /// Bytes that the statistics take, with the names.
    pub bytes: u64,
    /// Statistics that were evicted or refused to keep the bounds, since the index was made.
    pub evicted: u64,
}

/// The statistics of personas without a record, in the order of their last change.
pub(super) struct Idle {
    stats: LruCache<Arc<[u8]>, PersonaStats, RandomState>,
    /// The bytes of all names.
    names: u64,
    /// The most nodes that were taken at once: the map keeps the memory of vacant nodes for the next.
    nodes: u64,
    evicted: u64,
}

impl Idle {
    pub fn new() -> Self {
        let stats = LruCache::with_hasher(MAX_PERSONAS + 1, RandomState::new());
        Idle { stats, names: 0, nodes: 0, evicted: 0 }
    }

    pub fn get(&self, persona: &[u8]) -> Option<PersonaStats> {
        self.stats.peek(persona).copied()
    }

    /// Takes over the statistics of a record that is removed, unless nothing was counted.
    pub fn put(&mut self, persona: Arc<[u8]>, stats: PersonaStats) {
        if stats == PersonaStats::default() {
            return;
        }
        if persona.len() > MAX_NAME_BYTES {
            self.evicted += 1;
            return;
        }
        let bytes = name_bytes(&persona);
        if self.stats.insert(persona, stats).is_none() {
            self.names += bytes;
        }
        self.nodes = self.nodes.max(self.stats.len() as u64);
        while self.stats.len() > MAX_PERSONAS || self.bytes() > MAX_BYTES {
            let Some((evicted, _)) = self.stats.remove_lru() else { break };
            self.names = self.names.saturating_sub(name_bytes(&evicted));
            self.evicted += 1;
        }
    }

    /// Hands over the statistics to a new record.
    pub fn take(&mut self, persona: &[u8]) -> PersonaStats {
        let Some(stats) = self.stats.remove(persona) else { return PersonaStats::default() };
        self.names = self.names.saturating_sub(name_bytes(persona));
        stats
    }

    pub fn record_miss(&mut self, persona: &[u8]) {
        match self.stats.get_mut(persona) {
            Some(stats) => stats.record_miss(),
            // A long name is not copied first.
            None if persona.len() > MAX_NAME_BYTES => self.evicted += 1,
            None => self.put(Arc::from(persona), PersonaStats { misses: 1, ..PersonaStats::default() }),
        }
    }

    /// Forgets all statistics and frees their memory.
    pub fn forget(&mut self) {
        *self = Idle { evicted: self.evicted, ..Idle::new() };
    }

    /// Bytes of all names and nodes, vacant nodes included.
    pub fn bytes(&self) -> u64 {
        self.names + self.nodes * NODE_BYTES
    }

    pub fn report(&self) -> IdleReport {
        IdleReport { personas: self.stats.len() as u64, bytes: self.bytes(), evicted: self.evicted }
    }
}

#[cfg(any(test, fuzzing))]
impl Idle {
    pub fn check(&self) {
        let names: u64 = self.stats.iter().map(|(name, _)| name_bytes(name)).sum();
        assert_eq!(names, self.names);
        assert!(self.stats.len() as u64 <= self.nodes);
        assert!(self.stats.len() <= MAX_PERSONAS && self.bytes() <= MAX_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize, bytes: usize) -> Vec<u8> {
        let mut name = format!("persona-{n:08}").into_bytes();
        name.resize(bytes.max(name.len()), b'x');
        name
    }

    #[test]
    fn idle_statistics_are_bounded_by_number_and_evict_the_least_recently_changed() {
        let mut idle = Idle::new();
        for n in 0..MAX_PERSONAS {
            idle.record_miss(&name(n, 0));
        }
        assert_eq!((idle.report().personas, idle.report().evicted), (MAX_PERSONAS as u64, 0));
        idle.record_miss(&name(0, 0));
        idle.record_miss(&name(MAX_PERSONAS, 0));
        idle.check();
        assert_eq!((idle.report().personas, idle.report().evicted), (MAX_PERSONAS as u64, 1));
        assert_eq!(idle.get(&name(0, 0)).map(|stats| stats.misses), Some(2));
        assert_eq!(idle.get(&name(1, 0)), None);
        assert!(idle.get(&name(2, 0)).is_some() && idle.get(&name(MAX_PERSONAS, 0)).is_some());
    }

    #[test]
    fn idle_statistics_are_bounded_by_bytes_after_any_names() {
        let mut idle = Idle::new();
        let mut full = 0;
        for n in 0..20_000 {
            // Many short names first, which take nodes; then long ones.
            let bytes = if n < 5000 { 20 } else { MAX_NAME_BYTES };
            idle.record_miss(&name(n, bytes));
            full = full.max(idle.report().bytes);
            if n % 500 == 0 {
                idle.check();
            }
        }
        assert!(full <= MAX_BYTES && full > MAX_BYTES - 2 * 1024, "{full}");
        let IdleReport { personas, bytes, evicted } = idle.report();
        assert_eq!((personas + evicted, bytes <= MAX_BYTES), (20_000, true));
        assert!(personas > 500 && idle.get(&name(19_999, MAX_NAME_BYTES)).is_some());
    }

    #[test]
    fn a_name_beyond_the_bound_keeps_no_idle_statistics_and_evicts_none() {
        let mut idle = Idle::new();
        idle.record_miss(&name(1, MAX_NAME_BYTES));
        let full = idle.report();
        let stats = PersonaStats { hits: 7, ..PersonaStats::default() };
        for n in 0..5000 {
            idle.record_miss(&name(n, MAX_NAME_BYTES + 1));
        }
        idle.put(name(1, 65_000).into(), stats);
        assert_eq!(idle.get(&name(1, 65_000)), None);
        assert_eq!(idle.report(), IdleReport { evicted: 5001, ..full });
        assert_eq!(idle.take(&name(1, MAX_NAME_BYTES)).misses, 1);
        idle.check();
    }

    #[test]
    fn forgotten_idle_statistics_give_their_memory_back() {
        let mut idle = Idle::new();
        (0..5000).for_each(|n| idle.record_miss(&name(n, 100)));
        let evicted = idle.report().evicted;
        idle.forget();
        assert_eq!(idle.report(), IdleReport { personas: 0, bytes: 0, evicted });
        idle.put(name(1, 0).into(), PersonaStats::default());
        assert_eq!(idle.report().personas, 0, "nothing counted is not kept");
    }
}
