//! A key of the keyspace, opened.

use crate::redis::api::{OK, api, optional};
use crate::redis::ctx::Ctx;
use crate::redis::datatype::DataType;
use crate::redis::string::{KeyRef, ServerString};
use redis_module::raw::{self, RedisModuleKey};
use std::marker::PhantomData;
use std::os::raw::{c_char, c_int};

/// An open key, closed when it goes out of scope. Clients that WATCH or track it hear of a change only by
/// `Ctx::signal_modified`.
pub struct Key<'c> {
    /// Null for a missing key that was opened for reading.
    raw: *mut RedisModuleKey,
    name: ServerString,
    ctx: PhantomData<&'c ()>,
}

/// The content of a key.
pub enum Content<'k, T> {
    /// There is no such key.
    Missing,
    /// A value of another type.
    OtherType,
    /// A value of the module's type.
    Value(&'k T),
}

impl<T> Clone for Content<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Content<'_, T> {}

impl Ctx<'_> {
    /// Opens a key to read it, as GET does: an expired key is missing, and the key counts as used.
    pub fn open_read(&self, name: &[u8]) -> Key<'_> {
        self.open(name, raw::REDISMODULE_READ)
    }

    /// Opens a key to read it without a count as a use.
    pub fn open_peek(&self, name: &[u8]) -> Key<'_> {
        self.open(name, raw::REDISMODULE_READ | raw::REDISMODULE_OPEN_KEY_NOTOUCH)
    }

    /// Opens a key to change it.
    pub fn open_write(&self, name: &[u8]) -> Key<'_> {
        self.open(name, raw::REDISMODULE_READ | raw::REDISMODULE_WRITE)
    }

    fn open(&self, name: &[u8], mode: u32) -> Key<'_> {
        let name = ServerString::new(name);
        // SAFETY: the context is valid, and the name lives until the key is closed.
        let raw = unsafe { api!(RedisModule_OpenKey)(self.raw(), name.raw(), mode as c_int) };
        Key { raw, name, ctx: PhantomData }
    }

    /// Deletes a key by name, on this server only: replicas and the AOF hear nothing.
    ///
    /// For keys that cannot be opened: a replica's expired key, which waits for the master's DEL.
    pub fn delete_by_name(&self, name: &[u8]) {
        // SAFETY: the context is valid. Format `b` takes a pointer and a length; without `!` the call is not
        // replicated.
        let reply = unsafe {
            api!(RedisModule_Call)(
                self.raw(),
                c"DEL".as_ptr(),
                c"b".as_ptr(),
                name.as_ptr().cast::<c_char>(),
                name.len(),
            )
        };
        if !reply.is_null() {
            // SAFETY: the reply is the module's to free, once.
            unsafe { api!(RedisModule_FreeCallReply)(reply) };
        }
    }
}

impl Key<'_> {
    /// Returns the key's content.
    pub fn content<T: DataType>(&self) -> Content<'_, T> {
        // SAFETY: the key is open or null, which the call takes.
        if unsafe { api!(RedisModule_KeyType)(self.raw) } == raw::REDISMODULE_KEYTYPE_EMPTY as c_int {
            return Content::Missing;
        }
        // SAFETY: the value stays until the key is changed, for which `&mut self` is needed.
        match unsafe { self.value::<T>().as_ref() } {
            Some(value) => Content::Value(value),
            None => Content::OtherType,
        }
    }

    /// Returns the value of type `T` to be changed or replaced, or None if the key holds another. The server
    /// is not told of a change. No other handle to the same key may be open.
    pub fn value_mut<T: DataType>(&mut self) -> Option<&mut T> {
        // SAFETY: the value stays until the key is changed, for which `&mut self` is needed. The server's
        // callbacks reach values on this thread only, and not before this borrow ends: no call to the server
        // is made with it.
        unsafe { self.value::<T>().as_mut() }
    }

    /// Returns a pointer to the value, which is a valid `T`, or null if the key holds no `T`.
    fn value<T: DataType>(&self) -> *mut T {
        // SAFETY: the key is open or null, which the call takes.
        let slot = unsafe { api!(RedisModule_ModuleTypeGetType)(self.raw) };
        if slot.is_null() || slot != T::slot().get() {
            return std::ptr::null_mut();
        }
        // SAFETY: the key holds a value of this type, which `set` or the type's callbacks gave the server as
        // a `Box<T>`.
        unsafe { api!(RedisModule_ModuleTypeGetValue)(self.raw) }.cast()
    }

    /// Counts uses of a key that was opened without, if the server evicts by frequency. Its counter is
    /// logarithmic: from c to c + 1 takes some (c - 5) x `lfu-log-factor` + 1 uses, 10 being the default
    /// factor (Redis 7.0, evict.c, LFULogIncr). This computes the counter that `uses` calls would reach on
    /// average.
    pub fn count_uses(&mut self, mut uses: u32) {
        const FACTOR: i64 = 10;
        const NEW_KEY: i64 = 5;
        let (Some(get), Some(set)) = (optional!(RedisModule_GetLFU), optional!(RedisModule_SetLFU)) else {
            return;
        };
        if self.raw.is_null() || uses == 0 {
            return;
        }
        let mut frequency = -1;
        // SAFETY: the key is open. Under another policy the frequency stays -1.
        if unsafe { get(self.raw, &mut frequency) } != OK || frequency < 0 {
            return;
        }
        while frequency < 255 {
            let cost = u32::try_from((frequency - NEW_KEY).max(0) * FACTOR + 1).unwrap_or(u32::MAX);
            let Some(left) = uses.checked_sub(cost) else { break };
            (uses, frequency) = (left, frequency + 1);
        }
        // SAFETY: the key is open, and the frequency is at most 255, as the call asks.
        unsafe { set(self.raw, frequency) };
    }

    /// Returns the number of the key's database. After a notification use this and not the context: inside
    /// MULTI, Valkey 9.1 names the client's database for a MOVE into another (seen there).
    ///
    /// Only for a key with content.
    pub fn database(&self) -> i32 {
        // SAFETY: the key is open or null. For null the server returns -1 (Redis 7.0, module.c,
        // RM_GetDbIdFromModuleKey).
        unsafe { api!(RedisModule_GetDbIdFromModuleKey)(self.raw) }
    }

    /// Stores a value in an empty key that was opened for writing. Returns false, and frees the value, on
    /// failure.
    pub fn set<T: DataType>(&mut self, value: Box<T>) -> bool {
        if self.raw.is_null() {
            return false;
        }
        let value = Box::into_raw(value);
        // SAFETY: the key is open, the value is of the slot's type, and on success the server owns it and
        // frees it through the type's `free`.
        let code = unsafe { api!(RedisModule_ModuleTypeSetValue)(self.raw, T::slot().get(), value.cast()) };
        if code != OK {
            // SAFETY: the server has not taken the value, which `Box::into_raw` gave.
            drop(unsafe { Box::from_raw(value) });
        }
        code == OK
    }

    /// Deletes the key; the type's `unlink` and `free` run before this returns.
    pub fn delete(&mut self) {
        if self.raw.is_null() {
            return;
        }
        // SAFETY: the key is open; the server takes an empty one, and refuses one that was opened for
        // reading.
        unsafe { api!(RedisModule_DeleteKey)(self.raw) };
    }

    /// Returns the moment at which the key expires, in Unix milliseconds, or None for never.
    pub fn expires_at(&self) -> Option<i64> {
        if self.raw.is_null() {
            return None;
        }
        // SAFETY: the key is open.
        let at = unsafe { api!(RedisModule_GetAbsExpire)(self.raw) };
        (at >= 0).then_some(at)
    }

    /// Sets the moment at which the key expires, in Unix milliseconds, or None for never.
    pub fn set_expires_at(&mut self, at: Option<i64>) {
        if self.raw.is_null() {
            return;
        }
        // SAFETY: the key is open; the server refuses an empty one, and one that was opened for reading.
        unsafe { api!(RedisModule_SetAbsExpire)(self.raw, at.unwrap_or(raw::REDISMODULE_NO_EXPIRE.into())) };
    }
}

impl<'k> From<&'k Key<'_>> for KeyRef<'k> {
    fn from(key: &'k Key<'_>) -> Self {
        KeyRef::from(&key.name)
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        // SAFETY: the key is closed once, as `self` owns it; the server takes null.
        unsafe { api!(RedisModule_CloseKey)(self.raw) };
    }
}
