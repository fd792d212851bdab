//! A response's bytes as the client sent them, shared by the entry, L1, the clients that waited, and the thread that
//! compresses.

use std::fmt;
use std::ops::Deref;
use std::os::raw::c_void;
use std::sync::atomic::{AtomicU32, Ordering};
use triomphe::ThinArc;

/// The bytes of one response. Clones share them: one allocation of 24 bytes more than the response, and one pointer.
#[derive(Clone)]
pub struct Response(ThinArc<Notes, u8>);

/// The header of the bytes, shared with them.
struct Notes {
    /// The hits in L1, which does not touch the entry.
    hits: AtomicU32,
}

impl Response {
    /// Copies the bytes of a response.
    pub fn new(bytes: &[u8]) -> Response {
        Response(ThinArc::from_header_and_slice(Notes { hits: AtomicU32::new(0) }, bytes))
    }

    /// Returns the address of the bytes, to prefetch them.
    pub fn address(&self) -> *const c_void {
        self.0.as_ptr()
    }

    /// Counts a hit in L1.
    pub fn count_hit(&self) {
        // Only the main thread counts: nothing is lost between load and store, and they cost no bus lock.
        let hits = self.0.header.header.hits.load(Ordering::Relaxed);
        self.0.header.header.hits.store(hits.saturating_add(1), Ordering::Relaxed);
    }

    /// Returns the hits in L1.
    pub fn hits(&self) -> u32 {
        self.0.header.header.hits.load(Ordering::Relaxed)
    }
}

impl Deref for Response {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.slice
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_bytes_and_hits() {
        let response = Response::new(b"four");
        let other = response.clone();
        other.count_hit();
        assert_eq!((&*response, response.hits()), (&b"four"[..], 1));
        assert_eq!(&*Response::new(b""), b"");
    }
}
