//! The index of one database: the owner of each entry, and whether the entry is live.
//!
//! Each entry of the keyspace has a *node* here and holds the node's `Handle`. Nodes of the same persona,
//! user and tier share a *group*. Each persona, user and tier chains up its groups and has a *generation*. A
//! group remembers the three generations it was made in, and is live until one of the three owners is
//! invalidated. To invalidate any number of entries, the index raises one generation, corrects the counts
//! and cuts off one chain (`chains`). The chain then waits as a *batch* of tombstones (`tombstones`) until
//! the caller has deleted its keys one by one; each deletion calls `unlink`. An entry that is stored
//! meanwhile goes into a new group.
//!
//! Soft-invalidating a persona raises its generation too, but cuts off no chain: the older groups become
//! *stale* and stay live (`records::Named`).
//!
//! Entries and index hold no pointers to each other. A handle carries a stamp, so a mistake between the
//! keyspace and the index can make a count wrong, but never leads to another entry. An unknown handle is not
//! live.
//!
//! The room runs on one thread and knows nothing of Redis. Its files import in one direction: `pool`,
//! `size`, `stats` and `liveness` first; `database` holds `Index`; `chains`, `groups`, `lookup`, `linking`,
//! `invalidate`, `hits` and `report` add its methods.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod chains;
#[cfg(any(test, fuzzing))]
mod check;
mod counts;
mod database;
mod groups;
mod handle;
mod hits;
mod idle;
mod invalidate;
mod linking;
mod liveness;
mod lookup;
mod names;
mod origin;
mod pool;
mod records;
mod report;
mod resolve;
mod size;
mod stats;
mod table;
#[cfg(any(test, fuzzing))]
pub(crate) mod tests;
mod tombstones;

pub use counts::ArrivalId;
pub use database::Index;
pub use handle::{Handle, NODE_BYTES};
pub use idle::IdleReport;
pub use invalidate::Invalidated;
pub use liveness::{Liveness, State};
pub use origin::{Located, Name, Origin};
pub use records::BatchId;
pub use report::{PersonaList, PersonaReport};
pub use resolve::{Resolved, Walk};
pub use size::Size;
pub use stats::PersonaStats;
