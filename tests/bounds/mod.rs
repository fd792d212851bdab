//! Nothing that one client does fills the server or stalls the others.
//!
//! docs/dev/structures.md lists the structures that a client can grow. Each bound there has a test here or in the room of
//! the command that grows it.

/// Misses of personas without entries: the memory of their statistics.
mod idle_statistics;
/// L1 and the compressor under requests for more responses than L1 holds.
mod levels;
/// Commands whose caller chooses the size of the work.
mod sizes;
/// Random commands of several clients, with a client beside them that measures PING.
mod storm;
