//! Slots that move from one cluster node to another.
//!
//! While a slot moves, the source sends clients on to the target for every key that it lacks, and the target
//! serves clients that come with ASKING. The keys follow one by one: the source's MIGRATE sends each as
//! RESTORE-ASKING.

use crate::redis::api::api;
use crate::redis::ctx::Ctx;
use crate::redis::detached::detached;
use crate::redis::guard;
use crate::redis::string::{ServerString, bytes};
use redis_module::raw::RedisModuleCommandFilterCtx;
use std::os::raw::c_char;
use std::slice;

/// The judge of keys that another node sends to this one.
pub trait Incoming {
    /// Returns true if the key is to be discarded. The sender hears that it has arrived, and deletes its own.
    /// The context has no client: select a database first.
    fn is_outdated(ctx: &Ctx<'_>, key: &[u8]) -> bool;
}

impl Ctx<'_> {
    /// Returns true if this node would carry out a command about this key for any client: the key's slot is
    /// its own, and the key is here or its slot is not moving away. Only for servers with cluster-enabled.
    pub fn serves(&self, key: &[u8]) -> bool {
        // The server checks a module's call like the context's client's own: here no client, so without
        // ASKING. MEMORY USAGE has no effects and counts as no use of the key.
        // SAFETY: the context is valid. Format `c` takes a C string, `b` a pointer and a length.
        let reply = unsafe {
            api!(RedisModule_Call)(
                self.detached().raw(),
                c"MEMORY".as_ptr(),
                c"cb".as_ptr(),
                c"USAGE".as_ptr(),
                key.as_ptr().cast::<c_char>(),
                key.len(),
            )
        };
        if reply.is_null() {
            return false;
        }
        // SAFETY: the reply is the module's to free, once.
        unsafe { api!(RedisModule_FreeCallReply)(reply) };
        true
    }

    /// Returns the configuration epoch of this node of a cluster, or None if the server does not tell it. It grows whenever
    /// slots come back that another node has served meanwhile: their new node's epoch is the greatest of all
    /// (clusterBumpConfigEpochWithoutConsensus of 7.0 and of Valkey 9.1), and so is this node's after it.
    pub fn cluster_epoch(&self) -> Option<u64> {
        // SAFETY: the context is valid. Format `c` takes a C string.
        let reply = unsafe {
            api!(RedisModule_Call)(
                self.detached().raw(),
                c"CLUSTER".as_ptr(),
                c"c".as_ptr(),
                c"INFO".as_ptr(),
            )
        };
        if reply.is_null() {
            return None;
        }
        let mut length = 0;
        // SAFETY: the reply is valid; the call returns null for one that is no string.
        let start = unsafe { api!(RedisModule_CallReplyStringPtr)(reply, &mut length) };
        let epoch = (!start.is_null()).then(|| {
            // SAFETY: the reply has that many bytes, and is freed below.
            let text = unsafe { slice::from_raw_parts(start.cast::<u8>(), length) };
            let text = std::str::from_utf8(text).ok()?;
            text.lines().find_map(|line| line.strip_prefix("cluster_my_epoch:"))?.trim().parse().ok()
        });
        // SAFETY: the reply is the module's to free, once.
        unsafe { api!(RedisModule_FreeCallReply)(reply) };
        epoch?
    }

    /// Shows `I` all keys that other nodes send, from now on.
    pub fn watch_incoming<I: Incoming>(&self) {
        // The filter needs it.
        self.detached();
        // SAFETY: the context is valid; the callback has the signature asked for.
        let filter = unsafe { api!(RedisModule_RegisterCommandFilter)(self.raw(), Some(filter::<I>), 0) };
        if filter.is_null() {
            self.log_warning("the server takes no command filter: resharding may find keys on both nodes");
        }
    }
}

/// Turns the RESTORE-ASKING of an outdated key into PING: MIGRATE needs a reply that is no error.
///
/// # Safety
/// Only the server may call this, as a command filter that `Ctx::watch_incoming` registered.
unsafe extern "C" fn filter<I: Incoming>(command: *mut RedisModuleCommandFilterCtx) {
    guard::run("a command filter", (), || {
        let argument = |position| {
            // SAFETY: the filter context is this callback's; the server checks the position.
            let argument = unsafe { api!(RedisModule_CommandFilterArgGet)(command, position) };
            // SAFETY: an argument stays unchanged until it is deleted below, after the last use of its bytes.
            (!argument.is_null()).then(|| unsafe { bytes(argument) })
        };
        if !argument(0).is_some_and(|name| name.eq_ignore_ascii_case(b"restore-asking")) {
            return;
        }
        let Some(key) = argument(1) else { return };
        // SAFETY: `watch_incoming` made the detached context; filters run on the main thread.
        if !I::is_outdated(&unsafe { detached() }, key) {
            return;
        }
        // SAFETY: the filter context is this callback's.
        let count = unsafe { api!(RedisModule_CommandFilterArgsCount)(command) };
        for position in (1..count).rev() {
            // SAFETY: the position is one of the arguments that are left.
            unsafe { api!(RedisModule_CommandFilterArgDelete)(command, position) };
        }
        // SAFETY: argument 0 is there; the server takes over the string.
        unsafe { api!(RedisModule_CommandFilterArgReplace)(command, 0, ServerString::new(b"PING").give()) };
    });
}
