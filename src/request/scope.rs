//! The tiers that a command accepts, and those that a request asks for.

use crate::tier::Tier;

/// The words that a command accepts as its tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// The names of the tiers.
    Tiers,
    /// The names of the tiers, and `any`.
    TiersAndAny,
}

/// The tiers to look in for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All tiers in which the request has a key.
    Any,
    /// This tier.
    One(Tier),
}
