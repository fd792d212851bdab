//! Single flight over real clients.

#![forbid(unsafe_code)]

mod single_flight;

pub use single_flight::*;
