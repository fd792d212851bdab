//! L1: the hot responses, kept raw and ready to send.
//!
//! The request table leads to all responses that have been read, hot or cold. L1 is the choice of those that are not
//! compressed: it holds a list of them, and no bytes of its own.
//!
//! **Admission** is by frequency, as in TinyLFU: L1 admits a response if it is clearly requested more often than each response
//! that it would evict (`with_margin`). The victim is the least frequent of a few neighbours in the list, as in Redis's own
//! LFU. So a pass over all entries admits none of them, and uniform requests over a large data set soon leave L1 as it is.
//!
//! **Bounds**: a shard holds its share of `l1-max-bytes`, in which each response counts with its overhead and as 512 bytes
//! at least. Lists grow at once, so shards are small.

use crate::cache::location::{Location, after_swap};
use crate::entry::{RESPONSE_OVERHEAD, Response};
use std::cell::Cell;

/// Bytes that a response costs in L1 beside its own: the facts about it, and its places in L1 and in the request table.
const OVERHEAD: u64 = RESPONSE_OVERHEAD as u64 + size_of::<Hot>() as u64 + 24;

/// The least that a response counts, in bytes. It bounds the number of responses.
const LEAST: u64 = 512;

/// A shard's share of the bytes is this or up to twice as much, where there is more than one shard. Such a shard holds
/// 32,768 responses at most.
const SHARD_BYTES: u64 = 8 << 20;

/// The greatest number of shards, enough for an L1 of 512 GB.
const MOST_SHARDS: u64 = 1 << 16;

/// The number of neighbours of which the least frequent is a victim.
const SAMPLE: usize = 5;

/// A response that is requested less often evicts none, even where the others are requested no more: a scan requests each
/// once.
const LEAST_TO_EVICT: u8 = 2;

/// Returns the number of requests that a response must be ahead of, to evict one that was requested this often. The counts of
/// responses that are all requested alike differ by chance: exchanges would cost more than L1 saves.
fn with_margin(frequency: u8) -> u8 {
    frequency.saturating_add(1).saturating_add(frequency / 4)
}

/// The number of responses that are refused after one that was requested as often as they are.
const REFUSED_ALIKE: u8 = 63;

/// The most responses that learn of a new place when a database is emptied: each costs a cache miss.
const MOST_MOVED: usize = 20_000;

/// The greatest number of responses that one admission evicts: a larger response stays compressed.
const MOST_VICTIMS: usize = 64;

/// A response in L1, its length and its entry, so that a look at these reads nothing of the response.
struct Hot {
    location: Location,
    raw_bytes: u32,
    response: Response,
}

impl Hot {
    fn weight(&self) -> u64 {
        weight(self.raw_bytes)
    }
}

/// See the head of this file.
pub struct L1 {
    shards: Box<[Shard]>,
    max_bytes: u64,
    /// The number of responses.
    len: usize,
}

/// Part of the responses, with their bytes counted.
#[derive(Default)]
struct Shard {
    responses: Vec<Hot>,
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
    victims: Vec<Response>,
}

/// A response that applies for admission, which L1 does not hold.
#[derive(Clone, Copy)]
pub struct Candidate {
    /// The half of its request's hash by which the request table finds it. It chooses the shard.
    pub finder: u64,
    /// Its length, raw.
    pub raw_bytes: u32,
    /// The number of its requests, the older ones counting less.
    pub frequency: u8,
}

impl L1 {
    /// Returns an empty L1.
    pub fn new(max_bytes: u64) -> L1 {
        let bits = (max_bytes / SHARD_BYTES).clamp(1, MOST_SHARDS).ilog2();
        let share = max_bytes >> bits;
        let shards = (0..1 << bits).map(|_| Shard { max_bytes: share, ..Shard::default() }).collect();
        L1 { shards, max_bytes, len: 0 }
    }

    /// Returns true if L1 holds a response.
    pub fn holds(&self, response: &Response) -> bool {
        response.l1_place() > 0 && self.shard(response.request_hash()).place_of(response).is_some()
    }

    /// Returns false if L1 has no room for one more response of this length, and it is requested too rarely to evict any, or
    /// one that is requested as often was just refused. This looks at no response: each request of a scan ends here.
    pub fn may_admit(&self, candidate: Candidate) -> bool {
        let shard = self.shard(candidate.finder);
        if shard.bytes + weight(candidate.raw_bytes) <= shard.max_bytes {
            return true;
        }
        if candidate.frequency < LEAST_TO_EVICT {
            return false;
        }
        let mut refusals = shard.refusals.get();
        let alike = candidate.frequency <= refusals.frequency && refusals.left > 0;
        if alike {
            refusals.left -= 1;
            shard.refusals.set(refusals);
        }
        !alike
    }

    /// Decides whether L1 admits a response that may be admitted. Returns None if it would have to evict a response that is
    /// requested as often, or more than 64 responses.
    pub fn weigh(&self, candidate: Candidate, now_ms: i64) -> Option<Admission> {
        let Candidate { finder, raw_bytes, frequency } = candidate;
        let shard = self.shard(finder);
        let mut excess = (shard.bytes + weight(raw_bytes)).saturating_sub(shard.max_bytes);
        let mut victims: Vec<Response> = Vec::new();
        let mut start = finder;
        while excess > 0 {
            let is_new = |hot: &Hot| !victims.iter().any(|victim| victim.is(&hot.response));
            let victim = shard.least_frequent(start, now_ms, is_new)?;
            if with_margin(victim.response.frequency().at(now_ms)) >= frequency {
                shard.refusals.set(Refusals { frequency, left: REFUSED_ALIKE });
                return None;
            }
            if victims.len() == MOST_VICTIMS {
                return None;
            }
            excess = excess.saturating_sub(victim.weight());
            victims.push(victim.response.clone());
            start = start.rotate_left(13).wrapping_add(SAMPLE as u64);
        }
        Some(Admission { victims })
    }

    /// Admits a response that is raw and in the request table, and returns the entries whose responses have left for it.
    pub fn admit(
        &mut self,
        Admission { victims }: Admission,
        location: Location,
        response: &Response,
    ) -> Vec<Location> {
        let shard = self.shard_mut(response.request_hash());
        let left: Vec<Location> = victims.iter().filter_map(|victim| shard.take(victim)).collect();
        shard.put(Hot { location, raw_bytes: response.raw_bytes(), response: response.clone() });
        self.len = self.len + 1 - left.len();
        left
    }

    /// Takes a response out, if L1 holds it.
    pub fn remove(&mut self, response: &Response) {
        if response.l1_place() > 0 && self.shard_mut(response.request_hash()).take(response).is_some() {
            self.len -= 1;
        }
    }

    /// Takes all responses of a database out, and returns them to be freed. Returns None if that would take long, as many
    /// responses of other databases would have to learn of their new places.
    pub fn remove_database(&mut self, database: i32) -> Option<Vec<Response>> {
        let of_it = |hot: &&Hot| hot.location.0 == database;
        let leave = self.shards.iter().flat_map(|shard| &shard.responses).filter(of_it).count();
        if leave.min(self.len - leave) > MOST_MOVED {
            return None;
        }
        let mut removed = Vec::with_capacity(leave);
        for shard in &mut self.shards {
            shard.remove_database(database, &mut removed);
        }
        self.len -= removed.len();
        Some(removed)
    }

    /// Follows a swap of two databases.
    pub fn swap_databases(&mut self, swap: (i32, i32)) {
        let all = self.shards.iter_mut().flat_map(|shard| &mut shard.responses);
        all.for_each(|hot| hot.location.0 = after_swap(hot.location.0, swap));
    }

    /// Returns the locations of all responses.
    pub fn locations(&self) -> impl Iterator<Item = Location> {
        self.shards.iter().flat_map(|shard| &shard.responses).map(|hot| hot.location)
    }

    /// Returns the number of responses.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if L1 holds no response.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the bytes of the responses, with what keeping them takes.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.bytes).sum()
    }

    /// Returns the bound on `bytes`.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    fn position(&self, finder: u64) -> usize {
        finder as usize & (self.shards.len() - 1)
    }

    fn shard(&self, finder: u64) -> &Shard {
        &self.shards[self.position(finder)]
    }

    fn shard_mut(&mut self, finder: u64) -> &mut Shard {
        &mut self.shards[self.position(finder)]
    }
}

impl Shard {
    /// Returns the position of a response. One that is in another L1, or in none any more, has none.
    fn place_of(&self, response: &Response) -> Option<usize> {
        let place = (response.l1_place() as usize).checked_sub(1)?;
        self.responses.get(place).filter(|hot| hot.response.is(response)).map(|_| place)
    }

    fn put(&mut self, hot: Hot) {
        self.bytes += hot.weight();
        hot.response.set_l1_place(self.responses.len() as u32 + 1);
        self.responses.push(hot);
    }

    /// Takes a response out, and returns its location.
    fn take(&mut self, response: &Response) -> Option<Location> {
        let place = self.place_of(response)?;
        let hot = self.responses.swap_remove(place);
        hot.response.set_l1_place(0);
        self.tell_place(place);
        self.bytes -= hot.weight();
        self.give_back_memory();
        Some(hot.location)
    }

    /// Takes the responses of a database out. It touches none of them, and of the others those that fill their places.
    fn remove_database(&mut self, database: i32, removed: &mut Vec<Response>) {
        let mut place = 0;
        while place < self.responses.len() {
            let is_its = |hot: &Hot| hot.location.0 == database;
            // The last ones of that database fill no place.
            while self.responses.last().is_some_and(is_its) {
                removed.extend(self.responses.pop().map(|hot| hot.response));
            }
            if self.responses.get(place).is_some_and(is_its) {
                removed.push(self.responses.swap_remove(place).response);
                self.tell_place(place);
            }
            place += 1;
        }
        self.bytes = self.responses.iter().map(Hot::weight).sum();
        self.give_back_memory();
    }

    /// Tells the response in a place of it, if there is one.
    fn tell_place(&self, place: usize) {
        if let Some(moved) = self.responses.get(place) {
            moved.response.set_l1_place(place as u32 + 1);
        }
    }

    /// Frees memory that a list eight times as long needed.
    fn give_back_memory(&mut self) {
        if self.responses.capacity() > 1024 && self.responses.len() < self.responses.capacity() / 8 {
            self.responses.shrink_to(self.responses.len() * 2);
        }
    }

    /// Returns the least frequent of a few neighbours that `may_leave` allows.
    fn least_frequent(&self, start: u64, now_ms: i64, may_leave: impl Fn(&Hot) -> bool) -> Option<&Hot> {
        let count = self.responses.len();
        // The start is a hash, so it falls anywhere.
        let start = start.checked_rem(count as u64)? as usize;
        (start..count)
            .chain(0..start)
            .filter_map(|place| self.responses.get(place))
            .filter(|hot| may_leave(hot))
            .take(SAMPLE)
            .min_by_key(|hot| hot.response.frequency().at(now_ms))
    }
}

/// The bytes for which a response of this length counts.
fn weight(raw_bytes: u32) -> u64 {
    (u64::from(raw_bytes) + OVERHEAD).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{ALWAYS_FRESH, Facts};
    use crate::index::{Index, Name};
    use crate::request::fingerprint::Fingerprint;
    use crate::tier::Tier;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// Returns the hash by which the table would find the n-th request.
    fn finder(n: usize) -> u64 {
        (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn entry(index: &mut Index, n: usize, bytes: usize) -> (Location, Response) {
        let fingerprint = Fingerprint::from_bytes([0; 32]);
        let facts = Facts { fingerprint, stored_at_ms: 0, fresh_until_ms: ALWAYS_FRESH, cost_ms: 0, hits: 0 };
        let response = Response::new(&facts, &vec![b'x'; bytes]);
        response.set_request_hash(finder(n));
        let handle = index.link(Tier::Msg, b"helper", b"", Name::Canonical([0; 16]), bytes as u64);
        ((0, handle), response)
    }

    fn candidate(n: usize, bytes: usize, frequency: u8) -> Candidate {
        Candidate { finder: finder(n), raw_bytes: bytes as u32, frequency }
    }

    /// Admits a response that is requested this often, if L1 takes it.
    fn offer(
        l1: &mut L1,
        (location, response): &(Location, Response),
        frequency: u8,
    ) -> Option<Vec<Location>> {
        (0..frequency).for_each(|_| response.count_hit(0));
        let candidate =
            Candidate { finder: response.request_hash(), raw_bytes: response.raw_bytes(), frequency };
        let admission = l1.may_admit(candidate).then(|| l1.weigh(candidate, 0))??;
        Some(l1.admit(admission, *location, response))
    }

    #[test]
    fn l1_stays_within_its_bytes_and_tells_which_entries_leave() {
        for (max_bytes, longest) in [(100_000, 1_000), (50 << 20, 500_000)] {
            let (mut l1, mut index) = (L1::new(max_bytes), Index::new());
            assert_eq!(l1.max_bytes(), max_bytes);
            let mut inside: Vec<(Location, Response)> = Vec::new();
            for n in 0..2000 {
                let hot = entry(&mut index, n, longest / 1000 * (n % 1000));
                // Each is requested more often than the ones before it.
                let Some(left) = offer(&mut l1, &hot, (n / 8) as u8) else { continue };
                inside.push(hot);
                for location in left {
                    let place = inside.iter().position(|(inside, _)| *inside == location);
                    let (_, response) = inside.swap_remove(place.expect("an entry left that was not inside"));
                    assert!(!l1.holds(&response));
                }
                assert!(l1.bytes() <= max_bytes, "{}", l1.bytes());
                assert_eq!((l1.len(), l1.locations().count()), (inside.len(), inside.len()));
            }
            assert!(l1.len() > 50 && l1.bytes() > max_bytes / 2, "{} {}", l1.len(), l1.bytes());
            for (_, response) in &inside {
                assert!(l1.holds(response));
                l1.remove(response);
                l1.remove(response);
                assert!(!l1.holds(response));
            }
            assert_eq!((l1.len(), l1.bytes(), l1.locations().count()), (0, 0, 0));
        }
    }

    #[test]
    fn a_scan_admits_nothing_to_a_full_l1() {
        let (mut l1, mut index) = (L1::new(200_000), Index::new());
        let mut n = 0;
        while offer(&mut l1, &entry(&mut index, n, 1000), 2).is_some_and(|left| left.is_empty()) {
            n += 1;
        }
        assert!(n > 100, "{n} fit");
        for scanned in n..n + 5000 {
            assert!(offer(&mut l1, &entry(&mut index, scanned, 1000), 1).is_none());
        }
        assert_eq!(l1.len(), n);
    }

    #[test]
    fn a_frequent_response_evicts_a_rare_one() {
        let (mut l1, mut index) = (L1::new(50_000), Index::new());
        for n in 0..60 {
            offer(&mut l1, &entry(&mut index, n, 1000), 2);
        }
        assert_eq!(offer(&mut l1, &entry(&mut index, 1000, 1000), 3), None);
        let frequent = entry(&mut index, 1001, 1000);
        assert_eq!(offer(&mut l1, &frequent, 4).map(|left| left.len()), Some(1));
        assert!(l1.holds(&frequent.1));
    }

    #[test]
    fn a_response_evicts_one_that_is_requested_four_fifths_as_often_or_less() {
        assert_eq!([0, 1, 2, 3, 4, 16, 100, 203, 255].map(with_margin), [1, 2, 3, 4, 6, 21, 126, 254, 255]);
    }

    #[test]
    fn a_response_larger_than_l1_is_not_admitted() {
        let (mut l1, mut index) = (L1::new(1000), Index::new());
        assert_eq!(offer(&mut l1, &entry(&mut index, 1, 5000), 255), None);
        assert!(l1.is_empty());
    }

    #[test]
    fn a_response_counts_in_l1_with_its_overhead_and_as_512_bytes_at_least() {
        assert_eq!([0, 344, 345, 1000].map(weight), [512, 512, 513, 1168]);
    }

    /// Returns a full L1 of one shard with this number of responses, each of 1,168 bytes with its overhead and requested
    /// twice.
    fn full(count: usize) -> L1 {
        let (mut l1, mut index) = (L1::new(1168 * count as u64), Index::new());
        for n in 0..count {
            assert_eq!(offer(&mut l1, &entry(&mut index, n, 1000), 2), Some(vec![]));
        }
        assert_eq!(l1.bytes(), l1.max_bytes());
        l1
    }

    fn victims(l1: &L1, candidate: Candidate, now_ms: i64) -> Option<Vec<Response>> {
        let admission = l1.may_admit(candidate).then(|| l1.weigh(candidate, now_ms))??;
        Some(admission.victims)
    }

    #[test]
    fn an_admission_to_l1_evicts_as_few_as_it_needs_and_64_at_most() {
        let l1 = full(100);
        let evicted = |bytes| victims(&l1, candidate(1000, bytes, 4), 0).map(|victims| victims.len());
        let lengths = [1000, 1001, 64 * 1168 - 168, 64 * 1168 - 167];
        assert_eq!(lengths.map(evicted), [Some(1), Some(2), Some(64), None]);
        let victims = victims(&l1, candidate(1000, 50_000, 4), 0).expect("an admission");
        let distinct: HashSet<_> = victims.iter().map(Response::request_hash).collect();
        assert_eq!(distinct.len(), 43);
    }

    #[test]
    fn a_response_requested_once_evicts_none_from_l1() {
        let l1 = full(3);
        let minutes_later = 5 * 60_000;
        let evicted = |frequency, now_ms| {
            victims(&l1, candidate(10, 1000, frequency), now_ms).map(|victims| victims.len())
        };
        assert_eq!(evicted(1, minutes_later), None);
        assert_eq!(evicted(2, minutes_later), Some(1));
        assert_eq!(evicted(2, 0), None);
    }

    #[test]
    fn a_refusal_by_l1_stands_for_the_next_63_that_are_requested_as_often() {
        let l1 = full(3);
        let may_admit = |frequency| l1.may_admit(candidate(10, 1000, frequency));
        assert_eq!([1, 2, 3].map(may_admit), [false, true, true], "nobody was refused yet");
        assert!(victims(&l1, candidate(10, 1000, 2), 0).is_none());
        assert!(may_admit(3), "it is requested more often than the refused one");
        assert_eq!((0..100).map(|_| may_admit(2)).position(|may| may), Some(63));
    }

    #[test]
    fn l1_follows_databases_that_are_swapped_or_emptied() {
        let (mut l1, mut index) = (L1::new(64 << 20), Index::new());
        let all: Vec<_> = (0..90).map(|n| entry(&mut index, n, 10)).collect();
        for (n, ((_, handle), response)) in all.iter().enumerate() {
            let hot = ((n as i32 % 3, *handle), response.clone());
            assert_eq!(offer(&mut l1, &hot, 1), Some(vec![]));
        }
        l1.swap_databases((0, 1));
        assert_eq!(l1.remove_database(0).map(|removed| removed.len()), Some(30));
        assert_eq!(l1.remove_database(0).map(|removed| removed.len()), Some(0));
        let stays: Vec<bool> = all.iter().map(|(_, response)| l1.holds(response)).collect();
        assert!(stays.iter().enumerate().all(|(n, stays)| *stays == (n % 3 != 1)), "{stays:?}");
        assert_eq!((l1.len(), l1.bytes()), (60, 60 * LEAST));
        assert!(l1.locations().all(|(database, _)| database == 1 || database == 2));
    }

    proptest! {
        #[test]
        fn l1_holds_what_a_plain_list_of_its_steps_does(steps in prop::collection::vec((0..12u8, 0..4i32, any::<u16>()), 1..400)) {
            let (mut l1, mut index) = (L1::new(32 << 20), Index::new());
            let mut inside: Vec<(Location, Response)> = Vec::new();
            let mut gone: Vec<Response> = Vec::new();
            for (n, (step, database, choice)) in steps.into_iter().enumerate() {
                match step {
                    0 => {
                        let removed = l1.remove_database(database).expect("few move");
                        let (leaves, stays) = inside.drain(..).partition(|((at, _), _)| *at == database);
                        inside = stays;
                        let leaves: Vec<(Location, Response)> = leaves;
                        prop_assert_eq!(removed.len(), leaves.len());
                        gone.extend(leaves.into_iter().map(|(_, response)| response));
                    }
                    1 => {
                        l1.swap_databases((database, 2));
                        inside.iter_mut().for_each(|((at, _), _)| *at = after_swap(*at, (database, 2)));
                    }
                    2..4 if !inside.is_empty() => {
                        let (_, response) = inside.swap_remove(usize::from(choice) % inside.len());
                        l1.remove(&response);
                        gone.push(response);
                    }
                    _ => {
                        let ((_, handle), response) = entry(&mut index, n, usize::from(choice) % 2000);
                        let hot = ((database, handle), response);
                        prop_assert_eq!(offer(&mut l1, &hot, 1), Some(vec![]));
                        inside.push(hot);
                    }
                }
                prop_assert!(inside.iter().all(|(_, response)| l1.holds(response)));
                prop_assert!(!gone.iter().any(|response| l1.holds(response)));
                prop_assert_eq!(l1.len(), inside.len());
                let bytes: u64 = inside.iter().map(|(_, response)| weight(response.raw_bytes())).sum();
                prop_assert_eq!(l1.bytes(), bytes);
                let mut locations: Vec<_> = l1.locations().map(|(at, handle)| (at, handle.to_bits())).collect();
                let mut expected: Vec<_> = inside.iter().map(|((at, handle), _)| (*at, handle.to_bits())).collect();
                locations.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(locations, expected);
            }
        }
    }

    #[test]
    fn a_database_with_half_of_a_large_l1_is_not_taken_out() {
        let (mut l1, mut index) = (L1::new(64 << 20), Index::new());
        let mut admit = |l1: &mut L1, n: usize, database| {
            let ((_, handle), response) = entry(&mut index, n, 0);
            assert_eq!(offer(l1, &((database, handle), response), 1), Some(vec![]));
        };
        (0..MOST_MOVED).for_each(|n| admit(&mut l1, n, 0));
        (0..MOST_MOVED + 1).for_each(|n| admit(&mut l1, n + MOST_MOVED, 1));
        assert_eq!(l1.remove_database(2).map(|removed| removed.len()), Some(0));
        admit(&mut l1, 3 * MOST_MOVED, 0);
        assert!(l1.remove_database(1).is_none());
        admit(&mut l1, 3 * MOST_MOVED + 1, 1);
        assert_eq!(l1.len(), 2 * MOST_MOVED + 3);
        l1.swap_databases((0, 5));
        for n in 0..3 {
            admit(&mut l1, 4 * MOST_MOVED + n, 6);
        }
        assert_eq!(l1.remove_database(6).map(|removed| removed.len()), Some(3));
    }

    #[test]
    fn l1_gives_back_the_memory_of_a_list_that_was_longer() {
        let (mut l1, mut index) = (L1::new(8 << 20), Index::new());
        let all: Vec<_> = (0..8000).map(|n| entry(&mut index, n, 0)).collect();
        for hot in &all {
            assert_eq!(offer(&mut l1, hot, 1), Some(vec![]));
        }
        let capacity = |l1: &L1| l1.shards.iter().map(|shard| shard.responses.capacity()).sum::<usize>();
        assert!(capacity(&l1) >= 8000);
        all.iter().skip(10).for_each(|(_, response)| l1.remove(response));
        assert!(capacity(&l1) <= 1024, "{}", capacity(&l1));
        assert!(all.iter().take(10).all(|(_, response)| l1.holds(response)));
    }

    #[test]
    fn a_response_of_a_replaced_l1_is_not_in_the_new_one() {
        let (mut old, mut new, mut index) = (L1::new(10_000), L1::new(10_000), Index::new());
        let [one, other] = [1, 2].map(|n| entry(&mut index, n, 10));
        assert_eq!(offer(&mut old, &one, 2), Some(vec![]));
        assert_eq!(offer(&mut new, &other, 2), Some(vec![]));
        assert_eq!(one.1.l1_place(), other.1.l1_place());
        assert!(!new.holds(&one.1));
        new.remove(&one.1);
        assert_eq!((new.len(), new.holds(&other.1)), (1, true));
        assert_eq!(offer(&mut new, &one, 2), Some(vec![]));
        assert!(new.holds(&one.1));
    }

    #[test]
    fn requests_spread_over_the_shards_of_l1() {
        let l1 = L1::new(64 << 20);
        let shards: HashSet<_> = (0..1000).map(|n| l1.position(finder(n))).collect();
        assert_eq!(shards.len(), 8);
    }
}
