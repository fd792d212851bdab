//! The state of the main thread, and the ways to read it.
//!
//! - `state`: the indexes, L1 and the counters
//! - `lookup`: the entry of a request, from an open key
//! - `hot`: the hot response of a request, from L1
//! - `l1`: L1 itself
//! - `rights`: the rights to entries of other personas
//! - `names`: the names of keys
//! - `compressor`: the compression of cold entries
//! - `slot_moves`: the cluster slots that move to this node or away from it

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub(crate) mod compressor;
pub(crate) mod hot;
pub mod l1;
mod l1_pause;
pub(crate) mod lookup;
pub(crate) mod names;
pub(crate) mod rights;
pub(crate) mod slot_moves;
mod state;

pub(crate) use state::CACHE;
