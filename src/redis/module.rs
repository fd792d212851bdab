//! Loading: the order in which the server gets to know the module.

use crate::redis::api::{self, ERR, OK};
use crate::redis::args::Args;
use crate::redis::commands::{self, Command};
use crate::redis::ctx::Ctx;
use crate::redis::datatype::{self, DataType};
use crate::redis::events::{self, Events};
use crate::redis::info::{self, InfoSection};
use crate::redis::settings::{self, Setting};
use crate::redis::{guard, main_thread};
use redis_module::raw::{self, RedisModuleCtx, RedisModuleString};
use std::ffi::CStr;
use std::os::raw::c_int;
use std::slice;

/// The module's face.
pub trait Module {
    const NAME: &'static CStr;
    const VERSION: i32;

    fn settings() -> &'static [Setting];
    /// Registers commands, types and events.
    fn register(load: &Load<'_>) -> Result<(), String>;
    /// All is registered.
    fn loaded(ctx: &Ctx<'_>);
    fn info(section: &mut InfoSection);
}

/// What `Module::register` registers with.
pub struct Load<'a> {
    ctx: Ctx<'a>,
    /// The ACL category that the commands go into, on servers that know such.
    category: Option<&'static CStr>,
}

impl Load<'_> {
    pub fn command<C: Command>(&self) -> Result<(), String> {
        let name = || C::SPEC.name.to_string_lossy();
        let registered = commands::register::<C>(&self.ctx, self.category);
        registered.then_some(()).ok_or_else(|| format!("the server refused {}", name()))
    }

    pub fn data_type<T: DataType>(&self) -> Result<(), String> {
        datatype::register::<T>(&self.ctx)
            .then_some(())
            .ok_or_else(|| "the server refused the data type".into())
    }

    pub fn events<E: Events>(&self) -> Result<(), String> {
        events::register::<E>(&self.ctx)
    }
}

/// The body of `RedisModule_OnLoad`.
///
/// # Safety
/// Only the server may call this, with what it passes to `RedisModule_OnLoad`.
pub unsafe fn load<M: Module>(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: c_int,
) -> c_int {
    // Nothing may be allocated before this call, which fills the table that the allocator uses.
    let api_version = raw::REDISMODULE_APIVER_1 as c_int;
    if unsafe { raw::Export_RedisModule_Init(ctx, M::NAME.as_ptr(), M::VERSION, api_version) } == ERR {
        return ERR;
    }
    main_thread::here_is_main();
    guard::install_hook();
    guard::run("loading", ERR, || {
        let ctx = Ctx::new(ctx);
        let argv = match usize::try_from(argc) {
            Ok(count) if count > 0 => unsafe { slice::from_raw_parts(argv, count) },
            _ => &[],
        };
        match register::<M>(Ctx::new(ctx.raw), Args(argv)) {
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
    if let Some(name) = api::first_missing() {
        return Err(format!("this server has no {name}; Redis 7.0.6 or later is needed"));
    }
    settings::take_arguments(M::settings(), M::NAME, args)?;
    settings::register(&ctx, M::settings())?;
    // Errors while reading are ours to report; and a key opened for writing has not changed until we say so.
    let options =
        raw::REDISMODULE_OPTIONS_HANDLE_IO_ERRORS | raw::REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED;
    // SAFETY: called at load.
    unsafe { api!(RedisModule_SetModuleOptions)(ctx.raw, options as c_int) };
    info::register::<M>(&ctx);
    let category = commands::add_category(&ctx, M::NAME);
    M::register(&Load { ctx, category })
}

/// Makes a `Module` the one that this library exports.
macro_rules! export_module {
    ($module:ty) => {
        /// What the server calls to load the module.
        ///
        /// # Safety
        /// Only the server may call it.
        #[allow(unsafe_code, non_snake_case)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn RedisModule_OnLoad(
            ctx: *mut $crate::redis::RedisModuleCtx,
            argv: *mut *mut $crate::redis::RedisModuleString,
            argc: std::os::raw::c_int,
        ) -> std::os::raw::c_int {
            unsafe { $crate::redis::load::<$module>(ctx, argv, argc) }
        }
    };
}
pub(crate) use export_module;
