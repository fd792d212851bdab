//! An entry: one cached response, as the value of a key.
//!
//! The entry shares the response with those that serve it. Its tier, persona and user stand in the index, of which the
//! response keeps only a handle, so nothing in it can dangle. An entry between two keys (just loaded, copied, or
//! taken from its key by RENAME) is unlinked: it carries its origin until it arrives under a key.
//!
//! The server frees values on any thread. An entry shares response and names by counted references: dropping it touches
//! nothing else.

use crate::entry::Response;
use crate::index::{Handle, Origin};
use std::cell::Cell;
use std::ops::Deref;

/// A cached response. It dereferences to the response.
pub struct Entry {
    response: Response,
    /// Set while it is unlinked.
    origin: Cell<Option<Box<Origin>>>,
}

// The cost of a response beside its key's name and the server's own records of a key:
//   the entry: 16 bytes (response 8, origin 8).
//   its share of the index: `index::Node`, 32 bytes (prev 4, next 4, group 4, stamp 4, digest 16).
//   the response: 120 bytes and its own, in one allocation (`response::Header`).
//   if it was read: its place in the request table, 17 bytes and the table's vacancies.
const _: () = assert!(size_of::<Entry>() == 16);

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
    /// Returns the entry of a response that no other entry has.
    pub fn new(placement: Placement, response: Response) -> Self {
        let entry = Entry { response, origin: Cell::new(None) };
        entry.move_to(placement);
        entry
    }

    /// Returns the response.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// Returns the response, to move it in memory.
    pub fn response_mut(&mut self) -> &mut Response {
        &mut self.response
    }

    /// Returns the response, if it is stored raw.
    pub fn raw(&self) -> Option<&Response> {
        Some(&self.response).filter(|response| response.is_raw())
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
        self.response.set_handle(handle);
        self.origin.set(origin);
    }

    /// Stores the same response in another encoding from now on. Returns the one before.
    pub fn replace(&mut self, encoded: Response) -> Response {
        std::mem::replace(&mut self.response, encoded)
    }

    /// Returns the same response for another key.
    pub fn copy(&self, placement: Placement) -> Self {
        Entry::new(placement, self.response.copy())
    }
}

impl Deref for Entry {
    type Target = Response;

    fn deref(&self) -> &Response {
        &self.response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{ALWAYS_FRESH, Encoding, Facts};
    use crate::request::fingerprint::Fingerprint;

    fn entry(bytes: &[u8]) -> Entry {
        let fingerprint = Fingerprint::from_bytes([7; 32]);
        let facts = Facts { fingerprint, stored_at_ms: 1, fresh_until_ms: ALWAYS_FRESH, cost_ms: 2, hits: 3 };
        Entry::new(Placement::Unknown, Response::new(&facts, bytes))
    }

    #[test]
    fn an_entry_keeps_its_facts_in_another_encoding() {
        let mut entry = entry(b"raw bytes");
        entry.count_hit(60_000);
        entry.set_request_hash(9);
        entry.note_opened(5000, 77);
        entry.set_l1_place(4);
        let before = entry.replace(entry.encoded(Encoding::Lz4, b"less"));
        assert!(!before.is(&entry));
        assert_eq!((entry.stored(), entry.raw_bytes(), entry.raw().is_none()), (&b"less"[..], 9, true));
        assert_eq!((entry.hits(), entry.frequency()), (4, before.frequency()));
        assert_eq!((entry.request_hash(), entry.ends_ms(), entry.unopened_s(7000)), (9, 77, 2));
        assert_eq!((entry.cost_ms(), entry.stored_at_ms(), entry.l1_place()), (2, 1, 0));
    }

    #[test]
    fn a_copy_has_hits_of_its_own_and_no_place() {
        let entry = entry(b"four");
        entry.set_request_hash(9);
        let copy = entry.copy(Placement::Unknown);
        copy.count_hit(0);
        assert_eq!((entry.hits(), copy.hits(), copy.request_hash()), (3, 4, 0));
        assert_eq!((copy.stored(), copy.handle()), (&b"four"[..], None));
    }
}
