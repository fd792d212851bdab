//! A value type of the module's own: its callbacks, and the streams they read and write.
//!
//! `DataType` is what an upper room implements for its Rust type; `register` hands the server callbacks that are
//! generic over it. A value is a `Box<T>` that the server owns. `free` may run on a background thread, so `T`
//! must be `Send` and its drop must call nothing of the server's but its allocator.

use crate::redis::alloc::NATURAL;
use crate::redis::args::bytes;
use crate::redis::ctx::Ctx;
use crate::redis::guard;
use redis_module::raw::{
    self, RedisModuleDefragCtx, RedisModuleDigest, RedisModuleIO, RedisModuleKeyOptCtx, RedisModuleString,
    RedisModuleType,
};
use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_int, c_longlong, c_void};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The server's handle of a registered type.
pub struct TypeSlot(AtomicPtr<RedisModuleType>);

impl TypeSlot {
    pub const fn empty() -> Self {
        TypeSlot(AtomicPtr::new(ptr::null_mut()))
    }

    pub(super) fn get(&self) -> *mut RedisModuleType {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where in the keyspace a value is.
#[derive(Clone, Copy)]
pub struct KeyContext<'a> {
    pub database: i32,
    pub key: &'a [u8],
}

/// A type whose values live in the keyspace.
pub trait DataType: Send + Sized + 'static {
    /// Nine characters of `A-Za-z0-9-_`.
    const NAME: &'static CStr;
    /// Part of the type's identity in RDB files.
    const ENCODING_VERSION: i32;

    fn slot() -> &'static TypeSlot;

    /// Reads a value of an RDB file or a RESTORE; the error is logged and refuses the load.
    fn load(loader: &mut Loader, version: i32) -> Result<Self, String>;
    /// Writes the value for an RDB file, a full sync or DUMP; may run in a forked child.
    fn save(&self, database: i32, saver: &mut Saver);
    /// Writes the commands that make the value; may run in a forked child.
    fn rewrite(&self, place: KeyContext<'_>, aof: &mut Aof);
    /// The value has left its key: deleted, expired, evicted, overwritten, or about to be renamed or moved. Not
    /// called when a whole database is emptied.
    fn unlinked(&self, place: KeyContext<'_>);
    /// The value that COPY puts under another key.
    fn copied(&self, from_database: i32) -> Self;
    /// Bytes of memory beside the key itself.
    fn memory(&self) -> usize;
    /// Feeds DEBUG DIGEST.
    fn digest(&self, database: i32, digest: &mut Digest);
    /// Moves the value's own allocations where the server asks for it.
    fn defrag(&mut self, defrag: &mut Defrag);
}

/// Registers the type; false if the server refuses it.
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
    // SAFETY: the server copies the table; version 4 is the newest that Redis 7.0 reads.
    let handle = unsafe {
        api!(RedisModule_CreateDataType)(ctx.raw, T::NAME.as_ptr(), T::ENCODING_VERSION, &mut methods)
    };
    T::slot().0.store(handle, Ordering::Relaxed);
    !handle.is_null()
}

/// An RDB being read.
pub struct Loader(*mut RedisModuleIO);

impl Loader {
    /// The next string; an error where the file ends or is damaged.
    pub fn bytes(&mut self) -> Result<Vec<u8>, String> {
        let mut length = 0;
        // SAFETY: the buffer is the server's, ours to free; its length was bounded by the bytes of the file.
        unsafe {
            let buffer = api!(RedisModule_LoadStringBuffer)(self.0, &mut length);
            if api!(RedisModule_IsIOError)(self.0) != 0 || buffer.is_null() {
                if !buffer.is_null() {
                    api!(RedisModule_Free)(buffer.cast());
                }
                return Err("the data ends early".into());
            }
            let copy = slice::from_raw_parts(buffer.cast::<u8>(), length).to_vec();
            api!(RedisModule_Free)(buffer.cast());
            Ok(copy)
        }
    }
}

/// An RDB being written.
pub struct Saver(*mut RedisModuleIO);

impl Saver {
    pub fn bytes(&mut self, bytes: &[u8]) {
        // SAFETY: the server copies the bytes. A failed write is kept in the stream's own error state.
        unsafe { api!(RedisModule_SaveStringBuffer)(self.0, bytes.as_ptr().cast(), bytes.len()) };
    }
}

/// An AOF being rewritten.
pub struct Aof(*mut RedisModuleIO);

impl Aof {
    /// Writes `RESTORE key 0 payload`.
    pub fn restore(&mut self, key: &[u8], payload: &[u8]) {
        // SAFETY: format `blb` takes pointer and length, a long long, pointer and length.
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
pub struct Digest(*mut RedisModuleDigest);

impl Digest {
    pub fn bytes(&mut self, bytes: &[u8]) {
        // SAFETY: the server reads the bytes during the call.
        unsafe { api!(RedisModule_DigestAddStringBuffer)(self.0, bytes.as_ptr().cast(), bytes.len()) };
    }
}

/// A defragmentation pass over one value.
pub struct Defrag(*mut RedisModuleDefragCtx);

impl Defrag {
    /// Moves a boxed slice to a better place in memory, if the allocator knows one.
    pub fn boxed(&mut self, slice: &mut Box<[u8]>) {
        if slice.is_empty() {
            return;
        }
        let length = slice.len();
        let old = Box::into_raw(std::mem::take(slice)).cast::<u8>();
        // SAFETY: the block was allocated by the server's allocator (`ServerAlloc`, alignment 1). Either it
        // moved, and the old one is gone, or it stayed; whichever it is, exactly one block is owned again.
        unsafe {
            let moved = api!(RedisModule_DefragAlloc)(self.0, old.cast()).cast::<u8>();
            let start = if moved.is_null() { old } else { moved };
            *slice = Box::from_raw(ptr::slice_from_raw_parts_mut(start, length));
        }
    }
}

// The callbacks. SAFETY, for each: `value` is a `Box<T>` that `load`, `copied` or `Key::set` gave to the server
// as this type's value, alive until `free`; contexts and names are valid during the call.

extern "C" fn rdb_load<T: DataType>(io: *mut RedisModuleIO, version: c_int) -> *mut c_void {
    guard::run("rdb_load", ptr::null_mut(), || match T::load(&mut Loader(io), version) {
        Ok(value) => Box::into_raw(Box::new(value)).cast(),
        Err(reason) => {
            let reason: Vec<u8> = reason.into_bytes().into_iter().filter(|&byte| byte != 0).collect();
            let reason = CString::new(reason).unwrap_or_default();
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
    })
}

extern "C" fn rdb_save<T: DataType>(io: *mut RedisModuleIO, value: *mut c_void) {
    guard::run("rdb_save", (), || {
        let database = unsafe { api!(RedisModule_GetDbIdFromIO)(io) };
        if let Some(value) = unsafe { value.cast::<T>().as_ref() } {
            value.save(database, &mut Saver(io));
        }
    });
}

extern "C" fn aof_rewrite<T: DataType>(
    io: *mut RedisModuleIO,
    key: *mut RedisModuleString,
    value: *mut c_void,
) {
    guard::run("aof_rewrite", (), || {
        let database = unsafe { api!(RedisModule_GetDbIdFromIO)(io) };
        if let Some(value) = unsafe { value.cast::<T>().as_ref() } {
            value.rewrite(KeyContext { database, key: bytes(key) }, &mut Aof(io));
        }
    });
}

extern "C" fn mem_usage<T: DataType>(_: *mut RedisModuleKeyOptCtx, value: *const c_void, _: usize) -> usize {
    guard::run("mem_usage", 0, || unsafe { value.cast::<T>().as_ref() }.map_or(0, T::memory))
}

extern "C" fn digest<T: DataType>(digest: *mut RedisModuleDigest, value: *mut c_void) {
    guard::run("digest", (), || {
        let database = unsafe { api!(RedisModule_GetDbIdFromDigest)(digest) };
        if let Some(value) = unsafe { value.cast::<T>().as_ref() } {
            value.digest(database, &mut Digest(digest));
        }
        unsafe { api!(RedisModule_DigestEndSequence)(digest) };
    });
}

extern "C" fn free<T: DataType>(value: *mut c_void) {
    guard::run("free", (), || {
        if !value.is_null() {
            drop(unsafe { Box::from_raw(value.cast::<T>()) });
        }
    });
}

/// A value is a handful of allocations, however large: never worth a background thread.
extern "C" fn free_effort(_: *mut RedisModuleKeyOptCtx, _: *const c_void) -> usize {
    1
}

extern "C" fn unlink<T: DataType>(place: *mut RedisModuleKeyOptCtx, value: *const c_void) {
    guard::run("unlink", (), || {
        let database = unsafe { api!(RedisModule_GetDbIdFromOptCtx)(place) };
        if let Some(value) = unsafe { value.cast::<T>().as_ref() } {
            let key = bytes(unsafe { api!(RedisModule_GetKeyNameFromOptCtx)(place) });
            value.unlinked(KeyContext { database, key });
        }
    });
}

extern "C" fn copy<T: DataType>(place: *mut RedisModuleKeyOptCtx, value: *const c_void) -> *mut c_void {
    guard::run("copy", ptr::null_mut(), || {
        let database = unsafe { api!(RedisModule_GetDbIdFromOptCtx)(place) };
        match unsafe { value.cast::<T>().as_ref() } {
            Some(value) => Box::into_raw(Box::new(value.copied(database))).cast(),
            None => ptr::null_mut(),
        }
    })
}

extern "C" fn defrag<T: DataType>(
    ctx: *mut RedisModuleDefragCtx,
    _: *mut RedisModuleString,
    value: *mut *mut c_void,
) -> c_int {
    guard::run("defrag", 0, || {
        // SAFETY: nobody else holds the value while the server defragments it. Its block came from the server's
        // allocator; `T`'s alignment is one that `ServerAlloc` passes through.
        const { assert!(align_of::<T>() <= NATURAL) };
        unsafe {
            let moved = api!(RedisModule_DefragAlloc)(ctx, *value);
            if !moved.is_null() {
                *value = moved;
            }
            if let Some(value) = (*value).cast::<T>().as_mut() {
                value.defrag(&mut Defrag(ctx));
            }
        }
        0
    })
}
