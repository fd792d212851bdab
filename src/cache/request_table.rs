//! The request table: from a request to its response, without MD5, the key's name and the key.
//!
//! A response enters the table when it is first read from its key by a request that names its own persona, so a read
//! through the table needs no check of rights. It leaves with its entry's key, whatever takes that away. The table is told
//! of no invalidation: the reader asks the index. A response has at most one place in it.
//!
//! A request is found by a hash of 128 bits that is keyed by a secret of this process, so no client can make two requests
//! that share one; 96 of the bits are compared. Requests of up to 256 bytes are hashed by SipHash-1-3, which takes less than
//! half as long for them as the MAC of AEGIS-128X2, and longer ones by that (docs/dev/performance.md).

use crate::entry::Response;
use crate::request::{Fields, Request, in_one_piece};
use crate::sharded_table::{ShardedTable, Slot, bits};
use aegis::aegis128x2::{Aegis128X2Mac, Key};
use siphasher::sip128::SipHasher13;

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
    /// Those of the finder.
    bits: u32,
    check: u32,
    response: Response,
}

impl Slot for Place {
    fn bits(&self) -> u32 {
        self.bits
    }
}

/// The request table of one database. See the head of this file.
#[derive(Default)]
pub struct RequestTable {
    places: ShardedTable<Place>,
    len: usize,
}

impl RequestTable {
    /// Returns an empty table.
    pub const fn new() -> Self {
        RequestTable { places: ShardedTable::new(), len: 0 }
    }

    /// Returns the response to a request. The caller checks that it is fresh.
    pub fn get(&self, hash: &RequestHash) -> Option<&Response> {
        let is_it = |place: &Place| {
            if place.check != hash.check {
                return false;
            }
            // Its bytes arrive together with the facts about it, which the next line waits for.
            place.response.prefetch();
            place.response.request_hash() == hash.finder
        };
        self.places.find(hash.finder, is_it).map(|place| &place.response)
    }

    /// Inserts a response that is in no table.
    pub fn insert(&mut self, hash: &RequestHash, response: &Response) {
        response.set_request_hash(hash.finder);
        let place = Place { bits: bits(hash.finder), check: hash.check, response: response.clone() };
        self.places.insert(hash.finder, place);
        self.len += 1;
    }

    /// Removes a response, if it is there.
    pub fn remove(&mut self, response: &Response) {
        if response.request_hash() == 0 {
            return;
        }
        if self.places.remove(response.request_hash(), |place| place.response.is(response)).is_some() {
            self.len -= 1;
        }
        response.set_request_hash(0);
    }

    /// Puts the same response in another encoding in the place of `old`, if that is there.
    pub fn replace(&mut self, old: &Response, new: &Response) {
        if let Some(place) = self.places.find_mut(old.request_hash(), |place| place.response.is(old)) {
            place.response = new.clone();
        }
    }

    /// Runs `body`, which may move a response in memory, while the table has no share in it.
    pub fn relocate(&mut self, response: &mut Response, body: impl FnOnce(&mut Response)) {
        let finder = response.request_hash();
        let Some(Place { bits, check, response: shared }) =
            self.places.remove(finder, |place| place.response.is(response))
        else {
            return body(response);
        };
        drop(shared);
        body(response);
        self.places.insert(finder, Place { bits, check, response: response.clone() });
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
        self.places.heap_bytes()
    }
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
        assert!(
            table.places.shard_lengths().all(|length| (100..600).contains(&length)),
            "shards fill evenly"
        );
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
