//! The lease table of single flight: who computes the response for a lease key, and who waits for it.
//!
//! A lease key has at most one *lease*, which its holder proves with an unguessable token. Other clients may wait for
//! the response, first come first served. A lease ends when a response is stored, when its holder releases it or
//! disconnects, when it runs out, or when an invalidation voids it (`invalidations`). From then on its token proves nothing.
//! If the lease ended without a response, the first waiter gets a new lease: its computation starts after the
//! invalidation, so its response is good.
//!
//! The table is a pure state machine. Each event is a call with a `Step`, which brings the time and the randomness.
//! The waiters to wake come out as `Wake`s, in order, for the caller to perform once the table is no longer borrowed.
//! Nothing here knows of Redis, reads a clock or blocks.
//!
//! Events that end many leases void them at once and in constant time. `advance` passes them on in slices: the caller
//! calls it at `next_deadline` and again while `has_backlog`.
//!
//! The holder may append pieces to the *draft* of its lease. A *reader* is a waiter with an offset into a draft: it wakes
//! with the bytes from there on, at most once in the pace, and in the end with the rest, or to hear that the draft is
//! lost. `advance` wakes the readers, those of an end too. While it does, a reader that asks for
//! more waits for its turn.
//!
//! Promises: a waiter only waits while its lease key has a lease, if a void one; one `Wake` ends its wait (`Recheck`
//! does not); `advance` ends every lease and every wait in time; with the last lease the table returns all its memory.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod draft_text;
mod drafts;
mod flights;
mod ids;
mod invalidations;
mod names;
mod readers;
mod report;
mod table;
#[cfg(any(test, fuzzing))]
pub(crate) mod tests;
mod types;
#[cfg(any(test, fuzzing))]
mod validate;
mod voids;
mod waiters;

pub use draft_text::DraftPart;
pub use ids::WaiterId;
pub use invalidations::VoidScope;
pub use report::{Counters, LeaseEnds, LeaseReport};
pub use table::LeaseTable;
pub use types::{
    AppendOutcome, DraftLimits, DraftName, DraftNews, FetchOutcome, GrantedLease, LeaseKey, LeaseRequest,
    LeaveReason, Step, StoredAs, Stream, Tie, Token, Wait, WaitOutcome, Wake,
};
