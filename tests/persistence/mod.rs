//! Entries survive restarts, crashes, reloads and moves to other servers.

mod aof;
mod damaged_values;
mod mid_reclaim;
mod rdb;
