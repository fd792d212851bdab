//! The guard around every callback: a panic becomes a log line and a harmless return value.
//!
//! A panic that leaves an `extern "C"` function aborts the server (seen on 7.0 and 7.4). `run` catches it,
//! logs its place, and returns the value that does the least harm.

use crate::redis::log::log_warning;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// The place and message of the panic being handled on this thread, from the hook to `run`.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Makes panics silent on stderr and keeps their places for `run`. Called once, at load.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        PLACE.with(|place| place.set(Some(info.to_string())));
    }));
}

/// Runs the body of the callback that `callback` names, and returns its value. If it panics, logs that and
/// returns `otherwise`.
pub fn run<T>(callback: &str, otherwise: T, body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(_) => {
            let place = PLACE.with(Cell::take).unwrap_or_default();
            log_warning(&format!("a bug in {callback}: {place}. Please report it; the server goes on"));
            otherwise
        }
    }
}
