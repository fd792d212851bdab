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
    /// The handle of an entry that a full index refused. No index knows it, so the entry is never live.
    pub(super) const NOWHERE: Handle = Handle { node: Id::NOWHERE, stamp: NonZeroU32::MAX };
}
