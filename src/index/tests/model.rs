//! Random operations on the index and on a plain list, which must agree.

use std::collections::HashMap;

use rand::RngExt;

use crate::fuzzing::Dice;
use crate::index::{
    BatchId, Handle, Index, Invalidated, Liveness, Name, PersonaReport, PersonaStats, Size, State,
};
use crate::tier::Tier;

/// The width and length of a run.
#[derive(Clone, Copy)]
struct Plan {
    personas: u32,
    users: u32,
    steps: u32,
    /// The number of invalidations in 100 steps.
    invalidations: u32,
}

#[derive(Clone)]
struct Entry {
    handle: Handle,
    tier: Tier,
    persona: Vec<u8>,
    user: Vec<u8>,
    name: Result<[u8; 16], Vec<u8>>,
    size: Size,
    state: State,
    /// Always false for a tombstone.
    stale: bool,
}

struct Run<'a> {
    rng: Dice<'a>,
    plan: Plan,
    index: Index,
    entries: Vec<Entry>,
    gone: Vec<Handle>,
    batches: Vec<(BatchId, Vec<Handle>)>,
    stats: HashMap<Vec<u8>, PersonaStats>,
}

#[cfg(test)]
#[test]
fn the_index_agrees_with_a_plain_list_after_any_operations() {
    let seed = std::env::var("CHATCACHE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("CHATCACHE_SEED={seed}");
    let plans = [
        Plan { personas: 2, users: 1, steps: 3000, invalidations: 10 },
        Plan { personas: 4, users: 4, steps: 6000, invalidations: 6 },
        Plan { personas: 30, users: 30, steps: 6000, invalidations: 2 },
        Plan { personas: 300, users: 1500, steps: 6000, invalidations: 1 },
    ];
    for (n, plan) in plans.into_iter().enumerate() {
        Run::new(Dice::seeded(seed.wrapping_add(n as u64)), plan).go();
    }
}

/// Runs the operations that these bytes encode.
pub(crate) fn follow(bytes: &[u8]) {
    let mut dice = Dice::Bytes(bytes);
    let few = Plan { personas: 2, users: 1, steps: 4000, invalidations: 20 };
    let many = Plan { personas: 40, users: 20, steps: 4000, invalidations: 10 };
    let plan = if dice.random::<bool>() { few } else { many };
    Run::new(dice, plan).go();
}

impl Run<'_> {
    fn new(mut rng: Dice<'_>, plan: Plan) -> Run<'_> {
        // The generations wrap around early in the run.
        let index = Index::of_generation(rng.random_range(0..50_u32).wrapping_neg());
        Run {
            rng,
            plan,
            index,
            entries: Vec::new(),
            gone: Vec::new(),
            batches: Vec::new(),
            stats: HashMap::new(),
        }
    }

    fn go(&mut self) {
        for step in 0..self.plan.steps {
            if self.rng.is_over() {
                break;
            }
            self.step();
            assert_eq!(self.index.entries(), self.live(|_| true).0, "step {step}");
            let stale = self.entries.iter().filter(|entry| entry.stale).count();
            assert_eq!(self.index.stale(), stale as u64, "step {step}");
            assert_eq!(self.index.pending(), self.entries.len() as u64 - self.index.entries());
            if step % 40 == 0 || self.plan.personas < 5 && step % 4 == 0 {
                self.compare();
            }
        }
        self.compare();
        // Invalidations and reclaim remove about half of the entries, unlinking removes the rest.
        self.invalidate_tier(Tier::Msg);
        self.invalidate_tier(Tier::Response);
        self.reclaim(usize::MAX, None);
        assert_eq!(self.index.pending(), 0);
        self.compare();
        while !self.entries.is_empty() {
            self.unlink();
        }
        self.index.check_empty();
        self.compare();
    }

    fn step(&mut self) {
        if self.rng.random_range(0..100) < self.plan.invalidations {
            match self.rng.random_range(0..15) {
                0..4 => self.invalidate_persona(),
                4..8 => self.invalidate_user(),
                8..13 => self.soft_invalidate_persona(),
                _ => {
                    let tier = self.tier();
                    self.invalidate_tier(tier);
                }
            }
            return;
        }
        match self.rng.random_range(0..100) {
            0..45 => self.link(State::Live),
            45..50 => self.link(State::Tombstone),
            50..70 => self.unlink(),
            70..75 => self.resize(),
            75..80 => self.relink(),
            80..84 => self.hit(),
            84..88 => self.miss(),
            88..90 => {
                let batch = self.pick_batch();
                self.reclaim(100, batch);
            }
            90..93 => {
                let batch = self.pick_batch();
                self.reclaim(3, batch);
            }
            _ => {
                let nodes = self.rng.random_range(1..10);
                self.reclaim(nodes, None);
            }
        }
    }

    fn size(&mut self) -> Size {
        Size { raw: self.rng.random_range(0..5000), stored: self.rng.random_range(0..5000) }
    }

    fn tier(&mut self) -> Tier {
        Tier::ALL[self.rng.random_range(0..4)]
    }

    fn persona(&mut self) -> Vec<u8> {
        format!("p{}", self.rng.random_range(0..self.plan.personas)).into_bytes()
    }

    /// Returns the empty user in one case of three.
    fn user(&mut self) -> Vec<u8> {
        if self.rng.random_range(0..3) == 0 {
            return Vec::new();
        }
        format!("u{}", self.rng.random_range(0..self.plan.users)).into_bytes()
    }

    fn pick(&mut self) -> Option<usize> {
        (!self.entries.is_empty()).then(|| self.rng.random_range(0..self.entries.len()))
    }

    fn pick_batch(&mut self) -> Option<BatchId> {
        if self.batches.is_empty() {
            return None;
        }
        let n = self.rng.random_range(0..self.batches.len());
        Some(self.batches[n].0)
    }

    fn link(&mut self, state: State) {
        let (tier, persona, user) = (self.tier(), self.persona(), self.user());
        let digest = u128::from(self.rng.random::<u64>()).to_le_bytes();
        let name = match self.rng.random_range(0..3) {
            0 => Err(digest.repeat(self.rng.random_range(0..3))),
            _ => Ok(digest),
        };
        let given = match &name {
            Ok(digest) => Name::Canonical(*digest),
            Err(name) => Name::Own(name),
        };
        let size = self.size();
        let handle = match state {
            State::Live => self.index.link(tier, &persona, &user, given, size),
            State::Tombstone => self.index.link_tombstone(tier, &persona, &user, given),
        };
        self.entries.push(Entry { handle, tier, persona, user, name, size, state, stale: false });
    }

    /// Replaces an entry by one with the same parts, or with one other part.
    fn relink(&mut self) {
        let Some(n) = self.pick() else { return };
        let old = self.entries[n].clone();
        let (mut tier, mut persona, mut user, mut name) =
            (old.tier, old.persona.clone(), old.user.clone(), old.name.clone());
        match self.rng.random_range(0..8) {
            0 => tier = self.tier(),
            1 => persona = self.persona(),
            2 => user = self.user(),
            3 => name = Ok(u128::from(self.rng.random::<u64>()).to_le_bytes()),
            4 => name = Err(b"another".to_vec()),
            _ => {}
        }
        let given = match &name {
            Ok(digest) => Name::Canonical(*digest),
            Err(name) => Name::Own(name),
        };
        let size = self.size();
        let handle = self.index.relink((old.handle, old.size), tier, &persona, &user, given, size);
        assert!(!self.index.contains(old.handle));
        self.gone.push(old.handle);
        let (state, stale) = (State::Live, false);
        self.entries[n] = Entry { handle, tier, persona, user, name, size, state, stale };
    }

    fn unlink(&mut self) {
        if let Some(n) = self.pick() {
            self.unlink_at(n);
        }
    }

    fn unlink_at(&mut self, n: usize) {
        let entry = self.entries.swap_remove(n);
        let origin = self.index.unlink(entry.handle, entry.size).expect("the entry is known");
        assert_eq!((origin.tier, origin.state), (entry.tier, entry.state));
        assert_eq!((&*origin.persona, &*origin.user), (&*entry.persona, &*entry.user));
        assert_eq!(self.index.unlink(entry.handle, entry.size), None);
        self.gone.push(entry.handle);
    }

    fn resize(&mut self) {
        let Some(n) = self.pick() else { return };
        let new = self.size();
        let entry = &mut self.entries[n];
        self.index.resize(entry.handle, entry.size, new);
        entry.size = new;
    }

    fn hit(&mut self) {
        let Some(n) = self.pick() else { return };
        let saved = self.rng.random_range(0..1000);
        let resolved = self.index.resolve(self.entries[n].handle);
        self.index.record_hit(resolved, saved);
        let stats = self.stats.entry(self.entries[n].persona.clone()).or_default();
        stats.hits += 1;
        stats.saved_ms += saved;
    }

    fn miss(&mut self) {
        let persona = self.persona();
        self.index.record_miss(&persona);
        self.stats.entry(persona).or_default().misses += 1;
    }

    fn invalidate_persona(&mut self) {
        let persona = self.persona();
        let invalidated = self.index.invalidate_persona(&persona);
        self.expect_invalidated(invalidated, |entry| entry.persona == persona);
    }

    fn soft_invalidate_persona(&mut self) {
        let persona = self.persona();
        let of_it = |entry: &Entry| entry.state == State::Live && entry.persona == persona;
        let mut fresh = 0;
        for entry in self.entries.iter_mut().filter(|entry| of_it(entry) && !entry.stale) {
            entry.stale = true;
            fresh += 1;
        }
        assert_eq!(self.index.soft_invalidate_persona(&persona), fresh);
        assert_eq!(self.index.soft_invalidate_persona(&persona), 0);
    }

    fn invalidate_user(&mut self) {
        let user = self.user();
        let mut personas = self.personas_of(&user);
        let mut told = self.index.personas_of_user(&user);
        personas.sort();
        told.sort();
        assert!(told.iter().map(|persona| &**persona).eq(personas.iter().map(|persona| &**persona)));
        let invalidated = self.index.invalidate_user(&user);
        self.expect_invalidated(invalidated, |entry| !user.is_empty() && entry.user == user);
        assert!(self.index.personas_of_user(&user).is_empty());
    }

    fn invalidate_tier(&mut self, tier: Tier) {
        let invalidated = self.index.invalidate_tier(tier);
        self.expect_invalidated(invalidated, |entry| entry.tier == tier);
    }

    fn expect_invalidated(&mut self, invalidated: Invalidated, hit: impl Fn(&Entry) -> bool) {
        let mut handles = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.state == State::Live && hit(entry)) {
            entry.state = State::Tombstone;
            entry.stale = false;
            handles.push(entry.handle);
        }
        assert_eq!(invalidated.responses, handles.len() as u64);
        assert_eq!(invalidated.batch.is_some(), !handles.is_empty());
        self.batches.extend(invalidated.batch.map(|batch| (batch, handles)));
    }

    fn reclaim(&mut self, nodes: usize, batch: Option<BatchId>) {
        for _ in 0..nodes {
            let Some(tombstone) = self.index.next_tombstone(batch) else { break };
            let handle = tombstone.handle;
            let n = self.entries.iter().position(|entry| entry.handle == handle).expect("it is there");
            let entry = &self.entries[n];
            assert_eq!((tombstone.tier, entry.state), (entry.tier, State::Tombstone));
            assert_eq!((tombstone.persona, tombstone.user), (&*entry.persona, &*entry.user));
            match &entry.name {
                Ok(digest) => assert_eq!(tombstone.name, Name::Canonical(*digest)),
                Err(name) => assert_eq!(tombstone.name, Name::Own(name)),
            }
            self.unlink_at(n);
        }
        let Run { batches, index, entries, .. } = self;
        batches.retain(|(batch, handles)| {
            let left = index.next_tombstone(Some(*batch)).is_some();
            assert!(left || !entries.iter().any(|entry| handles.contains(&entry.handle)));
            left
        });
    }

    fn personas_of(&self, user: &[u8]) -> Vec<Vec<u8>> {
        let mut personas: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| entry.state == State::Live && !user.is_empty() && entry.user == user)
            .map(|entry| entry.persona.clone())
            .collect();
        personas.sort();
        personas.dedup();
        personas
    }

    /// Returns the number of live entries and their size.
    fn live(&self, of: impl Fn(&Entry) -> bool) -> (u64, Size) {
        let live = self.entries.iter().filter(|entry| entry.state == State::Live && of(entry));
        live.fold((0, Size::default()), |(entries, Size { raw, stored }), entry| {
            (entries + 1, Size { raw: raw + entry.size.raw, stored: stored + entry.size.stored })
        })
    }

    fn compare(&mut self) {
        let index = &self.index;
        index.check();
        assert_eq!((index.entries(), index.size()), self.live(|_| true));
        for tier in Tier::ALL {
            assert_eq!((index.entries_of(tier), index.size_of(tier)), self.live(|e| e.tier == tier));
        }
        for entry in &self.entries {
            assert!(index.contains(entry.handle));
            let liveness = match entry.state {
                State::Live if entry.stale => Liveness::Stale,
                State::Live => Liveness::Fresh,
                State::Tombstone => Liveness::Dead,
            };
            assert_eq!(index.resolve(entry.handle).liveness, liveness);
            assert_eq!(index.is_live(entry.handle), liveness != Liveness::Dead);
            let located = index.located(entry.handle).expect("the entry is known");
            assert_eq!((located.handle, located.tier), (entry.handle, entry.tier));
            assert_eq!((located.persona, located.user), (&*entry.persona, &*entry.user));
            let name = match &entry.name {
                Ok(digest) => Name::Canonical(*digest),
                Err(name) => Name::Own(name),
            };
            assert_eq!(located.name, name);
            assert_eq!(index.origin(entry.handle).map(|origin| origin.state), Some(entry.state));
        }
        for handle in self.gone.drain(..) {
            assert!(!index.contains(handle) && index.origin(handle).is_none());
            assert!(!index.is_live(handle));
        }
        let mut expected = HashMap::new();
        for entry in self.entries.iter().filter(|entry| entry.state == State::Live) {
            let (entries, stale, bytes) = expected.entry(entry.persona.clone()).or_insert((0, 0, 0));
            *entries += 1;
            *stale += u64::from(entry.stale);
            *bytes += entry.size.stored;
        }
        for n in 0..self.plan.personas {
            let persona = format!("p{n}").into_bytes();
            let (entries, stale, bytes) = expected.get(&persona).copied().unwrap_or_default();
            let PersonaStats { hits, misses, saved_ms } =
                self.stats.get(&persona).copied().unwrap_or_default();
            let report = PersonaReport { entries, stale, bytes, hits, misses, saved_ms };
            assert_eq!(index.persona_stats(&persona).unwrap_or_default(), report);
        }
        assert_eq!(index.personas_len(), expected.len() as u64);
        let count = self.rng.random_range(0..20);
        let (mut cursor, mut calls) = (0, 0);
        let mut listed = HashMap::new();
        loop {
            let (next, personas) = index.personas(cursor, count);
            assert!(personas.len() <= count.max(1));
            for (persona, report) in personas {
                let PersonaReport { entries, stale, bytes, .. } = report;
                let before = listed.insert(persona.to_vec(), (entries, stale, bytes));
                assert_eq!(before, None);
            }
            calls += 1;
            assert!(calls < 10_000);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(listed, expected);
    }
}
