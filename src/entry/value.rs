//! An entry: one cached response, as the value of a key.
//!
//! The entry holds the response and the fingerprint of its request. Its tier, persona and user stand in the index, of
//! which the entry keeps only a handle, so nothing in it can dangle. An entry between two keys (just loaded, copied, or
//! taken from its key by RENAME) is unlinked: it carries its origin until it arrives under a key.
//!
//! The server frees values on any thread. An entry owns its compressed bytes, and shares raw ones and names by counted
//! references: dropping it touches nothing else.

use crate::entry::Frequency;
use crate::entry::Response;
use crate::entry::compression::{self, Damaged, Encoding};
use crate::index::{Handle, Origin, Size};
use crate::request::fingerprint::Fingerprint;
use std::cell::Cell;
use std::os::raw::c_void;

/// A cached response.
pub struct Entry {
    /// The fingerprint of the request.
    pub fingerprint: Fingerprint,
    body: Body,
    handle: Cell<Option<Handle>>,
    /// Set while it is unlinked.
    origin: Cell<Option<Box<Origin>>>,
    /// The end of the response's freshness, in Unix milliseconds; `ALWAYS_FRESH` if that is the end of its key. From
    /// then on the response is stale, to the end of its key.
    pub fresh_until_ms: Cell<i64>,
    /// The time at which a server stored it, in Unix milliseconds.
    pub stored_at_ms: i64,
    /// Its hits; those that its raw bytes have counted come on top.
    hits: Cell<u32>,
    /// The cost of computing the response, in milliseconds; 0 if unknown.
    pub cost_ms: u32,
    /// The length of the response.
    raw_bytes: u32,
    encoding: Encoding,
    frequency: Cell<Frequency>,
}

/// The response's bytes, in `Entry::encoding`.
enum Body {
    Raw(Response),
    Compressed(Box<[u8]>),
}

/// The `fresh_until_ms` of an entry that is fresh to the end of its key.
pub const ALWAYS_FRESH: i64 = i64::MAX;

/// The `fresh_until_ms` of an entry that was soft-invalidated.
pub const NEVER_FRESH: i64 = 0;

// The cost of a response beside its key's name and the server's own records of a key:
//   the entry: fingerprint 32, body 16, handle 8, origin 8, fresh_until 8, stored_at 8, hits 4, cost 4, raw_bytes 4,
//   encoding 2, frequency 2. A size of jemalloc's, so nothing is lost to rounding.
//   its share of the index: `index::Node`, 32 bytes (prev 4, next 4, group 4, stamp 4, digest 16).
//   its bytes: their number if compressed; if raw, 24 more (count, hits and length).
const _: () = assert!(size_of::<Entry>() == 96);

/// The place of an entry.
#[derive(Clone, Debug)]
pub enum Placement {
    /// In a key, before the index knows it.
    Unknown,
    /// Under a key that the index knows.
    Linked(Handle),
    /// Under no key, or under one that the index does not know yet.
    Unlinked(Box<Origin>),
}

impl Entry {
    /// Returns an entry with a raw response.
    pub fn new(
        placement: Placement,
        fingerprint: Fingerprint,
        response: Response,
        stored_at_ms: i64,
    ) -> Self {
        // Responses are bounded far below 4 GiB by max-response-bytes.
        let raw_bytes = u32::try_from(response.len()).unwrap_or(u32::MAX);
        Entry::with(placement, fingerprint, Body::Raw(response), Encoding::Raw, raw_bytes, stored_at_ms)
    }

    /// Returns an entry with compressed bytes; for raw ones there is `new`.
    pub fn compressed(
        placement: Placement,
        fingerprint: Fingerprint,
        (encoding, bytes): (Encoding, Box<[u8]>),
        raw_bytes: u32,
        stored_at_ms: i64,
    ) -> Self {
        Entry::with(placement, fingerprint, Body::Compressed(bytes), encoding, raw_bytes, stored_at_ms)
    }

    fn with(
        placement: Placement,
        fingerprint: Fingerprint,
        body: Body,
        encoding: Encoding,
        raw_bytes: u32,
        stored_at_ms: i64,
    ) -> Self {
        let entry = Entry {
            fingerprint,
            body,
            handle: Cell::new(None),
            origin: Cell::new(None),
            fresh_until_ms: Cell::new(ALWAYS_FRESH),
            stored_at_ms,
            hits: Cell::new(0),
            cost_ms: 0,
            raw_bytes,
            encoding,
            frequency: Cell::new(Frequency::default()),
        };
        entry.move_to(placement);
        entry
    }

    /// Returns the handle of a linked entry.
    pub fn handle(&self) -> Option<Handle> {
        self.handle.get()
    }

    /// Returns the origin of an unlinked entry.
    pub fn origin(&self) -> Option<Origin> {
        let origin = self.origin.take();
        let copy = origin.as_deref().cloned();
        self.origin.set(origin);
        copy
    }

    /// Links or unlinks the entry.
    pub fn move_to(&self, placement: Placement) {
        let (handle, origin) = match placement {
            Placement::Unknown => (None, None),
            Placement::Linked(handle) => (Some(handle), None),
            Placement::Unlinked(origin) => (None, Some(origin)),
        };
        self.handle.set(handle);
        self.origin.set(origin);
    }

    /// Returns the hits.
    pub fn hits(&self) -> u32 {
        self.hits.get().saturating_add(self.raw().map_or(0, Response::hits))
    }

    /// Sets the hits, as a loaded entry had them.
    pub fn set_hits(&mut self, hits: u32) {
        self.hits.set(hits);
    }

    /// Counts a hit at this time, in Unix milliseconds.
    pub fn count_hit(&self, now_ms: i64) {
        self.hits.set(self.hits.get().saturating_add(1));
        self.frequency.set(self.frequency.get().after_hit(now_ms));
    }

    /// Returns how often the response is served from its key.
    pub fn frequency(&self) -> Frequency {
        self.frequency.get()
    }

    /// Returns the size of the response, raw and as stored, in bytes.
    pub fn size(&self) -> Size {
        let raw = self.raw_bytes.into();
        let stored = match &self.body {
            // The response itself is elsewhere in memory: reading its length would cost a cache miss.
            Body::Raw(_) => raw,
            Body::Compressed(bytes) => bytes.len() as u64,
        };
        Size { raw, stored }
    }

    /// Returns the length of the response.
    pub fn raw_bytes(&self) -> u32 {
        self.raw_bytes
    }

    /// Returns the encoding of the stored bytes.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Returns the address and the length of the stored bytes, to prefetch them. This does not read them.
    pub fn address(&self) -> (*const c_void, usize) {
        match &self.body {
            Body::Raw(response) => (response.address(), self.raw_bytes as usize),
            Body::Compressed(bytes) => (bytes.as_ptr().cast(), bytes.len()),
        }
    }

    /// Returns the stored bytes.
    pub fn stored(&self) -> &[u8] {
        match &self.body {
            Body::Raw(response) => response,
            Body::Compressed(bytes) => bytes,
        }
    }

    /// Returns the response, if it is stored raw.
    pub fn raw(&self) -> Option<&Response> {
        match &self.body {
            Body::Raw(response) => Some(response),
            Body::Compressed(_) => None,
        }
    }

    /// Returns the response, decompressed into the buffer if need be.
    ///
    /// # Errors
    ///
    /// Fails if the stored bytes do not decompress to the response's length.
    pub fn read<'a>(&'a self, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Damaged> {
        match &self.body {
            Body::Raw(response) => Ok(response),
            Body::Compressed(bytes) => {
                compression::decompress(self.encoding, bytes, self.raw_bytes as usize, buffer)?;
                Ok(buffer)
            }
        }
    }

    /// Stores the same response compressed from now on.
    pub fn compress(&mut self, encoding: Encoding, bytes: Box<[u8]>) {
        self.hits.set(self.hits());
        self.body = Body::Compressed(bytes);
        self.encoding = encoding;
    }

    /// Stores the same response raw from now on.
    pub fn decompress(&mut self, response: Response) {
        self.hits.set(self.hits());
        self.body = Body::Raw(response);
        self.encoding = Encoding::Raw;
    }

    /// Returns the compressed bytes, if it has any, for defragmentation.
    pub fn compressed_mut(&mut self) -> Option<&mut Box<[u8]>> {
        match &mut self.body {
            Body::Raw(_) => None,
            Body::Compressed(bytes) => Some(bytes),
        }
    }

    /// Returns the same response for another key. Raw bytes are copied, because they count the hits of one entry.
    pub fn copy(&self, placement: Placement) -> Self {
        let body = match &self.body {
            Body::Raw(response) => Body::Raw(Response::new(response)),
            Body::Compressed(bytes) => Body::Compressed(bytes.clone()),
        };
        let mut copy =
            Entry::with(placement, self.fingerprint, body, self.encoding, self.raw_bytes, self.stored_at_ms);
        copy.fresh_until_ms.set(self.fresh_until_ms.get());
        copy.hits.set(self.hits());
        copy.cost_ms = self.cost_ms;
        copy
    }
}
