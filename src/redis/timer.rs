//! One-shot timers on the main thread.
//!
//! Each timer of the server's is a node in a tree keyed by microsecond, and those of one millisecond are
//! probed one by one, so thousands of them stall the event loop. A `OneTimer` therefore keeps at most one: an
//! earlier deadline stops it and starts it anew.

use crate::redis::api::{OK, api};
use crate::redis::ctx::Ctx;
use crate::redis::guard;
use crate::redis::main_thread::MainThread;
use redis_module::raw::{RedisModuleCtx, RedisModuleTimerID};
use std::marker::PhantomData;
use std::os::raw::c_void;
use std::ptr;
use std::time::Instant;

/// The number of timers that run for the module.
static RUNNING: MainThread<u64> = MainThread::new(0);

/// Returns the number of the server's timers that run for the module.
pub fn timers_running() -> u64 {
    RUNNING.with(|running| *running)
}

/// The work of a timer.
pub trait Timer: 'static {
    /// Runs when the timer goes off. The timer may be set again here.
    fn fire(ctx: &Ctx<'_>);
}

/// A timer that runs `T::fire`; a static, so that the server's callback finds it.
///
/// At most one timer of the server's runs for it. Timers do not go off while the server loads its data.
pub struct OneTimer<T> {
    running: MainThread<Option<Running>>,
    work: PhantomData<fn() -> T>,
}

struct Running {
    id: RedisModuleTimerID,
    at: Instant,
}

impl<T: Timer> OneTimer<T> {
    /// A timer that does not run.
    pub const fn new() -> Self {
        OneTimer { running: MainThread::new(None), work: PhantomData }
    }

    /// Makes the timer go off at `at`, rounded up to the next millisecond, or at the earlier moment that it
    /// is already set for.
    pub fn set_no_later(&'static self, ctx: &Ctx<'_>, at: Instant) {
        self.running.with(|running| {
            match running.take() {
                Some(earlier) if earlier.at <= at => {
                    *running = Some(earlier);
                    return;
                }
                Some(Running { id, .. }) => {
                    // SAFETY: the context is valid. The timer has not gone off, since `fire` would have
                    // cleared it, so the server still has it; null asks for no data back.
                    let code = unsafe { api!(RedisModule_StopTimer)(ctx.raw(), id, ptr::null_mut()) };
                    debug_assert_eq!(code, OK);
                    RUNNING.with(|running| *running -= 1);
                }
                None => {}
            }
            let ms = at.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000).max(1);
            let ms = i64::try_from(ms).unwrap_or(i64::MAX);
            let data: *const Self = self;
            // SAFETY: the context is valid; the callback reads the data as this `OneTimer<T>`, which is
            // static.
            let id = unsafe {
                api!(RedisModule_CreateTimer)(ctx.raw(), ms, Some(fire::<T>), data.cast_mut().cast())
            };
            *running = Some(Running { id, at });
            RUNNING.with(|running| *running += 1);
        });
    }
}

/// # Safety
/// Only the server may call this, for a timer that `OneTimer::set_no_later` started.
unsafe extern "C" fn fire<T: Timer>(ctx: *mut RedisModuleCtx, timer: *mut c_void) {
    guard::run("a timer", (), || {
        // SAFETY: the data is the static `OneTimer<T>` that started the timer.
        if let Some(timer) = unsafe { timer.cast::<OneTimer<T>>().as_ref() } {
            // The server frees the timer after this callback (Redis 7.0, module.c, moduleTimerHandler), so it
            // must not be stopped from here on.
            timer.running.with(|running| *running = None);
            RUNNING.with(|running| *running = running.saturating_sub(1));
        }
        // SAFETY: the context is this callback's.
        T::fire(&unsafe { Ctx::new(ctx) });
    });
}
