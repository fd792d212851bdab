//! One guard around every callback: a panic becomes a log line and a harmless answer.
//!
//! A panic that leaves an `extern "C"` function aborts the server (seen on 7.0 and 7.4). `run` catches it,
//! logs where it came from, and gives the callback's caller the value that does least harm.

use crate::redis::ctx;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Where the panic being handled on this thread happened, told by the hook to `run`.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Makes panics silent on stderr and remembers where they happened. Called once at load.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        PLACE.with(|place| place.set(Some(info.to_string())));
    }));
}

/// Runs a callback's body; if it panics, logs it and answers `otherwise`.
pub fn run<T>(callback: &str, otherwise: T, body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(_) => {
            let place = PLACE.with(Cell::take).unwrap_or_default();
            ctx::log_warning(&format!("a bug in {callback}: {place}. Please report it; the server goes on"));
            otherwise
        }
    }
}
