//! Whose a lease is, in 16 bytes whatever the length of the names.
//!
//! Names are only ever compared, so the table keeps a keyed hash of each: a waiter costs the same whether its
//! user's name has ten bytes or a million. Should two names ever share a hash, a drop voids a lease too many,
//! which costs one model call; none is ever voided too few.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NameHash(NonZeroU64);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Names {
    pub persona: NameHash,
    /// None without a user.
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
