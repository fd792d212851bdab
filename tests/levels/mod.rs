//! The two levels: L1, which is never seen, and L2, in which cold entries are compressed; and reads without a key.

mod compression;
mod l1;
mod request_table;
