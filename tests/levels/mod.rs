//! The two levels: L1, which nobody may see, and L2, which packs what is cold.

mod compression;
mod l1;
