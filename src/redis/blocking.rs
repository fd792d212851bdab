//! Clients that wait for a reply, as BLPOP's do.
//!
//! A blocked client ends in one of three ways, and each needs `UnblockClient` once, or its memory is lost:
//! the module unblocks it (`Blocked::unblock`), CLIENT UNBLOCK ends its wait, or it disconnects. The server
//! calls back for the last two, and `Waiting` finds the handle by the client ID.
//!
//! The server gets no time-out, since the rooms above end each wait themselves. The callback for a time-out
//! must be there all the same, or CLIENT UNBLOCK would not work (read in Redis 7.0, module.c,
//! moduleBlockedClientMayTimeout).

use crate::redis::api::{OK, api};
use crate::redis::ctx::Ctx;
use crate::redis::guard;
use redis_module::raw::{self, RedisModuleBlockedClient, RedisModuleCtx, RedisModuleString};
use std::os::raw::{c_int, c_void};
use std::ptr;

/// The keeper of blocked clients.
pub trait Waiting: 'static {
    /// The value that `Blocked::unblock` takes to the client's reply.
    type Reply: 'static;

    /// Replies to a client that `Blocked::unblock` has woken.
    fn reply(ctx: &Ctx<'_>, reply: &Self::Reply);
    /// CLIENT UNBLOCK with TIMEOUT has ended the wait: replies, and returns the client's handle.
    fn timed_out(ctx: &Ctx<'_>, client: u64) -> Option<Blocked>;
    /// The client has disconnected, or CLIENT UNBLOCK has given it an error: returns its handle.
    fn disconnected(ctx: &Ctx<'_>, client: u64) -> Option<Blocked>;
}

/// The handle of a blocked client, which must go back to the server once: by `unblock`, or from a callback of
/// `Waiting`.
pub struct Blocked {
    raw: *mut RedisModuleBlockedClient,
}

impl Ctx<'_> {
    /// Returns true if the caller may be blocked. It may not in MULTI, in a script, in another module's call,
    /// and where the command comes from the master or the AOF.
    pub fn may_block(&self) -> bool {
        !self.has(
            raw::REDISMODULE_CTX_FLAGS_LUA
                | raw::REDISMODULE_CTX_FLAGS_MULTI
                | raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING
                | raw::REDISMODULE_CTX_FLAGS_REPLICATED
                | raw::REDISMODULE_CTX_FLAGS_LOADING,
        )
    }

    /// Blocks the caller, for which `may_block` is true. The command replies nothing more.
    pub fn block<W: Waiting>(&self) -> Blocked {
        // SAFETY: the context is a command's; the callbacks have the signatures asked for, and `free_reply`
        // frees the private data that `unblock::<W>` makes.
        let raw = unsafe {
            api!(RedisModule_BlockClient)(
                self.raw(),
                Some(reply::<W>),
                Some(timed_out::<W>),
                Some(free_reply::<W>),
                0,
            )
        };
        // SAFETY: the handle has just been made.
        unsafe { api!(RedisModule_SetDisconnectCallback)(raw, Some(disconnected::<W>)) };
        Blocked { raw }
    }
}

impl Blocked {
    /// Wakes the client that `Ctx::block::<W>` blocked; `W::reply` runs before the event loop sleeps next.
    ///
    /// Call this just before it sleeps. In between, Redis 7.0 replies nothing at all to CLIENT UNBLOCK
    /// TIMEOUT, since the client seems served (seen there), and every server replies its own error for CLIENT
    /// UNBLOCK ERROR.
    pub fn unblock<W: Waiting>(self, reply: W::Reply) {
        let reply: *mut W::Reply = Box::into_raw(Box::new(reply));
        // SAFETY: this consumes the handle, so it goes back once; `free_reply` frees the private data.
        unsafe { api!(RedisModule_UnblockClient)(self.raw, reply.cast()) };
    }

    /// Gives the handle back without a reply: the client has had one, or is gone.
    fn release(self) {
        // SAFETY: this consumes the handle, so it goes back once. The server calls no `reply` for a client
        // that is no longer blocked.
        unsafe { api!(RedisModule_UnblockClient)(self.raw, ptr::null_mut()) };
    }
}

/// # Safety
/// Only the server may call this, for a client that `Ctx::block::<W>` blocked.
unsafe extern "C" fn reply<W: Waiting>(
    ctx: *mut RedisModuleCtx,
    _: *mut *mut RedisModuleString,
    _: c_int,
) -> c_int {
    guard::run("a reply to a blocked client", (), || {
        // SAFETY: the context is this callback's.
        let reply = unsafe { api!(RedisModule_GetBlockedClientPrivateData)(ctx) };
        // SAFETY: the private data is the `W::Reply` that `unblock` made, or null; `free_reply` comes later.
        if let Some(reply) = unsafe { reply.cast::<W::Reply>().as_ref() } {
            // SAFETY: the context is this callback's.
            W::reply(&unsafe { Ctx::new(ctx) }, reply);
        }
    });
    OK
}

/// # Safety
/// Only the server may call this, for a client that `Ctx::block::<W>` blocked.
unsafe extern "C" fn timed_out<W: Waiting>(
    ctx: *mut RedisModuleCtx,
    _: *mut *mut RedisModuleString,
    _: c_int,
) -> c_int {
    guard::run("a time-out of a blocked client", (), || {
        // SAFETY: the context is this callback's.
        let ctx = unsafe { Ctx::new(ctx) };
        if let Some(blocked) = W::timed_out(&ctx, ctx.client()) {
            blocked.release();
        }
    });
    OK
}

/// # Safety
/// Only the server may call this, for a client that `Ctx::block::<W>` blocked.
unsafe extern "C" fn disconnected<W: Waiting>(ctx: *mut RedisModuleCtx, _: *mut RedisModuleBlockedClient) {
    guard::run("a disconnect of a blocked client", (), || {
        // SAFETY: the context is this callback's.
        let ctx = unsafe { Ctx::new(ctx) };
        if let Some(blocked) = W::disconnected(&ctx, ctx.client()) {
            blocked.release();
        }
    });
}

/// # Safety
/// Only the server may call this, once for the private data of a client that `Ctx::block::<W>` blocked.
unsafe extern "C" fn free_reply<W: Waiting>(_: *mut RedisModuleCtx, reply: *mut c_void) {
    guard::run("freeing a reply", (), || {
        if !reply.is_null() {
            // SAFETY: `unblock::<W>` made the box, and the server frees it once.
            drop(unsafe { Box::from_raw(reply.cast::<W::Reply>()) });
        }
    });
}
