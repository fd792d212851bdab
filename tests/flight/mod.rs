//! Single flight: of all callers that miss one response, one computes it, and no waiter is stranded.

mod bounds;
mod durability;
mod errors;
mod invalidate_lease;
mod late_store;
mod many_callers;
mod native_commands;
mod no_blocking;
mod observed;
mod savings;
mod soft_invalidate;
mod stale;
mod terms;
mod waiters;
