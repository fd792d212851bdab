//! The clock, exact and coarse.

use crate::redis::api::api;
use crate::redis::ctx::Ctx;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The longest time between two ticks of the kernel, in milliseconds: Linux has 100 to 1,000 a second. On a busy machine, ticks
/// come late.
pub const TICK_MS: i64 = 10;

impl Ctx<'_> {
    /// Returns the server's clock, in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        // SAFETY: the call takes no argument.
        unsafe { api!(RedisModule_Milliseconds)() }
    }

    /// Returns the time of the kernel's last tick, in Unix milliseconds: mostly up to `TICK_MS` behind `now_ms`. It is read from
    /// memory without a look at the processor's counter.
    pub fn tick_ms(&self) -> i64 {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::RealtimeCoarse);
        tv_sec.saturating_mul(1000).saturating_add(tv_nsec / 1_000_000)
    }
}
