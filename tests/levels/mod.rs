//! The two levels: L1, which is never seen, and L2, in which cold entries are compressed.

mod compression;
mod l1;
