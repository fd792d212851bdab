//! An entry: one cached answer, as the value of a key.
//!
//! The entry holds the answer and what it was asked; who it belongs to stands in the index, of which it keeps
//! only a handle, so nothing in it can dangle. An entry on its way between keys (just loaded, copied, or taken
//! from its key by RENAME) is loose: it carries its origin until it arrives under a key.
//!
//! The server frees values on any thread. An entry owns its bytes and shares names by `Arc`: dropping it touches
//! nothing else.

use crate::codec::Encoding;
use crate::fingerprint::Fingerprint;
use crate::index::{Handle, Origin};
use std::cell::{Cell, RefCell};

/// A cached answer.
pub struct Entry {
    home: RefCell<Home>,
    pub fingerprint: Fingerprint,
    pub payload: Box<[u8]>,
    /// Until when the answer is fresh, in Unix milliseconds; `ALWAYS_FRESH` for as long as its key lives. Past
    /// it the answer is stale, to the end of its key.
    pub fresh_until_ms: Cell<i64>,
    /// When this server stored it, in Unix milliseconds.
    pub stored_at_ms: i64,
    /// How often it was given since.
    pub hits: Cell<u32>,
    /// What computing it took, in milliseconds; 0 where nobody said.
    pub cost_ms: u32,
    /// The answer's length before any compression.
    pub raw_bytes: u32,
    pub encoding: Encoding,
}

/// The `fresh_until_ms` of an entry without a time of its own for that.
pub const ALWAYS_FRESH: i64 = i64::MAX;

/// The `fresh_until_ms` of an entry that was made stale before its time.
pub const NEVER_FRESH: i64 = 0;

// fingerprint 32, payload 16, home 24, fresh_until 8, stored_at 8, hits 4, cost 4, raw_bytes 4, encoding 1, padding
// 3. Its share of the index is `index::Node`, 32 bytes, beside it.
const _: () = assert!(size_of::<Entry>() == 104);

/// Where an entry belongs.
#[derive(Clone, Debug)]
pub enum Home {
    /// Under a key that the index knows.
    Linked(Handle),
    /// Under none yet, or no more.
    Loose(Box<Origin>),
}

impl Entry {
    pub fn new(home: Home, fingerprint: Fingerprint, payload: Box<[u8]>, stored_at_ms: i64) -> Self {
        // Responses are bounded far below 4 GiB by max-response-bytes.
        let raw_bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        Entry {
            home: RefCell::new(home),
            fingerprint,
            payload,
            fresh_until_ms: Cell::new(ALWAYS_FRESH),
            stored_at_ms,
            hits: Cell::new(0),
            cost_ms: 0,
            raw_bytes,
            encoding: Encoding::Raw,
        }
    }

    pub fn home(&self) -> Home {
        self.home.borrow().clone()
    }

    /// The handle of an entry that the index knows.
    pub fn handle(&self) -> Option<Handle> {
        match &*self.home.borrow() {
            Home::Linked(handle) => Some(*handle),
            Home::Loose(_) => None,
        }
    }

    pub fn move_to(&self, home: Home) {
        self.home.replace(home);
    }

    /// Counts one more time that the answer was given.
    pub fn count_hit(&self) {
        self.hits.set(self.hits.get().saturating_add(1));
    }

    /// The bytes that the answer takes in the keyspace.
    pub fn stored_bytes(&self) -> u64 {
        self.payload.len() as u64
    }

    /// The same answer for another key.
    pub fn copy(&self, home: Home) -> Self {
        Entry {
            home: RefCell::new(home),
            fingerprint: self.fingerprint,
            payload: self.payload.clone(),
            fresh_until_ms: self.fresh_until_ms.clone(),
            stored_at_ms: self.stored_at_ms,
            hits: self.hits.clone(),
            cost_ms: self.cost_ms,
            raw_bytes: self.raw_bytes,
            encoding: self.encoding,
        }
    }
}
