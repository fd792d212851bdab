//! L1: the hot responses, ready to send.
//!
//! L1 finds a response by a hash of the request alone: no MD5, no key name, no key opened. The hash has 128 bits and is
//! keyed by a secret of this process, so no client can make two requests that share one. Requests of up to 256 bytes are
//! hashed by SipHash-1-3, which takes half as long for them as HighwayHash, and longer ones by HighwayHash
//! (docs/dev/performance.md). A lookup yields a candidate only: it holds its entry's handle, and `hot` serves it where the
//! index says that the handle is fresh. So L1 need not be told of invalidations.
//!
//! **Admission** is by frequency, as in TinyLFU: L1 admits a response if it is requested more often, by two at least, than
//! each response that it would evict. The victim is the least frequent of a few neighbours in the table, as in Redis's own
//! LFU. So a pass over all entries admits none of them, and uniform requests over a large data set soon leave L1 as it is.
//!
//! **Bounds**: a shard holds its share of `l1-max-bytes`, in which each response counts with its overhead and as 512 bytes
//! at least. Tables grow at once, so shards are small: no insertion moves more than one shard's table.
//! `cargo bench --bench l1`, 24 November 2026, on a busy AMD EPYC: the longest insertion takes a twelfth of that into an
//! unsplit quick_cache, and twice that of moka.

use crate::cache::l1_pause::Pause;
use crate::entry::{Frequency, Response};
use crate::index::{Handle, Resolved};
use crate::request::{Fields, Request, in_one_piece};
use highway::{HighwayHash, HighwayHasher};
use indexmap::IndexMap;
use siphasher::sip128::{Hash128, SipHasher13};
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// Bytes that a response costs in L1 beside its own: its place in the table and the way back from its entry.
const OVERHEAD: u64 = 200;

/// The least that a response counts, in bytes. It bounds the number of responses.
const LEAST: u64 = 512;

/// A shard's share of the bytes is this or up to twice as much, where there is more than one shard. Such a shard holds
/// 32,768 responses at most, and its tables grow by some 7 MB at once.
const SHARD_BYTES: u64 = 8 << 20;

/// The greatest number of shards, enough for an L1 of 512 GB.
const MOST_SHARDS: u64 = 1 << 16;

/// The number of neighbours of which the least frequent is a victim.
const SAMPLE: usize = 5;

/// A response that is requested less often evicts none, even where the others are requested no more: a scan requests each
/// once.
const LEAST_TO_EVICT: u8 = 2;

/// The number of requests by which a response must be ahead of each that it evicts. The counts of responses that are all requested
/// alike, in passes over a large data set, differ by one: exchanges would cost more than L1 saves.
const MARGIN: u8 = 1;

/// The number of responses that are refused after one that was requested as often as they are.
const REFUSED_ALIKE: u8 = 15;

/// The greatest number of responses that one admission evicts: a larger response stays in its key.
const MOST_VICTIMS: usize = 64;

/// The key of the hashes, which no client may be able to guess.
pub type Secret = [u64; 4];

/// The hash of a request, and of the database it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Key([u64; 2]);

impl std::hash::Hash for L1Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let L1Key([half, _]) = self;
        state.write_u64(*half);
    }
}

/// The location of an entry: its database and its handle.
pub type Location = (i32, Handle);

/// A response in L1.
pub struct L1Entry {
    /// The response's entry.
    pub location: Location,
    /// The result of the last walk through the index.
    pub resolved: Cell<Resolved>,
    /// The response.
    pub response: Response,
    /// The time at which it is no longer fresh or its key expires, in Unix milliseconds.
    pub until_ms: Cell<i64>,
    /// Milliseconds that computing it took.
    pub cost_ms: u32,
    /// The frequency of its requests.
    pub frequency: Cell<Frequency>,
    /// The time at which its key was last opened, in Unix milliseconds.
    pub touched_ms: Cell<i64>,
    /// Hits since then.
    pub untouched_hits: Cell<u32>,
}

impl L1Entry {
    fn weight(&self) -> u64 {
        weight(self.response.len())
    }
}

/// See the head of this file.
pub struct L1 {
    shards: Sharded<Shard>,
    keys: Sharded<HashMap<Location, L1Key, ByLocation>>,
    by_location: ByLocation,
    secret: Secret,
    max_bytes: u64,
    /// The number of responses.
    len: usize,
    /// Tells which reads look into it.
    pub(super) pause: Pause,
}

/// Part of the responses, with their bytes counted.
#[derive(Default)]
struct Shard {
    entries: IndexMap<L1Key, L1Entry, BuildHasherDefault<AsItIs>>,
    bytes: u64,
    max_bytes: u64,
    refusals: Cell<Refusals>,
}

/// Responses that are refused for the sake of an earlier one, without a look at neighbours: where all are requested alike,
/// these looks cost more than L1 saves.
#[derive(Clone, Copy, Default)]
struct Refusals {
    /// The frequency of the one that was refused.
    frequency: u8,
    /// The number of responses of at most that frequency that are yet to be refused.
    left: u8,
}

/// The permission to admit a response, and the responses to evict for it.
pub struct Admission {
    key: L1Key,
    victims: Vec<L1Key>,
}

impl L1 {
    /// Returns an empty L1.
    pub fn new(max_bytes: u64, secret: Secret) -> L1 {
        let bits = (max_bytes / SHARD_BYTES).clamp(1, MOST_SHARDS).ilog2();
        let share = max_bytes >> bits;
        let by_location = ByLocation::new();
        L1 {
            shards: Sharded::new(bits, |_| Shard { max_bytes: share, ..Shard::default() }),
            keys: Sharded::new(bits, |_| HashMap::with_hasher(by_location)),
            by_location,
            secret,
            max_bytes,
            len: 0,
            pause: Pause::default(),
        }
    }

    /// Returns the key of a request. The persona is part of it whatever the tier: a response is hot only for requests that
    /// name its own persona.
    pub fn key(&self, database: i32, request: &Request<'_>) -> L1Key {
        // The persona stands first, so the parts need not repeat it. The kind tells which fields follow, and each but
        // the last comes after its length: no two requests are the same bytes.
        let Fields { kind, user, persona: _, last } = request.parts().fields();
        let (user, persona) = (user.unwrap_or_default(), request.persona);
        let [a, b, c, d] = database.to_le_bytes();
        let [e, f, g, h] = (persona.len() as u32).to_le_bytes();
        let [i, j, k, l] = (user.len() as u32).to_le_bytes();
        let head = [kind, a, b, c, d, e, f, g, h, i, j, k, l];
        let pieces = [&head[..], persona, user, last];
        let [a, b, c, d] = self.secret;
        L1Key(match in_one_piece(pieces) {
            Some(whole) => {
                let Hash128 { h1, h2 } = SipHasher13::new_with_keys(a, b).hash(&whole);
                [h1, h2]
            }
            None => {
                let mut hasher = HighwayHasher::new(highway::Key([a, b, c, d]));
                pieces.iter().for_each(|piece| hasher.append(piece));
                hasher.finalize128()
            }
        })
    }

    /// Returns the candidate for a key. The caller checks that it is fresh.
    pub fn get(&self, key: &L1Key) -> Option<&L1Entry> {
        self.shards.of(key.shard()).entries.get(key)
    }

    /// Returns true if L1 holds the entry's response.
    pub fn holds(&self, location: Location) -> bool {
        self.keys.of(self.by_location.shard(location)).contains_key(&location)
    }

    /// Returns false if L1 has no room for one more response of this length, and it is requested too rarely to evict any, or
    /// one that is requested as often was just refused. This looks at no response: each request of a scan ends here.
    pub fn may_admit(&self, key: L1Key, bytes: usize, frequency: u8) -> bool {
        let shard = self.shards.of(key.shard());
        if shard.bytes + weight(bytes) <= shard.max_bytes {
            return true;
        }
        if frequency < LEAST_TO_EVICT {
            return false;
        }
        let mut refusals = shard.refusals.get();
        let alike = frequency <= refusals.frequency && refusals.left > 0;
        if alike {
            refusals.left -= 1;
            shard.refusals.set(refusals);
        }
        !alike
    }

    /// Decides whether L1 admits a response of this length, requested this often. Returns None if it would have to evict a
    /// response that is requested as often, or more than 64 responses.
    pub fn weigh(&self, key: L1Key, bytes: usize, frequency: u8, now_ms: i64) -> Option<Admission> {
        let shard = self.shards.of(key.shard());
        let own = shard.entries.get(&key).map_or(0, L1Entry::weight);
        let mut excess = (shard.bytes - own + weight(bytes)).saturating_sub(shard.max_bytes);
        if excess > 0 && frequency < LEAST_TO_EVICT {
            return None;
        }
        let mut victims: Vec<L1Key> = Vec::new();
        let L1Key([mut start, _]) = key;
        while excess > 0 {
            let (victim, entry) =
                shard.least_frequent(start, now_ms, |found| *found != key && !victims.contains(found))?;
            if entry.frequency.get().at(now_ms).saturating_add(MARGIN) >= frequency {
                shard.refusals.set(Refusals { frequency, left: REFUSED_ALIKE });
                return None;
            }
            if victims.len() == MOST_VICTIMS {
                return None;
            }
            excess = excess.saturating_sub(entry.weight());
            victims.push(*victim);
            start = start.rotate_left(13).wrapping_add(SAMPLE as u64);
        }
        Some(Admission { key, victims })
    }

    /// Admits a response, and returns the entries whose responses have left for it.
    pub fn admit(&mut self, Admission { key, victims }: Admission, entry: L1Entry) -> Vec<Location> {
        let shard = self.shards.of_mut(key.shard());
        let before = shard.entries.len();
        let location = entry.location;
        let mut left: Vec<Location> = victims.iter().filter_map(|victim| shard.take(victim)).collect();
        // An older response to the same request: its entry has left its key, or is a tombstone.
        left.extend(shard.take(&key).filter(|old| *old != location));
        shard.bytes += entry.weight();
        shard.entries.insert(key, entry);
        self.len = self.len + shard.entries.len() - before;
        for old in &left {
            self.keys.of_mut(self.by_location.shard(*old)).remove(old);
        }
        self.keys.of_mut(self.by_location.shard(location)).insert(location, key);
        left
    }

    /// Takes an entry's response out, if L1 holds it. Returns true if it did.
    pub fn remove(&mut self, location: Location) -> bool {
        let key = self.keys.of_mut(self.by_location.shard(location)).remove(&location);
        let taken = key.and_then(|key| self.shards.of_mut(key.shard()).take(&key));
        self.len -= usize::from(taken.is_some());
        taken.is_some()
    }

    /// Returns the locations of all responses.
    pub fn locations(&self) -> impl Iterator<Item = Location> {
        self.keys.all().flat_map(|keys| keys.keys().copied())
    }

    /// Returns the number of responses.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if L1 holds no response.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the bytes of the responses, with what keeping them here takes.
    pub fn bytes(&self) -> u64 {
        self.shards.all().map(|shard| shard.bytes).sum()
    }

    /// Returns the bound on `bytes`.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }
}

impl Shard {
    /// Takes a response out, and returns its location.
    fn take(&mut self, key: &L1Key) -> Option<Location> {
        let entry = self.entries.swap_remove(key)?;
        self.bytes -= entry.weight();
        Some(entry.location)
    }

    /// Returns the least frequent of a few neighbours that `may_leave` allows.
    fn least_frequent(
        &self,
        start: u64,
        now_ms: i64,
        may_leave: impl Fn(&L1Key) -> bool,
    ) -> Option<(&L1Key, &L1Entry)> {
        let count = self.entries.len();
        // The start is a hash, so it falls anywhere. Neighbours lie side by side in memory.
        let start = start.checked_rem(count as u64)? as usize;
        (start..count)
            .chain(0..start)
            .filter_map(|place| self.entries.get_index(place))
            .filter(|(key, _)| may_leave(key))
            .take(SAMPLE)
            .min_by_key(|(_, entry)| entry.frequency.get().at(now_ms))
    }
}

impl L1Key {
    fn shard(&self) -> u64 {
        let L1Key([_, half]) = *self;
        half
    }
}

/// The bytes for which a response of this length counts.
fn weight(bytes: usize) -> u64 {
    (bytes as u64 + OVERHEAD).max(LEAST)
}

/// A table for each shard. The low bits of a hash choose one.
struct Sharded<T>(Box<[T]>);

impl<T> Sharded<T> {
    fn new(bits: u32, new: impl FnMut(u32) -> T) -> Self {
        Sharded((0..1 << bits).map(new).collect())
    }

    fn position(&self, hash: u64) -> usize {
        hash as usize & (self.0.len() - 1)
    }

    fn of(&self, hash: u64) -> &T {
        &self.0[self.position(hash)]
    }

    fn of_mut(&mut self, hash: u64) -> &mut T {
        &mut self.0[self.position(hash)]
    }

    fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

/// Passes on a key that is a hash already.
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

/// Hashes locations: numbers that the index gives out in a row, so that a secret factor is enough against collisions on
/// purpose. SipHash took 4 % of a GET that misses L1.
#[derive(Clone, Copy)]
pub(super) struct ByLocation {
    factor: u64,
}

impl Default for ByLocation {
    fn default() -> Self {
        ByLocation::new()
    }
}

impl ByLocation {
    /// Returns a hasher with a factor of its own.
    pub(super) fn new() -> Self {
        ByLocation { factor: RandomState::new().hash_one("factor") | 1 }
    }

    /// Chooses a shard, by other bits than the table in the shard uses.
    fn shard(self, location: Location) -> u64 {
        self.hash_one(location) >> 40
    }
}

impl BuildHasher for ByLocation {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { state: self.factor, factor: self.factor }
    }
}

/// Multiplies, and folds the upper half of the product into the lower.
pub(super) struct Folded {
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
            RequestArgs::parse(Accepts::Tiers, arguments, id.map(str::as_bytes)).expect("a valid request");
        l1.key(database, &asked.request())
    }

    fn message_key(l1: &L1, n: usize) -> L1Key {
        key(l1, 0, ["msg", "", "helper", &n.to_string()], None)
    }

    fn hot(index: &mut Index, bytes: usize) -> L1Entry {
        let handle = index.link(Tier::Msg, b"helper", b"", Name::Canonical([0; 16]), bytes as u64);
        L1Entry {
            location: (0, handle),
            resolved: Cell::new(index.resolve(handle)),
            response: Response::new(&vec![b'x'; bytes]),
            until_ms: Cell::new(i64::MAX),
            cost_ms: 0,
            frequency: Cell::new(Frequency::default()),
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
        // Fields that the tier does not use are not part of the key.
        let asked = |user| key(&l1, 0, ["persona", user, "a", "bc"], None);
        assert_eq!(asked("ann"), asked(""));
        let asked = |message| key(&l1, 0, ["session", "u", "a", message], Some("1"));
        assert_eq!(asked("one"), asked(""));
        // Another process has another secret, and so another key.
        assert_ne!(
            asked("one"),
            key(&L1::new(1000, [1, 3, 3, 4]), 0, ["session", "u", "a", "one"], Some("1"))
        );
    }

    /// Admits a response that is requested this often, if L1 takes it.
    fn offer(l1: &mut L1, n: usize, hot: L1Entry, frequency: u8) -> Option<Vec<Location>> {
        let key = message_key(l1, n);
        let counted = (0..frequency).fold(Frequency::default(), |frequency, _| frequency.after_hit(0));
        hot.frequency.set(counted);
        let admission = l1.weigh(key, hot.response.len(), frequency, 0)?;
        Some(l1.admit(admission, hot))
    }

    #[test]
    fn l1_stays_within_its_bytes_and_tells_which_entries_leave() {
        for (max_bytes, longest) in [(100_000, 1_000), (50 << 20, 500_000)] {
            let (mut l1, mut index) = (l1(max_bytes), Index::new());
            assert_eq!(l1.max_bytes(), max_bytes);
            let mut inside = HashSet::new();
            for n in 0..2000 {
                let hot = hot(&mut index, longest / 1000 * (n % 1000));
                let location = hot.location;
                // Each is requested more often than the ones before it.
                let Some(left) = offer(&mut l1, n, hot, (n / 8) as u8) else { continue };
                inside.insert(location);
                for location in left {
                    assert!(inside.remove(&location), "an entry left that was not inside");
                    assert!(!l1.holds(location));
                }
                assert!(l1.bytes() <= max_bytes, "{}", l1.bytes());
                assert_eq!((l1.len(), l1.locations().count()), (inside.len(), inside.len()));
            }
            assert!(l1.len() > 50 && l1.bytes() > max_bytes / 2, "{} {}", l1.len(), l1.bytes());
            assert!(inside.iter().all(|location| l1.holds(*location)));
            for location in &inside {
                l1.remove(*location);
            }
            assert_eq!((l1.len(), l1.bytes(), l1.locations().count()), (0, 0, 0));
        }
    }

    #[test]
    fn a_scan_admits_nothing_to_a_full_l1() {
        let (mut l1, mut index) = (l1(200_000), Index::new());
        let mut n = 0;
        while offer(&mut l1, n, hot(&mut index, 1000), 2).is_some_and(|left| left.is_empty()) {
            n += 1;
        }
        assert!(n > 100, "{n} fit");
        for scanned in n..n + 5000 {
            assert!(offer(&mut l1, scanned, hot(&mut index, 1000), 1).is_none());
        }
        assert_eq!(l1.len(), n);
    }

    #[test]
    fn a_frequent_response_evicts_a_rare_one() {
        let (mut l1, mut index) = (l1(50_000), Index::new());
        for n in 0..60 {
            offer(&mut l1, n, hot(&mut index, 1000), 2);
        }
        let about_as_frequent = hot(&mut index, 1000);
        assert_eq!(offer(&mut l1, 1000, about_as_frequent, 3), None);
        let frequent = hot(&mut index, 1000);
        let location = frequent.location;
        assert_eq!(offer(&mut l1, 1000, frequent, 4).map(|left| left.len()), Some(1));
        assert!(l1.holds(location));
    }

    #[test]
    fn a_newer_response_replaces_an_older_one_to_the_same_request() {
        let (mut l1, mut index) = (l1(100_000), Index::new());
        let key = message_key(&l1, 1);
        let (old, new) = (hot(&mut index, 10), hot(&mut index, 20));
        let (old_location, new_location) = (old.location, new.location);
        assert_eq!(offer(&mut l1, 1, old, 2), Some(vec![]));
        assert_eq!(offer(&mut l1, 1, new, 2), Some(vec![old_location]));
        assert!(!l1.holds(old_location) && l1.holds(new_location));
        l1.remove(old_location);
        assert_eq!(l1.get(&key).map(|hot| hot.response.len()), Some(20));
        l1.remove(new_location);
        assert!(l1.get(&key).is_none() && l1.is_empty());
    }

    #[test]
    fn a_response_larger_than_l1_is_not_admitted() {
        let (mut l1, mut index) = (l1(1000), Index::new());
        let large = hot(&mut index, 5000);
        assert_eq!(offer(&mut l1, 1, large, 255), None);
        assert!(l1.is_empty());
    }

    #[test]
    fn a_response_counts_in_l1_with_its_overhead_and_as_512_bytes_at_least() {
        assert_eq!([0, 312, 313, 1000].map(weight), [512, 512, 513, 1200]);
    }

    /// Returns a full L1 with this number of responses, each of 1,200 bytes with its overhead and requested twice.
    fn full(count: usize) -> L1 {
        let (mut l1, mut index) = (l1(1200 * count as u64), Index::new());
        for n in 0..count {
            assert_eq!(offer(&mut l1, n, hot(&mut index, 1000), 2), Some(vec![]));
        }
        assert_eq!(l1.bytes(), l1.max_bytes());
        l1
    }

    fn victims(l1: &L1, n: usize, bytes: usize, frequency: u8, now_ms: i64) -> Option<Vec<L1Key>> {
        l1.weigh(message_key(l1, n), bytes, frequency, now_ms).map(|admission| admission.victims)
    }

    #[test]
    fn an_admission_to_l1_evicts_as_few_as_it_needs_and_64_at_most() {
        let l1 = full(100);
        let evicted = |bytes| victims(&l1, 1000, bytes, 4, 0).map(|victims| victims.len());
        let lengths = [1000, 1001, 64 * 1200 - 200, 64 * 1200 - 199];
        assert_eq!(lengths.map(evicted), [Some(1), Some(2), Some(64), None]);
        let distinct: HashSet<_> =
            victims(&l1, 1000, 50_000, 4, 0).expect("an admission").iter().map(|L1Key(hash)| *hash).collect();
        assert_eq!(distinct.len(), 42);
    }

    #[test]
    fn a_response_that_l1_holds_makes_room_for_its_own_successor() {
        let l1 = full(2);
        assert_eq!(victims(&l1, 0, 1000, 2, 0), Some(vec![]));
        assert_eq!(victims(&l1, 0, 1001, 4, 0), Some(vec![message_key(&l1, 1)]));
        assert_eq!(victims(&l1, 0, 2201, 4, 0), None);
    }

    #[test]
    fn a_response_requested_once_evicts_none_from_l1() {
        let l1 = full(3);
        let minutes_later = 5 * 60_000;
        assert_eq!(victims(&l1, 10, 1000, 1, minutes_later), None);
        assert_eq!(victims(&l1, 10, 1000, 2, minutes_later).map(|victims| victims.len()), Some(1));
        assert_eq!(victims(&l1, 10, 1000, 2, 0), None);
    }

    #[test]
    fn a_refusal_by_l1_stands_for_the_next_fifteen_that_are_requested_as_often() {
        let l1 = full(3);
        let may_admit = |frequency| l1.may_admit(message_key(&l1, 10), 1000, frequency);
        assert_eq!([1, 2, 3].map(may_admit), [false, true, true], "nobody was refused yet");
        assert_eq!(victims(&l1, 10, 1000, 2, 0), None);
        assert!(may_admit(3), "it is requested more often than the refused one");
        assert_eq!((0..16).map(|_| may_admit(2)).position(|may| may), Some(15));
    }

    #[test]
    fn an_entry_admitted_to_l1_again_has_not_left() {
        let (mut l1, mut index) = (l1(10_000), Index::new());
        let first = hot(&mut index, 10);
        let again = L1Entry { location: first.location, ..hot(&mut index, 20) };
        let location = first.location;
        assert_eq!(offer(&mut l1, 1, first, 2), Some(vec![]));
        assert_eq!(offer(&mut l1, 1, again, 2), Some(vec![]));
        assert!(l1.holds(location));
        assert_eq!((l1.len(), l1.bytes()), (1, LEAST));
    }

    #[test]
    fn requests_and_locations_spread_over_the_shards_and_tables_of_l1() {
        let (l1, mut index) = (l1(64 << 20), Index::new());
        let keys: Vec<_> = (0..1000).map(|n| message_key(&l1, n)).collect();
        let locations: Vec<_> = (0..1000).map(|n| (n % 16, hot(&mut index, 0).location.1)).collect();
        let table = BuildHasherDefault::<AsItIs>::default();
        let hashes = [
            keys.iter().map(|key| table.hash_one(key)).collect::<HashSet<_>>(),
            locations.iter().map(|location| l1.by_location.hash_one(location)).collect(),
        ];
        assert_eq!(hashes.map(|hashes| hashes.len()), [1000, 1000]);
        let shards = [
            keys.iter().map(|key| l1.shards.position(key.shard())).collect::<HashSet<_>>(),
            locations.iter().map(|at| l1.keys.position(l1.by_location.shard(*at))).collect(),
        ];
        assert_eq!(shards.map(|shards| shards.len()), [8, 8]);
    }
}
