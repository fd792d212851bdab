//! Lines in the server's log.

use crate::redis::api::optional;
use crate::redis::string::c_text;
use redis_module::raw::RedisModuleCtx;
use std::ffi::CStr;
use std::ptr;

/// The level of a log line.
#[derive(Clone, Copy)]
pub(super) enum Level {
    Notice,
    Warning,
}

impl Level {
    fn name(self) -> &'static CStr {
        match self {
            Level::Notice => c"notice",
            Level::Warning => c"warning",
        }
    }
}

/// Logs a warning without a context, from any thread.
pub(super) fn log_warning(text: &str) {
    // SAFETY: the server takes a null context (Redis 7.0, module.c, RM_Log).
    unsafe { log(ptr::null_mut(), Level::Warning, text) };
}

/// Logs a line. Does nothing if the server's table has not been filled yet.
///
/// # Safety
/// `ctx` is null or a valid context.
pub(super) unsafe fn log(ctx: *mut RedisModuleCtx, level: Level, text: &str) {
    if let Some(log) = optional!(RedisModule_Log) {
        let text = c_text(text);
        // SAFETY: the context is valid by this function's contract; the format takes the one C string passed.
        unsafe { log(ctx, level.name().as_ptr(), c"%s".as_ptr(), text.as_ptr()) };
    }
}
