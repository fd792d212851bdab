//! Tests of the index. `model` compares random operations with a plain list; fuzzing runs it too.

#[cfg(test)]
mod memory;
pub(crate) mod model;
#[cfg(test)]
mod soft;
#[cfg(test)]
mod stories;
