//! An entry: one cached answer, as the value of a key.
//!
//! The entry holds the answer and what it was asked; who it belongs to stands in the index, of which it keeps
//! only a handle, so nothing in it can dangle. An entry on its way between keys (just loaded, copied, or taken
//! from its key by RENAME) is loose: it carries its origin until it arrives under a key.
//!
//! The server frees values on any thread. An entry owns its packed bytes, shares raw ones and names by counted
//! references: dropping it touches nothing else.

use crate::entry::Frequency;
use crate::entry::Response;
use crate::entry::compression::{self, Damaged, Encoding};
use crate::index::{Handle, Origin, Size};
use crate::request::fingerprint::Fingerprint;
use std::cell::Cell;

/// A cached answer.
pub struct Entry {
    pub fingerprint: Fingerprint,
    body: Body,
    handle: Cell<Option<Handle>>,
    /// While it is loose.
    origin: Cell<Option<Box<Origin>>>,
    /// Until when the answer is fresh, in Unix milliseconds; `ALWAYS_FRESH` for as long as its key lives. Past
    /// it the answer is stale, to the end of its key.
    pub fresh_until_ms: Cell<i64>,
    /// When this server stored it, in Unix milliseconds.
    pub stored_at_ms: i64,
    /// How often it was given since; what its raw bytes have counted comes on top.
    hits: Cell<u32>,
    /// What computing it took, in milliseconds; 0 where nobody said.
    pub cost_ms: u32,
    /// How long the answer is, unpacked.
    raw_bytes: u32,
    encoding: Encoding,
    frequency: Cell<Frequency>,
}

/// The answer's bytes, as `Entry::packing` says.
enum Body {
    Raw(Response),
    Compressed(Box<[u8]>),
}

/// The `fresh_until_ms` of an entry without a time of its own for that.
pub const ALWAYS_FRESH: i64 = i64::MAX;

/// The `fresh_until_ms` of an entry that was made stale before its time.
pub const NEVER_FRESH: i64 = 0;

// What an answer costs beside its key's name and the server's own records of a key:
//   the entry: fingerprint 32, body 16, handle 8, origin 8, fresh_until 8, stored_at 8, hits 4, cost 4, raw_bytes 4,
//   encoding 2, frequency 2. A size of jemalloc's, so nothing is lost to rounding.
//   its share of the index: `index::Node`, 32 bytes (prev 4, next 4, group 4, stamp 4, digest 16).
//   its bytes: packed, as many as they are; raw, 24 more (count, hits and length).
const _: () = assert!(size_of::<Entry>() == 96);

/// Where an entry belongs.
#[derive(Clone, Debug)]
pub enum Placement {
    /// In a key, before the index knows it.
    Unknown,
    /// Under a key that the index knows.
    Linked(Handle),
    /// Under none yet, or no more.
    Unlinked(Box<Origin>),
}

impl Entry {
    pub fn new(home: Placement, fingerprint: Fingerprint, response: Response, stored_at_ms: i64) -> Self {
        // Responses are bounded far below 4 GiB by max-response-bytes.
        let raw_bytes = u32::try_from(response.len()).unwrap_or(u32::MAX);
        Entry::with(home, fingerprint, Body::Raw(response), Encoding::Raw, raw_bytes, stored_at_ms)
    }

    /// An entry whose bytes are packed; raw ones are not for this.
    pub fn compressed(
        home: Placement,
        fingerprint: Fingerprint,
        (encoding, bytes): (Encoding, Box<[u8]>),
        raw_bytes: u32,
        stored_at_ms: i64,
    ) -> Self {
        Entry::with(home, fingerprint, Body::Compressed(bytes), encoding, raw_bytes, stored_at_ms)
    }

    fn with(
        home: Placement,
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
        entry.move_to(home);
        entry
    }

    /// The handle of an entry that the index knows.
    pub fn handle(&self) -> Option<Handle> {
        self.handle.get()
    }

    /// The origin of a loose entry.
    pub fn origin(&self) -> Option<Origin> {
        let origin = self.origin.take();
        let copy = origin.as_deref().cloned();
        self.origin.set(origin);
        copy
    }

    pub fn move_to(&self, home: Placement) {
        let (handle, origin) = match home {
            Placement::Unknown => (None, None),
            Placement::Linked(handle) => (Some(handle), None),
            Placement::Unlinked(origin) => (None, Some(origin)),
        };
        self.handle.set(handle);
        self.origin.set(origin);
    }

    /// How often the answer was given.
    pub fn hits(&self) -> u32 {
        self.hits.get().saturating_add(self.raw().map_or(0, Response::hits))
    }

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

    pub fn size(&self) -> Size {
        let raw = self.raw_bytes.into();
        let stored = match &self.body {
            // Not read from the answer itself, which is elsewhere in memory.
            Body::Raw(_) => raw,
            Body::Compressed(bytes) => bytes.len() as u64,
        };
        Size { raw, stored }
    }

    pub fn raw_bytes(&self) -> u32 {
        self.raw_bytes
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The bytes as they are kept.
    pub fn stored(&self) -> &[u8] {
        match &self.body {
            Body::Raw(response) => response,
            Body::Compressed(bytes) => bytes,
        }
    }

    /// The bytes as they are kept, if they are raw.
    pub fn raw(&self) -> Option<&Response> {
        match &self.body {
            Body::Raw(response) => Some(response),
            Body::Compressed(_) => None,
        }
    }

    /// The answer, unpacked into the buffer if need be.
    pub fn read<'a>(&'a self, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Damaged> {
        match &self.body {
            Body::Raw(response) => Ok(response),
            Body::Compressed(bytes) => {
                compression::decompress(self.encoding, bytes, self.raw_bytes as usize, buffer)?;
                Ok(buffer)
            }
        }
    }

    /// Keeps the same answer packed from now on.
    pub fn compress(&mut self, encoding: Encoding, bytes: Box<[u8]>) {
        self.hits.set(self.hits());
        self.body = Body::Compressed(bytes);
        self.encoding = encoding;
    }

    /// Keeps the same answer raw from now on.
    pub fn decompress(&mut self, response: Response) {
        self.hits.set(self.hits());
        self.body = Body::Raw(response);
        self.encoding = Encoding::Raw;
    }

    /// The packed bytes, to be moved in memory.
    pub fn compressed_mut(&mut self) -> Option<&mut Box<[u8]>> {
        match &mut self.body {
            Body::Raw(_) => None,
            Body::Compressed(bytes) => Some(bytes),
        }
    }

    /// The same answer for another key. Raw bytes are copied: their hits are their entry's own.
    pub fn copy(&self, home: Placement) -> Self {
        let body = match &self.body {
            Body::Raw(response) => Body::Raw(Response::new(response)),
            Body::Compressed(bytes) => Body::Compressed(bytes.clone()),
        };
        let mut copy =
            Entry::with(home, self.fingerprint, body, self.encoding, self.raw_bytes, self.stored_at_ms);
        copy.fresh_until_ms.set(self.fresh_until_ms.get());
        copy.hits.set(self.hits());
        copy.cost_ms = self.cost_ms;
        copy
    }
}
