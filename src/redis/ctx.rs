//! The server's context of a running callback: state of the server and of the caller.
//!
//! Other files add the calls of their theme to `Ctx`: replies, notifications, replication, keys, timers.

use crate::redis::api::{OK, api, optional};
use crate::redis::log::{Level, log};
use redis_module::raw::{self, RedisModuleCtx};
use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::raw::c_int;

/// The server's context of a running callback.
pub struct Ctx<'a> {
    /// Valid during `'a`.
    raw: *mut RedisModuleCtx,
    callback: PhantomData<&'a RedisModuleCtx>,
}

impl Ctx<'_> {
    /// The context that the server passed to a callback.
    ///
    /// # Safety
    /// `raw` is a valid context of the module during the lifetime of the result, and this is the main thread.
    pub(super) unsafe fn new(raw: *mut RedisModuleCtx) -> Self {
        Ctx { raw, callback: PhantomData }
    }

    /// Returns the context for a call to the server; it is valid while `self` is.
    pub(super) fn raw(&self) -> *mut RedisModuleCtx {
        self.raw
    }

    /// Returns true if one of these flags of the context is set.
    pub(super) fn has(&self, flags: u32) -> bool {
        // SAFETY: the context is valid while `self` is.
        let set = unsafe { api!(RedisModule_GetContextFlags)(self.raw) };
        set & flags as c_int != 0
    }

    /// Returns true if the command comes from the master or the AOF. Such a command has been accepted once
    /// and must be carried out whatever this server's settings say.
    pub fn is_replayed(&self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_REPLICATED | raw::REDISMODULE_CTX_FLAGS_LOADING)
    }

    /// Returns true if the server is loading its data. It runs no timers then.
    pub fn is_loading(&self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_LOADING)
    }

    /// Returns true if the command runs inside MULTI.
    pub fn is_in_transaction(&self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_MULTI)
    }

    /// Returns true if a script or a function calls the command.
    pub fn is_in_script(&self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_LUA)
    }

    /// Returns true if this server is a replica.
    pub fn is_replica(&self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_SLAVE)
    }

    /// Returns true if the server has a limit of memory at which it evicts keys.
    pub fn may_evict(&self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_EVICT)
    }

    /// Returns true if the server was started with cluster-enabled.
    pub fn is_cluster(&self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_CLUSTER)
    }

    /// Returns the version of a Valkey server, as INFO has it, or None on Redis.
    pub fn valkey_version(&self) -> Option<String> {
        let get = optional!(RedisModule_GetServerInfo)?;
        let field = optional!(RedisModule_ServerInfoGetFieldC)?;
        let free = optional!(RedisModule_FreeServerInfo)?;
        // SAFETY: the context is valid while `self` is, and the section's name is a C string.
        let info = unsafe { get(self.raw, c"server".as_ptr()) };
        // SAFETY: the info is the server's own, not freed yet.
        let text = unsafe { field(info, c"valkey_version".as_ptr()) };
        // SAFETY: a text that is not null is a C string that belongs to the info, still there.
        let version =
            (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned());
        // SAFETY: the info was given by `get`, and the text has been copied.
        unsafe { free(self.raw, info) };
        version
    }

    /// Returns unpredictable bytes: SHA-1 in counter mode, with a seed from the system's random source.
    pub fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        // SAFETY: the server fills as many bytes as the length says.
        unsafe { api!(RedisModule_GetRandomBytes)(bytes.as_mut_ptr(), bytes.len()) };
        bytes
    }

    /// Returns the client ID of the caller, which no other client of this server ever has.
    pub fn client(&self) -> u64 {
        // SAFETY: the context is valid while `self` is.
        unsafe { api!(RedisModule_GetClientId)(self.raw) }
    }

    /// Returns the number of the selected database.
    pub fn database(&self) -> i32 {
        // SAFETY: the context is valid while `self` is.
        unsafe { api!(RedisModule_GetSelectedDb)(self.raw) }
    }

    /// Selects a database for the keys opened after this; returns false if the number is out of range. Only
    /// for callbacks without a client of their own, since a client would stay in the new database.
    pub fn select(&self, database: i32) -> bool {
        // SAFETY: the context is valid while `self` is; the server checks the number.
        unsafe { api!(RedisModule_SelectDb)(self.raw, database) == OK }
    }

    /// Returns the number of keys in the selected database.
    pub fn keys(&self) -> u64 {
        // SAFETY: the context is valid while `self` is.
        unsafe { api!(RedisModule_DbSize)(self.raw) }
    }

    /// Logs a line at the level `notice`.
    pub fn log_notice(&self, text: &str) {
        // SAFETY: the context is valid while `self` is.
        unsafe { log(self.raw, Level::Notice, text) };
    }

    /// Logs a line at the level `warning`.
    pub fn log_warning(&self, text: &str) {
        // SAFETY: the context is valid while `self` is.
        unsafe { log(self.raw, Level::Warning, text) };
    }
}
