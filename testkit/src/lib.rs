//! What every integration test stands on: real servers, started for one test and gone with it.
//!
//! A test says what server it needs, talks to it over real sockets, and forgets it. The rest is kept here:
//!
//! - `server`: a server process: started ready, restarted on the same port and directory, stopped on drop.
//!   A crash report in its log fails the test that owned it, whatever else the test saw.
//! - `bugs`: bugs of servers, and how a test that one stands in the way of is skipped.
//! - `builder`: the options of a server before it starts.
//! - `cluster`: masters and replicas that share the slots, and a client that finds its way among them.
//! - `process`: the process of a server; in `tests/containers`, a container instead.
//! - `raw`: a client that shows replies as they are on the wire (RESP2 and RESP3).
//! - `replies`: `cmd`, `args!`, `expect_error`, `map_of`, `info_field`: short words for the redis crate.
//! - `sentinel`: a master, its replicas and the sentinels that replace it, and a client that asks these.
//! - `waiting`: `eventually`: tests wait for a condition, never for a length of time.
//!
//! Environment: `CHATCACHE_SERVER` is the server binary (default: `redis-server` on the PATH),
//! `CHATCACHE_MODULE` the module (default: the one that cargo built together with the test),
//! `CHATCACHE_PATIENCE` a factor on every time-out (valgrind wants 20), and `CHATCACHE_GRACEFUL=1` ends
//! servers with SIGTERM instead of SIGKILL (sanitizers report leaks at exit).

// Each test binary compiles this module and uses a part of it.
#![allow(dead_code, unused_imports, unused_macros)]

mod bugs;
mod builder;
mod cluster;
#[cfg_attr(feature = "containers", path = "../containers/process.rs")]
mod process;
mod raw;
mod replies;
#[cfg(not(feature = "containers"))]
mod sentinel;
mod server;
mod waiting;

pub use bugs::skipped_as_copy_changes_the_database;
pub use builder::Builder;
pub use cluster::{Cluster, ClusterClient, slot_of};
pub use raw::{Raw, RawClient};
pub(crate) use replies::args;
pub use replies::{Arg, cmd, error_text, expect_error, info, info_field, kept_by, map_of, text};
#[cfg(not(feature = "containers"))]
pub use sentinel::{SentinelClient, Watched};
pub use server::{Server, is_valkey, replica_caught_up, server_version};
pub use waiting::{eventually, eventually_some, eventually_within, patient};
