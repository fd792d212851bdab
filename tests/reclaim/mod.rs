//! Large drops: at once for every reader, and in small pieces for the memory.

mod support;

#[path = "reclaim/interrupted.rs"]
mod interrupted;
#[path = "reclaim/large.rs"]
mod large;
#[path = "reclaim/overlapping.rs"]
mod overlapping;
#[path = "reclaim/words.rs"]
mod words;
