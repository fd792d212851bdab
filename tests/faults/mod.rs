//! What happens around a server: the power cord, a full disk, no memory left, pauses in the wrong moment, crowds,
//! values that no module wrote, and long days. Nothing that was acknowledged is lost, nothing that was dropped comes
//! back, and the counts agree with the keyspace.
//!
//! `make soak` runs the same at length: `CHATCACHE_ROUNDS` is how often the power cord is pulled, `CHATCACHE_CYCLES`
//! how often the cache is filled and dropped, `CHATCACHE_DAYS` how many days of traffic there are. None needs root.

mod support;

#[path = "faults/bent.rs"]
mod bent;
#[path = "faults/crowd.rs"]
mod crowd;
#[path = "flight/desk.rs"]
mod desk;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/kill.rs"]
mod kill;
#[path = "reclaim/words.rs"]
mod masses;
#[path = "faults/maxmemory.rs"]
mod maxmemory;
#[path = "faults/pauses.rs"]
mod pauses;
#[path = "faults/sane.rs"]
mod sane;
#[path = "faults/soak.rs"]
mod soak;
#[path = "commands/words.rs"]
mod words;

/// How often to do what can be done at any length.
fn times(variable: &str, by_default: u32) -> u32 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is not a whole number: {text:?}")),
        Err(_) => by_default,
    }
}
