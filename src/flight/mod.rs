//! Single flight over real clients: one caller computes a missing response, and the others wait for it.
//!
//! The pure lease table (`lease`) decides. This room brings it the events, blocks and wakes the clients, and keeps one
//! timer at the table's next deadline. Leases live in this process alone: nothing here is persisted or replicated.
//!
//! - `lease_keys`: the lease keys of a request, by the rights of its callers.
//! - `reply`: the replies of FETCH.
//! - `state`: the lease table and the waiting clients.
//! - `reader_rights`: the rights of readers.
//! - `recheck`: a look into the key for clients that wait for its response.
//! - `steps`: one event in the table, its wakes, and the timer.
//! - `blocked_clients`: blocked clients, from the block to the delivery.
//! - `fetch`: FETCH, RELEASE, and the check of a token.
//! - `events`: everything that ends leases and waits from outside.

#![forbid(unsafe_code)]

mod blocked_clients;
mod events;
mod fetch;
mod lease_keys;
mod reader_rights;
mod recheck;
mod reply;
mod state;
mod steps;

pub use blocked_clients::deliver;
pub use events::{
    appeared, client_gone, end_all, has_leases, report, stored, swapped, void, void_request, void_response,
};
pub use fetch::{FetchTerms, append, check, draft, dummy_lease, fetch, reading_from, refresh, release};
pub use lease_keys::{LeaseKeys, lease_keys};
pub use reply::{ms_until, reply, reply_hit, reply_lost, reply_stale};
