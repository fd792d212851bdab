//! L1: the answers that are asked for most, ready to send.
//!
//! It is found by a hash of the request alone: no MD5, no key's name, no key opened. The hash is HighwayHash of 128
//! bits under a secret of this process, so nobody can make two requests that share one. What a look-up brings is
//! only a candidate: it holds its entry's handle, and `cache` gives it where the index says that the handle is fresh.
//!
//! So L1 need not hear of drops. It does hear of all else (see `cache` and `keyspace`): an entry that leaves its key, or
//! whose key is given another TTL, leaves L1 at that moment.
//!
//! Which answers stay is the business of quick_cache: a clock that favours what is asked for often, and bounds the
//! sum of their bytes. Beside it stands where each entry's answer is, for those who know the entry only.

use crate::answer::Answer;
use crate::index::Handle;
use crate::request::Request;
use crate::tier::Tier;
use highway::{HighwayHash, HighwayHasher};
use quick_cache::unsync::Cache;
use quick_cache::{Lifecycle, Weighter};
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// What an answer costs in L1 beside its bytes: its place in the cache and its way back from the entry.
const OVERHEAD: u64 = 160;

/// What an answer is taken to be long, to guess how many there will be.
const USUAL_BYTES: u64 = 1_500;

/// The hash of a request, and of the database it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotKey([u64; 2]);

impl std::hash::Hash for HotKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let HotKey([half, _]) = self;
        state.write_u64(*half);
    }
}

/// An entry, by its database and handle.
pub type Place = (i32, Handle);

/// An answer in L1.
pub struct Hot {
    pub place: Place,
    pub answer: Answer,
    /// When it is no longer fresh, or its key no longer there, in Unix milliseconds.
    pub until_ms: Cell<i64>,
    /// What computing it took, in milliseconds.
    pub cost_ms: u32,
    /// When its key was last opened, and how often it was given since.
    pub touched_ms: Cell<i64>,
    pub untouched_hits: Cell<u32>,
}

/// See the head of this file.
pub struct L1 {
    cache: Cache<HotKey, Hot, ByBytes, BuildHasherDefault<AsItIs>, Collect>,
    keys: HashMap<Place, HotKey>,
    secret: highway::Key,
}

impl L1 {
    /// An empty one. The secret must be one that nobody can guess.
    pub fn new(max_bytes: u64, secret: [u64; 4]) -> L1 {
        let usual = usize::try_from(max_bytes / USUAL_BYTES).unwrap_or(usize::MAX).clamp(16, 1 << 20);
        L1 {
            cache: Cache::with(usual, max_bytes, ByBytes, BuildHasherDefault::default(), Collect),
            keys: HashMap::new(),
            secret: highway::Key(secret),
        }
    }

    /// An empty one with the same bound and secret, in the place of this one.
    pub fn take(&mut self) -> L1 {
        let empty = L1::new(self.max_bytes(), self.secret.0);
        std::mem::replace(self, empty)
    }

    /// Where a request's answer would be. The persona is part of it whatever the tier: an answer is kept for those who
    /// ask its own persona.
    pub fn key(&self, database: i32, request: &Request<'_>) -> HotKey {
        let Request { tier, user, persona, message, id, .. } = *request;
        // Which fields follow; and each but the last comes after its length, so that no two requests are the same bytes.
        let (kind, user, last) = match (tier, id) {
            (Tier::Msg, _) => (0, None, message),
            (Tier::Persona, _) => (1, None, message),
            (Tier::Session, Some(id)) => (2, Some(user), id),
            (Tier::Session, None) => (3, Some(user), message),
            (Tier::Response, _) => (4, Some(user), message),
        };
        let mut hasher = HighwayHasher::new(self.secret);
        let [a, b, c, d] = database.to_le_bytes();
        let [e, f, g, h] = (persona.len() as u32).to_le_bytes();
        let [i, j, k, l] = (user.unwrap_or_default().len() as u32).to_le_bytes();
        hasher.append(&[kind, a, b, c, d, e, f, g, h, i, j, k, l]);
        hasher.append(persona);
        if let Some(user) = user {
            hasher.append(user);
        }
        hasher.append(last);
        HotKey(hasher.finalize128())
    }

    /// The answer that is there, which its reader must check.
    pub fn get(&self, key: &HotKey) -> Option<&Hot> {
        self.cache.get(key)
    }

    /// Whether the entry's answer is here.
    pub fn holds(&self, place: Place) -> bool {
        self.keys.contains_key(&place)
    }

    /// Takes an answer in, or its new state, and tells which entries have had to leave for it; it may be this one.
    pub fn insert(&mut self, key: HotKey, hot: Hot) -> Vec<Place> {
        self.keys.insert(hot.place, key);
        let mut left = self.cache.insert_with_lifecycle(key, hot);
        // The cache tells also of the answer that was in this one's place.
        left.retain(|place| {
            let key = self.keys.get(place).copied();
            key.is_none_or(|key| self.cache.peek(&key).is_none_or(|hot| hot.place != *place))
        });
        for place in &left {
            self.keys.remove(place);
        }
        left
    }

    /// Forgets an entry's answer, if it is here.
    pub fn remove(&mut self, place: Place) {
        if let Some(key) = self.keys.remove(&place) {
            // Another entry may have taken its place: one question, and two answers one after the other.
            self.cache.remove_if(&key, |hot| hot.place == place);
        }
    }

    /// All that are here.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.keys.keys().copied()
    }

    pub fn len(&self) -> usize {
        self.cache.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the answers take, with what keeping them here takes.
    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    pub fn max_bytes(&self) -> u64 {
        self.cache.capacity()
    }
}

/// Answers weigh their bytes.
#[derive(Clone)]
struct ByBytes;

impl Weighter<HotKey, Hot> for ByBytes {
    fn weight(&self, _: &HotKey, hot: &Hot) -> u64 {
        hot.answer.len() as u64 + OVERHEAD
    }
}

/// Tells who had to leave.
#[derive(Clone)]
struct Collect;

impl Lifecycle<HotKey, Hot> for Collect {
    type RequestState = Vec<Place>;

    fn begin_request(&self) -> Vec<Place> {
        Vec::new()
    }

    fn on_evict(&self, left: &mut Vec<Place>, _: HotKey, hot: Hot) {
        left.push(hot.place);
    }
}

/// Hashes what is a hash already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
