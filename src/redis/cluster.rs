//! A cluster's slots while they move from node to node.
//!
//! In a slot that moves, the source asks clients on to the target for every key that it has not, and the target
//! serves those who come with ASKING. The keys follow one by one: the source's MIGRATE sends each as
//! RESTORE-ASKING.

use crate::redis::args::bytes;
use crate::redis::ctx::{Ctx, ServerString};
use crate::redis::guard;
use redis_module::raw::{RedisModuleCommandFilterCtx, RedisModuleString};
use std::mem;
use std::os::raw::c_char;

/// Decides about keys that another node sends to this one.
pub trait Incoming {
    /// Whether the key is to be thrown away. The sender is told that it has arrived, and deletes its own. The
    /// context belongs to no client: select a database first.
    fn is_outdated(ctx: &Ctx<'_>, key: &[u8]) -> bool;
}

impl Ctx<'_> {
    /// Whether this node would carry out a command about this key for any client: the key's slot is its own, and
    /// the key is here or its slot is not moving away. For servers with cluster-enabled.
    pub fn serves(&self, key: &[u8]) -> bool {
        // The server checks a module's calls as it does a client's, for the client of the context: here for none, who
        // has not said ASKING. MEMORY USAGE has no effects and counts nothing.
        // SAFETY: format `c` takes a C string, `b` a pointer and a length.
        unsafe {
            let reply = api!(RedisModule_Call)(
                self.detached().raw,
                c"MEMORY".as_ptr(),
                c"cb".as_ptr(),
                c"USAGE".as_ptr(),
                key.as_ptr().cast::<c_char>(),
                key.len(),
            );
            if !reply.is_null() {
                api!(RedisModule_FreeCallReply)(reply);
            }
            !reply.is_null()
        }
    }

    /// Shows `I` all keys that other nodes send, for good.
    pub fn watch_incoming<I: Incoming>(&self) {
        self.detached();
        // SAFETY: the context is the running callback's.
        let filter = unsafe { api!(RedisModule_RegisterCommandFilter)(self.raw, Some(filter::<I>), 0) };
        if filter.is_null() {
            self.log_warning("the server takes no command filter: resharding may find keys on both nodes");
        }
    }
}

/// Makes PING of the RESTORE-ASKING of an outdated key: MIGRATE wants a reply that is no error.
unsafe extern "C" fn filter<I: Incoming>(command: *mut RedisModuleCommandFilterCtx) {
    guard::run("a command filter", (), || {
        // SAFETY: the positions are those of the command's arguments, which stay until they are taken away here; the
        // server takes over the string that it is given.
        unsafe {
            let argument = |at| {
                let argument: *mut RedisModuleString = api!(RedisModule_CommandFilterArgGet)(command, at);
                (!argument.is_null()).then(|| bytes(argument))
            };
            if !argument(0).is_some_and(|name| name.eq_ignore_ascii_case(b"restore-asking")) {
                return;
            }
            let Some(key) = argument(1) else { return };
            if !I::is_outdated(&Ctx::detached_before(), key) {
                return;
            }
            for at in (1..api!(RedisModule_CommandFilterArgsCount)(command)).rev() {
                api!(RedisModule_CommandFilterArgDelete)(command, at);
            }
            let ping = ServerString::new(b"PING");
            api!(RedisModule_CommandFilterArgReplace)(command, 0, ping.0);
            mem::forget(ping);
        }
    });
}
