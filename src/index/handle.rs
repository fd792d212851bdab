//! The handle of an entry.

use std::num::NonZeroU32;

use super::pool::Id;
use super::records::Node;

/// Bytes that the index takes for an entry, beside the entry itself.
pub const NODE_BYTES: usize = size_of::<Node>();

/// An entry's place in the index, in 8 bytes; an `Option` of it takes 8 bytes too. Only the `Index` that
/// gave out the handle knows it, until the entry is unlinked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    pub(super) node: Id<Node>,
    pub(super) stamp: NonZeroU32,
}

const _: () = assert!(size_of::<Option<Handle>>() == 8);

impl Handle {
    /// Returns the handle as a number that is not 0.
    pub fn to_bits(self) -> u64 {
        u64::from(self.node.number()) << 32 | u64::from(self.stamp.get())
    }

    /// Returns the handle of this number, or None for 0.
    pub fn from_bits(bits: u64) -> Option<Handle> {
        let node = Id::from_number((bits >> 32) as u32)?;
        Some(Handle { node, stamp: NonZeroU32::new(bits as u32)? })
    }

    /// The handle of an entry that a full index refused. No index knows it, so the entry is never live.
    pub(super) const NOWHERE: Handle = Handle { node: Id::NOWHERE, stamp: NonZeroU32::MAX };
}
