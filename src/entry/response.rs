//! An answer's bytes as they were given, shared by all who need them: its entry, L1, the clients who waited for it,
//! and the thread that packs it.

use std::fmt;
use std::ops::Deref;
use std::os::raw::c_void;
use std::sync::atomic::{AtomicU32, Ordering};
use triomphe::ThinArc;

/// The bytes of one answer. Cloning shares them: one allocation of 24 bytes more than the answer, and one pointer.
#[derive(Clone)]
pub struct Response(ThinArc<Notes, u8>);

/// What goes with the bytes as long as they are shared.
struct Notes {
    /// How often they were given from L1, where the entry is not looked at.
    hits: AtomicU32,
}

impl Response {
    pub fn new(bytes: &[u8]) -> Response {
        Response(ThinArc::from_header_and_slice(Notes { hits: AtomicU32::new(0) }, bytes))
    }

    /// Where in memory it is: to have it brought near, before it is needed.
    pub fn address(&self) -> *const c_void {
        self.0.as_ptr()
    }

    /// Counts one more time that the bytes were given from L1.
    pub fn count_hit(&self) {
        // Only the main thread counts: nothing is lost between load and store, and they cost no bus lock.
        let hits = self.0.header.header.hits.load(Ordering::Relaxed);
        self.0.header.header.hits.store(hits.saturating_add(1), Ordering::Relaxed);
    }

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
