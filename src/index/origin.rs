//! The owner of an entry, and the name of its key.

use std::sync::Arc;

use super::handle::Handle;
use super::liveness::State;
use crate::tier::Tier;

/// The name of an entry's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// The canonical name, which follows from tier, persona, user and this digest of the message.
    Canonical([u8; 16]),
    /// Any other name, in full.
    Own(&'a [u8]),
}

/// The owner and the state of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The entry's tier.
    pub tier: Tier,
    /// The entry's persona.
    pub persona: Arc<[u8]>,
    /// The entry's user; empty without one.
    pub user: Arc<[u8]>,
    /// Live, or a tombstone.
    pub state: State,
}

/// An entry that the index knows, with all parts of its key's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located<'a> {
    /// The entry's handle.
    pub handle: Handle,
    /// The entry's tier.
    pub tier: Tier,
    /// The entry's persona.
    pub persona: &'a [u8],
    /// The entry's user; empty without one.
    pub user: &'a [u8],
    /// The name of the entry's key.
    pub name: Name<'a>,
}
