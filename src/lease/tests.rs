//! Stories of the lease table; `model` is the long one, which fuzzing goes through too.

#[cfg(test)]
mod drafts;
mod lists;
#[cfg(test)]
mod memory;
pub(crate) mod model;
#[cfg(test)]
mod stories;
mod support;
