//! A response as it is stored: its bytes, raw or compressed, and the facts about it, in one allocation.
//!
//! The entry, the request table, L1, the clients that waited, and the thread that compresses share it by counted references.
//! Its bytes never change; compressing them makes another response with the same facts. The facts change on the main thread
//! only. They are atomic because other threads hold references too, and are read and written without bus locks.

use crate::entry::Frequency;
use crate::entry::compression::{self, Damaged, Encoding};
use crate::index::{Handle, Size, Walk};
use crate::redis::{Defrag, prefetch};
use crate::request::fingerprint::Fingerprint;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use triomphe::ThinArc;

/// A response as it is stored. Clones share it.
#[derive(Clone)]
pub struct Response(ThinArc<Header, u8>);

/// The facts about a response that are known when it is stored or loaded.
#[derive(Clone, Copy)]
pub struct Facts {
    /// The fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// The time at which a server stored it, in Unix milliseconds.
    pub stored_at_ms: i64,
    /// The end of its freshness, in Unix milliseconds; `ALWAYS_FRESH` if that is the end of its key. From then on the
    /// response is stale, to the end of its key.
    pub fresh_until_ms: i64,
    /// The cost of computing it, in milliseconds; 0 if unknown.
    pub cost_ms: u32,
    /// Its hits so far.
    pub hits: u32,
}

/// The `fresh_until_ms` of a response that is fresh to the end of its key.
pub const ALWAYS_FRESH: i64 = i64::MAX;

/// The `fresh_until_ms` of a response that was soft-invalidated.
pub const NEVER_FRESH: i64 = 0;

/// The facts, and the places of the response. Those that a read through the request table needs come first, in one cache line
/// with the count of references.
#[repr(C)]
struct Header {
    /// The half of the request's hash by which the request table finds it; 0 if it is not there.
    request_hash: AtomicU64,
    /// For a response in the request table: the sooner of its freshness and its key's TTL, in Unix milliseconds.
    ends_ms: AtomicI64,
    /// The last walk through the index that found it fresh.
    walk: AtomicU64,
    handle: AtomicU64,
    hits: AtomicU32,
    cost_ms: u32,
    raw_bytes: u32,
    /// Its place in a shard of L1, counted from 1; 0 if it is in none. L1 may be another since.
    l1_place: AtomicU32,
    /// The second in which its key was last opened, modulo 2¹⁶.
    opened_s: AtomicU16,
    /// Hits since then.
    unopened_hits: AtomicU16,
    frequency: AtomicU16,
    encoding: Encoding,
    fresh_until_ms: AtomicI64,
    stored_at_ms: i64,
    fingerprint: Fingerprint,
}

/// The bytes that are prefetched. A response's own length is not known before they are there.
const PREFETCH: usize = 512;

/// Bytes that a response takes beside its own: the count of references and the length, and the facts.
pub const RESPONSE_OVERHEAD: usize = 16 + size_of::<Header>();

const _: () = assert!(size_of::<Header>() == 104);

impl Response {
    /// Returns a raw response, with a copy of these bytes.
    pub fn new(facts: &Facts, bytes: &[u8]) -> Response {
        // Responses are bounded far below 4 GiB by max-response-bytes.
        let raw_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Response::compressed(facts, Encoding::Raw, bytes, raw_bytes)
    }

    /// Returns a response of `raw_bytes` bytes from its compressed bytes.
    pub fn compressed(facts: &Facts, encoding: Encoding, bytes: &[u8], raw_bytes: u32) -> Response {
        let Facts { fingerprint, stored_at_ms, fresh_until_ms, cost_ms, hits } = *facts;
        let header = Header {
            request_hash: AtomicU64::new(0),
            ends_ms: AtomicI64::new(0),
            walk: AtomicU64::new(0),
            handle: AtomicU64::new(0),
            hits: AtomicU32::new(hits),
            cost_ms,
            raw_bytes,
            l1_place: AtomicU32::new(0),
            opened_s: AtomicU16::new(0),
            unopened_hits: AtomicU16::new(0),
            frequency: AtomicU16::new(0),
            encoding,
            fresh_until_ms: AtomicI64::new(fresh_until_ms),
            stored_at_ms,
            fingerprint,
        };
        Response(ThinArc::from_header_and_slice(header, bytes))
    }

    /// Returns the same response in another encoding, of which these are the bytes. It has all facts but a place in L1.
    pub fn encoded(&self, encoding: Encoding, bytes: &[u8]) -> Response {
        let other = Response::compressed(&self.facts(), encoding, bytes, self.raw_bytes());
        let (from, to) = (self.header(), other.header());
        to.request_hash.store(from.request_hash.load(Relaxed), Relaxed);
        to.ends_ms.store(from.ends_ms.load(Relaxed), Relaxed);
        to.walk.store(from.walk.load(Relaxed), Relaxed);
        to.handle.store(from.handle.load(Relaxed), Relaxed);
        to.opened_s.store(from.opened_s.load(Relaxed), Relaxed);
        to.unopened_hits.store(from.unopened_hits.load(Relaxed), Relaxed);
        to.frequency.store(from.frequency.load(Relaxed), Relaxed);
        other
    }

    /// Returns the same response for another key.
    pub fn copy(&self) -> Response {
        Response::compressed(&self.facts(), self.encoding(), self.stored(), self.raw_bytes())
    }

    fn header(&self) -> &Header {
        &self.0.header.header
    }

    fn facts(&self) -> Facts {
        Facts {
            fingerprint: *self.fingerprint(),
            stored_at_ms: self.stored_at_ms(),
            fresh_until_ms: self.fresh_until_ms(),
            cost_ms: self.cost_ms(),
            hits: self.hits(),
        }
    }

    /// Returns true if the two are one in memory.
    pub fn is(&self, other: &Response) -> bool {
        self.0.as_ptr() == other.0.as_ptr()
    }

    /// Returns the fingerprint of the request.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.header().fingerprint
    }

    /// Returns the time at which a server stored it, in Unix milliseconds.
    pub fn stored_at_ms(&self) -> i64 {
        self.header().stored_at_ms
    }

    /// Returns the end of its freshness, in Unix milliseconds, or `ALWAYS_FRESH`.
    pub fn fresh_until_ms(&self) -> i64 {
        self.header().fresh_until_ms.load(Relaxed)
    }

    /// Makes it stale for good.
    pub fn make_stale(&self) {
        self.header().fresh_until_ms.store(NEVER_FRESH, Relaxed);
    }

    /// Returns the cost of computing it, in milliseconds; 0 if unknown.
    pub fn cost_ms(&self) -> u32 {
        self.header().cost_ms
    }

    /// Returns its length, raw.
    pub fn raw_bytes(&self) -> u32 {
        self.header().raw_bytes
    }

    /// Returns the encoding of the stored bytes.
    pub fn encoding(&self) -> Encoding {
        self.header().encoding
    }

    /// Returns true if it is stored raw.
    pub fn is_raw(&self) -> bool {
        self.encoding() == Encoding::Raw
    }

    /// Returns its length, raw and as stored, in bytes.
    pub fn size(&self) -> Size {
        Size { raw: self.raw_bytes().into(), stored: self.stored().len() as u64 }
    }

    /// Returns the stored bytes.
    pub fn stored(&self) -> &[u8] {
        &self.0.slice
    }

    /// Returns the response, decompressed into the buffer if need be.
    ///
    /// # Errors
    /// Fails if the stored bytes do not decompress to the response's length.
    pub fn read<'a>(&'a self, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Damaged> {
        if self.is_raw() {
            return Ok(self.stored());
        }
        compression::decompress(self.encoding(), self.stored(), self.raw_bytes() as usize, buffer)?;
        Ok(buffer)
    }

    /// Starts to load the facts and the first of the bytes into the processor's caches. Reads none of them.
    pub fn prefetch(&self) {
        prefetch(self.0.as_ptr(), PREFETCH);
    }

    /// Moves it to a better place in memory, if the allocator has one and nobody shares it.
    pub fn defrag(&mut self, defrag: &mut Defrag) {
        defrag.shared(&mut self.0);
    }

    /// Returns the handle of its entry, if that is linked.
    pub fn handle(&self) -> Option<Handle> {
        Handle::from_bits(self.header().handle.load(Relaxed))
    }

    /// Links or unlinks its entry. No walk through the index is known then.
    pub(super) fn set_handle(&self, handle: Option<Handle>) {
        self.header().handle.store(handle.map_or(0, Handle::to_bits), Relaxed);
        self.set_walk(Walk::default());
    }

    /// Returns its hits.
    pub fn hits(&self) -> u32 {
        self.header().hits.load(Relaxed)
    }

    /// Returns how often it is served.
    pub fn frequency(&self) -> Frequency {
        Frequency::from_bits(self.header().frequency.load(Relaxed))
    }

    /// Returns true if L1 is asked about it at its next hit: at the first, the second, the fourth and so on of those that count,
    /// and at every 64th of all.
    pub fn applies_for_l1(&self, now_ms: i64) -> bool {
        self.frequency().after_hit(now_ms).is_milestone() || self.hits() % 64 == 63
    }

    /// Counts a hit at this time, in Unix milliseconds.
    pub fn count_hit(&self, now_ms: i64) {
        let header = self.header();
        header.hits.store(self.hits().saturating_add(1), Relaxed);
        header.frequency.store(self.frequency().after_hit(now_ms).to_bits(), Relaxed);
    }

    /// Returns the half of the request's hash by which the request table finds it, or 0 if it is not there.
    pub fn request_hash(&self) -> u64 {
        self.header().request_hash.load(Relaxed)
    }

    /// Notes that the request table finds it by this hash; 0 for no more.
    pub fn set_request_hash(&self, hash: u64) {
        self.header().request_hash.store(hash, Relaxed);
    }

    /// Returns its place in a shard of L1, counted from 1, or 0.
    pub fn l1_place(&self) -> u32 {
        self.header().l1_place.load(Relaxed)
    }

    /// Notes its place in a shard of L1.
    pub fn set_l1_place(&self, place: u32) {
        self.header().l1_place.store(place, Relaxed);
    }

    /// Returns the time at which it is no longer fresh or its key expires, in Unix milliseconds, as it was when its key was
    /// last opened; `i64::MAX` for never.
    pub fn ends_ms(&self) -> i64 {
        self.header().ends_ms.load(Relaxed)
    }

    /// Notes that its key has another TTL now: the next read opens the key.
    pub fn forget_end(&self) {
        self.header().ends_ms.store(i64::MIN, Relaxed);
    }

    /// Returns the seconds since its key was last opened, modulo 2¹⁶.
    pub fn unopened_s(&self, now_ms: i64) -> u16 {
        second(now_ms).wrapping_sub(self.header().opened_s.load(Relaxed))
    }

    /// Notes that its key was opened, and returns the hits that the key did not see.
    pub fn note_opened(&self, now_ms: i64, ends_ms: i64) -> u16 {
        let header = self.header();
        header.opened_s.store(second(now_ms), Relaxed);
        header.ends_ms.store(ends_ms, Relaxed);
        let unseen = header.unopened_hits.load(Relaxed);
        header.unopened_hits.store(0, Relaxed);
        unseen
    }

    /// Counts a hit without the key.
    pub fn count_unopened_hit(&self) {
        let hits = &self.header().unopened_hits;
        hits.store(hits.load(Relaxed).saturating_add(1), Relaxed);
    }

    /// Returns the last walk through the index that found it fresh.
    pub fn walk(&self) -> Walk {
        Walk::from_bits(self.header().walk.load(Relaxed))
    }

    /// Remembers a walk through the index that found it fresh.
    pub fn set_walk(&self, walk: Walk) {
        self.header().walk.store(walk.to_bits(), Relaxed);
    }
}

/// Milliseconds by which the server's clock of uses may be late: it reads the second ten times in each.
const LATE_MS: i64 = 200;

/// Returns the second of a time, in which it begins late, so that the server's clock of uses has it too.
fn second(now_ms: i64) -> u16 {
    ((now_ms - LATE_MS) / 1000) as u16
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} bytes)", self.raw_bytes())
    }
}
