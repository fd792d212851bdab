//! Clients that wait for a reply, as BLPOP's do.
//!
//! A blocked client ends in one of three ways, and each needs `UnblockClient` once, or its memory is lost: we unblock
//! it (`Blocked::unblock`), the server says that its time is up (CLIENT UNBLOCK), or it is gone. The server calls
//! back for the last two, and `Waiting` finds the handle again by the client's number.
//!
//! No time-out is given to the server: whoever blocks a client ends its wait. The callback for it must be there all
//! the same, or CLIENT UNBLOCK would not work (read in Redis 7.0, module.c, moduleBlockedClientMayTimeout).

use crate::redis::api::OK;
use crate::redis::ctx::Ctx;
use crate::redis::guard;
use redis_module::raw::{self, RedisModuleBlockedClient, RedisModuleCtx, RedisModuleString};
use std::os::raw::{c_int, c_void};
use std::ptr;

/// What an upper room does about blocked clients.
pub trait Waiting: 'static {
    /// What a client waits for.
    type Reply: 'static;

    /// Replies what `Blocked::unblock` was given.
    fn reply(ctx: &Ctx<'_>, reply: &Self::Reply);
    /// CLIENT UNBLOCK has ended the wait: replies, and gives the handle back.
    fn timed_out(ctx: &Ctx<'_>, client: u64) -> Option<Blocked>;
    /// The client is gone, or CLIENT UNBLOCK has given it an error: gives the handle back.
    fn disconnected(ctx: &Ctx<'_>, client: u64) -> Option<Blocked>;
}

/// A client that is blocked, until `unblock` or `drop_unanswered`.
pub struct Blocked {
    raw: *mut RedisModuleBlockedClient,
}

impl Ctx<'_> {
    /// Whether the caller may be blocked: not in MULTI, in a script, by another module, from the master or the AOF.
    pub fn may_block(&self) -> bool {
        !self.has(
            raw::REDISMODULE_CTX_FLAGS_LUA
                | raw::REDISMODULE_CTX_FLAGS_MULTI
                | raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING
                | raw::REDISMODULE_CTX_FLAGS_REPLICATED
                | raw::REDISMODULE_CTX_FLAGS_LOADING,
        )
    }

    /// Blocks the caller, who must be one that `may_block`. The command replies nothing more.
    pub fn block<W: Waiting>(&self) -> Blocked {
        // SAFETY: the context is a command's; the callbacks have the signatures asked for.
        unsafe {
            let raw = api!(RedisModule_BlockClient)(
                self.raw,
                Some(reply::<W>),
                Some(timed_out::<W>),
                Some(free_answer::<W>),
                0,
            );
            api!(RedisModule_SetDisconnectCallback)(raw, Some(disconnected::<W>));
            Blocked { raw }
        }
    }

    /// The caller's number, which no other client of this server ever has.
    pub fn client(&self) -> u64 {
        // SAFETY: the context is the running callback's.
        unsafe { api!(RedisModule_GetClientId)(self.raw) }
    }
}

impl Blocked {
    /// Wakes the client; `W::reply` runs before the event loop sleeps next.
    ///
    /// To be called just before it sleeps. In between Redis 7.0 answers a CLIENT UNBLOCK TIMEOUT with nothing at all,
    /// since the client seems served (seen there), and every server answers CLIENT UNBLOCK ERROR with its own error.
    pub fn unblock<W: Waiting>(self, unblock: W::Reply) {
        let unblock: *mut W::Reply = Box::into_raw(Box::new(unblock));
        // SAFETY: the handle is given back once, as this consumes it; `free_answer` frees the unblock.
        unsafe { api!(RedisModule_UnblockClient)(self.raw, unblock.cast()) };
    }

    /// Gives the handle back without an unblock, which somebody else has given or nobody can take.
    fn drop_unanswered(self) {
        // SAFETY: as above; the server calls no reply for a client that is no longer blocked.
        unsafe { api!(RedisModule_UnblockClient)(self.raw, ptr::null_mut()) };
    }
}

extern "C" fn reply<W: Waiting>(ctx: *mut RedisModuleCtx, _: *mut *mut RedisModuleString, _: c_int) -> c_int {
    guard::run("a reply to a blocked client", (), || {
        // SAFETY: the private data is what `unblock` gave, or null.
        let unblock =
            unsafe { api!(RedisModule_GetBlockedClientPrivateData)(ctx).cast::<W::Reply>().as_ref() };
        if let Some(unblock) = unblock {
            W::reply(&Ctx::new(ctx), unblock);
        }
    });
    OK
}

extern "C" fn timed_out<W: Waiting>(
    ctx: *mut RedisModuleCtx,
    _: *mut *mut RedisModuleString,
    _: c_int,
) -> c_int {
    guard::run("a time-out of a blocked client", (), || {
        let ctx = Ctx::new(ctx);
        if let Some(blocked) = W::timed_out(&ctx, ctx.client()) {
            blocked.drop_unanswered();
        }
    });
    OK
}

extern "C" fn disconnected<W: Waiting>(ctx: *mut RedisModuleCtx, _: *mut RedisModuleBlockedClient) {
    guard::run("a disconnect of a blocked client", (), || {
        let ctx = Ctx::new(ctx);
        if let Some(blocked) = W::disconnected(&ctx, ctx.client()) {
            blocked.drop_unanswered();
        }
    });
}

extern "C" fn free_answer<W: Waiting>(_: *mut RedisModuleCtx, unblock: *mut c_void) {
    guard::run("freeing an unblock", (), || {
        if !unblock.is_null() {
            // SAFETY: made by `unblock`, freed once by the server.
            drop(unsafe { Box::from_raw(unblock.cast::<W::Reply>()) });
        }
    });
}
