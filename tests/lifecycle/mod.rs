//! The index is right after everything that can happen to a key: each test is a row, or a few, of what a
//! server does to values of a module type, and then drops what is left in each way there is.

mod deletes;
mod expiry;
mod memory;
mod names;
mod reload;
mod rename_move_copy;
mod restore;
mod story;
mod tombstones;
