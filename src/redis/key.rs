//! A key of the keyspace, opened.

use crate::redis::api::OK;
use crate::redis::ctx::{Ctx, KeyRef, ServerString};
use crate::redis::datatype::DataType;
use redis_module::raw::{self, RedisModuleKey};
use std::marker::PhantomData;
use std::os::raw::c_int;

/// An open key. Closed when dropped; the server tells nobody that it changed unless `Ctx::signal_modified` does.
pub struct Key<'c> {
    /// Null for a key opened for reading that is not there.
    raw: *mut RedisModuleKey,
    name: ServerString,
    ctx: PhantomData<&'c ()>,
}

/// What a key holds.
pub enum Content<'k, T> {
    Missing,
    /// A value of another type.
    OtherType,
    Value(&'k T),
}

impl<T> Clone for Content<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Content<'_, T> {}

impl Ctx<'_> {
    /// Opens a key to read it, as GET does: an expired one is not there, and the key counts as used.
    pub fn open_read(&self, name: &[u8]) -> Key<'_> {
        self.open(name, raw::REDISMODULE_READ)
    }

    /// Opens a key to look at it without counting as a use of it.
    pub fn open_peek(&self, name: &[u8]) -> Key<'_> {
        self.open(name, raw::REDISMODULE_READ | raw::REDISMODULE_OPEN_KEY_NOTOUCH)
    }

    /// Opens a key to change it.
    pub fn open_write(&self, name: &[u8]) -> Key<'_> {
        self.open(name, raw::REDISMODULE_READ | raw::REDISMODULE_WRITE)
    }

    fn open(&self, name: &[u8], mode: u32) -> Key<'_> {
        let name = ServerString::new(name);
        // SAFETY: the context is the running callback's; the name lives as long as the key.
        let raw = unsafe { api!(RedisModule_OpenKey)(self.raw, name.0, mode as c_int) };
        Key { raw, name, ctx: PhantomData }
    }
}

impl Key<'_> {
    /// What the key holds.
    pub fn content<T: DataType>(&self) -> Content<'_, T> {
        // SAFETY: both calls take a null key. A value of our type was given to the server by `set`
        // or the type's callbacks as a `Box<T>`, and stays until the key is changed, for which
        // `&mut self` is needed.
        unsafe {
            if api!(RedisModule_KeyType)(self.raw) == raw::REDISMODULE_KEYTYPE_EMPTY as c_int {
                return Content::Missing;
            }
            if api!(RedisModule_ModuleTypeGetType)(self.raw) != T::slot().get() {
                return Content::OtherType;
            }
            match api!(RedisModule_ModuleTypeGetValue)(self.raw).cast::<T>().as_ref() {
                Some(value) => Content::Value(value),
                None => Content::OtherType,
            }
        }
    }

    /// The value of our type, to be changed, or to have another put in its place: the server is not told.
    pub fn value_mut<T: DataType>(&mut self) -> Option<&mut T> {
        // SAFETY: as in `held`. `&mut self` is the one handle to the key that is open, and everything that reaches
        // values runs on this thread.
        unsafe {
            match api!(RedisModule_ModuleTypeGetType)(self.raw) == T::slot().get() {
                true => api!(RedisModule_ModuleTypeGetValue)(self.raw).cast::<T>().as_mut(),
                false => None,
            }
        }
    }

    /// Counts uses of a key that was not opened for them, where the server evicts by frequency. Its counter is
    /// logarithmic: from c to c + 1 takes some (c - 5) x `lfu-log-factor` + 1 uses, 10 being the default factor (Redis 7.0,
    /// evict.c, LFULogIncr), which is here counted out.
    pub fn count_uses(&mut self, mut uses: u32) {
        const FACTOR: i64 = 10;
        const NEW_KEY: i64 = 5;
        let (Some(get), Some(set)) = (optional!(RedisModule_GetLFU), optional!(RedisModule_SetLFU)) else {
            return;
        };
        let mut frequency = -1;
        // SAFETY: the key is open; where the policy is another, the frequency stays -1.
        if unsafe { get(self.raw, &mut frequency) } != OK || frequency < 0 {
            return;
        }
        while frequency < 255 {
            let cost = u32::try_from((frequency - NEW_KEY).max(0) * FACTOR + 1).unwrap_or(u32::MAX);
            let Some(left) = uses.checked_sub(cost) else { break };
            (uses, frequency) = (left, frequency + 1);
        }
        // SAFETY: as above.
        unsafe { set(self.raw, frequency) };
    }

    /// The database that the key is in. Ask this, not the context, after a notification: inside MULTI, Valkey 9.1
    /// names the client's database for a MOVE into another (seen there).
    ///
    /// Only for a key that holds something.
    pub fn database(&self) -> i32 {
        // SAFETY: a key that holds something is not null.
        unsafe { api!(RedisModule_GetDbIdFromModuleKey)(self.raw) }
    }

    /// Stores a value in a key opened for writing that holds nothing. On failure the value is dropped.
    pub fn set<T: DataType>(&mut self, value: Box<T>) -> bool {
        let value = Box::into_raw(value);
        // SAFETY: on success the server owns the value and frees it through the type's `free`.
        unsafe {
            let stored = api!(RedisModule_ModuleTypeSetValue)(self.raw, T::slot().get(), value.cast()) == OK;
            if !stored {
                drop(Box::from_raw(value));
            }
            stored
        }
    }

    /// Deletes the key; the type's `unlink` and `free` run before this returns.
    pub fn delete(&mut self) {
        // SAFETY: the key is open for writing; the server allows deleting nothing.
        unsafe { api!(RedisModule_DeleteKey)(self.raw) };
    }

    /// When the key expires, in Unix milliseconds; None for never.
    pub fn expires_at(&self) -> Option<i64> {
        if self.raw.is_null() {
            return None;
        }
        // SAFETY: the key is open.
        let at = unsafe { api!(RedisModule_GetAbsExpire)(self.raw) };
        (at >= 0).then_some(at)
    }

    /// Sets when the key expires, in Unix milliseconds; None for never.
    pub fn set_expires_at(&mut self, at: Option<i64>) {
        // SAFETY: the key is open for writing and holds a value.
        unsafe { api!(RedisModule_SetAbsExpire)(self.raw, at.unwrap_or(raw::REDISMODULE_NO_EXPIRE.into())) };
    }
}

impl<'k> From<&'k Key<'_>> for KeyRef<'k> {
    fn from(key: &'k Key<'_>) -> Self {
        KeyRef::string(key.name.0)
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        // SAFETY: opened once, closed once; null is allowed.
        unsafe { api!(RedisModule_CloseKey)(self.raw) };
    }
}
