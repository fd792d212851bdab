//! Packs what nobody asks for: SET keeps an answer as it was given, and here it is packed a little later.
//!
//! An entry comes into the queue when it is stored, loaded or unpacked, and again when it leaves L1. When its time has come and
//! it is not in L1, a thread of its own packs the bytes, which it shares. The main thread then puts them in the place of
//! the raw ones, if the entry is still the same: two look-ups of a key for each answer, in small batches between two turns of
//! the event loop. The key does not count as used, and nobody is told: the answer is the same.

use crate::entry::Answer;
use crate::cache::{self, CACHE};
use crate::config;
use crate::entry::Entry;
use crate::index::Handle;
use crate::cache::l1::Place;
use crate::entry::compression::{Method, Packer, Packing};
use crate::redis::{Background, Ctx, Held, MainThread, Timer};
use std::collections::VecDeque;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// How long an answer stays raw after it came into the queue, in seconds: whoever asks for it next asks soon.
const DELAY_S: u32 = 2;

/// The longest answer that is packed. Who asks for it has it unpacked on the main thread, which takes 3.5 ms a megabyte; and
/// any shard of an L1 of some size has room for it then.
const LONGEST: usize = 4 << 20;

/// How many answers and bytes are packed between two turns of the event loop.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 256 * 1024;

/// How long the main thread looks for them.
const LOOK: Duration = Duration::from_micros(250);

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

static COLD: MainThread<Cold> = MainThread::new(Cold::new());

struct Cold {
    /// First in, first out, so sorted by time.
    queue: VecDeque<Waiting>,
    thread: Option<Background<Job, Job>>,
    /// Whether the thread has a job, and whether a timer is running. With either there is somebody who goes on.
    busy: bool,
    timer: bool,
    /// Databases that have changed places since the thread was given its job.
    swaps: Vec<(i32, i32)>,
    /// How many answers have been packed.
    packed: u64,
}

/// An entry that may be packed.
struct Waiting {
    database: i32,
    due_s: u32,
    handle: Handle,
}

const _: () = assert!(size_of::<Waiting>() == 16);

struct Job {
    method: Method,
    answers: Vec<ToPack>,
}

struct ToPack {
    place: Place,
    answer: Answer,
    packed: Option<(Packing, Box<[u8]>)>,
}

impl Cold {
    const fn new() -> Self {
        Cold { queue: VecDeque::new(), thread: None, busy: false, timer: false, swaps: Vec::new(), packed: 0 }
    }

    /// The first of the queue, which gives back what it no longer needs.
    fn pop(&mut self) -> Option<Waiting> {
        let first = self.queue.pop_front();
        if self.queue.capacity() > 1024 && self.queue.len() < self.queue.capacity() / 8 {
            self.queue.shrink_to(self.queue.capacity() / 4);
        }
        first
    }
}

/// What there is to tell of it.
pub struct Report {
    pub packed: u64,
    pub waiting: u64,
}

pub fn report() -> Report {
    COLD.with(|cold| Report { packed: cold.packed, waiting: cold.queue.len() as u64 })
}

fn may_be_packed(bytes: usize) -> bool {
    bytes <= LONGEST && bytes as u64 >= config::compression_min_bytes()
}

/// The entry's answer may be packed soon, if it is of a size that is packed.
pub fn add(ctx: &Ctx<'_>, place: Place, bytes: usize) {
    if may_be_packed(bytes) {
        add_all(ctx, [place]);
    }
}

/// The same for answers of any size.
pub fn add_all(ctx: &Ctx<'_>, places: impl IntoIterator<Item = Place>) {
    if config::compression() == Method::None {
        return;
    }
    let due_s = now_s().saturating_add(DELAY_S);
    let idle = COLD.with(|cold| {
        cold.queue.extend(places.into_iter().map(|(database, handle)| Waiting { database, due_s, handle }));
        let idle = !cold.queue.is_empty() && !cold.busy && !cold.timer;
        cold.timer |= idle;
        idle
    });
    if idle {
        ctx.start_timer::<Due>(i64::from(DELAY_S) * 1000);
    }
}

/// Two databases have changed places, and the entries in the queue with them.
pub fn swapped(first: i32, second: i32) {
    COLD.with(|cold| {
        for waiting in &mut cold.queue {
            waiting.database = after_swap(waiting.database, (first, second));
        }
        if cold.busy {
            cold.swaps.push((first, second));
        }
    });
}

fn after_swap(database: i32, (first, second): (i32, i32)) -> i32 {
    match database {
        _ if database == first => second,
        _ if database == second => first,
        other => other,
    }
}

/// Puts in place what the thread has packed, and gives it more. For the moment before the event loop sleeps.
pub fn collect(ctx: &Ctx<'_>) {
    let done = COLD.with(|cold| {
        if !cold.busy {
            return None;
        }
        let job = cold.thread.as_ref()?.take_done()?;
        cold.busy = false;
        Some((job, std::mem::take(&mut cold.swaps)))
    });
    let Some((job, swaps)) = done else { return };
    let selected = ctx.database();
    for ToPack { place, answer, packed } in job.answers {
        // The thread's share of the raw bytes must go, or they would stay.
        drop(answer);
        if let Some((packing, bytes)) = packed {
            let (database, handle) = place;
            let database = swaps.iter().fold(database, |database, swap| after_swap(database, *swap));
            put(ctx, (database, handle), packing, bytes);
        }
    }
    ctx.select(selected);
    go_on(ctx);
}

struct Due;

impl Timer for Due {
    fn fire(ctx: &Ctx<'_>) {
        COLD.with(|cold| cold.timer = false);
        go_on(ctx);
    }
}

/// Gives the thread what is due; with nothing due, waits until something is.
fn go_on(ctx: &Ctx<'_>) {
    let job = Job { method: config::compression(), answers: due_answers(ctx) };
    let wait_s = COLD.with(|cold| {
        if cold.busy || cold.timer {
            return None;
        }
        if !job.answers.is_empty() {
            if cold.thread.is_none() {
                cold.thread = Background::start("chatcache-pack", work);
            }
            cold.busy = cold.thread.as_ref().is_some_and(|thread| thread.submit(job));
            if !cold.busy {
                // No thread is to be had, or it has ended: a new one next time.
                cold.thread = None;
            }
        }
        let next = cold.queue.front().filter(|_| !cold.busy)?;
        cold.timer = true;
        Some(next.due_s.saturating_sub(now_s()))
    });
    if let Some(wait_s) = wait_s {
        ctx.start_timer::<Due>((i64::from(wait_s) * 1000).max(1));
    }
}

fn work(packer: &mut Packer, mut job: Job) -> Job {
    for to_pack in &mut job.answers {
        to_pack.packed = packer.pack(job.method, &to_pack.answer);
    }
    job
}

/// The next answers whose time has come, and that are still raw and not in L1.
fn due_answers(ctx: &Ctx<'_>) -> Vec<ToPack> {
    let started = Instant::now();
    let now_s = now_s();
    let selected = ctx.database();
    let (mut answers, mut bytes) = (Vec::new(), 0);
    while answers.len() < BATCH && bytes < BATCH_BYTES && started.elapsed() < LOOK {
        let next = COLD.with(|cold| {
            let due = cold.queue.front().is_some_and(|waiting| waiting.due_s <= now_s);
            if due { cold.pop() } else { None }
        });
        let Some(Waiting { database, handle, .. }) = next else { break };
        let place = (database, handle);
        if CACHE.with(|cache| cache.is_hot(place)) {
            continue;
        }
        let Some(name) = cache::name_of(place) else { continue };
        if !ctx.select(database) {
            continue;
        }
        let key = ctx.open_peek(&name);
        if let Held::Value::<Entry>(entry) = key.held()
            && entry.handle() == Some(handle)
            && let Some(answer) = entry.raw()
            && may_be_packed(answer.len())
        {
            bytes += answer.len();
            answers.push(ToPack { place, answer: answer.clone(), packed: None });
        }
    }
    ctx.select(selected);
    answers
}

/// Puts a packed answer in the place of the raw one, if its entry is still there and nobody has asked for it since.
fn put(ctx: &Ctx<'_>, place: Place, packing: Packing, bytes: Box<[u8]>) {
    let (database, handle) = place;
    if CACHE.with(|cache| cache.is_hot(place)) {
        return;
    }
    let Some(name) = cache::name_of(place) else { return };
    if !ctx.select(database) {
        return;
    }
    let mut key = ctx.open_peek(&name);
    let Some(entry) = key.value_mut::<Entry>() else { return };
    if entry.handle() != Some(handle) || entry.raw().is_none() {
        return;
    }
    let before = entry.size();
    entry.pack(packing, bytes);
    let after = entry.size();
    CACHE.with(|cache| cache.index(database).resize(handle, before, after));
    COLD.with(|cold| cold.packed += 1);
}

/// Seconds of a clock that never steps back.
fn now_s() -> u32 {
    u32::try_from(BEGIN.elapsed().as_secs()).unwrap_or(u32::MAX)
}
