//! Faults around a server: the power cord, a full disk, no memory left, pauses in the wrong moment, crowds,
//! values that no module wrote, and long days. Nothing that was acknowledged is lost, no invalidated entry comes
//! back, and the counts agree with the keyspace.
//!
//! `make soak` runs the same at length: `CHATCACHE_ROUNDS` is how often the power cord is pulled, `CHATCACHE_CYCLES`
//! how often the cache is filled and invalidated, `CHATCACHE_DAYS` the days of traffic.
//! Root is not needed.

mod consistency;
mod corrupt_values;
mod full_disk;
mod maxmemory;
mod pauses;
mod power_cut;
mod soak;
mod ten_thousand_clients;

/// Number of repetitions: the variable, or the default.
fn times(variable: &str, by_default: u32) -> u32 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is not a whole number: {text:?}")),
        Err(_) => by_default,
    }
}
