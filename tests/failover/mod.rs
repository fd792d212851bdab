//! A master that fails, the sentinels that replace it, and the old master's return.

mod support;

#[path = "failover/load.rs"]
mod load;
#[path = "failover/returning.rs"]
mod returning;
#[path = "failover/sentinels.rs"]
mod sentinels;
#[path = "reclaim/words.rs"]
mod words;
