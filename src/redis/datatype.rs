//! A value type of the module's own: its callbacks, and the streams they read and write.
//!
//! A room above implements `DataType` for its Rust type, and `register` gives the server callbacks that are
//! generic over it. A value is a `Box<T>` that the server owns. `free` may run on a background thread, so `T`
//! is `Send`, and its drop must call nothing of the server's but its allocator.

use crate::redis::alloc::NATURAL;
use crate::redis::api::api;
use crate::redis::ctx::Ctx;
use crate::redis::guard;
use crate::redis::string::{bytes, c_text};
use redis_module::raw::{
    self, RedisModuleDefragCtx, RedisModuleDigest, RedisModuleIO, RedisModuleKeyOptCtx, RedisModuleString,
    RedisModuleType,
};
use std::ffi::CStr;
use std::os::raw::{c_char, c_int, c_longlong, c_void};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicPtr, Ordering};
use triomphe::ThinArc;

/// The server's handle of a registered type.
pub struct TypeSlot(AtomicPtr<RedisModuleType>);

impl TypeSlot {
    /// A slot for a type that is not registered yet.
    pub const fn empty() -> Self {
        TypeSlot(AtomicPtr::new(ptr::null_mut()))
    }

    /// Returns the handle, or null for a type that is not registered yet.
    pub(super) fn get(&self) -> *mut RedisModuleType {
        self.0.load(Ordering::Relaxed)
    }
}

/// The place of a value in the keyspace.
#[derive(Clone, Copy)]
pub struct KeyContext<'a> {
    /// The number of the database.
    pub database: i32,
    /// The name of the key.
    pub key: &'a [u8],
}

/// A type whose values live in the keyspace.
pub trait DataType: Send + Sized + 'static {
    /// Nine characters of `A-Za-z0-9-_`.
    const NAME: &'static CStr;
    /// Part of the type's identity in RDB files.
    const ENCODING_VERSION: i32;

    /// Returns the type's own slot.
    fn slot() -> &'static TypeSlot;

    /// Reads a value from an RDB file or a RESTORE.
    ///
    /// # Errors
    /// The reason for which the value is refused, which is logged.
    fn load(loader: &mut Loader, version: i32) -> Result<Self, String>;
    /// Writes the value for an RDB file, a full sync or DUMP; may run in a forked child.
    fn save(&self, database: i32, saver: &mut Saver);
    /// Writes the commands that make the value; may run in a forked child.
    fn rewrite(&self, place: KeyContext<'_>, aof: &mut Aof);
    /// The value has left its key: it is deleted, expired, evicted or overwritten, or about to be renamed or
    /// moved. Not called when a whole database is emptied.
    fn unlinked(&self, place: KeyContext<'_>);
    /// Returns the value that COPY puts under another key.
    fn copied(&self, from_database: i32) -> Self;
    /// Returns the bytes of memory beside the key itself.
    fn memory(&self) -> usize;
    /// Feeds DEBUG DIGEST.
    fn digest(&self, database: i32, digest: &mut Digest);
    /// Moves the value's own allocations for the server's defragmentation.
    fn defrag(&mut self, database: i32, defrag: &mut Defrag);
}

/// Registers the type; returns false if the server refuses it.
pub(super) fn register<T: DataType>(ctx: &Ctx<'_>) -> bool {
    let mut methods = raw::RedisModuleTypeMethods {
        version: 4,
        rdb_load: Some(rdb_load::<T>),
        rdb_save: Some(rdb_save::<T>),
        aof_rewrite: Some(aof_rewrite::<T>),
        mem_usage: None,
        digest: Some(digest::<T>),
        free: Some(free::<T>),
        aux_load: None,
        aux_save: None,
        aux_save_triggers: 0,
        free_effort: None,
        unlink: None,
        copy: None,
        defrag: Some(defrag::<T>),
        mem_usage2: Some(mem_usage::<T>),
        free_effort2: Some(free_effort),
        unlink2: Some(unlink::<T>),
        copy2: Some(copy::<T>),
        aux_save2: None,
    };
    // SAFETY: the context is valid, and each callback has the signature asked for. The server copies the
    // table; version 4 is the newest that Redis 7.0 reads.
    let handle = unsafe {
        api!(RedisModule_CreateDataType)(ctx.raw(), T::NAME.as_ptr(), T::ENCODING_VERSION, &mut methods)
    };
    T::slot().0.store(handle, Ordering::Relaxed);
    !handle.is_null()
}

/// An RDB being read.
pub struct Loader(
    /// The running callback's.
    *mut RedisModuleIO,
);

impl Loader {
    /// Returns the key that the value is read for.
    pub fn place(&self) -> KeyContext<'_> {
        // SAFETY: the stream is the running callback's.
        let database = unsafe { api!(RedisModule_GetDbIdFromIO)(self.0) };
        // SAFETY: the stream is the running callback's.
        let key = unsafe { api!(RedisModule_GetKeyNameFromIO)(self.0) };
        // SAFETY: the server keeps the key's name unchanged during the callback.
        KeyContext { database, key: unsafe { bytes(key) } }
    }

    /// Returns the next string.
    ///
    /// # Errors
    /// If the data ends early or is damaged.
    pub fn bytes(&mut self) -> Result<Vec<u8>, String> {
        let mut length = 0;
        // SAFETY: the stream is the running callback's.
        let buffer = unsafe { api!(RedisModule_LoadStringBuffer)(self.0, &mut length) };
        // SAFETY: the stream is the running callback's.
        let failed = unsafe { api!(RedisModule_IsIOError)(self.0) } != 0;
        if buffer.is_null() {
            return Err("the data ends early".into());
        }
        // SAFETY: the server returned a buffer of that length, which the bytes of the file bound.
        let copy = (!failed).then(|| unsafe { slice::from_raw_parts(buffer.cast::<u8>(), length) }.to_vec());
        // SAFETY: the buffer is the module's to free, once; its bytes have been copied.
        unsafe { api!(RedisModule_Free)(buffer.cast()) };
        copy.ok_or_else(|| "the data ends early".into())
    }
}

/// An RDB being written.
pub struct Saver(
    /// The running callback's.
    *mut RedisModuleIO,
);

impl Saver {
    /// Writes a string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        // SAFETY: the stream is the running callback's, and keeps a failed write as its own error; the server
        // copies `bytes.len()` bytes.
        unsafe { api!(RedisModule_SaveStringBuffer)(self.0, bytes.as_ptr().cast(), bytes.len()) };
    }
}

/// An AOF being rewritten.
pub struct Aof(
    /// The running callback's.
    *mut RedisModuleIO,
);

impl Aof {
    /// Writes `RESTORE key 0 payload`.
    pub fn restore(&mut self, key: &[u8], payload: &[u8]) {
        // SAFETY: the stream is the running callback's. Format `blb` takes a pointer and a length, a long
        // long, a pointer and a length.
        unsafe {
            api!(RedisModule_EmitAOF)(
                self.0,
                c"RESTORE".as_ptr(),
                c"blb".as_ptr(),
                key.as_ptr().cast::<c_char>(),
                key.len(),
                c_longlong::from(0i8),
                payload.as_ptr().cast::<c_char>(),
                payload.len(),
            );
        }
    }
}

/// A digest being computed.
pub struct Digest(
    /// The running callback's.
    *mut RedisModuleDigest,
);

impl Digest {
    /// Adds a string to the digest.
    pub fn bytes(&mut self, bytes: &[u8]) {
        // SAFETY: the digest is the running callback's; the server reads `bytes.len()` bytes during the call.
        unsafe { api!(RedisModule_DigestAddStringBuffer)(self.0, bytes.as_ptr().cast(), bytes.len()) };
    }
}

/// A defragmentation pass over one value.
pub struct Defrag(
    /// The running callback's.
    *mut RedisModuleDefragCtx,
);

impl Defrag {
    /// Moves shared bytes to a better place in memory, if the allocator has one and this is the only reference to them.
    pub fn shared<H, T>(&mut self, shared: &mut ThinArc<H, T>) {
        const { assert!(align_of::<H>() <= NATURAL && align_of::<T>() <= NATURAL) };
        if !shared.with_arc(|arc| arc.is_unique()) {
            return;
        }
        let old = shared.as_ptr().cast_mut();
        // SAFETY: the context is the running callback's. The block came from the server's allocator as it is
        // (`ServerAlloc` passes on an alignment of up to `NATURAL`), the count of references stands at its start, and the
        // only reference is borrowed here.
        let moved = unsafe { api!(RedisModule_DefragAlloc)(self.0, old) };
        if moved.is_null() {
            return;
        }
        // SAFETY: the block moved as it was, with its count of one, and the old one is gone: one reference is owned again.
        let new = unsafe { ThinArc::from_raw(moved) };
        // The old reference leads nowhere.
        std::mem::forget(std::mem::replace(shared, new));
    }
}

/// Logs the reason for which a value is refused, and returns null, which tells the server.
///
/// # Safety
/// `io` is the running callback's.
unsafe fn refuse(io: *mut RedisModuleIO, reason: &str) -> *mut c_void {
    let reason = c_text(reason);
    // SAFETY: the stream is valid by this function's contract; the format takes the one C string passed.
    unsafe {
        api!(RedisModule_LogIOError)(
            io,
            c"warning".as_ptr(),
            c"refused a value: %s".as_ptr(),
            reason.as_ptr(),
        );
    }
    ptr::null_mut()
}

// The callbacks. Each has the same contract.
//
// # Safety
// Only the server may call them, for the type `T`: `value` is a `Box<T>` that `rdb_load`, `copy` or
// `Key::set` gave it, alive until `free` and changed by none but `Key::value_mut` and `defrag`; the other
// pointers are valid during the callback.

unsafe extern "C" fn rdb_load<T: DataType>(io: *mut RedisModuleIO, version: c_int) -> *mut c_void {
    guard::run("rdb_load", ptr::null_mut(), || match T::load(&mut Loader(io), version) {
        Ok(value) => Box::into_raw(Box::new(value)).cast(),
        // SAFETY: the stream is this callback's.
        Err(reason) => unsafe { refuse(io, &reason) },
    })
}

unsafe extern "C" fn rdb_save<T: DataType>(io: *mut RedisModuleIO, value: *mut c_void) {
    guard::run("rdb_save", (), || {
        // SAFETY: the stream is this callback's.
        let database = unsafe { api!(RedisModule_GetDbIdFromIO)(io) };
        // SAFETY: the value is a `T`, by the callbacks' contract.
        if let Some(value) = unsafe { value.cast::<T>().as_ref() } {
            value.save(database, &mut Saver(io));
        }
    });
}

unsafe extern "C" fn aof_rewrite<T: DataType>(
    io: *mut RedisModuleIO,
    key: *mut RedisModuleString,
    value: *mut c_void,
) {
    guard::run("aof_rewrite", (), || {
        // SAFETY: the stream is this callback's.
        let database = unsafe { api!(RedisModule_GetDbIdFromIO)(io) };
        // SAFETY: the server keeps the key's name unchanged during the callback.
        let key = unsafe { bytes(key) };
        // SAFETY: the value is a `T`, by the callbacks' contract.
        if let Some(value) = unsafe { value.cast::<T>().as_ref() } {
            value.rewrite(KeyContext { database, key }, &mut Aof(io));
        }
    });
}

unsafe extern "C" fn mem_usage<T: DataType>(
    _: *mut RedisModuleKeyOptCtx,
    value: *const c_void,
    _: usize,
) -> usize {
    // SAFETY: the value is a `T`, by the callbacks' contract.
    let value = unsafe { value.cast::<T>().as_ref() };
    guard::run("mem_usage", 0, || value.map_or(0, T::memory))
}

unsafe extern "C" fn digest<T: DataType>(digest: *mut RedisModuleDigest, value: *mut c_void) {
    guard::run("digest", (), || {
        // SAFETY: the digest is this callback's.
        let database = unsafe { api!(RedisModule_GetDbIdFromDigest)(digest) };
        // SAFETY: the value is a `T`, by the callbacks' contract.
        if let Some(value) = unsafe { value.cast::<T>().as_ref() } {
            value.digest(database, &mut Digest(digest));
        }
        // SAFETY: the digest is this callback's.
        unsafe { api!(RedisModule_DigestEndSequence)(digest) };
    });
}

unsafe extern "C" fn free<T: DataType>(value: *mut c_void) {
    guard::run("free", (), || {
        if !value.is_null() {
            // SAFETY: the value is a `Box<T>`, by the callbacks' contract, which the server gives back here,
            // once.
            drop(unsafe { Box::from_raw(value.cast::<T>()) });
        }
    });
}

/// Returns 1: a value is a handful of allocations, however large, and never worth a background thread.
extern "C" fn free_effort(_: *mut RedisModuleKeyOptCtx, _: *const c_void) -> usize {
    1
}

unsafe extern "C" fn unlink<T: DataType>(place: *mut RedisModuleKeyOptCtx, value: *const c_void) {
    guard::run("unlink", (), || {
        // SAFETY: the key's context is this callback's.
        let database = unsafe { api!(RedisModule_GetDbIdFromOptCtx)(place) };
        // SAFETY: the key's context is this callback's.
        let key = unsafe { api!(RedisModule_GetKeyNameFromOptCtx)(place) };
        // SAFETY: the server keeps the key's name unchanged during the callback.
        let key = unsafe { bytes(key) };
        // SAFETY: the value is a `T`, by the callbacks' contract.
        if let Some(value) = unsafe { value.cast::<T>().as_ref() } {
            value.unlinked(KeyContext { database, key });
        }
    });
}

unsafe extern "C" fn copy<T: DataType>(
    place: *mut RedisModuleKeyOptCtx,
    value: *const c_void,
) -> *mut c_void {
    guard::run("copy", ptr::null_mut(), || {
        // SAFETY: the key's context is this callback's.
        let database = unsafe { api!(RedisModule_GetDbIdFromOptCtx)(place) };
        // SAFETY: the value is a `T`, by the callbacks' contract.
        match unsafe { value.cast::<T>().as_ref() } {
            Some(value) => Box::into_raw(Box::new(value.copied(database))).cast(),
            None => ptr::null_mut(),
        }
    })
}

unsafe extern "C" fn defrag<T: DataType>(
    ctx: *mut RedisModuleDefragCtx,
    _: *mut RedisModuleString,
    value: *mut *mut c_void,
) -> c_int {
    guard::run("defrag", 0, || {
        const { assert!(align_of::<T>() <= NATURAL) };
        // SAFETY: the server passes a pointer to its own pointer to the value, and uses neither during the
        // callback.
        let value = unsafe { &mut *value };
        // SAFETY: the value's block came from the server's allocator as it is: `ServerAlloc` passes on an
        // alignment of up to `NATURAL`.
        let moved = unsafe { api!(RedisModule_DefragAlloc)(ctx, *value) };
        if !moved.is_null() {
            *value = moved;
        }
        // SAFETY: the value is a `T`, by the callbacks' contract, wherever it stands now, and nothing else
        // holds it while the server defragments it.
        if let Some(value) = unsafe { value.cast::<T>().as_mut() } {
            // SAFETY: the context is this callback's.
            let database = unsafe { api!(RedisModule_GetDbIdFromDefragCtx)(ctx) };
            value.defrag(database, &mut Defrag(ctx));
        }
        0
    })
}
