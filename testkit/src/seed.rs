//! The seed of random tests.

/// The number in `CHATCACHE_SEED`, or a random one. Prints it, so that a failed run can be repeated.
///
/// # Panics
/// If the variable is no whole number.
pub fn seed() -> u64 {
    let seed = match std::env::var("CHATCACHE_SEED") {
        Ok(text) => text.parse().expect("CHATCACHE_SEED is a whole number"),
        Err(_) => rand::random(),
    };
    eprintln!("CHATCACHE_SEED={seed}");
    seed
}
