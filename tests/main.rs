//! The integration tests: one program, which drives real servers through `testkit`.
//!
//! `make test ARGS=invalidate` runs the tests with that word in their path; `ARGS=flight::` runs one module.

/// Rights to personas: reads, writes, waits and administration by users that have some of them.
mod acl;
/// The layers of `src/`, and the arrows between its files.
mod architecture;
/// One client against the rest: memory and time that it can take are bounded.
mod bounds;
/// Redis Cluster: slots, their migration, replicas and failovers.
mod cluster;
/// Each command as an application sees it.
mod commands;
/// The code blocks of README.md and docs/, run as a reader runs them.
mod docs;
/// Sentinels that replace a master, and the old master's return.
mod failover;
/// Power cuts, full disks, exhausted memory, pauses, crowds and corrupt values.
mod faults;
/// Single flight: leases, waiters, stale responses and refreshes.
mod flight;
/// COMMAND, INFO, notifications and the other means of the server to look at the module.
mod introspection;
/// L1 and the compression of cold responses.
mod levels;
/// The index after expiry, eviction, renames, restores, reloads and deletes of keys.
mod lifecycle;
/// RDB and AOF: restarts, crashes and damaged values.
mod persistence;
/// Random commands, compared with a model.
mod random;
/// Large invalidations and their reclaim.
mod reclaim;
/// Each refusal: its text, and that it changes nothing.
mod refusals;
/// Replicas: the stream, syncs and promotions.
mod replication;
/// The settings, at load and at run time.
mod settings;
/// Streamed responses: drafts and their readers.
mod streams;
/// CLIENT TRACKING by persona.
mod tracking;
