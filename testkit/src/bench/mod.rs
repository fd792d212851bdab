//! Measuring: all benches stand on it.
//!
//! - `server`: a server under measurement.
//! - `cpus`: the CPUs that servers and their load run on, and the CPU time that a server has used.
//! - `redis_benchmark`: load from the server's own tool.
//! - `figures`: medians and spreads.
//! - `output`: the machine's facts, and files in target/bench.

pub mod cpus;
pub mod figures;
pub mod output;
pub mod redis_benchmark;
pub mod server;
