//! A master that fails, the sentinels that replace it, and the old master's return.

mod returning_master;
mod sentinels;
