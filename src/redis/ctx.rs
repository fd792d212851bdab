//! The call at hand: who asks, in which database, and how to answer.

use crate::redis::api::OK;
use crate::redis::events::TELLING;
use redis_module::raw::{self, RedisModuleCtx, RedisModuleString};
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::raw::{c_char, c_int, c_longlong};
use std::ptr;
use std::sync::atomic::Ordering;

/// The server's context of a running callback.
pub struct Ctx<'a> {
    pub(super) raw: *mut RedisModuleCtx,
    callback: PhantomData<&'a RedisModuleCtx>,
}

/// The name of a key that the server is told of: bytes, of which a string must be made; or the string that an open key
/// or an argument has already.
#[derive(Clone, Copy)]
pub struct KeyRef<'a>(Name<'a>);

#[derive(Clone, Copy)]
enum Name<'a> {
    Bytes(&'a [u8]),
    /// Kept by somebody for `'a`.
    String(*mut RedisModuleString),
}

impl KeyRef<'_> {
    /// The caller's types must say who keeps the string for so long.
    pub(super) fn string(string: *mut RedisModuleString) -> Self {
        KeyRef(Name::String(string))
    }

    /// Runs `body` with the name as a string.
    fn with(self, body: impl FnOnce(*mut RedisModuleString)) {
        match self.0 {
            Name::String(string) => body(string),
            Name::Bytes(bytes) => {
                let string = ServerString::new(bytes);
                body(string.0);
            }
        }
    }
}

impl<'a> From<&'a [u8]> for KeyRef<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        KeyRef(Name::Bytes(bytes))
    }
}

/// The class of a keyspace notification: which letter of `notify-keyspace-events` asks for it.
#[derive(Clone, Copy)]
pub enum Class {
    /// `g`, with DEL and EXPIRE.
    Generic,
    /// `d`, with the other modules'.
    Module,
}

impl<'a> Ctx<'a> {
    /// The context that the server gave to the callback that is running.
    pub(super) fn new(raw: *mut RedisModuleCtx) -> Self {
        Ctx { raw, callback: PhantomData }
    }

    // What the server is and does.

    fn flags(&self) -> c_int {
        // SAFETY: `raw` is the running callback's context, in this and in every call below.
        unsafe { api!(RedisModule_GetContextFlags)(self.raw) }
    }

    pub(super) fn has(&self, flags: u32) -> bool {
        self.flags() & flags as c_int != 0
    }

    /// Whether the command comes from the master or the AOF: it has been accepted once and must be carried out,
    /// whatever this server's settings say.
    pub fn is_replayed(&self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_REPLICATED | raw::REDISMODULE_CTX_FLAGS_LOADING)
    }

    /// Whether the server is loading its data and runs no timers.
    pub fn is_loading(&self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_LOADING)
    }

    /// Whether the command runs inside MULTI.
    pub fn is_in_transaction(&self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_MULTI)
    }

    /// Whether the command is called by a script or a function.
    pub fn is_in_script(&self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_LUA)
    }

    /// Whether this server follows a master.
    pub fn is_replica(&self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_SLAVE)
    }

    /// Whether the server was started with cluster-enabled.
    pub fn is_cluster(&self) -> bool {
        self.has(raw::REDISMODULE_CTX_FLAGS_CLUSTER)
    }

    /// The version of a Valkey server, as INFO has it; None on Redis.
    pub fn valkey_version(&self) -> Option<String> {
        let get = optional!(RedisModule_GetServerInfo)?;
        let field = optional!(RedisModule_ServerInfoGetFieldC)?;
        let free = optional!(RedisModule_FreeServerInfo)?;
        // SAFETY: the text belongs to the info, which is freed after it has been copied.
        unsafe {
            let info = get(self.raw, c"server".as_ptr());
            let text = field(info, c"valkey_version".as_ptr());
            let version = (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
            free(self.raw, info);
            version
        }
    }

    /// The server's clock, in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        // SAFETY: takes no argument.
        unsafe { api!(RedisModule_Milliseconds)() }
    }

    /// Bytes that nobody can guess: SHA-1 in counter mode, with a seed from the system's random source.
    pub fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        // SAFETY: the server fills as many bytes as there are.
        unsafe { api!(RedisModule_GetRandomBytes)(bytes.as_mut_ptr(), bytes.len()) };
        bytes
    }

    /// The database that the caller has selected.
    pub fn database(&self) -> i32 {
        unsafe { api!(RedisModule_GetSelectedDb)(self.raw) }
    }

    /// Selects a database for the keys opened from here on; false where there is none of that number. Only for
    /// callbacks that have no client of their own: a client would stay in the new database.
    pub fn select(&self, database: i32) -> bool {
        unsafe { api!(RedisModule_SelectDb)(self.raw, database) == OK }
    }

    // Replies. Texts are ours; bytes may be anybody's.

    /// Replies `+OK`-like text.
    pub fn reply_status(&self, text: &CStr) {
        unsafe { api!(RedisModule_ReplyWithSimpleString)(self.raw, text.as_ptr()) };
    }

    pub fn reply_bytes(&self, bytes: &[u8]) {
        unsafe { api!(RedisModule_ReplyWithStringBuffer)(self.raw, bytes.as_ptr().cast(), bytes.len()) };
    }

    pub fn reply_integer(&self, number: i64) {
        unsafe { api!(RedisModule_ReplyWithLongLong)(self.raw, number) };
    }

    /// Replies a count; counts beyond `i64::MAX` do not occur and read as that.
    pub fn reply_count(&self, count: u64) {
        self.reply_integer(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub fn reply_null(&self) {
        unsafe { api!(RedisModule_ReplyWithNull)(self.raw) };
    }

    /// Begins an array; its elements are the next `length` replies.
    pub fn reply_array(&self, length: usize) {
        unsafe { api!(RedisModule_ReplyWithArray)(self.raw, length as _) };
    }

    /// Begins a map of `length` pairs (in RESP2, an array of twice as many elements).
    pub fn reply_map(&self, length: usize) {
        unsafe { api!(RedisModule_ReplyWithMap)(self.raw, length as _) };
    }

    /// Replies an error: its code word, a space, its text.
    pub fn reply_error(&self, text: &str) {
        let text = c_text(text);
        unsafe { api!(RedisModule_ReplyWithError)(self.raw, text.as_ptr()) };
    }

    /// Replies the server's own error for a wrong number of arguments.
    pub fn reply_wrong_arity(&self) {
        unsafe { api!(RedisModule_WrongArity)(self.raw) };
    }

    // What others are told.

    /// Sends a keyspace notification about `key`.
    pub fn notify<'k>(&self, class: Class, event: &CStr, key: impl Into<KeyRef<'k>>) {
        let class = match class {
            Class::Generic => raw::REDISMODULE_NOTIFY_GENERIC,
            Class::Module => raw::REDISMODULE_NOTIFY_MODULE,
        };
        TELLING.store(true, Ordering::Relaxed);
        // SAFETY: the string lives during the call; who needs it longer counts a reference.
        key.into().with(|key| unsafe {
            api!(RedisModule_NotifyKeyspaceEvent)(self.raw, class, event.as_ptr(), key);
        });
        TELLING.store(false, Ordering::Relaxed);
    }

    /// Tells clients that WATCH or track `key` that it has changed.
    pub fn signal_modified<'k>(&self, key: impl Into<KeyRef<'k>>) {
        // SAFETY: as in `notify`.
        key.into().with(|key| unsafe {
            api!(RedisModule_SignalModifiedKey)(self.raw, key);
        });
    }

    /// Sends the running command, as it came, to replicas and the AOF.
    pub fn replicate_verbatim(&self) {
        unsafe { api!(RedisModule_ReplicateVerbatim)(self.raw) };
    }

    /// Sends `UNLINK name` to replicas and the AOF.
    pub fn replicate_unlink(&self, name: &[u8]) {
        // SAFETY: format `b` takes a pointer and a length.
        unsafe {
            api!(RedisModule_Replicate)(
                self.raw,
                c"UNLINK".as_ptr(),
                c"b".as_ptr(),
                name.as_ptr().cast::<c_char>(),
                name.len(),
            )
        };
    }

    /// Deletes a key by name, on this server only: nothing goes to replicas or the AOF.
    ///
    /// For what cannot be opened: a replica's expired key, which waits for the master's DEL.
    pub fn delete_by_name(&self, name: &[u8]) {
        // SAFETY: format `b` takes a pointer and a length; without `!` the call is not replicated.
        unsafe {
            let reply = api!(RedisModule_Call)(
                self.raw,
                c"DEL".as_ptr(),
                c"b".as_ptr(),
                name.as_ptr().cast::<c_char>(),
                name.len(),
            );
            if !reply.is_null() {
                api!(RedisModule_FreeCallReply)(reply);
            }
        }
    }

    pub fn log_notice(&self, text: &str) {
        log(self.raw, c"notice", text);
    }

    pub fn log_warning(&self, text: &str) {
        log(self.raw, c"warning", text);
    }
}

/// Logs a warning from where there is no context.
pub(super) fn log_warning(text: &str) {
    log(ptr::null_mut(), c"warning", text);
}

fn log(ctx: *mut RedisModuleCtx, level: &CStr, text: &str) {
    if let Some(log) = optional!(RedisModule_Log) {
        let text = c_text(text);
        // SAFETY: the format takes one C string; a null context is allowed.
        unsafe { log(ctx, level.as_ptr(), c"%s".as_ptr(), text.as_ptr()) };
    }
}

/// Our own text as a C string; a NUL in it, which our texts don't have, would end it early.
pub(super) fn c_text(text: &str) -> CString {
    let until_nul = text.split('\0').next().unwrap_or_default();
    CString::new(until_nul).unwrap_or_default()
}

/// A string of the server's that we made and free.
pub(super) struct ServerString(pub(super) *mut RedisModuleString);

impl ServerString {
    pub(super) fn new(bytes: &[u8]) -> Self {
        // SAFETY: the server copies the bytes; without a context nobody else frees the string.
        ServerString(unsafe {
            api!(RedisModule_CreateString)(ptr::null_mut(), bytes.as_ptr().cast(), bytes.len())
        })
    }

    pub(super) fn of_number(number: i64) -> Self {
        // SAFETY: as in `new`.
        ServerString(unsafe { api!(RedisModule_CreateStringFromLongLong)(ptr::null_mut(), number) })
    }

    /// The string itself, which the caller must free.
    pub(super) fn keep(self) -> *mut RedisModuleString {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl Drop for ServerString {
    fn drop(&mut self) {
        // SAFETY: made in `new`, freed once.
        unsafe { api!(RedisModule_FreeString)(ptr::null_mut(), self.0) };
    }
}

const _: () = assert!(size_of::<c_longlong>() == size_of::<i64>());
