//! The server's API, and all of the module's `unsafe`.
//!
//! The rooms above work with the safe types of this one: `Ctx` for the running callback, `Args`, `Key`,
//! `Caller`, `OneTimer`, and the traits `Command`, `DataType`, `Events` and `Module` that they implement and
//! the callbacks here are generic over. Every file here promises:
//!
//! - No panic crosses into the server: each callback runs in `guard::run`.
//! - No API function is called before `api::first_missing` has found all of them, or `optional!` this one.
//! - Bytes from a user never meet a C string: names and replies travel with their lengths, and the text of an
//!   error is the module's own.
//! - A function that trusts its caller is an `unsafe fn`. Each `unsafe` block says why it keeps the contract of what
//!   it calls.
//!
//! The server's side of the contract is described in its own `module.c`; a comment beside a fact that decides
//! something names the server it was seen on.

mod acl;
mod alloc;
mod api;
mod args;
mod background;
mod blocking;
mod clock;
mod cluster;
mod commands;
mod ctx;
mod datatype;
mod detached;
mod events;
mod filter;
mod guard;
mod info;
mod key;
mod log;
mod main_thread;
mod module;
mod notify;
mod prefetch;
mod replicate;
mod reply;
mod settings;
mod slot_migration;
mod string;
mod timer;
mod typed_key;

pub use acl::{Caller, rules_allow};
pub use alloc::ServerAlloc;
pub use args::Args;
pub use background::Background;
pub use blocking::{Blocked, Waiting};
pub use clock::TICK_MS;
pub use cluster::Incoming;
pub use commands::{ArgKind, ArgSpec, Command, CommandSpec, KeySpec, Outcome};
pub use ctx::Ctx;
pub use datatype::{Aof, DataType, Defrag, Digest, KeyContext, Loader, Saver, TypeSlot};
pub use events::{Arrival, AsyncLoad, EventLoop, Events};
pub use filter::{ArgumentWatch, Watching};
pub use info::{Info, InfoSection};
pub use key::{Content, Key};
pub use main_thread::MainThread;
pub(crate) use module::export_module;
pub use module::{Load, Module, load};
pub use notify::Class;
pub use prefetch::prefetch;
pub use replicate::{FixedWord, ReplicatedCommand};
pub use settings::{AnySetting, Choice, Setting, SettingValue};
pub use slot_migration::{Moment, SlotMigration, SlotMigrations};
pub use timer::{OneTimer, Timer, timers_running};
pub use typed_key::{Typed, TypedKey};

pub use redis_module::raw::{RedisModuleCtx, RedisModuleString};
