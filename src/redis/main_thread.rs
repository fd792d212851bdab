//! State that only the server's main thread may touch.
//!
//! The server calls commands, timers, notifications and most data type callbacks on one thread, one at a
//! time, so this state needs no lock; but the server also frees values on background threads. `MainThread`
//! gives access on the main thread only, and to one borrower at a time: a callback that borrows the value
//! again is a bug, and panics; the guard around the callback logs that.
//!
//! Users borrow for a few lines, and make no call to the server in between that may call back (opening a key
//! for writing, deleting, setting a value).

use std::cell::{Cell, RefCell};

thread_local! {
    static HERE_IS_MAIN: Cell<bool> = const { Cell::new(false) };
}

/// Makes the calling thread the main thread. Called first thing at load.
pub fn here_is_main() {
    HERE_IS_MAIN.set(true);
}

/// A value of the main thread, in a static.
pub struct MainThread<T>(RefCell<T>);

// SAFETY: `with` is the only access, and panics on every thread but the main one. The values are made in
// statics, by the compiler, so no other thread has ever had a part of them.
unsafe impl<T> Sync for MainThread<T> {}

impl<T> MainThread<T> {
    /// Wraps the first value.
    pub const fn new(value: T) -> Self {
        MainThread(RefCell::new(value))
    }

    /// Runs `body` with the value, and returns its result.
    ///
    /// # Panics
    /// On a thread other than the main one, and inside another `with`.
    pub fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        assert!(HERE_IS_MAIN.get(), "main-thread state touched on another thread");
        body(&mut self.0.borrow_mut())
    }
}
