//! The size of responses.

/// The size of one or more responses, in bytes: as they were given, and as they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes as the client gave them.
    pub raw: u64,
    /// Bytes as stored, which is less for a compressed response.
    pub stored: u64,
}

impl Size {
    // Saturating, as all counts are: see `counts`.
    pub(super) fn add(&mut self, other: Size) {
        self.raw = self.raw.saturating_add(other.raw);
        self.stored = self.stored.saturating_add(other.stored);
    }

    pub(super) fn subtract(&mut self, other: Size) {
        self.raw = self.raw.saturating_sub(other.raw);
        self.stored = self.stored.saturating_sub(other.stored);
    }

    pub(super) fn at_most(self, other: Size) -> Size {
        Size { raw: self.raw.min(other.raw), stored: self.stored.min(other.stored) }
    }
}

/// The size of a response that is stored as it was given.
impl From<u64> for Size {
    fn from(bytes: u64) -> Size {
        Size { raw: bytes, stored: bytes }
    }
}
