//! What happens to the keyspace and the server that no callback of the type tells.

use crate::redis::args::bytes;
use crate::redis::ctx::Ctx;
use crate::redis::guard;
use redis_module::raw::{
    self, RedisModuleClientInfoV1, RedisModuleCtx, RedisModuleEvent, RedisModuleFlushInfoV1,
    RedisModuleString, RedisModuleSwapDbInfoV1,
};
use std::ffi::CStr;
use std::os::raw::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

/// What an upper room wants to hear of.
pub trait Events {
    /// All keys of one database, or of all, are about to go; their values' `unlinked` is not called.
    fn emptied(ctx: &Ctx<'_>, database: Option<i32>);
    /// Two databases have changed places.
    fn swapped(ctx: &Ctx<'_>, first: i32, second: i32);
    /// A key has come without a command of ours. The context has its database selected.
    fn arrived(ctx: &Ctx<'_>, key: &[u8], how: Arrival);
    /// The server is loading its data, and is between two keys or commands. Comes now and then, and when the
    /// commands of an AOF begin.
    fn loading(ctx: &Ctx<'_>);
    /// A key was given another TTL, or none, by a command that is not ours.
    fn retimed(ctx: &Ctx<'_>, key: &[u8]);
    /// A key was deleted by a command (not by expiry or eviction).
    fn deleted(ctx: &Ctx<'_>, key: &[u8]);
    /// A client's connection is closing.
    fn client_gone(ctx: &Ctx<'_>, client: u64);
    /// This server has begun to follow a master.
    fn became_replica(ctx: &Ctx<'_>);
    /// The event loop is about to sleep, or has slept; often, so it must cost next to nothing.
    fn event_loop(ctx: &Ctx<'_>, event: EventLoop);
}

/// How a value comes under a key without a command of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// From an RDB file or a full sync, or by RESTORE.
    FromOutside,
    /// By RENAME, MOVE or COPY, from a key that was here.
    FromAnotherKey,
}

impl Arrival {
    /// What a notification tells, if it tells of an arrival.
    fn of(event: &[u8]) -> Option<Arrival> {
        match event {
            b"loaded" | b"restore" => Some(Arrival::FromOutside),
            b"rename_to" | b"move_to" | b"copy_to" => Some(Arrival::FromAnotherKey),
            _ => None,
        }
    }
}

/// Whether the event loop is going to wait for something to do, or has waited.
#[derive(Clone, Copy)]
pub enum EventLoop {
    Sleeps,
    Wakes,
}

/// Whether the notification that is under way is our own, which the server brings to us too.
pub(super) static TELLING: AtomicBool = AtomicBool::new(false);

/// The version of the event data that Redis 7.0 knows.
const DATA_VERSION: u64 = 1;

pub(super) fn register<E: Events>(ctx: &Ctx<'_>) -> Result<(), String> {
    let wanted = raw::REDISMODULE_NOTIFY_GENERIC | raw::REDISMODULE_NOTIFY_LOADED;
    // SAFETY: called at load, with callbacks of the signatures asked for.
    let codes = unsafe {
        [
            subscribe(ctx, raw::REDISMODULE_EVENT_FLUSHDB, Some(flushed::<E>)),
            subscribe(ctx, raw::REDISMODULE_EVENT_SWAPDB, Some(swapped::<E>)),
            subscribe(ctx, raw::REDISMODULE_EVENT_LOADING_PROGRESS, Some(loading::<E>)),
            subscribe(ctx, raw::REDISMODULE_EVENT_CLIENT_CHANGE, Some(client_changed::<E>)),
            subscribe(ctx, raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED, Some(role_changed::<E>)),
            subscribe(ctx, raw::REDISMODULE_EVENT_EVENTLOOP, Some(event_loop::<E>)),
            api!(RedisModule_SubscribeToKeyspaceEvents)(ctx.raw, wanted, Some(notified::<E>)),
        ]
    };
    match codes.iter().all(|&code| code == crate::redis::api::OK) {
        true => Ok(()),
        false => Err("the server refused a subscription to its events".into()),
    }
}

type Callback = unsafe extern "C" fn(*mut RedisModuleCtx, RedisModuleEvent, u64, *mut c_void);

/// # Safety
/// The callback must take the data of that event.
unsafe fn subscribe(ctx: &Ctx<'_>, id: u64, callback: Option<Callback>) -> c_int {
    let event = RedisModuleEvent { id, dataver: DATA_VERSION };
    unsafe { api!(RedisModule_SubscribeToServerEvent)(ctx.raw, event, callback) }
}

unsafe extern "C" fn flushed<E: Events>(
    ctx: *mut RedisModuleCtx,
    _: RedisModuleEvent,
    subevent: u64,
    data: *mut c_void,
) {
    guard::run("a flush event", (), || {
        if subevent != raw::REDISMODULE_SUBEVENT_FLUSHDB_START {
            return;
        }
        // SAFETY: the event carries this struct.
        let info = unsafe { data.cast::<RedisModuleFlushInfoV1>().as_ref() };
        let database = info.map(|info| info.dbnum).filter(|&number| number >= 0);
        E::emptied(&Ctx::new(ctx), database);
    });
}

unsafe extern "C" fn swapped<E: Events>(
    ctx: *mut RedisModuleCtx,
    _: RedisModuleEvent,
    _: u64,
    data: *mut c_void,
) {
    guard::run("a SWAPDB event", (), || {
        // SAFETY: the event carries this struct.
        if let Some(info) = unsafe { data.cast::<RedisModuleSwapDbInfoV1>().as_ref() } {
            E::swapped(&Ctx::new(ctx), info.dbnum_first, info.dbnum_second);
        }
    });
}

unsafe extern "C" fn client_changed<E: Events>(
    ctx: *mut RedisModuleCtx,
    _: RedisModuleEvent,
    subevent: u64,
    data: *mut c_void,
) {
    guard::run("a client event", (), || {
        // SAFETY: the event carries this struct.
        let info = unsafe { data.cast::<RedisModuleClientInfoV1>().as_ref() };
        if let (raw::REDISMODULE_SUBEVENT_CLIENT_CHANGE_DISCONNECTED, Some(info)) = (subevent, info) {
            E::client_gone(&Ctx::new(ctx), info.id);
        }
    });
}

unsafe extern "C" fn role_changed<E: Events>(
    ctx: *mut RedisModuleCtx,
    _: RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard::run("a role event", (), || {
        if subevent == raw::REDISMODULE_EVENT_REPLROLECHANGED_NOW_REPLICA {
            E::became_replica(&Ctx::new(ctx));
        }
    });
}

unsafe extern "C" fn loading<E: Events>(
    ctx: *mut RedisModuleCtx,
    _: RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    guard::run("a loading event", (), || E::loading(&Ctx::new(ctx)));
}

unsafe extern "C" fn event_loop<E: Events>(
    ctx: *mut RedisModuleCtx,
    _: RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard::run("an event loop event", (), || {
        let event = match subevent {
            raw::REDISMODULE_SUBEVENT_EVENTLOOP_BEFORE_SLEEP => EventLoop::Sleeps,
            _ => EventLoop::Wakes,
        };
        E::event_loop(&Ctx::new(ctx), event);
    });
}

unsafe extern "C" fn notified<E: Events>(
    ctx: *mut RedisModuleCtx,
    _: c_int,
    event: *const c_char,
    key: *mut RedisModuleString,
) -> c_int {
    guard::run("a notification", (), || {
        // SAFETY: the server passes a C string.
        let event = unsafe { CStr::from_ptr(event) }.to_bytes();
        if let Some(how) = Arrival::of(event) {
            E::arrived(&Ctx::new(ctx), bytes(key), how);
        } else if event == b"del" {
            E::deleted(&Ctx::new(ctx), bytes(key));
        } else if matches!(event, b"expire" | b"persist") && !TELLING.load(Ordering::Relaxed) {
            E::retimed(&Ctx::new(ctx), bytes(key));
        }
    });
    crate::redis::api::OK
}
