//! One response, in memory and on disk.

#![forbid(unsafe_code)]

pub mod codec;
pub mod compression;
pub mod dump;
mod response;
mod value;

pub use response::Response;
pub use value::{ALWAYS_FRESH, Entry, NEVER_FRESH, Placement};
