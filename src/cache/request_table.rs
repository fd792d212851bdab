//! The request table: from a request to its response, without MD5, the key's name and the key.
//!
//! A response enters the table when it is first read from its key by a request that names its own persona, so a read
//! through the table needs no check of rights. It leaves with its entry's key, whatever takes that away. The table is told
//! of no invalidation: the reader asks the index. A response has at most one place in it.
//!
//! A request is found by a hash of 128 bits that is keyed by a secret of this process, so no client can make two requests
//! that share one; 96 of the bits are compared. Requests of up to 256 bytes are hashed by SipHash-1-3, which takes less than
//! half as long for them as the MAC of AEGIS-128X2, and longer ones by that (docs/dev/performance.md).
//!
//! The table is split into 64 shards, so that growth moves a 64th of it at once, and growth reads no response.

use crate::entry::Response;
use crate::request::{Fields, Request, in_one_piece};
use aegis::aegis128x2::{Aegis128X2Mac, Key};
use hashbrown::HashTable;
use siphasher::sip128::SipHasher13;

const SHARDS: usize = 64;

/// The hash of a request for one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestHash {
    /// The half that finds the response, and that the response keeps. It is not 0.
    pub finder: u64,
    /// The other half, which a place keeps in part.
    check: u32,
}

/// Hashes requests under a secret that no client may be able to guess.
#[derive(Clone, Copy)]
pub struct RequestHasher {
    short: Key,
    long: Key,
}

impl RequestHasher {
    /// Returns the hasher of a secret: a key for short requests, and one for long ones.
    pub const fn new([short, long]: [Key; 2]) -> RequestHasher {
        RequestHasher { short, long }
    }

    /// Returns the hash of a request. The persona is part of it whatever the tier.
    pub fn hash(&self, request: &Request<'_>) -> RequestHash {
        // The persona stands first, so the parts need not repeat it. The kind tells which fields follow, and each but
        // the last comes after its length: no two requests are the same bytes.
        let Fields { kind, user, persona: _, last } = request.parts().fields();
        let (user, persona) = (user.unwrap_or_default(), request.persona);
        let [a, b, c, d] = (persona.len() as u32).to_le_bytes();
        let [e, f, g, h] = (user.len() as u32).to_le_bytes();
        let head = [kind, a, b, c, d, e, f, g, h];
        let pieces = [&head[..], persona, user, last];
        let hash = match in_one_piece(pieces) {
            Some(whole) => SipHasher13::new_with_key(&self.short).hash(&whole).as_u128(),
            None => {
                let mut mac = Aegis128X2Mac::<16>::new(&self.long);
                pieces.iter().for_each(|piece| mac.update(piece));
                u128::from_le_bytes(mac.finalize())
            }
        };
        let (finder, check) = (hash as u64, (hash >> 64) as u32);
        RequestHash { finder: finder.max(1), check }
    }
}

/// A response in the table.
struct Place {
    /// The low half of the finder: growth reads it here.
    bits: u32,
    check: u32,
    response: Response,
}

/// The request table of one database. See the head of this file.
#[derive(Default)]
pub struct RequestTable {
    /// Empty before the first insert, then `SHARDS`.
    shards: Vec<HashTable<Place>>,
    len: usize,
}

impl RequestTable {
    /// Returns an empty table.
    pub const fn new() -> Self {
        RequestTable { shards: Vec::new(), len: 0 }
    }

    /// Returns the response to a request. The caller checks that it is fresh.
    pub fn get(&self, hash: &RequestHash) -> Option<&Response> {
        let (shard, bits) = split(hash.finder);
        let is_it = |place: &Place| {
            if (place.bits, place.check) != (bits, hash.check) {
                return false;
            }
            // Its bytes arrive together with the facts about it, which the next line waits for.
            place.response.prefetch();
            place.response.request_hash() == hash.finder
        };
        Some(&self.shards.get(shard)?.find(spread(bits), is_it)?.response)
    }

    /// Inserts a response that is in no table.
    pub fn insert(&mut self, hash: &RequestHash, response: &Response) {
        if self.shards.is_empty() {
            self.shards.resize_with(SHARDS, HashTable::new);
        }
        let (shard, bits) = split(hash.finder);
        let Some(table) = self.shards.get_mut(shard) else { return };
        response.set_request_hash(hash.finder);
        let place = Place { bits, check: hash.check, response: response.clone() };
        table.insert_unique(spread(bits), place, |place| spread(place.bits));
        self.len += 1;
    }

    /// Removes a response, if it is there.
    pub fn remove(&mut self, response: &Response) {
        if response.request_hash() == 0 {
            return;
        }
        let (shard, bits) = split(response.request_hash());
        response.set_request_hash(0);
        let Some(table) = self.shards.get_mut(shard) else { return };
        let Ok(place) = table.find_entry(spread(bits), |place| place.response.is(response)) else { return };
        place.remove();
        self.len -= 1;
        // A shard returns the memory of removed places; at an eighth, it does not soon grow again.
        if table.len() < table.capacity() / 8 {
            table.shrink_to(table.len() * 2, |place| spread(place.bits));
        }
    }

    /// Puts the same response in another encoding in the place of `old`, if that is there.
    pub fn replace(&mut self, old: &Response, new: &Response) {
        let (shard, bits) = split(old.request_hash());
        if let Some(table) = self.shards.get_mut(shard)
            && let Some(place) = table.find_mut(spread(bits), |place| place.response.is(old))
        {
            place.response = new.clone();
        }
    }

    /// Runs `body`, which may move a response in memory, while the table has no share in it.
    pub fn relocate(&mut self, response: &mut Response, body: impl FnOnce(&mut Response)) {
        let (shard, bits) = split(response.request_hash());
        let Some(table) = self.shards.get_mut(shard) else { return body(response) };
        let Ok(place) = table.find_entry(spread(bits), |place| place.response.is(response)) else {
            return body(response);
        };
        let (Place { check, response: shared, .. }, vacant) = place.remove();
        drop(shared);
        body(response);
        vacant.insert(Place { bits, check, response: response.clone() });
    }

    /// Returns the number of responses.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if the table has no response.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the bytes that the table takes beside the responses.
    pub fn heap_bytes(&self) -> u64 {
        let tables: usize = self.shards.iter().map(HashTable::allocation_size).sum();
        (tables + self.shards.capacity() * size_of::<HashTable<Place>>()) as u64
    }
}

/// Returns the shard, and the bits by which it finds a place.
fn split(finder: u64) -> (usize, u32) {
    ((finder >> 32) as usize % SHARDS, finder as u32)
}

/// Returns a hash from the 32 bits: hashbrown takes the bucket from the low bits and a 7-bit tag from the top.
fn spread(bits: u32) -> u64 {
    u64::from(bits) << 32 | u64::from(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{ALWAYS_FRESH, Encoding, Facts};
    use crate::request::fingerprint::Fingerprint;
    use crate::request::{Accepts, RequestArgs};
    use std::collections::HashSet;

    const HASHER: RequestHasher = RequestHasher::new([[1; 16], [2; 16]]);

    fn hash_by(
        hasher: RequestHasher,
        [tier, user, persona, message]: [&str; 4],
        id: Option<&str>,
    ) -> RequestHash {
        let arguments = [tier, user, persona, message].map(str::as_bytes);
        let asked =
            RequestArgs::parse(Accepts::Tiers, arguments, id.map(str::as_bytes)).expect("a valid request");
        hasher.hash(&asked.request())
    }

    fn message(n: usize) -> RequestHash {
        hash_by(HASHER, ["msg", "", "helper", &n.to_string()], None)
    }

    fn response() -> Response {
        let fingerprint = Fingerprint::from_bytes([0; 32]);
        let facts = Facts { fingerprint, stored_at_ms: 0, fresh_until_ms: ALWAYS_FRESH, cost_ms: 0, hits: 0 };
        Response::new(&facts, b"x")
    }

    #[test]
    fn no_two_requests_share_a_hash() {
        let requests = [
            (["msg", "", "a", "bc"], None),
            (["msg", "", "ab", "c"], None),
            (["persona", "", "a", "bc"], None),
            (["persona", "", "ab", "c"], None),
            (["session", "u", "a", "bc"], None),
            (["session", "ua", "b", "c"], None),
            (["session", "u", "a", "bc"], Some("bc")),
            (["session", "u", "a", ""], Some("b")),
            (["response", "u", "a", "bc"], None),
            (["response", "ub", "a", "c"], None),
            (["response", "u", "ab", "c"], None),
        ];
        let hashes: HashSet<_> =
            requests.iter().map(|(request, id)| hash_by(HASHER, *request, *id)).collect();
        assert_eq!(hashes.len(), requests.len());
        // Fields that the tier does not use are not part of the hash.
        let asked = |user| hash_by(HASHER, ["persona", user, "a", "bc"], None);
        assert_eq!(asked("ann"), asked(""));
        let asked = |message| hash_by(HASHER, ["session", "u", "a", message], Some("1"));
        assert_eq!(asked("one"), asked(""));
        // Another process has another secret, and so another hash.
        let other = RequestHasher::new([[3; 16], [2; 16]]);
        assert_ne!(asked("one"), hash_by(other, ["session", "u", "a", "one"], Some("1")));
    }

    #[test]
    fn a_request_finds_its_response_until_that_is_removed() {
        let mut table = RequestTable::new();
        let all: Vec<_> = (0..20_000).map(|n| (message(n), response())).collect();
        for (hash, response) in &all {
            assert!(table.get(hash).is_none());
            table.insert(hash, response);
        }
        assert_eq!(table.len(), 20_000);
        assert!(table.shards.iter().all(|shard| (100..600).contains(&shard.len())), "shards fill evenly");
        let full = table.heap_bytes();
        for (hash, response) in &all {
            assert!(table.get(hash).is_some_and(|found| found.is(response)));
            assert!(table.get(&RequestHash { check: !hash.check, ..*hash }).is_none());
            assert!(table.get(&RequestHash { finder: hash.finder ^ 1 << 63, ..*hash }).is_none());
            table.remove(response);
            table.remove(response);
            assert!(table.get(hash).is_none() && response.request_hash() == 0);
        }
        assert!(table.is_empty() && table.heap_bytes() < full / 8, "{} of {full}", table.heap_bytes());
    }

    #[test]
    fn a_response_in_another_encoding_takes_the_place_of_the_first() {
        let (mut table, hash, old) = (RequestTable::new(), message(1), response());
        table.insert(&hash, &old);
        let new = old.encoded(Encoding::Lz4, b"y");
        table.replace(&old, &new);
        assert!(table.get(&hash).is_some_and(|found| found.is(&new)));
        table.remove(&old);
        assert_eq!(table.len(), 1, "the old one is in no place");
        table.remove(&new);
        assert!(table.is_empty());
        // One that is not there has no place to be taken.
        table.replace(&old, &new);
        assert!(table.is_empty() && table.get(&hash).is_none());
    }
}
