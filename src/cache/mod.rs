//! The main thread's state, and the only ways to read it.
//!
//! `state` holds the indexes, L1 and the counters. `hot` reads from L1, `lookup` from an open key. `access` decides on the
//! rights to entries of other personas, `names` makes the names of keys, and `compressor` compresses cold entries.

pub(crate) mod access;
pub(crate) mod compressor;
pub(crate) mod hot;
pub mod l1;
pub(crate) mod lookup;
pub(crate) mod names;
mod state;

pub(crate) use state::CACHE;
