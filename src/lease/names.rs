//! The persona and the user of a lease, in 16 bytes for names of any length.
//!
//! The table only ever compares names, so it keeps a keyed hash of each: a waiter costs the same for a user's name of
//! ten bytes and of a million. If two names ever share a hash, an invalidation voids one lease too many, which costs
//! one model call; it never voids one too few.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NameHash(NonZeroU64);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Names {
    pub persona: NameHash,
    /// The user's; None without one.
    pub user: Option<NameHash>,
}

impl Names {
    pub fn new(keys: &RandomState, persona: &[u8], user: &[u8]) -> Names {
        let user = (!user.is_empty()).then(|| NameHash::of(keys, user));
        Names { persona: NameHash::of(keys, persona), user }
    }
}

impl NameHash {
    pub fn of(keys: &RandomState, name: &[u8]) -> NameHash {
        NameHash(NonZeroU64::MIN | keys.hash_one(name))
    }
}
