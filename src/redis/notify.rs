//! Keyspace notifications, and the signal to clients that WATCH or track a key.

use crate::redis::api::api;
use crate::redis::ctx::Ctx;
use crate::redis::string::KeyRef;
use redis_module::raw;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};

/// The class of a keyspace notification: the letter of `notify-keyspace-events` that asks for it.
#[derive(Clone, Copy)]
pub enum Class {
    /// `g`, the class of DEL and EXPIRE.
    Generic,
    /// `d`, the class of all modules.
    Module,
}

/// True while the module sends a notification.
static NOTIFYING: AtomicBool = AtomicBool::new(false);

/// Returns true if the module itself sends the notification under way, which the server brings to it too.
pub(super) fn is_own_notification() -> bool {
    NOTIFYING.load(Ordering::Relaxed)
}

impl Ctx<'_> {
    /// Sends a keyspace notification about `key`.
    pub fn notify<'k>(&self, class: Class, event: &CStr, key: impl Into<KeyRef<'k>>) {
        let class = match class {
            Class::Generic => raw::REDISMODULE_NOTIFY_GENERIC,
            Class::Module => raw::REDISMODULE_NOTIFY_MODULE,
        };
        NOTIFYING.store(true, Ordering::Relaxed);
        // SAFETY: the context is valid, and the string is valid during the call; the server counts a
        // reference for a later use.
        key.into().with(|key| unsafe {
            api!(RedisModule_NotifyKeyspaceEvent)(self.raw(), class, event.as_ptr(), key);
        });
        NOTIFYING.store(false, Ordering::Relaxed);
    }

    /// Tells clients that WATCH or track `key` that it has changed.
    pub fn signal_modified<'k>(&self, key: impl Into<KeyRef<'k>>) {
        // SAFETY: the context is valid, and the string is valid during the call.
        key.into().with(|key| unsafe {
            api!(RedisModule_SignalModifiedKey)(self.raw(), key);
        });
    }
}
