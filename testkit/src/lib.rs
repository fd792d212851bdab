//! Real servers with chatcache, started for one test, bench or example and gone with it, and a vocabulary to talk to
//! them.
//!
//! - `server`: a server process: started ready, restarted on the same port and directory, stopped on drop.
//!   A crash report in its log fails the test that owns it.
//! - `builder`: the options of a server before it starts.
//! - `process`: the process of a server; `container`: its container, with the feature `containers`.
//! - `cluster`, `sentinel`: several servers, and clients that find their way among them.
//! - `service`: an application that goes on through failovers.
//! - `raw`: a client that shows replies as they are on the wire; `lines`: commands as one types them into redis-cli.
//! - `replies`: short words for the redis crate; `entries`: many responses, and two states to compare.
//! - `fetch`: leases and waiters.
//! - `waiting`: `eventually`: tests wait for a condition, never for a length of time.
//! - `bugs`: known bugs of servers, and the skipping of tests that they break.
//! - `seed`: the seed of random tests.
//! - `bench`: measuring: CPUs, redis-benchmark, medians and reports.
//!
//! Environment: `CHATCACHE_SERVER` is the server binary (default: `redis-server` on the PATH),
//! `CHATCACHE_MODULE` the module (default: the one that cargo built together with the test),
//! `CHATCACHE_SEED` the seed of random tests (default: a random one, which is printed),
//! `CHATCACHE_PATIENCE` a factor on every time-out (valgrind wants 20), and `CHATCACHE_GRACEFUL=1` ends
//! servers with SIGTERM instead of SIGKILL (sanitizers report leaks at exit).

pub mod bench;
mod bugs;
mod builder;
mod cluster;
#[cfg(feature = "containers")]
mod container;
mod entries;
mod fetch;
mod lines;
mod process;
mod raw;
mod replies;
mod seed;
mod sentinel;
mod server;
mod service;
mod waiting;

pub use bugs::{
    skipped_as_copy_changes_the_database, skipped_without_atomic_slot_migration,
    skipped_without_defragmentation,
};
pub use builder::Builder;
pub use cluster::{Cluster, ClusterClient, slot_of};
pub use entries::{
    Busy, NOTHING_AT_ONCE, Request, as_text, checked, commands_in, count, dbsize, fill, fill_with, get,
    in_one_go, one_of_each, pending, pending_in, personas, reclaimed, saved_in_background, seen, set, sizes,
    stat,
};
pub use fetch::{
    Q, Served, all_quiet, busy_of, comes_too_late, hit, inspected, instants, is_null, lease, lease_of,
    patient_ms, refresh, refresh_of, set_line, stale, store_stale, waiter, waiter_for, waiters,
};
pub use lines::{fields, fill_persona, items, numbers, pairs, text_of, texts, words};
pub use raw::{Raw, RawClient};
pub use replies::{Arg, ask, cmd, error_text, expect_error, info, info_field, kept_by, map_of, text};
pub use seed::seed;
pub use sentinel::{SentinelClient, Watched};
pub use server::{Port, Server, is_valkey, replica_caught_up, server_version};
pub use service::{FailoverClient, Stop, Story};
pub use waiting::{eventually, eventually_some, eventually_within, patient};
