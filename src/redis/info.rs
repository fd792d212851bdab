//! The module's section of INFO.

use crate::redis::api::{OK, api};
use crate::redis::ctx::Ctx;
use crate::redis::guard;
use crate::redis::string::c_text;
use redis_module::raw::RedisModuleInfoCtx;
use std::os::raw::c_int;
use std::ptr;

/// The source of the module's section of INFO.
pub trait Info {
    /// Writes the section's fields. Not called for a crash report.
    fn info(section: &mut InfoSection);
}

/// The module's section of INFO, being written.
pub struct InfoSection(
    /// The running callback's.
    *mut RedisModuleInfoCtx,
);

impl InfoSection {
    /// Adds a line `chatcache_<name>:<value>`, with underscores for the name's hyphens, as in all of INFO.
    pub fn field(&mut self, name: &str, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        let name = c_text(&name.replace('-', "_"));
        // SAFETY: the section's context is the running callback's; the server copies the name.
        unsafe { api!(RedisModule_InfoAddFieldLongLong)(self.0, name.as_ptr(), value) };
    }
}

/// Registers `I` as the source.
pub(super) fn register<I: Info>(ctx: &Ctx<'_>) {
    // SAFETY: the context is valid; the callback has the signature asked for.
    unsafe { api!(RedisModule_RegisterInfoFunc)(ctx.raw(), Some(info::<I>)) };
}

/// # Safety
/// Only the server may call this, for INFO or a crash report.
unsafe extern "C" fn info<I: Info>(info: *mut RedisModuleInfoCtx, for_crash_report: c_int) {
    // A crash may leave the module's state half changed, so it is not read then.
    if for_crash_report != 0 {
        return;
    }
    guard::run("INFO", (), || {
        // SAFETY: the context is this callback's; a section without a name takes the module's.
        let wanted = unsafe { api!(RedisModule_InfoAddSection)(info, ptr::null()) };
        if wanted == OK {
            I::info(&mut InfoSection(info));
        }
    });
}
