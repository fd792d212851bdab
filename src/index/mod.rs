//! The index of one database: which answers are whose, and which of them are dropped.
//!
//! Every entry of the keyspace has a *node* here and holds its `Handle`. Nodes of the same persona, user and
//! tier are in one *group*; each persona, user and tier chains up its groups and has a *generation*. A group
//! is live while no drop has come after any of the three generations it was made in. So a drop, of however
//! many answers, raises one generation, corrects the counts and cuts off one chain (`chains`), which then
//! waits as a *batch* (`batches`) until the caller has deleted its keys one by one: each deletion ends in
//! `unlink`. An answer stored meanwhile goes into a new group.
//!
//! A *soft* drop of a persona raises its generation too, but cuts nothing off and moves the generation from
//! which on groups live (`Named::is_live`) not at all: the groups made before are *stale*, and stay live.
//!
//! Entries and index do not point at each other: handles carry a stamp, so whatever goes wrong between the
//! keyspace and this index can make a count wrong, never a pointer. What is unknown here is not live.
//!
//! Everything here is on one thread and knows nothing of Redis.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod chains;
#[cfg(any(test, fuzzing))]
mod check;
mod core;
mod counts;
mod groups;
mod invalidate;
mod names;
mod pool;
mod records;
mod report;
mod resolve;
mod stats;
mod table;
#[cfg(any(test, fuzzing))]
pub(crate) mod tests;
mod tombstones;

pub use core::{Handle, Index, Liveness, Located, NODE_BYTES, Name, Origin, Size, State};
pub use invalidate::Invalidated;
pub use report::{PersonaList, PersonaReport};
pub use resolve::Resolved;
pub use stats::PersonaStats;
pub use tombstones::BatchId;
