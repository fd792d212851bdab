//! The only room that talks to the server, and the only one with `unsafe`.
//!
//! Everything above works with the safe types of this room: `Ctx` for the call at hand, `Args`, `Key`, `Caller`,
//! `Timer`, and the traits `Command`, `DataType`, `Events` and `Module` that upper rooms implement and the
//! callbacks here are generic over. What every file here promises:
//!
//! - No panic crosses into the server: each callback runs in `guard::run`.
//! - No API function is called before `api::check` has seen that the server has it.
//! - Bytes from a user never meet a C string: names and replies travel with their lengths, and the text of
//!   an error is ours.
//!
//! The server's side of the contract is described in its own `module.c`; where a fact decides something, the
//! comment at that place says which server it was seen on.

#[macro_use]
mod api;
mod acl;
mod alloc;
mod args;
mod background;
mod blocking;
mod cluster;
mod commands;
mod ctx;
mod datatype;
mod events;
mod filter;
mod guard;
mod info;
mod key;
mod main_thread;
mod module;
mod prefetch;
mod replicate;
mod settings;
mod timer;
mod typed_key;

pub use acl::{Caller, rules_allow};
pub use alloc::ServerAlloc;
pub use args::Args;
pub use background::Background;
pub use blocking::{Blocked, Waiting};
pub use cluster::Incoming;
pub use commands::{ArgKind, ArgSpec, Command, CommandSpec, KeySpec, Outcome};
pub use ctx::{Class, Ctx};
pub use datatype::{Aof, DataType, Defrag, Digest, KeyContext, Loader, Saver, TypeSlot};
pub use events::{Arrival, EventLoop, Events};
pub use filter::{ArgumentWatch, Watching};
pub use info::InfoSection;
pub use key::{Content, Key};
pub use main_thread::MainThread;
pub(crate) use module::export_module;
pub use module::{Load, Module, load};
pub use prefetch::prefetch;
pub use replicate::ReplicatedCommand;
pub use settings::Setting;
pub use timer::Timer;
pub use typed_key::{Typed, TypedKey};

pub use redis_module::raw::{RedisModuleCtx, RedisModuleString};
