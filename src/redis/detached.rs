//! The context without a client, for callbacks that the server gives none, and for calls without a caller's
//! rights.
//!
//! It is made when it is first needed, and kept. Its users run on the main thread, so it needs no lock.

use crate::redis::api::api;
use crate::redis::ctx::Ctx;
use redis_module::raw::RedisModuleCtx;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Null until `Ctx::detached` makes it; never freed.
static DETACHED: AtomicPtr<RedisModuleCtx> = AtomicPtr::new(ptr::null_mut());

impl Ctx<'_> {
    /// Returns the context without a client, and makes it on the first call.
    pub(super) fn detached(&self) -> Ctx<'static> {
        let mut detached = DETACHED.load(Ordering::Relaxed);
        if detached.is_null() {
            // SAFETY: the context is valid while `self` is.
            detached = unsafe { api!(RedisModule_GetDetachedThreadSafeContext)(self.raw()) };
            DETACHED.store(detached, Ordering::Relaxed);
        }
        // SAFETY: the context is never freed, and `self` shows that this is the main thread.
        unsafe { Ctx::new(detached) }
    }
}

/// Returns the context without a client in a callback that has none.
///
/// # Safety
/// `Ctx::detached` has been called, and this is the main thread.
pub(super) unsafe fn detached() -> Ctx<'static> {
    // SAFETY: the context has been made and is never freed; the thread is as this function's contract says.
    unsafe { Ctx::new(DETACHED.load(Ordering::Relaxed)) }
}
