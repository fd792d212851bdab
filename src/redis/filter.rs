//! Shows every argument of every command before the server carries it out, while somebody asks for it.
//!
//! The server gives a filter no context to open keys with, so one that belongs to no client serves: filters run
//! on the main thread, between commands. It costs each command a call and each argument whatever the watcher
//! does, so it is switched on only while it is needed.

use crate::redis::args::bytes;
use crate::redis::ctx::Ctx;
use crate::redis::guard;
use redis_module::raw::{RedisModuleCommandFilter, RedisModuleCommandFilterCtx, RedisModuleCtx};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Sees arguments.
pub trait ArgumentWatch {
    /// One argument of a command that is about to run. The context belongs to no client: select a database first.
    fn argument(ctx: &Ctx<'_>, argument: &[u8]);
}

/// A watch that is on; `Ctx::stop_watching_arguments` ends it.
pub struct Watching(*mut RedisModuleCommandFilter);

/// The context without a client, made when it is first needed and kept.
static DETACHED: AtomicPtr<RedisModuleCtx> = AtomicPtr::new(ptr::null_mut());

impl Ctx<'_> {
    /// The context that belongs to no client.
    pub(super) fn detached(&self) -> Ctx<'static> {
        if DETACHED.load(Ordering::Relaxed).is_null() {
            // SAFETY: the context is the running callback's; the new one is never freed.
            let detached = unsafe { api!(RedisModule_GetDetachedThreadSafeContext)(self.raw) };
            DETACHED.store(detached, Ordering::Relaxed);
        }
        Ctx::detached_before()
    }

    /// The same, in a callback that is given no context; `detached` must have been called.
    pub(super) fn detached_before() -> Ctx<'static> {
        Ctx::new(DETACHED.load(Ordering::Relaxed))
    }

    /// Starts showing arguments to `W`. None where the server will not.
    pub fn watch_arguments<W: ArgumentWatch>(&self) -> Option<Watching> {
        self.detached();
        // SAFETY: the context is the running callback's.
        unsafe {
            let filter = api!(RedisModule_RegisterCommandFilter)(self.raw, Some(filter::<W>), 0);
            (!filter.is_null()).then_some(Watching(filter))
        }
    }

    pub fn stop_watching_arguments(&self, watching: Watching) {
        // SAFETY: registered by this module and not ended before, as `Watching` cannot be copied.
        unsafe { api!(RedisModule_UnregisterCommandFilter)(self.raw, watching.0) };
    }
}

unsafe extern "C" fn filter<W: ArgumentWatch>(command: *mut RedisModuleCommandFilterCtx) {
    guard::run("a command filter", (), || {
        let ctx = Ctx::detached_before();
        // SAFETY: the positions are those of the command's arguments, which stay during the call.
        unsafe {
            let count = api!(RedisModule_CommandFilterArgsCount)(command);
            for position in 1..count {
                let argument = api!(RedisModule_CommandFilterArgGet)(command, position);
                if !argument.is_null() {
                    W::argument(&ctx, bytes(argument));
                }
            }
        }
    });
}
