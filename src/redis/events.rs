//! Events of the keyspace and the server, beside the callbacks of the data type.

use crate::redis::api::{OK, api};
use crate::redis::ctx::Ctx;
use crate::redis::guard;
use crate::redis::notify::is_own_notification;
use crate::redis::slot_migration::{self, SlotMigrations};
use crate::redis::string::bytes;
use redis_module::raw::{
    self, RedisModuleClientInfoV1, RedisModuleCtx, RedisModuleEvent, RedisModuleFlushInfoV1,
    RedisModuleString, RedisModuleSwapDbInfoV1,
};
use std::ffi::CStr;
use std::os::raw::{c_char, c_int, c_void};

/// The handler of events.
pub trait Events: SlotMigrations {
    /// All keys of one database, or of all for None, are about to go. `unlinked` is not called for their
    /// values.
    fn emptied(ctx: &Ctx<'_>, database: Option<i32>);
    /// Two databases have changed places.
    fn swapped(ctx: &Ctx<'_>, first: i32, second: i32);
    /// A key has come without a command of the module. The context has its database selected.
    fn arrived(ctx: &Ctx<'_>, key: &[u8], how: Arrival);
    /// The server is loading its data, between two keys or commands. Called now and then, and when the
    /// commands of an AOF begin.
    fn loading(ctx: &Ctx<'_>);
    /// A command of another module or the server has changed or removed a key's TTL.
    fn retimed(ctx: &Ctx<'_>, key: &[u8]);
    /// A command has deleted a key (not expiry, not eviction).
    fn deleted(ctx: &Ctx<'_>, key: &[u8]);
    /// A client's connection is closing.
    fn client_gone(ctx: &Ctx<'_>, client: u64);
    /// This server has become a replica.
    fn became_replica(ctx: &Ctx<'_>);
    /// A full sync loads beside the data set that is served.
    fn async_load(ctx: &Ctx<'_>, event: AsyncLoad);
    /// The event loop is about to sleep, or has slept. Called often, so it must cost next to nothing.
    fn event_loop(ctx: &Ctx<'_>, event: EventLoop);
}

/// The origin of a key that came without a command of the module.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// An RDB file or a full sync.
    Loaded,
    /// RESTORE.
    Restored,
    /// A key of this server, by RENAME, MOVE or COPY.
    FromAnotherKey,
}

impl Arrival {
    /// Returns the origin that a notification tells of, or None if it tells of no arrival.
    fn of(event: &[u8]) -> Option<Arrival> {
        match event {
            b"loaded" => Some(Arrival::Loaded),
            b"restore" => Some(Arrival::Restored),
            b"rename_to" | b"move_to" | b"copy_to" => Some(Arrival::FromAnotherKey),
            _ => None,
        }
    }
}

/// A moment of a full sync that loads into new databases while the old ones stay (`repl-diskless-load swapdb`).
#[derive(Clone, Copy)]
pub enum AsyncLoad {
    /// `DataType::load` and `Arrival::Loaded` are about the new databases from now on, all else about the old ones.
    Started,
    /// The new databases are about to be freed, without `unlinked`.
    Aborted,
    /// The new databases have replaced the old ones, which are about to be freed without `unlinked`.
    Completed,
}

/// A moment in a turn of the event loop.
#[derive(Clone, Copy)]
pub enum EventLoop {
    /// It is about to wait for work.
    Sleeps,
    /// It has waited.
    Wakes,
}

/// The version of the event data that Redis 7.0 knows.
const DATA_VERSION: u64 = 1;

/// Subscribes `E` to the events.
///
/// # Errors
/// If the server refuses a subscription.
pub(super) fn register<E: Events>(ctx: &Ctx<'_>) -> Result<(), String> {
    let wanted = raw::REDISMODULE_NOTIFY_GENERIC | raw::REDISMODULE_NOTIFY_LOADED;
    // SAFETY: the context is valid, and each callback takes the data of its event.
    let codes = unsafe {
        [
            subscribe(ctx, raw::REDISMODULE_EVENT_FLUSHDB, Some(flushed::<E>)),
            subscribe(ctx, raw::REDISMODULE_EVENT_SWAPDB, Some(swapped::<E>)),
            subscribe(ctx, raw::REDISMODULE_EVENT_LOADING_PROGRESS, Some(loading::<E>)),
            subscribe(ctx, raw::REDISMODULE_EVENT_REPL_ASYNC_LOAD, Some(async_load::<E>)),
            subscribe(ctx, raw::REDISMODULE_EVENT_CLIENT_CHANGE, Some(client_changed::<E>)),
            subscribe(ctx, raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED, Some(role_changed::<E>)),
            subscribe(ctx, raw::REDISMODULE_EVENT_EVENTLOOP, Some(event_loop::<E>)),
            api!(RedisModule_SubscribeToKeyspaceEvents)(ctx.raw(), wanted, Some(notified::<E>)),
        ]
    };
    // SAFETY: the context is valid, and the callback takes the data of its event. A server that does not know the event
    // has no such migrations.
    unsafe { subscribe(ctx, slot_migration::EVENT, Some(slot_migration::moved::<E>)) };
    match codes.iter().all(|&code| code == OK) {
        true => Ok(()),
        false => Err("the server refused a subscription to its events".into()),
    }
}

type Callback = unsafe extern "C" fn(*mut RedisModuleCtx, RedisModuleEvent, u64, *mut c_void);

/// Subscribes a callback to an event, and returns the server's code.
///
/// # Safety
/// The callback takes the data of that event.
unsafe fn subscribe(ctx: &Ctx<'_>, id: u64, callback: Option<Callback>) -> c_int {
    let event = RedisModuleEvent { id, dataver: DATA_VERSION };
    // SAFETY: the context is valid; the callback is right by this function's contract.
    unsafe { api!(RedisModule_SubscribeToServerEvent)(ctx.raw(), event, callback) }
}

/// # Safety
/// Only the server may call this, for the event it is subscribed to.
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
        // SAFETY: the data of this event is this struct, valid during the callback.
        let info = unsafe { data.cast::<RedisModuleFlushInfoV1>().as_ref() };
        let database = info.map(|info| info.dbnum).filter(|&number| number >= 0);
        // SAFETY: the context is this callback's.
        E::emptied(&unsafe { Ctx::new(ctx) }, database);
    });
}

/// # Safety
/// Only the server may call this, for the event it is subscribed to.
unsafe extern "C" fn swapped<E: Events>(
    ctx: *mut RedisModuleCtx,
    _: RedisModuleEvent,
    _: u64,
    data: *mut c_void,
) {
    guard::run("a SWAPDB event", (), || {
        // SAFETY: the data of this event is this struct, valid during the callback.
        if let Some(info) = unsafe { data.cast::<RedisModuleSwapDbInfoV1>().as_ref() } {
            // SAFETY: the context is this callback's.
            E::swapped(&unsafe { Ctx::new(ctx) }, info.dbnum_first, info.dbnum_second);
        }
    });
}

/// # Safety
/// Only the server may call this, for the event it is subscribed to.
unsafe extern "C" fn client_changed<E: Events>(
    ctx: *mut RedisModuleCtx,
    _: RedisModuleEvent,
    subevent: u64,
    data: *mut c_void,
) {
    guard::run("a client event", (), || {
        // SAFETY: the data of this event is this struct, valid during the callback.
        let info = unsafe { data.cast::<RedisModuleClientInfoV1>().as_ref() };
        if let (raw::REDISMODULE_SUBEVENT_CLIENT_CHANGE_DISCONNECTED, Some(info)) = (subevent, info) {
            // SAFETY: the context is this callback's.
            E::client_gone(&unsafe { Ctx::new(ctx) }, info.id);
        }
    });
}

/// # Safety
/// Only the server may call this, for the event it is subscribed to.
unsafe extern "C" fn role_changed<E: Events>(
    ctx: *mut RedisModuleCtx,
    _: RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard::run("a role event", (), || {
        if subevent == raw::REDISMODULE_EVENT_REPLROLECHANGED_NOW_REPLICA {
            // SAFETY: the context is this callback's.
            E::became_replica(&unsafe { Ctx::new(ctx) });
        }
    });
}

/// # Safety
/// Only the server may call this, for the event it is subscribed to.
unsafe extern "C" fn loading<E: Events>(
    ctx: *mut RedisModuleCtx,
    _: RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    guard::run("a loading event", (), || {
        // SAFETY: the context is this callback's.
        E::loading(&unsafe { Ctx::new(ctx) });
    });
}

/// # Safety
/// Only the server may call this, for the event it is subscribed to.
unsafe extern "C" fn async_load<E: Events>(
    ctx: *mut RedisModuleCtx,
    _: RedisModuleEvent,
    subevent: u64,
    _: *mut c_void,
) {
    guard::run("an async load event", (), || {
        let event = match subevent {
            raw::REDISMODULE_SUBEVENT_REPL_ASYNC_LOAD_STARTED => AsyncLoad::Started,
            raw::REDISMODULE_SUBEVENT_REPL_ASYNC_LOAD_COMPLETED => AsyncLoad::Completed,
            _ => AsyncLoad::Aborted,
        };
        // SAFETY: the context is this callback's.
        E::async_load(&unsafe { Ctx::new(ctx) }, event);
    });
}

/// # Safety
/// Only the server may call this, for the event it is subscribed to.
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
        // SAFETY: the context is this callback's.
        E::event_loop(&unsafe { Ctx::new(ctx) }, event);
    });
}

/// # Safety
/// Only the server may call this, for the event it is subscribed to.
unsafe extern "C" fn notified<E: Events>(
    ctx: *mut RedisModuleCtx,
    _: c_int,
    event: *const c_char,
    key: *mut RedisModuleString,
) -> c_int {
    guard::run("a notification", (), || {
        // SAFETY: the server passes a C string, valid during the callback.
        let event = unsafe { CStr::from_ptr(event) }.to_bytes();
        // SAFETY: the server keeps the key's name unchanged during the callback.
        let key = unsafe { bytes(key) };
        // SAFETY: the context is this callback's.
        let ctx = unsafe { Ctx::new(ctx) };
        if let Some(how) = Arrival::of(event) {
            E::arrived(&ctx, key, how);
        } else if event == b"del" {
            E::deleted(&ctx, key);
        } else if matches!(event, b"expire" | b"persist") && !is_own_notification() {
            E::retimed(&ctx, key);
        }
    });
    OK
}
