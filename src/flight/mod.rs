//! Single flight over real clients.

mod single_flight;

pub use single_flight::*;
