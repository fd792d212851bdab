//! The keyspace: the server's changes to keys, and the keys that the module deletes by itself.
//!
//! - `events`: keys that arrive, leave, expire or move, and whole databases that are emptied or swapped
//! - `value_type`: the entry as a value type of the server (RDB, AOF, COPY, MEMORY, DEBUG DIGEST, defragmentation)
//! - `reclaim`: the deletion of tombstones

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod events;
pub mod reclaim;
mod value_type;

pub use events::{Keyspace, loaded};
