//! What both benches stand on.
//!
//! - `server`: the servers under measurement, started for one bench and gone with it.
//! - `cpus`: who runs on which CPU, and how much CPU time a server has used.
//! - `redis_benchmark`: load from the server's own tool.
//! - `figures`: medians and spreads.
//! - `output`: what the machine is, and files in target/bench.

// Each bench compiles this module and uses a part of it.
#![allow(dead_code)]

pub mod cpus;
pub mod figures;
pub mod output;
pub mod redis_benchmark;
pub mod server;
