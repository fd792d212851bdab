//! What was answered before is answered after: over restarts, crashes, reloads and moves to other servers.

mod aof;
mod damaged_values;
mod mid_reclaim;
mod rdb;
