//! The lease table of single flight: who computes the answer to which question, and who waits for it.
//!
//! At most one client has the *lease* of a question, with a token that nobody can guess; others may wait, first
//! come first served. A lease ends when an answer is stored, when its holder gives it back or is gone, when it
//! runs out, or when what it would answer is dropped (`drops`). Then its token never holds again, and unless
//! there is an answer, the first waiter gets a new lease: its computation starts after the drop, so it is good.
//!
//! A pure state machine. Each event comes in as a call with a `Step`, which brings the time and the randomness;
//! what is to be done about waiters comes out as `Wake`s, in order, to be performed once the table is no longer
//! borrowed. Nothing here knows of Redis, reads a clock or blocks.
//!
//! Promises: a waiter only ever waits while somebody has the lease of its question; `Wake` ends its wait (but for
//! `LookAgain`) and comes once; `tick`, called at `next_deadline`, ends every lease and every wait in time; with
//! the last lease, the last byte goes.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod deadlines;
mod flights;
mod ids;
mod names;
mod report;
mod table;
#[cfg(any(test, fuzzing))]
pub(crate) mod tests;
mod types;
#[cfg(any(test, fuzzing))]
mod validate;
mod void;
mod waiters;

pub use ids::WaiterId;
pub use report::{ByEnd, Counters, Report};
pub use table::LeaseTable;
pub use types::{Ask, FetchOutcome, LeaseKey, Leased, Leaving, Outcome, Step, Token, Wait, Wake};
pub use void::VoidScope;
