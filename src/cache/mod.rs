//! The main thread's state, and the only ways to read and write it.

#![forbid(unsafe_code)]

pub(crate) mod access;
pub(crate) mod compressor;
pub mod l1;
mod state;

pub(crate) use state::*;
