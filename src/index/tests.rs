//! Stories of the index; `model` is the long one, which fuzzing goes through too.

#[cfg(test)]
mod memory;
pub(crate) mod model;
#[cfg(test)]
mod soft;
#[cfg(test)]
mod stories;
