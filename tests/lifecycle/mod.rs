//! The index agrees with the keyspace after every event of a key. Each test is one or more rows of a list of all that a
//! server does to values of a module type; it ends with an invalidation of the entries left, once in each way.

mod deletes;
mod expiry;
mod memory;
mod names;
mod reload;
mod rename_move_copy;
mod restore;
mod story;
mod swapdb;
mod tombstones;
mod ttl_jitter;
