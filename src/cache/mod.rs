//! The state of the main thread, and the ways to read it.
//!
//! - `state`: the indexes, the request tables, L1 and the counters
//! - `direct`: the fresh response to a request, without its key where that is possible
//! - `request_table`: the way from a request to its response
//! - `lookup`: the entry of a request, from an open key
//! - `hot`: admission to L1
//! - `l1`: L1 itself
//! - `location`: the location of an entry
//! - `databases`: databases that are emptied, swapped or replaced
//! - `rights`: the rights to entries of other personas
//! - `names`: the names of keys
//! - `compressor`: the compression of cold entries
//! - `slot_moves`: the cluster slots that move to this node or away from it

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub(crate) mod compressor;
pub(crate) mod databases;
pub(crate) mod direct;
pub(crate) mod hot;
pub mod l1;
pub mod location;
pub(crate) mod lookup;
pub(crate) mod names;
pub mod request_table;
pub(crate) mod rights;
pub(crate) mod slot_moves;
mod state;

pub(crate) use state::CACHE;
