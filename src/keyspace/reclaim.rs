//! Reclaims tombstones: deletes the keys of invalidated entries.
//!
//! An invalidation only marks entries in the index; their keys still hold them. Up to `invalidate-sync-limit` keys are
//! deleted inside the command (`SyncBudget`). A timer deletes the rest in slices, which take some 5 % of the main thread's
//! time while it is busy, and more the longer the event loop sleeps.
//!
//! Nothing is replicated. A replica has run the same command and reclaims by itself, sooner or later than its master. So
//! a command from the master may name a key that is gone there and still holds a tombstone here. While a replica
//! reclaims, it reads the arguments of each command before the command runs, and first deletes a tombstone whose key
//! is named. The server does not show arguments inside a transaction, so there a replica deletes up to 10,000 keys at
//! once. A loading server serves no clients and reclaims all at once: later commands of an AOF may name those keys too.

use crate::cache::{CACHE, names};
use crate::config;
use crate::entry::Entry;
use crate::index::{BatchId, Handle, Invalidated, Size};
use crate::redis::{ArgumentWatch, Content, Ctx, EventLoop, MainThread, OneTimer, Timer, Watching};
use std::time::{Duration, Instant};

/// The share of the main thread's time that reclaiming takes on a busy server, and on an idle one.
const BUSY_SHARE: f64 = 0.05;
const IDLE_SHARE: f64 = 0.5;

/// The time that a slice may take, likewise. A client that sends its command during a slice waits for the end of it.
const BUSY_SLICE: Duration = Duration::from_micros(250);
const IDLE_SLICE: Duration = Duration::from_micros(500);

/// The number of keys deleted between two readings of the clock, and of the bytes in their names: a name of 131 KB takes as long
/// as some hundred short ones.
const KEYS_A_LOOK: u32 = 16;
const NAME_BYTES_A_LOOK: usize = 16 * 1024;

/// The longest argument that may be an entry's key, in bytes: two names of 65,535 bytes, percent-encoded, and some.
const LONGEST_KEY: usize = 400_000;

/// The bytes in the names of the keys that one command may delete before it returns.
const NAME_BYTES_A_COMMAND: usize = 1024 * 1024;

/// The number of small personas, users or tiers that one command may reclaim inside the command.
const SMALL_ONES_A_COMMAND: u64 = 10;

/// The number of responses that a replica deletes at once inside its master's transactions: some 20 ms of its time.
const TRANSACTION_LIMIT: u64 = 10_000;

static RECLAIMER: MainThread<Reclaimer> = MainThread::new(Reclaimer { pace: None, watching: None });

static NEXT_SLICE: OneTimer<Slice> = OneTimer::new();

struct Reclaimer {
    /// The pace of the slices, or None if no tombstones are left.
    pace: Option<Pace>,
    /// The watch for named keys, on a replica that reclaims.
    watching: Option<Watching>,
}

/// The event loop's sleep since the last slice.
struct Pace {
    slice_ended: Instant,
    /// The time at which the loop went to sleep, while it sleeps.
    asleep_since: Option<Instant>,
    slept: Duration,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Pace { slice_ended: now, asleep_since: None, slept: Duration::ZERO }
    }

    /// Returns the part of the time since the last slice for which the loop slept, from 0 to 1.
    fn idle(&self, now: Instant) -> f64 {
        let passed = now.duration_since(self.slice_ended).as_secs_f64();
        if passed > 0.0 { (self.slept.as_secs_f64() / passed).min(1.0) } else { 0.0 }
    }
}

/// Returns the time that the next slice may take, given the idle part of the time.
fn slice_length(idle: f64) -> Duration {
    BUSY_SLICE + (IDLE_SLICE - BUSY_SLICE).mul_f64(idle)
}

/// Returns the pause after a slice that took this long, in milliseconds.
fn pause_ms(took: Duration, idle: f64) -> i64 {
    let share = BUSY_SHARE + (IDLE_SHARE - BUSY_SHARE) * idle;
    let pause = took.as_secs_f64() * (1.0 / share - 1.0);
    (pause * 1000.0).ceil().clamp(1.0, 1000.0) as i64
}

/// The keys that one command may delete before it returns.
pub struct SyncBudget {
    /// The number of responses up to which a persona, user or tier is small.
    small: u64,
    /// The number of keys that the command may still delete.
    keys: u64,
    /// The bytes in their names.
    name_bytes: usize,
}

impl SyncBudget {
    /// Returns the budget of a command that begins.
    pub fn of_command(ctx: &Ctx<'_>) -> Self {
        if ctx.is_loading() {
            return SyncBudget { small: u64::MAX, keys: u64::MAX, name_bytes: usize::MAX };
        }
        // In a transaction or script with a key, Redis 7.4 and Valkey 8 look for every opened key in the slot of that
        // key: they would not find the keys of other slots.
        let of_one_slot = ctx.is_cluster() && (ctx.is_in_transaction() || ctx.is_in_script());
        if of_one_slot && !ctx.is_replayed() {
            return SyncBudget { small: 0, keys: 0, name_bytes: 0 };
        }
        let limit = config::INVALIDATE_SYNC_LIMIT.get();
        let (small, name_bytes) = match ctx.is_replayed() && ctx.is_in_transaction() {
            true => (limit.max(TRANSACTION_LIMIT), usize::MAX),
            false => (limit, NAME_BYTES_A_COMMAND),
        };
        SyncBudget { small, keys: small.saturating_mul(SMALL_ONES_A_COMMAND), name_bytes }
    }

    /// Reclaims the entries that an invalidation in the caller's database has marked: now if they are few, else in
    /// slices.
    pub fn reclaim(&mut self, ctx: &Ctx<'_>, invalidated: &Invalidated) {
        let Some(batch) = invalidated.batch else { return };
        let database = ctx.database();
        // A batch may hold more tombstones than its responses, from an earlier invalidation of another kind.
        let keys = if invalidated.responses <= self.small { self.small.min(self.keys) } else { 0 };
        for _ in 0..keys {
            if self.name_bytes == 0 {
                break;
            }
            let Some(name_bytes) = delete_next(ctx, database, Some(batch)) else { return };
            self.keys -= 1;
            self.name_bytes = self.name_bytes.saturating_sub(name_bytes);
        }
        start_slices(ctx);
    }
}

/// Deletes the keys of all tombstones, on a server that loads its data.
pub fn reclaim_all(ctx: &Ctx<'_>) {
    let selected = ctx.database();
    while delete_some(ctx) {}
    ctx.select(selected);
}

/// Starts the timer of the slices, if it does not run.
pub fn start_slices(ctx: &Ctx<'_>) {
    let sleeping = RECLAIMER.with(|reclaimer| {
        let sleeping = reclaimer.pace.is_none();
        if sleeping {
            reclaimer.pace = Some(Pace::new(Instant::now()));
        }
        sleeping
    });
    if sleeping {
        NEXT_SLICE.set_no_later(ctx, Instant::now());
    }
    watch_or_not(ctx, Work::Left);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Left,
    Done,
}

/// Watches arguments if this server is a replica with tombstones left, and stops the watch otherwise.
fn watch_or_not(ctx: &Ctx<'_>, work: Work) {
    let wanted = work == Work::Left && ctx.is_replica();
    let watching = RECLAIMER.with(|reclaimer| reclaimer.watching.take());
    let watching = match watching {
        Some(watching) if !wanted => {
            ctx.stop_watching_arguments(watching);
            None
        }
        None if wanted => ctx.watch_arguments::<Slice>(),
        unchanged => unchanged,
    };
    RECLAIMER.with(|reclaimer| reclaimer.watching = watching);
}

impl ArgumentWatch for Slice {
    fn argument(ctx: &Ctx<'_>, argument: &[u8]) {
        if argument.len() > LONGEST_KEY {
            return;
        }
        // The server does not tell the command's database. Tombstones may be deleted in all of them.
        for database in CACHE.with(|cache| cache.databases_to_reclaim()) {
            if ctx.select(database) {
                delete_if_tombstone(ctx, database, argument);
            }
        }
    }
}

/// Deletes a key if it holds a tombstone.
fn delete_if_tombstone(ctx: &Ctx<'_>, database: i32, name: &[u8]) {
    let mut key = ctx.open_write(name);
    let Content::Value::<Entry>(entry) = key.content() else { return };
    let Some(handle) = entry.handle() else { return };
    let is_tombstone = CACHE.with(|cache| {
        cache.known_index(database).is_some_and(|index| index.contains(handle) && !index.is_live(handle))
    });
    if is_tombstone {
        key.delete();
        ctx.signal_modified(name);
        CACHE.with(|cache| cache.counters.reclaimed += 1);
    }
}

struct Slice;

/// Measures the sleep of the event loop while tombstones are left.
pub fn event_loop(event: EventLoop) {
    RECLAIMER.with(|reclaimer| {
        let Some(pace) = &mut reclaimer.pace else { return };
        match event {
            EventLoop::Sleeps => pace.asleep_since = Some(Instant::now()),
            EventLoop::Wakes => {
                pace.slept += pace.asleep_since.take().map_or(Duration::ZERO, |since| since.elapsed());
            }
        }
    });
}

impl Timer for Slice {
    fn fire(ctx: &Ctx<'_>) {
        let started = Instant::now();
        let idle = RECLAIMER.with(|reclaimer| reclaimer.pace.as_ref().map_or(0.0, |pace| pace.idle(started)));
        let length = slice_length(idle);
        let mut more = true;
        while more && started.elapsed() < length {
            more = delete_some(ctx);
        }
        let now = Instant::now();
        RECLAIMER.with(|reclaimer| reclaimer.pace = more.then(|| Pace::new(now)));
        if more {
            let pause_ms = pause_ms(now.duration_since(started), idle).unsigned_abs();
            NEXT_SLICE.set_no_later(ctx, now + Duration::from_millis(pause_ms));
            watch_or_not(ctx, Work::Left);
        } else {
            watch_or_not(ctx, Work::Done);
        }
    }
}

/// Deletes some tombstones of one database. Returns false if no database has any.
fn delete_some(ctx: &Ctx<'_>) -> bool {
    let Some(&database) = CACHE.with(|cache| cache.databases_to_reclaim()).first() else { return false };
    if !ctx.select(database) {
        return false;
    }
    let mut name_bytes = 0;
    for _ in 0..KEYS_A_LOOK {
        let Some(bytes) = delete_next(ctx, database, None) else { break };
        name_bytes += bytes;
        if name_bytes >= NAME_BYTES_A_LOOK {
            break;
        }
    }
    true
}

/// Deletes the next tombstone, of this batch or else of the oldest. Returns the length of its key's name, or None if there is
/// none.
fn delete_next(ctx: &Ctx<'_>, database: i32, batch: Option<BatchId>) -> Option<usize> {
    let next = CACHE.with(|cache| Some(cache.known_index(database)?.next_tombstone(batch)?.handle));
    let handle = next?;
    let name = names::name_of((database, handle));
    if let Some(name) = &name {
        delete(ctx, name, handle);
    }
    CACHE.with(|cache| {
        cache.counters.reclaimed += 1;
        // `unlinked` has done this already if the key existed.
        cache.index(database).unlink(handle, Size::default());
    });
    Some(name.map_or(0, |name| name.len()))
}

/// Deletes a key if it still holds the entry with this handle.
fn delete(ctx: &Ctx<'_>, name: &[u8], handle: Handle) {
    let mut key = ctx.open_write(name);
    match key.content::<Entry>() {
        Content::Value(entry) if entry.handle() == Some(handle) => {
            key.delete();
            ctx.signal_modified(name);
        }
        // An expired key cannot be opened on a replica. The master may never send a DEL for it, as it may have
        // reclaimed it before it expired.
        Content::Missing if ctx.is_replica() => {
            drop(key);
            ctx.delete_by_name(name);
        }
        Content::Missing | Content::OtherType | Content::Value(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_server_gives_a_twentieth_of_its_time_and_an_idle_one_a_third() {
        let share = |idle: f64| {
            let slice = slice_length(idle);
            let pause = Duration::from_millis(pause_ms(slice, idle).unsigned_abs());
            slice.as_secs_f64() / (slice + pause).as_secs_f64()
        };
        assert!(share(0.0) <= BUSY_SHARE, "{}", share(0.0));
        assert!(share(0.0) > BUSY_SHARE / 2.0, "{}", share(0.0));
        assert!((0.3..=0.5).contains(&share(1.0)), "{}", share(1.0));
    }

    #[test]
    fn a_slice_takes_250_to_500_us() {
        for percent in 0..=100 {
            let length = slice_length(f64::from(percent) / 100.0).as_micros();
            assert!((250..=500).contains(&length), "{length} us at {percent} %");
        }
    }
}
