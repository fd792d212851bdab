//! A watch on every argument of every command, before the server carries the command out.
//!
//! The server gives a filter no context to open keys with, so the detached one serves: filters run on the
//! main thread, between commands. A watch costs each command a call, and each argument the watcher's work, so
//! it is on only while it is needed.

use crate::redis::api::api;
use crate::redis::ctx::Ctx;
use crate::redis::detached::detached;
use crate::redis::guard;
use crate::redis::string::bytes;
use redis_module::raw::{RedisModuleCommandFilter, RedisModuleCommandFilterCtx};

/// A watcher of arguments.
pub trait ArgumentWatch {
    /// One argument of a command that is about to run. The context has no client: select a database first.
    fn argument(ctx: &Ctx<'_>, argument: &[u8]);
}

/// A watch that is on; `Ctx::stop_watching_arguments` ends it.
pub struct Watching(*mut RedisModuleCommandFilter);

impl Ctx<'_> {
    /// Starts to show arguments to `W`. Returns None if the server refuses.
    pub fn watch_arguments<W: ArgumentWatch>(&self) -> Option<Watching> {
        // The filter needs it.
        self.detached();
        // SAFETY: the context is valid; the callback has the signature asked for.
        let filter = unsafe { api!(RedisModule_RegisterCommandFilter)(self.raw(), Some(filter::<W>), 0) };
        (!filter.is_null()).then_some(Watching(filter))
    }

    /// Ends a watch.
    pub fn stop_watching_arguments(&self, watching: Watching) {
        // SAFETY: the context is valid. `Watching` cannot be copied, so the filter has not been ended before.
        unsafe { api!(RedisModule_UnregisterCommandFilter)(self.raw(), watching.0) };
    }
}

/// # Safety
/// Only the server may call this, as a command filter that `Ctx::watch_arguments` registered.
unsafe extern "C" fn filter<W: ArgumentWatch>(command: *mut RedisModuleCommandFilterCtx) {
    guard::run("a command filter", (), || {
        // SAFETY: `watch_arguments` made the detached context; filters run on the main thread.
        let ctx = unsafe { detached() };
        // SAFETY: the filter context is this callback's.
        let count = unsafe { api!(RedisModule_CommandFilterArgsCount)(command) };
        for position in 1..count {
            // SAFETY: the filter context is this callback's; the server checks the position.
            let argument = unsafe { api!(RedisModule_CommandFilterArgGet)(command, position) };
            if !argument.is_null() {
                // SAFETY: the argument stays unchanged during this callback.
                W::argument(&ctx, unsafe { bytes(argument) });
            }
        }
    });
}
