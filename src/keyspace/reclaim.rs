//! Gives back what a drop has made unreachable.
//!
//! A drop marks; its keys still stand in the keyspace. Small batches are deleted at once, inside the command.
//! Large ones are deleted by a timer in slices: at most some 5 % of the main thread's time while others use it,
//! and more the longer the event loop sleeps.
//!
//! Nothing is replicated: a replica has had the same command and reclaims for itself, sooner or later than its
//! master. So a command from the master may name a key that is gone there and still stands here. While a replica
//! reclaims, it looks at the arguments of commands before they run, and a dropped key that one names goes first.
//! Inside a transaction there is no such look; there a replica deletes at once what is not too much. A server that
//! loads its data has nobody waiting and deletes all at once: what follows in an AOF may name those keys too.

use crate::cache::{CACHE, names};
use crate::config;
use crate::entry::Entry;
use crate::index::{BatchId, Handle, Invalidated, Size};
use crate::redis::{ArgumentWatch, Content, Ctx, EventLoop, MainThread, OneTimer, Timer, Watching};
use std::time::{Duration, Instant};

/// The share of the main thread that reclaiming takes while the rest of it is in use, and while none is.
const BUSY_SHARE: f64 = 0.05;
const IDLE_SHARE: f64 = 0.5;

/// How long a slice may take, likewise. A client that sends its command during a slice waits for the end of it.
const BUSY_SLICE: Duration = Duration::from_micros(250);
const IDLE_SLICE: Duration = Duration::from_micros(500);

/// How many keys are deleted between two looks at the clock.
const KEYS_A_LOOK: u32 = 16;

/// Longer arguments are no key of ours: two names of 65,535 bytes, percent-encoded, and some.
const LONGEST_KEY: usize = 400_000;

/// How many small personas, users or tiers one command deletes at once.
const SMALL_ONES_A_COMMAND: u64 = 10;

/// Up to how many answers a replica deletes at once inside its master's transactions: some 20 ms of its time.
const TRANSACTION_LIMIT: u64 = 10_000;

static RECLAIMER: MainThread<Reclaimer> = MainThread::new(Reclaimer { pace: None, watching: None });

static NEXT_SLICE: OneTimer<Slice> = OneTimer::new();

struct Reclaimer {
    /// None while there is nothing to reclaim.
    pace: Option<Pace>,
    /// Some on a replica that reclaims.
    watching: Option<Watching>,
}

/// What the event loop did since the last slice.
struct Pace {
    slice_ended: Instant,
    /// When the loop went to sleep, while it sleeps.
    asleep_since: Option<Instant>,
    slept: Duration,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Pace { slice_ended: now, asleep_since: None, slept: Duration::ZERO }
    }

    /// How much of the time since the last slice the loop had nothing to do, from 0 to 1.
    fn idle(&self, now: Instant) -> f64 {
        let passed = now.duration_since(self.slice_ended).as_secs_f64();
        if passed > 0.0 { (self.slept.as_secs_f64() / passed).min(1.0) } else { 0.0 }
    }
}

/// How long the next slice may take where the loop was idle for this part of the time.
fn slice_length(idle: f64) -> Duration {
    BUSY_SLICE + (IDLE_SLICE - BUSY_SLICE).mul_f64(idle)
}

/// How many milliseconds to leave to others after a slice that took so long.
fn pause_ms(took: Duration, idle: f64) -> i64 {
    let share = BUSY_SHARE + (IDLE_SHARE - BUSY_SHARE) * idle;
    let pause = took.as_secs_f64() * (1.0 / share - 1.0);
    (pause * 1000.0).ceil().clamp(1.0, 1000.0) as i64
}

/// What one command may delete at once, keys and all.
pub struct AtOnce {
    /// Up to how many answers a persona, user or tier is small.
    small: u64,
    /// How many keys the command may still delete.
    keys: u64,
}

impl AtOnce {
    pub fn for_command(ctx: &Ctx<'_>) -> Self {
        if ctx.is_loading() {
            return AtOnce { small: u64::MAX, keys: u64::MAX };
        }
        // Where a transaction or a script has a key, later servers take its slot for that of every key that is opened
        // inside (Redis 7.4, Valkey 8): those of other slots would not be found.
        let of_one_slot = ctx.is_cluster() && (ctx.is_in_transaction() || ctx.is_in_script());
        if of_one_slot && !ctx.is_replayed() {
            return AtOnce { small: 0, keys: 0 };
        }
        let limit = config::INVALIDATE_SYNC_LIMIT.get();
        let small = match ctx.is_replayed() && ctx.is_in_transaction() {
            true => limit.max(TRANSACTION_LIMIT),
            false => limit,
        };
        AtOnce { small, keys: small.saturating_mul(SMALL_ONES_A_COMMAND) }
    }

    /// Reclaims what a drop in the caller's database has marked: at once where it is little, else in slices.
    pub fn reclaim(&mut self, ctx: &Ctx<'_>, dropped: &Invalidated) {
        let Some(batch) = dropped.batch else { return };
        let database = ctx.database();
        // A batch may bring more than its answers: what an earlier drop of another kind has left in it.
        let keys = if dropped.responses <= self.small { self.small.min(self.keys) } else { 0 };
        for _ in 0..keys {
            if !delete_next(ctx, database, Some(batch)) {
                return;
            }
            self.keys -= 1;
        }
        wake(ctx);
    }
}

/// Deletes all that is to be reclaimed. For a server that loads its data.
pub fn at_once(ctx: &Ctx<'_>) {
    let selected = ctx.database();
    while delete_some(ctx) {}
    ctx.select(selected);
}

/// Starts the timer unless it runs.
pub fn wake(ctx: &Ctx<'_>) {
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

/// Watches arguments where this is a replica with work left, and nowhere else.
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
        // Nothing tells which database the command is for; what is dropped may go in any.
        for database in CACHE.with(|cache| cache.databases_to_reclaim()) {
            if ctx.select(database) {
                delete_if_dropped(ctx, database, argument);
            }
        }
    }
}

/// Deletes a key if it holds a dropped entry.
fn delete_if_dropped(ctx: &Ctx<'_>, database: i32, name: &[u8]) {
    let mut key = ctx.open_write(name);
    let Content::Value::<Entry>(entry) = key.content() else { return };
    let Some(handle) = entry.handle() else { return };
    let dropped = CACHE.with(|cache| {
        cache.known_index(database).is_some_and(|index| index.contains(handle) && !index.is_live(handle))
    });
    if dropped {
        key.delete();
        ctx.signal_modified(name);
        CACHE.with(|cache| cache.counters.reclaimed += 1);
    }
}

struct Slice;

/// Measures how long the event loop sleeps, while there is something to reclaim.
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

/// Deletes a few keys of whichever database has some to delete; false where none has.
fn delete_some(ctx: &Ctx<'_>) -> bool {
    let Some(&database) = CACHE.with(|cache| cache.databases_to_reclaim()).first() else { return false };
    if !ctx.select(database) {
        return false;
    }
    for _ in 0..KEYS_A_LOOK {
        if !delete_next(ctx, database, None) {
            break;
        }
    }
    true
}

/// Deletes the key of the next dropped entry, of one batch or of the oldest; false where there is none.
fn delete_next(ctx: &Ctx<'_>, database: i32, batch: Option<BatchId>) -> bool {
    let next = CACHE.with(|cache| Some(cache.known_index(database)?.next_tombstone(batch)?.handle));
    let Some(handle) = next else { return false };
    if let Some(name) = names::name_of((database, handle)) {
        delete(ctx, &name, handle);
    }
    CACHE.with(|cache| {
        cache.counters.reclaimed += 1;
        // The key's own `unlinked` has done this already, unless the key was not there.
        cache.index(database).unlink(handle, Size::default());
    });
    true
}

/// Deletes a key if it still holds the entry with this handle.
fn delete(ctx: &Ctx<'_>, name: &[u8], handle: Handle) {
    let mut key = ctx.open_write(name);
    match key.content::<Entry>() {
        Content::Value(entry) if entry.handle() == Some(handle) => {
            key.delete();
            ctx.signal_modified(name);
        }
        // Expired on a replica: it cannot be opened, and the master, which has perhaps reclaimed it before it
        // expired, may never send a DEL for it.
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
