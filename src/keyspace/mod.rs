//! The index in step with what others do to keys.

mod events;
pub mod reclaim;
mod value_type;

pub use events::*;
