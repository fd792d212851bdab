//! What a client asks for: arguments checked, and all that derives from them.

#![forbid(unsafe_code)]

pub mod contiguous;
pub mod error;
pub mod fingerprint;
pub mod hex;
pub mod key_name;
pub mod options;
mod parsed;

pub use parsed::*;
