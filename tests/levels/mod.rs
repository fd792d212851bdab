//! The two levels: L1, which nobody may see, and L2, which packs what is cold.

mod support;

#[path = "levels/hot.rs"]
mod hot;
#[path = "levels/packed.rs"]
mod packed;
#[path = "commands/words.rs"]
mod words;
