//! The index in step with what others do to keys.

#![forbid(unsafe_code)]

mod async_load;
mod events;
pub mod reclaim;
mod value_type;

pub use events::*;
