//! Live, stale and invalidated entries.

/// The state of an entry when it arrives or leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The entry may be served.
    Live,
    /// The entry is invalidated and not yet reclaimed.
    Tombstone,
}

/// The effect of invalidations on an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Live, and stored after every invalidation that concerns it.
    Fresh,
    /// Live, but stored before its persona was last soft-invalidated.
    Stale,
    /// Invalidated, or unknown to the index.
    Dead,
}
