//! One-shot timers on the main thread.

use crate::redis::ctx::Ctx;
use crate::redis::guard;
use redis_module::raw::RedisModuleCtx;
use std::os::raw::c_void;

/// What a timer runs.
pub trait Timer {
    fn fire(ctx: &Ctx<'_>);
}

impl Ctx<'_> {
    /// Runs `T::fire` once, in `ms` milliseconds. Timers do not run while the server loads its data.
    pub fn start_timer<T: Timer>(&self, ms: i64) {
        // SAFETY: the callback needs no data.
        unsafe { api!(RedisModule_CreateTimer)(self.raw, ms, Some(fire::<T>), std::ptr::null_mut()) };
    }
}

extern "C" fn fire<T: Timer>(ctx: *mut RedisModuleCtx, _: *mut c_void) {
    guard::run("a timer", (), || T::fire(&Ctx::new(ctx)));
}
