//! chatcache: a Redis module that caches the responses of chat and LLM services.
//!
//! This page is the module's face: `Chatcache` lists its settings, data type, events and commands, each with the room that
//! holds it. `docs/dev/architecture.md` describes the rooms and their layers.

#![deny(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks)]
// Fuzz targets use the models of the tests, and no other part of them.
#![cfg_attr(fuzzing, allow(dead_code, unused_imports))]

mod commands;
mod config;
mod flight;
mod keyspace;
mod lifetime;
mod report;
mod stats;
mod store;

// Public for tests, benches and fuzz targets.
pub mod cache;
pub mod entry;
pub mod index;
pub mod lease;
pub mod request;
pub mod sharded_table;
pub mod tier;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

#[allow(unsafe_code)]
mod redis;

use redis::{AnySetting, Ctx, Info, InfoSection, Load, Module};
use std::ffi::CStr;

// Unit tests and fuzz targets have an allocator that counts.
#[cfg_attr(not(any(test, fuzzing)), global_allocator)]
#[cfg_attr(any(test, fuzzing), allow(dead_code))]
static ALLOCATOR: redis::ServerAlloc = redis::ServerAlloc;

struct Chatcache;

impl Module for Chatcache {
    const NAME: &'static CStr = c"chatcache";
    /// 0.1.0, as MODULE LIST shows it.
    const VERSION: i32 = 100;

    /// The settings: `config.rs`.
    fn settings() -> &'static [&'static AnySetting] {
        config::ALL
    }

    fn register(load: &Load<'_>) -> Result<(), String> {
        // The data type: its value in `entry/`, its callbacks in `keyspace/value_type.rs`.
        load.data_type::<entry::Entry>()?;
        // Changes to keys by other commands, flushes, SWAPDB, the event loop: `keyspace/events.rs`.
        load.events::<keyspace::Keyspace>()?;

        // Reads and writes of one response: `commands/get.rs`, `set.rs`, `del.rs`.
        load.command::<commands::Get>()?;
        load.command::<commands::Set>()?;
        load.command::<commands::Del>()?;
        // Single flight: `commands/fetch.rs`, over `flight/` and `lease/`.
        load.command::<commands::Fetch>()?;
        load.command::<commands::Append>()?;
        load.command::<commands::Commit>()?;
        load.command::<commands::Release>()?;
        // Many responses at once: `commands/invalidate.rs`, `forget.rs`, `flush.rs`, over `index/` and
        // `keyspace/reclaim.rs`.
        load.command::<commands::Invalidate>()?;
        load.command::<commands::SoftInvalidate>()?;
        load.command::<commands::Forget>()?;
        load.command::<commands::Flush>()?;
        // Facts: `commands/key.rs`, `inspect.rs`, `personas.rs`, `stats.rs`, `help.rs`.
        load.command::<commands::Key>()?;
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

/// The module's section of INFO: `report.rs`.
impl Info for Chatcache {
    fn info(section: &mut InfoSection) {
        for (name, value) in report::report().fields() {
            section.field(name, value);
        }
    }
}

redis::export_module!(Chatcache);
