//! What INFO shows of the module.

use crate::redis::ctx::{Ctx, c_text};
use crate::redis::guard;
use crate::redis::module::Module;
use redis_module::raw::RedisModuleInfoCtx;
use std::os::raw::c_int;
use std::ptr;

/// The module's section of INFO, being written.
pub struct InfoSection(*mut RedisModuleInfoCtx);

impl InfoSection {
    /// Adds a line `chatcache_<name>:<value>`, with the hyphens of the name as underscores, as in all of INFO.
    pub fn field(&mut self, name: &str, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        let name = c_text(&name.replace('-', "_"));
        // SAFETY: the context is the running callback's.
        unsafe { api!(RedisModule_InfoAddFieldLongLong)(self.0, name.as_ptr(), value) };
    }
}

pub(super) fn register<M: Module>(ctx: &Ctx<'_>) {
    // SAFETY: called at load.
    unsafe { api!(RedisModule_RegisterInfoFunc)(ctx.raw, Some(info::<M>)) };
}

extern "C" fn info<M: Module>(info: *mut RedisModuleInfoCtx, for_crash_report: c_int) {
    // A crash may have happened anywhere, with our state half changed: it is not read then.
    if for_crash_report != 0 {
        return;
    }
    guard::run("INFO", (), || {
        // SAFETY: an unnamed section is called like the module.
        let wanted = unsafe { api!(RedisModule_InfoAddSection)(info, ptr::null()) };
        if wanted == crate::redis::api::OK {
            M::info(&mut InfoSection(info));
        }
    });
}
