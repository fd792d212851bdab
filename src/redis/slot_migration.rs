//! Valkey's atomic slot migration (CLUSTER MIGRATESLOTS, since 9.0).
//!
//! The source sends a snapshot of the slots' keys as AOF commands, then each command about them. The target has the keys
//! in its keyspace from the first one on, and serves them when the source has handed the slots over. A migration that
//! fails deletes them, each by way of `DataType::unlinked`, before the event tells of its end (cluster_migrateslots.c of
//! 9.1).

use crate::redis::ctx::Ctx;
use crate::redis::guard;
use redis_module::raw::{RedisModuleCtx, RedisModuleEvent};
use std::ops::RangeInclusive;
use std::os::raw::{c_int, c_void};
use std::slice;

/// The module option by which a module says that it follows these events. Without it the server refuses all migrations.
pub(super) const HANDLE_ATOMIC_SLOT_MIGRATION: c_int = 1 << 5;

/// The number of the event.
pub(super) const EVENT: u64 = 19;

/// The handler of slot migrations.
pub trait SlotMigrations {
    /// A migration begins or has ended, on this node or on the master that this node replicates.
    fn slots_move(ctx: &Ctx<'_>, migration: SlotMigration);
}

/// A moment of a migration.
pub struct SlotMigration {
    /// Its name, the same on both nodes.
    pub name: [u8; NAME_BYTES],
    /// Its slots.
    pub slots: Vec<RangeInclusive<u16>>,
    /// The moment.
    pub moment: Moment,
}

/// See `SlotMigration`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Keys of the slots are about to arrive.
    ImportStarted,
    /// Keys of the slots are about to be sent.
    ExportStarted,
    /// The migration has succeeded or failed.
    Ended,
}

const NAME_BYTES: usize = 40;

/// The event's data, as Valkey 9.1 lays it out.
#[repr(C)]
struct Info {
    version: u64,
    name: [u8; NAME_BYTES],
    terminator: u8,
    ranges: *const Range,
    range_count: u32,
}

#[repr(C)]
struct Range {
    first: c_int,
    last: c_int,
}

/// # Safety
/// Only the server may call this, for the event it is subscribed to.
pub(super) unsafe extern "C" fn moved<E: SlotMigrations>(
    ctx: *mut RedisModuleCtx,
    _: RedisModuleEvent,
    subevent: u64,
    data: *mut c_void,
) {
    guard::run("a slot migration event", (), || {
        // SAFETY: the data of this event is this struct, valid during the callback.
        let Some(info) = (unsafe { data.cast::<Info>().as_ref() }) else { return };
        let ranges = match info.ranges.is_null() {
            true => &[][..],
            // SAFETY: the server gives that many ranges.
            false => unsafe { slice::from_raw_parts(info.ranges, info.range_count as usize) },
        };
        let slot = |slot: c_int| u16::try_from(slot).unwrap_or_default();
        let moment = match subevent {
            0 => Moment::ImportStarted,
            1 => Moment::ExportStarted,
            _ => Moment::Ended,
        };
        let slots = ranges.iter().map(|range| slot(range.first)..=slot(range.last)).collect();
        // SAFETY: the context is this callback's.
        E::slots_move(&unsafe { Ctx::new(ctx) }, SlotMigration { name: info.name, slots, moment });
    });
}
