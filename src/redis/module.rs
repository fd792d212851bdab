//! Loading: the order in which the module registers its parts.

use crate::redis::api::{ERR, OK, api, first_missing};
use crate::redis::args::Args;
use crate::redis::commands::{self, Command};
use crate::redis::ctx::Ctx;
use crate::redis::datatype::{self, DataType};
use crate::redis::events::{self, Events};
use crate::redis::info::{self, Info};
use crate::redis::settings::{self, AnySetting};
use crate::redis::slot_migration::HANDLE_ATOMIC_SLOT_MIGRATION;
use crate::redis::{guard, main_thread};
use redis_module::raw::{self, RedisModuleCtx, RedisModuleString};
use std::ffi::CStr;
use std::os::raw::c_int;

/// The module's face.
pub trait Module: Info {
    /// The name in MODULE LIST, and the prefix of the settings.
    const NAME: &'static CStr;
    /// The version in MODULE LIST.
    const VERSION: i32;

    /// Returns all settings.
    fn settings() -> &'static [&'static AnySetting];
    /// Registers commands, types and events.
    ///
    /// # Errors
    /// The reason for which the module is not loaded.
    fn register(load: &Load<'_>) -> Result<(), String>;
    /// Runs once everything is registered.
    fn loaded(ctx: &Ctx<'_>);
}

/// The load of the module, in which `Module::register` registers its parts.
pub struct Load<'a> {
    ctx: Ctx<'a>,
    /// The ACL category of the commands, on servers where a module can make one.
    category: Option<&'static CStr>,
}

impl Load<'_> {
    /// Registers a command.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn command<C: Command>(&self) -> Result<(), String> {
        let name = || C::SPEC.name.to_string_lossy();
        let registered = commands::register::<C>(&self.ctx, self.category);
        registered.then_some(()).ok_or_else(|| format!("the server refused {}", name()))
    }

    /// Registers a data type.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn data_type<T: DataType>(&self) -> Result<(), String> {
        datatype::register::<T>(&self.ctx)
            .then_some(())
            .ok_or_else(|| "the server refused the data type".into())
    }

    /// Subscribes to events.
    ///
    /// # Errors
    /// If the server refuses a subscription.
    pub fn events<E: Events>(&self) -> Result<(), String> {
        events::register::<E>(&self.ctx)
    }
}

/// The body of `RedisModule_OnLoad`.
///
/// # Safety
/// The arguments are those that the server passes to `RedisModule_OnLoad`, and this is its main thread.
pub unsafe fn load<M: Module>(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: c_int,
) -> c_int {
    let api_version = raw::REDISMODULE_APIVER_1 as c_int;
    // Nothing may be allocated before this call, which fills the table that the allocator uses.
    // SAFETY: the context is the server's, by this function's contract.
    if unsafe { raw::Export_RedisModule_Init(ctx, M::NAME.as_ptr(), M::VERSION, api_version) } == ERR {
        return ERR;
    }
    main_thread::here_is_main();
    guard::install_hook();
    guard::run("loading", ERR, || {
        // SAFETY: the context is valid until the load ends, and this is the main thread, by this function's
        // contract.
        let (ctx, registered) = unsafe { (Ctx::new(ctx), Ctx::new(ctx)) };
        // SAFETY: the server keeps the strings until the load ends.
        let args = unsafe { Args::new(argv, argc) };
        match register::<M>(registered, args) {
            Ok(()) => {
                M::loaded(&ctx);
                OK
            }
            Err(reason) => {
                ctx.log_warning(&format!("not loaded: {reason}"));
                ERR
            }
        }
    })
}

fn register<M: Module>(ctx: Ctx<'_>, args: Args<'_>) -> Result<(), String> {
    if let Some(name) = first_missing() {
        return Err(format!("this server has no {name}; Redis 7.0.6 or later is needed"));
    }
    settings::take_arguments(M::settings(), M::NAME, args)?;
    settings::register(&ctx, M::settings())?;
    // The module reports read errors itself, says itself that a key opened for writing has changed, and follows
    // the events of a full sync that loads beside the old data and of slots that move as a whole.
    let options = raw::REDISMODULE_OPTIONS_HANDLE_IO_ERRORS
        | raw::REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED
        | raw::REDISMODULE_OPTIONS_HANDLE_REPL_ASYNC_LOAD;
    let options = options as c_int | HANDLE_ATOMIC_SLOT_MIGRATION;
    // SAFETY: the context is valid; servers ignore the options that they do not know.
    unsafe { api!(RedisModule_SetModuleOptions)(ctx.raw(), options) };
    info::register::<M>(&ctx);
    let category = commands::add_category(&ctx, M::NAME);
    M::register(&Load { ctx, category })
}

/// Exports a `Module` as the one of this library.
macro_rules! export_module {
    ($module:ty) => {
        /// Loads the module.
        ///
        /// # Safety
        /// Only the server may call this.
        #[allow(unsafe_code, non_snake_case)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn RedisModule_OnLoad(
            ctx: *mut $crate::redis::RedisModuleCtx,
            argv: *mut *mut $crate::redis::RedisModuleString,
            argc: std::os::raw::c_int,
        ) -> std::os::raw::c_int {
            // SAFETY: the server passes its own arguments, on its main thread.
            unsafe { $crate::redis::load::<$module>(ctx, argv, argc) }
        }
    };
}
pub(crate) use export_module;
