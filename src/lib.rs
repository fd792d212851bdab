//! chatcache: a Redis module that caches the answers of chat and LLM services.
//!
//! This page is the module's face: its commands, its data type, its settings and its events, and the rooms they
//! live in. `docs/dev/architecture.md` is the map.

#![deny(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks)]
// Fuzz targets use of the tests only the models.
#![cfg_attr(fuzzing, allow(dead_code, unused_imports))]

pub mod cache;
pub mod entry;
pub mod index;
pub mod lease;
pub mod request;
pub mod tier;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

mod commands;
mod config;
mod flight;
mod keyspace;
mod report;
mod stats;
mod store;

#[allow(unsafe_code)]
mod redis;

use redis::{AnySetting, Ctx, Info, InfoSection, Load, Module};
use std::ffi::CStr;

// Unit tests and fuzz targets have one that counts.
#[cfg_attr(not(any(test, fuzzing)), global_allocator)]
#[cfg_attr(any(test, fuzzing), allow(dead_code))]
static ALLOCATOR: redis::ServerAlloc = redis::ServerAlloc;

struct Chatcache;

impl Module for Chatcache {
    const NAME: &'static CStr = c"chatcache";
    /// 0.1.0, as MODULE LIST shows it.
    const VERSION: i32 = 100;

    fn settings() -> &'static [&'static AnySetting] {
        config::ALL
    }

    fn register(load: &Load<'_>) -> Result<(), String> {
        load.data_type::<entry::Entry>()?;
        load.events::<keyspace::Keyspace>()?;

        load.command::<commands::Get>()?;
        load.command::<commands::Set>()?;
        load.command::<commands::Delete>()?;
        load.command::<commands::Fetch>()?;
        load.command::<commands::Append>()?;
        load.command::<commands::Commit>()?;
        load.command::<commands::Release>()?;
        load.command::<commands::Invalidate>()?;
        load.command::<commands::SoftInvalidate>()?;
        load.command::<commands::Forget>()?;
        load.command::<commands::Flush>()?;
        load.command::<commands::KeyName>()?;
        load.command::<commands::Inspect>()?;
        load.command::<commands::Personas>()?;
        load.command::<commands::Stats>()?;
        load.command::<commands::Help>()
    }

    fn loaded(ctx: &Ctx<'_>) {
        keyspace::loaded(ctx);
        ctx.log_notice(&format!("version {} is ready: {}", env!("CARGO_PKG_VERSION"), config::summary()));
    }
}

impl Info for Chatcache {
    fn info(section: &mut InfoSection) {
        for (name, value) in report::report().fields() {
            section.field(name, value);
        }
    }
}

redis::export_module!(Chatcache);
