//! Stories of the index; `model` is the long one.

mod memory;
mod model;
mod soft;
mod stories;
