//! One response, in memory and on disk.

#![warn(missing_docs)]

pub mod codec;
pub mod compression;
pub mod dump;
mod frequency;
mod response;
mod value;

pub use frequency::Frequency;
pub use response::Response;
pub use value::{ALWAYS_FRESH, Entry, NEVER_FRESH, Placement};
