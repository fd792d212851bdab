//! Waiting for a condition: it is polled until it holds, and its time-out fails the test at
//! the line that waited. Time-outs are generous, since only a failing test ever spends them.

use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time limit of `eventually`.
const SOON: Duration = Duration::from_secs(10);

/// A time-out, stretched for servers that run slower than real ones (`CHATCACHE_PATIENCE`).
pub fn patient(timeout: Duration) -> Duration {
    static FACTOR: LazyLock<u32> = LazyLock::new(|| match std::env::var("CHATCACHE_PATIENCE") {
        Ok(text) => text.parse().expect("CHATCACHE_PATIENCE is not a whole number"),
        Err(_) => 1,
    });
    timeout * *FACTOR
}

/// Waits until the condition holds.
#[track_caller]
pub fn eventually(condition: impl FnMut() -> bool) {
    eventually_within(SOON, condition);
}

/// Waits until the condition holds, at most for `timeout`.
#[track_caller]
pub fn eventually_within(timeout: Duration, mut condition: impl FnMut() -> bool) {
    let met = poll(timeout, || condition().then_some(()));
    assert!(met.is_some(), "the condition did not hold within {:?}", patient(timeout));
}

/// Waits until there is a value, and gives it.
#[track_caller]
pub fn eventually_some<T>(value: impl FnMut() -> Option<T>) -> T {
    match poll(SOON, value) {
        Some(value) => value,
        None => panic!("there was no value within {:?}", patient(SOON)),
    }
}

/// Polls, quickly at first; None when the (stretched) time is up.
pub(super) fn poll<T>(timeout: Duration, mut value: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patient(timeout);
    let mut pause = Duration::from_millis(1);
    loop {
        // The deadline is read before the look, so that the last look comes after the whole time.
        let late = Instant::now() >= end;
        let found = value();
        if found.is_some() || late {
            return found;
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
