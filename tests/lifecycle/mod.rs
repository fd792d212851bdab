//! The index is right after everything that can happen to a key: each test is a row, or a few, of what a
//! server does to values of a module type, and then drops what is left in each way there is.

mod support;

#[path = "lifecycle/desk.rs"]
mod desk;
#[path = "lifecycle/expiry.rs"]
mod expiry;
#[path = "lifecycle/leaving.rs"]
mod leaving;
#[path = "lifecycle/memory.rs"]
mod memory;
#[path = "lifecycle/moving.rs"]
mod moving;
#[path = "lifecycle/names.rs"]
mod names;
#[path = "lifecycle/reclaim.rs"]
mod reclaim;
#[path = "lifecycle/reload.rs"]
mod reload;
#[path = "lifecycle/restore.rs"]
mod restore;
