//! Large invalidations: at once for every reader, and in small pieces for the memory.

mod interrupted;
mod one_large_invalidate;
mod overlapping;
