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
//! sum of their bytes. Beside it stands where each entry's answer is, for those who know the entry only. Both are split
//! into shards, since their tables grow at once: no insertion moves more than a shard.

use crate::entry::Response;
use crate::index::Handle;
use crate::request::{Fields, Request, in_one_piece};
use highway::{HighwayHash, HighwayHasher};
use quick_cache::unsync::Cache;
use quick_cache::{Lifecycle, Weighter};
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// What an answer costs in L1 beside its bytes: its place in the cache and its way back from the entry.
const OVERHEAD: u64 = 160;

/// What the shortest answers are counted as, so that there are never too many.
const LEAST: u64 = 512;

/// What an answer is taken to be long, to guess how many there will be.
const USUAL_BYTES: u64 = 1_500;

/// A shard's share of the bytes is this or more, up to twice as much, where there is more than one. Then it holds 32,768
/// answers at most, and 7 MB of tables grow to twice as many.
const SHARD_BYTES: u64 = 8 << 20;

/// So many shards are enough for an L1 of 512 GB.
const MOST_SHARDS: u64 = 1 << 16;

/// The hash of a request, and of the database it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Key([u64; 2]);

impl std::hash::Hash for L1Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let L1Key([half, _]) = self;
        state.write_u64(*half);
    }
}

/// An entry, by its database and handle.
pub type Location = (i32, Handle);

/// An answer in L1.
pub struct L1Entry {
    pub location: Location,
    pub response: Response,
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
    shards: Sharded<Shard>,
    keys: Sharded<HashMap<Location, L1Key, ByPlace>>,
    by_place: ByPlace,
    secret: highway::Key,
    max_bytes: u64,
}

type Shard = Cache<L1Key, L1Entry, ByBytes, BuildHasherDefault<AsItIs>, Collect>;

impl L1 {
    /// An empty one. The secret must be one that nobody can guess.
    pub fn new(max_bytes: u64, secret: [u64; 4]) -> L1 {
        let bits = (max_bytes / SHARD_BYTES).clamp(1, MOST_SHARDS).ilog2();
        let share = max_bytes >> bits;
        let usual = usize::try_from(share / USUAL_BYTES).unwrap_or(usize::MAX).clamp(16, 1 << 20);
        let by_place = ByPlace::new();
        L1 {
            shards: Sharded::new(bits, |_| {
                Cache::with(usual, share, ByBytes, BuildHasherDefault::default(), Collect)
            }),
            keys: Sharded::new(bits, |_| HashMap::with_hasher(by_place)),
            by_place,
            secret: highway::Key(secret),
            max_bytes,
        }
    }

    /// Where a request's answer would be. The persona is part of it whatever the tier: an answer is kept for those who
    /// ask its own persona.
    pub fn key(&self, database: i32, request: &Request<'_>) -> L1Key {
        // The persona stands first, so the parts need not repeat it. The kind tells which fields follow, and each but
        // the last comes after its length: no two requests are the same bytes.
        let Fields { kind, user, persona: _, last } = request.parts().fields();
        let (user, persona) = (user.unwrap_or_default(), request.persona);
        let mut hasher = HighwayHasher::new(self.secret);
        let [a, b, c, d] = database.to_le_bytes();
        let [e, f, g, h] = (persona.len() as u32).to_le_bytes();
        let [i, j, k, l] = (user.len() as u32).to_le_bytes();
        let head = [kind, a, b, c, d, e, f, g, h, i, j, k, l];
        let pieces = [&head[..], persona, user, last];
        match in_one_piece(pieces) {
            Some(whole) => hasher.append(&whole),
            None => pieces.iter().for_each(|piece| hasher.append(piece)),
        }
        L1Key(hasher.finalize128())
    }

    /// The answer that is there, which its reader must check.
    pub fn get(&self, key: &L1Key) -> Option<&L1Entry> {
        self.shards.of(key.shard()).get(key)
    }

    /// Whether the entry's answer is here.
    pub fn holds(&self, location: Location) -> bool {
        self.keys.of(self.by_place.shard(location)).contains_key(&location)
    }

    /// Takes an answer in, or its new state, and tells which entries have had to leave for it; it may be this one.
    pub fn insert(&mut self, key: L1Key, hot: L1Entry) -> Vec<Location> {
        self.keys.of_mut(self.by_place.shard(hot.location)).insert(hot.location, key);
        let mut left = self.shards.of_mut(key.shard()).insert_with_lifecycle(key, hot);
        left.retain(|location| {
            let keys = self.keys.of_mut(self.by_place.shard(*location));
            // The cache tells also of the answer that was in this one's place.
            let has_left = keys.get(location).is_none_or(|key| {
                self.shards.of(key.shard()).peek(key).is_none_or(|hot| hot.location != *location)
            });
            if has_left {
                keys.remove(location);
            }
            has_left
        });
        left
    }

    /// Forgets an entry's answer, if it is here.
    pub fn remove(&mut self, location: Location) {
        if let Some(key) = self.keys.of_mut(self.by_place.shard(location)).remove(&location) {
            // Another entry may have taken its place: one question, and two answers one after the other.
            self.shards.of_mut(key.shard()).remove_if(&key, |hot| hot.location == location);
        }
    }

    /// All that are here.
    pub fn locations(&self) -> impl Iterator<Item = Location> {
        self.keys.all().flat_map(|keys| keys.keys().copied())
    }

    pub fn len(&self) -> usize {
        self.shards.all().map(Shard::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.shards.all().all(Shard::is_empty)
    }

    /// What the answers take, with what keeping them here takes.
    pub fn bytes(&self) -> u64 {
        self.shards.all().map(Shard::weight).sum()
    }

    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }
}

impl L1Key {
    fn shard(&self) -> u64 {
        let L1Key([_, half]) = *self;
        half
    }
}

/// As many tables as there are shards, of which a hash has one.
struct Sharded<T>(Box<[T]>);

impl<T> Sharded<T> {
    /// A power of two of them, so that the lower bits of a hash choose.
    fn new(bits: u32, new: impl FnMut(u32) -> T) -> Self {
        Sharded((0..1 << bits).map(new).collect())
    }

    fn location(&self, hash: u64) -> usize {
        hash as usize & (self.0.len() - 1)
    }

    fn of(&self, hash: u64) -> &T {
        &self.0[self.location(hash)]
    }

    fn of_mut(&mut self, hash: u64) -> &mut T {
        &mut self.0[self.location(hash)]
    }

    fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

/// Answers weigh their bytes.
#[derive(Clone)]
struct ByBytes;

impl Weighter<L1Key, L1Entry> for ByBytes {
    fn weight(&self, _: &L1Key, hot: &L1Entry) -> u64 {
        (hot.response.len() as u64 + OVERHEAD).max(LEAST)
    }
}

/// Tells who had to leave.
#[derive(Clone)]
struct Collect;

impl Lifecycle<L1Key, L1Entry> for Collect {
    type RequestState = Vec<Location>;

    fn begin_request(&self) -> Vec<Location> {
        Vec::new()
    }

    fn on_evict(&self, left: &mut Vec<Location>, _: L1Key, hot: L1Entry) {
        left.push(hot.location);
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

/// Hashes places: numbers that the index gives out in a row, so that a multiplication which nobody can guess is enough
/// against who would have them collide. SipHash took a twenty-fifth of a GET that L1 has no room for.
#[derive(Clone, Copy)]
struct ByPlace {
    factor: u64,
}

impl ByPlace {
    fn new() -> Self {
        ByPlace { factor: RandomState::new().hash_one("factor") | 1 }
    }

    /// Other bits than those by which the table in a shard goes.
    fn shard(self, location: Location) -> u64 {
        self.hash_one(location) >> 40
    }
}

impl BuildHasher for ByPlace {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { state: self.factor, factor: self.factor }
    }
}

/// Multiplies, and folds the upper half of the product into the lower.
struct Folded {
    state: u64,
    factor: u64,
}

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.state
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.state ^ number) * u128::from(self.factor);
        self.state = (product >> 64) as u64 ^ product as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Index, Name};
    use crate::request::{Accepts, RequestArgs};
    use crate::tier::Tier;
    use std::collections::HashSet;

    fn l1(max_bytes: u64) -> L1 {
        L1::new(max_bytes, [1, 2, 3, 4])
    }

    fn key(l1: &L1, database: i32, [tier, user, persona, message]: [&str; 4], id: Option<&str>) -> L1Key {
        let arguments = [tier, user, persona, message].map(str::as_bytes);
        let asked =
            RequestArgs::parse(Accepts::Tiers, arguments, id.map(str::as_bytes)).expect("a good request");
        l1.key(database, &asked.request())
    }

    fn message_key(l1: &L1, n: usize) -> L1Key {
        key(l1, 0, ["msg", "", "helper", &n.to_string()], None)
    }

    fn hot(index: &mut Index, bytes: usize) -> L1Entry {
        let handle = index.link(Tier::Msg, b"helper", b"", Name::Canonical([0; 16]), bytes as u64);
        L1Entry {
            location: (0, handle),
            response: Response::new(&vec![b'x'; bytes]),
            until_ms: Cell::new(i64::MAX),
            cost_ms: 0,
            touched_ms: Cell::new(0),
            untouched_hits: Cell::new(0),
        }
    }

    #[test]
    fn no_two_requests_share_a_key() {
        let l1 = l1(1000);
        let requests = [
            (0, ["msg", "", "a", "bc"], None),
            (1, ["msg", "", "a", "bc"], None),
            (0, ["msg", "", "ab", "c"], None),
            (0, ["persona", "", "a", "bc"], None),
            (0, ["persona", "", "ab", "c"], None),
            (0, ["session", "u", "a", "bc"], None),
            (0, ["session", "ua", "b", "c"], None),
            (0, ["session", "u", "a", "bc"], Some("bc")),
            (0, ["session", "u", "a", ""], Some("b")),
            (0, ["response", "u", "a", "bc"], None),
            (0, ["response", "ub", "a", "c"], None),
            (0, ["response", "u", "ab", "c"], None),
        ];
        let keys: HashSet<_> =
            requests.iter().map(|(database, request, id)| key(&l1, *database, *request, *id)).collect();
        assert_eq!(keys.len(), requests.len());
        // What is not part of the question is not part of the key.
        let asked = |user| key(&l1, 0, ["persona", user, "a", "bc"], None);
        assert_eq!(asked("ann"), asked(""));
        let asked = |message| key(&l1, 0, ["session", "u", "a", message], Some("1"));
        assert_eq!(asked("one"), asked(""));
        // Nor would another process, with another secret, use the same.
        assert_ne!(
            asked("one"),
            key(&L1::new(1000, [1, 2, 3, 5]), 0, ["session", "u", "a", "one"], Some("1"))
        );
    }

    #[test]
    fn it_stays_within_its_bytes_and_tells_who_left() {
        for (max_bytes, longest) in [(100_000, 1_000), (50 << 20, 500_000)] {
            stays_within(max_bytes, longest);
        }
    }

    fn stays_within(max_bytes: u64, longest: usize) {
        let (mut l1, mut index) = (l1(max_bytes), Index::new());
        assert_eq!(l1.max_bytes(), max_bytes);
        let mut inside = HashSet::new();
        for n in 0..2000 {
            let hot = hot(&mut index, longest / 1000 * (n % 1000));
            inside.insert(hot.location);
            for location in l1.insert(message_key(&l1, n), hot) {
                assert!(inside.remove(&location), "who leaves was there");
                assert!(!l1.holds(location));
            }
            assert!(l1.bytes() <= max_bytes, "{}", l1.bytes());
            assert_eq!((l1.len(), l1.locations().count()), (inside.len(), inside.len()));
        }
        assert!(l1.len() > 50 && l1.bytes() > max_bytes / 2);
        assert!(inside.iter().all(|location| l1.holds(*location)));
        for location in &inside {
            l1.remove(*location);
        }
        assert_eq!((l1.len(), l1.bytes(), l1.locations().count()), (0, 0, 0));
    }

    #[test]
    fn what_is_asked_for_often_outlives_a_scan() {
        let (mut l1, mut index) = (l1(200_000), Index::new());
        let often: Vec<L1Key> = (0..50).map(|n| message_key(&l1, n)).collect();
        for key in &often {
            l1.insert(*key, hot(&mut index, 1000));
        }
        for n in 1000..5000 {
            for key in &often {
                l1.get(key);
            }
            l1.insert(message_key(&l1, n), hot(&mut index, 1000));
        }
        let left = often.iter().filter(|key| l1.get(key).is_some()).count();
        assert!(left >= 45, "{left} of 50");
    }

    #[test]
    fn a_newer_answer_takes_the_place_of_an_older_one() {
        let (mut l1, mut index) = (l1(100_000), Index::new());
        let key = message_key(&l1, 1);
        let (old, new) = (hot(&mut index, 10), hot(&mut index, 20));
        let (old_place, new_place) = (old.location, new.location);
        assert!(l1.insert(key, old).is_empty());
        assert_eq!(l1.insert(key, new), [old_place]);
        assert!(!l1.holds(old_place) && l1.holds(new_place));
        l1.remove(old_place);
        assert_eq!(l1.get(&key).map(|hot| hot.response.len()), Some(20));
        l1.remove(new_place);
        assert!(l1.get(&key).is_none() && l1.is_empty());
    }

    #[test]
    fn an_answer_larger_than_all_of_it_stays_outside() {
        let (mut l1, mut index) = (l1(1000), Index::new());
        let hot = hot(&mut index, 5000);
        let location = hot.location;
        assert_eq!(l1.insert(message_key(&l1, 1), hot), [location]);
        assert!(l1.is_empty() && !l1.holds(location));
    }
}
