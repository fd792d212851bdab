//! One response, in memory and on disk.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod codec;
pub mod compression;
pub mod dump;
mod frequency;
mod response;
mod value;

pub use compression::Encoding;
pub use frequency::Frequency;
pub use response::{ALWAYS_FRESH, Facts, NEVER_FRESH, RESPONSE_OVERHEAD, Response};
pub use value::{Entry, Placement};
