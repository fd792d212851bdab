//! Access to the server's function table.
//!
//! redis-module keeps one `Option<fn>` for each function of any server version, and a server fills in those
//! that it has. `first_missing` runs once at load and names the first of the required functions that is
//! missing, so `api!` finds each of them afterwards. `optional!` is for functions that only some servers
//! have.

use redis_module::raw;
use std::os::raw::c_int;

/// A function of the server that `first_missing` has found.
macro_rules! api {
    ($name:ident) => {{
        // SAFETY: the server fills the table once, at load, before it calls back on any thread.
        #[allow(unused_unsafe)]
        let function = unsafe { redis_module::raw::$name };
        match function {
            Some(function) => function,
            None => $crate::redis::api::missing(stringify!($name)),
        }
    }};
}
pub(super) use api;

/// A function that not every supported server has, as an `Option`.
macro_rules! optional {
    ($name:ident) => {{
        // SAFETY: the server fills the table once, at load, before it calls back on any thread.
        unsafe { redis_module::raw::$name }
    }};
}
pub(super) use optional;

/// The functions without which the module does not load. All are in Redis 7.0.6 and every later server.
macro_rules! required {
    ($($name:ident),* $(,)?) => {
        /// Returns the name of the first function that this server lacks, or None if it has all.
        pub fn first_missing() -> Option<&'static str> {
            $(
                // SAFETY: the server fills the table once, at load, before it calls back on any thread.
                if unsafe { raw::$name }.is_none() {
                    return Some(stringify!($name));
                }
            )*
            None
        }
    };
}

required!(
    RedisModule_ACLAddLogEntry,
    RedisModule_ACLCheckCommandPermissions,
    RedisModule_Alloc,
    RedisModule_Realloc,
    RedisModule_Free,
    RedisModule_Call,
    RedisModule_CallReplyStringPtr,
    RedisModule_CreateModuleUser,
    RedisModule_FreeCallReply,
    RedisModule_FreeModuleUser,
    RedisModule_GetClientUserNameById,
    RedisModule_GetCurrentUserName,
    RedisModule_GetModuleUserACLString,
    RedisModule_GetModuleUserFromUserName,
    RedisModule_SetModuleUserACLString,
    RedisModule_BlockClient,
    RedisModule_UnblockClient,
    RedisModule_SetDisconnectCallback,
    RedisModule_GetBlockedClientPrivateData,
    RedisModule_GetClientId,
    RedisModule_GetRandomBytes,
    RedisModule_CloseKey,
    RedisModule_CommandFilterArgDelete,
    RedisModule_EventLoopAddOneShot,
    RedisModule_RegisterEnumConfig,
    RedisModule_CommandFilterArgGet,
    RedisModule_CommandFilterArgReplace,
    RedisModule_CommandFilterArgsCount,
    RedisModule_CreateCommand,
    RedisModule_CreateDataType,
    RedisModule_CreateString,
    RedisModule_CreateStringFromLongLong,
    RedisModule_CreateTimer,
    RedisModule_DbSize,
    RedisModule_DefragAlloc,
    RedisModule_DeleteKey,
    RedisModule_DigestAddStringBuffer,
    RedisModule_DigestEndSequence,
    RedisModule_EmitAOF,
    RedisModule_FreeString,
    RedisModule_GetAbsExpire,
    RedisModule_GetCommand,
    RedisModule_GetContextFlags,
    RedisModule_GetDbIdFromDefragCtx,
    RedisModule_GetDbIdFromDigest,
    RedisModule_GetDbIdFromIO,
    RedisModule_GetDbIdFromModuleKey,
    RedisModule_GetDbIdFromOptCtx,
    RedisModule_GetDetachedThreadSafeContext,
    RedisModule_GetKeyNameFromIO,
    RedisModule_GetKeyNameFromOptCtx,
    RedisModule_GetSelectedDb,
    RedisModule_InfoAddFieldLongLong,
    RedisModule_InfoAddSection,
    RedisModule_IsIOError,
    RedisModule_KeyType,
    RedisModule_LoadConfigs,
    RedisModule_LoadStringBuffer,
    RedisModule_Log,
    RedisModule_LogIOError,
    RedisModule_Milliseconds,
    RedisModule_ModuleTypeGetType,
    RedisModule_ModuleTypeGetValue,
    RedisModule_ModuleTypeSetValue,
    RedisModule_NotifyKeyspaceEvent,
    RedisModule_OpenKey,
    RedisModule_RegisterCommandFilter,
    RedisModule_RegisterInfoFunc,
    RedisModule_RegisterNumericConfig,
    RedisModule_Replicate,
    RedisModule_ReplicateVerbatim,
    RedisModule_ReplyWithArray,
    RedisModule_ReplyWithError,
    RedisModule_ReplyWithLongLong,
    RedisModule_ReplyWithMap,
    RedisModule_ReplyWithNull,
    RedisModule_ReplyWithSimpleString,
    RedisModule_ReplyWithStringBuffer,
    RedisModule_SaveStringBuffer,
    RedisModule_SelectDb,
    RedisModule_SetAbsExpire,
    RedisModule_SetCommandInfo,
    RedisModule_SetModuleOptions,
    RedisModule_SignalModifiedKey,
    RedisModule_StopTimer,
    RedisModule_StringPtrLen,
    RedisModule_SubscribeToKeyspaceEvents,
    RedisModule_SubscribeToServerEvent,
    RedisModule_UnregisterCommandFilter,
    RedisModule_WrongArity,
);

/// Panics for a function that `api!` calls and the list above lacks: a bug, which the guard around the
/// callback logs.
#[cold]
pub fn missing(name: &str) -> ! {
    panic!("the server has no {name}")
}

/// The server's status code for success.
pub const OK: c_int = raw::REDISMODULE_OK as c_int;
/// The server's status code for failure.
pub const ERR: c_int = raw::REDISMODULE_ERR as c_int;
