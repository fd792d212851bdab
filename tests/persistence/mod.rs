//! What was answered before is answered after: over restarts, crashes, reloads and moves to other servers.

mod support;

#[path = "persistence/aof.rs"]
mod aof;
#[path = "persistence/damage.rs"]
mod damage;
#[path = "persistence/mid_reclaim.rs"]
mod mid_reclaim;
#[path = "persistence/rdb.rs"]
mod rdb;
#[path = "reclaim/words.rs"]
mod words;
