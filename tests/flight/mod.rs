//! Single flight: of all who miss one answer, one computes it, and nobody waits for one who is gone.

mod bounds;
mod durability;
mod errors;
mod invalidate_lease;
mod jitter;
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
