//! State that only the server's main thread may touch.
//!
//! The server calls commands, timers, notifications and most data type callbacks on one thread, one at a time,
//! so this state needs no lock; but it frees values on background threads too. `MainThread` hands its value out
//! on the main thread only, and to one borrower at a time: a callback that re-enters while the value is
//! borrowed is a bug, told by a panic that the guard around the callback logs.
//!
//! So the rule for users: borrow for a few lines, and make no call to the server in between that may call back
//! (opening a key for writing, deleting, setting a value).

use std::cell::{Cell, RefCell};

thread_local! {
    static HERE_IS_MAIN: Cell<bool> = const { Cell::new(false) };
}

/// Names the calling thread as the main thread. Called first thing at load.
pub fn here_is_main() {
    HERE_IS_MAIN.set(true);
}

/// A value of the main thread.
pub struct MainThread<T>(RefCell<T>);

// SAFETY: `with` and `try_with` give access on the main thread only.
unsafe impl<T> Sync for MainThread<T> {}

impl<T> MainThread<T> {
    pub const fn new(value: T) -> Self {
        MainThread(RefCell::new(value))
    }

    /// Runs `body` with the value.
    ///
    /// # Panics
    /// On another thread than the main one, and inside another `with`.
    pub fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        assert!(HERE_IS_MAIN.get(), "main-thread state touched on another thread");
        body(&mut self.0.borrow_mut())
    }
}
