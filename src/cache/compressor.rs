//! Packs what nobody asks for: SET keeps an answer as it was given, and here it is packed a little later.
//!
//! An entry comes into the queue when it is stored, loaded or unpacked, and again when it leaves L1. When its time has come and
//! it is not in L1, a thread of its own packs the bytes, which it shares. The main thread then puts them in the place of
//! the raw ones, if the entry is still the same: two look-ups of a key for each answer, in small batches between two turns of
//! the event loop. The key does not count as used, and nobody is told: the answer is the same.

use crate::cache::l1::Location;
use crate::cache::names;
use crate::cache::state::CACHE;
use crate::config;
use crate::entry::Entry;
use crate::entry::Response;
use crate::entry::compression::{Compressor, Encoding, Method};
use crate::index::Handle;
use crate::redis::{Background, Content, Ctx, MainThread, Timer};
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

static QUEUE: MainThread<CompressionQueue> = MainThread::new(CompressionQueue::new());

struct CompressionQueue {
    /// First in, first out, so sorted by time.
    queue: VecDeque<Waiting>,
    thread: Option<Background<Job, Job>>,
    /// Whether the thread has a job, and whether a timer is running. With either there is somebody who goes on.
    busy: bool,
    timer: bool,
    /// Databases that have changed places since the thread was given its job.
    swaps: Vec<(i32, i32)>,
    /// How many answers have been packed.
    compressed: u64,
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
    responses: Vec<CompressionItem>,
}

struct CompressionItem {
    location: Location,
    response: Response,
    compressed: Option<(Encoding, Box<[u8]>)>,
}

impl CompressionQueue {
    const fn new() -> Self {
        CompressionQueue {
            queue: VecDeque::new(),
            thread: None,
            busy: false,
            timer: false,
            swaps: Vec::new(),
            compressed: 0,
        }
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
    pub compressed: u64,
    pub waiting: u64,
}

pub fn report() -> Report {
    QUEUE.with(|queue| Report { compressed: queue.compressed, waiting: queue.queue.len() as u64 })
}

fn is_compressible(bytes: usize) -> bool {
    bytes <= LONGEST && bytes as u64 >= config::compression_min_bytes()
}

/// The entry's answer may be packed soon, if it is of a size that is packed.
pub fn enqueue(ctx: &Ctx<'_>, location: Location, bytes: usize) {
    if is_compressible(bytes) {
        enqueue_all(ctx, [location]);
    }
}

/// The same for answers of any size.
fn enqueue_all(ctx: &Ctx<'_>, locations: impl IntoIterator<Item = Location>) {
    if config::compression() == Method::None {
        return;
    }
    let due_s = now_s().saturating_add(DELAY_S);
    let idle = QUEUE.with(|queue| {
        queue.queue.extend(locations.into_iter().map(|(database, handle)| Waiting {
            database,
            due_s,
            handle,
        }));
        let idle = !queue.queue.is_empty() && !queue.busy && !queue.timer;
        queue.timer |= idle;
        idle
    });
    if idle {
        ctx.start_timer::<Due>(i64::from(DELAY_S) * 1000);
    }
}

/// Two databases have changed places, and the entries in the queue with them.
pub fn swapped(first: i32, second: i32) {
    QUEUE.with(|queue| {
        for waiting in &mut queue.queue {
            waiting.database = after_swap(waiting.database, (first, second));
        }
        if queue.busy {
            queue.swaps.push((first, second));
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

/// Queues the entries that have left L1, puts compressed bodies in their entries, and gives the thread more. Call it before
/// the event loop sleeps.
pub fn collect(ctx: &Ctx<'_>) {
    let cooled = CACHE.with(|cache| std::mem::take(&mut cache.cooled));
    if !cooled.is_empty() {
        enqueue_all(ctx, cooled);
    }
    let done = QUEUE.with(|queue| {
        if !queue.busy {
            return None;
        }
        let job = queue.thread.as_ref()?.take_done()?;
        queue.busy = false;
        Some((job, std::mem::take(&mut queue.swaps)))
    });
    let Some((job, swaps)) = done else { return };
    let selected = ctx.database();
    for CompressionItem { location, response, compressed } in job.responses {
        // The thread's share of the raw bytes must go, or they would stay.
        drop(response);
        if let Some((encoding, bytes)) = compressed {
            let (database, handle) = location;
            let database = swaps.iter().fold(database, |database, swap| after_swap(database, *swap));
            put(ctx, (database, handle), encoding, bytes);
        }
    }
    ctx.select(selected);
    go_on(ctx);
}

struct Due;

impl Timer for Due {
    fn fire(ctx: &Ctx<'_>) {
        QUEUE.with(|queue| queue.timer = false);
        go_on(ctx);
    }
}

/// Gives the thread what is due; with nothing due, waits until something is.
fn go_on(ctx: &Ctx<'_>) {
    let job = Job { method: config::compression(), responses: due_responses(ctx) };
    let wait_s = QUEUE.with(|queue| {
        if queue.busy || queue.timer {
            return None;
        }
        if !job.responses.is_empty() {
            if queue.thread.is_none() {
                queue.thread = Background::start("chatcache-pack", work);
            }
            queue.busy = queue.thread.as_ref().is_some_and(|thread| thread.submit(job));
            if !queue.busy {
                // No thread is to be had, or it has ended: a new one next time.
                queue.thread = None;
            }
        }
        let next = queue.queue.front().filter(|_| !queue.busy)?;
        queue.timer = true;
        Some(next.due_s.saturating_sub(now_s()))
    });
    if let Some(wait_s) = wait_s {
        ctx.start_timer::<Due>((i64::from(wait_s) * 1000).max(1));
    }
}

fn work(compressor: &mut Compressor, mut job: Job) -> Job {
    for item in &mut job.responses {
        item.compressed = compressor.compress(job.method, &item.response);
    }
    job
}

/// The next answers whose time has come, and that are still raw and not in L1.
fn due_responses(ctx: &Ctx<'_>) -> Vec<CompressionItem> {
    let started = Instant::now();
    let now_s = now_s();
    let selected = ctx.database();
    let (mut responses, mut bytes) = (Vec::new(), 0);
    while responses.len() < BATCH && bytes < BATCH_BYTES && started.elapsed() < LOOK {
        let next = QUEUE.with(|queue| {
            let due = queue.queue.front().is_some_and(|waiting| waiting.due_s <= now_s);
            if due { queue.pop() } else { None }
        });
        let Some(Waiting { database, handle, .. }) = next else { break };
        let location = (database, handle);
        if CACHE.with(|cache| cache.is_hot(location)) {
            continue;
        }
        let Some(name) = names::name_of(location) else { continue };
        if !ctx.select(database) {
            continue;
        }
        let key = ctx.open_peek(&name);
        if let Content::Value::<Entry>(entry) = key.content()
            && entry.handle() == Some(handle)
            && let Some(response) = entry.raw()
            && is_compressible(response.len())
        {
            bytes += response.len();
            responses.push(CompressionItem { location, response: response.clone(), compressed: None });
        }
    }
    ctx.select(selected);
    responses
}

/// Puts a packed answer in the place of the raw one, if its entry is still there and nobody has asked for it since.
fn put(ctx: &Ctx<'_>, location: Location, encoding: Encoding, bytes: Box<[u8]>) {
    let (database, handle) = location;
    if CACHE.with(|cache| cache.is_hot(location)) {
        return;
    }
    let Some(name) = names::name_of(location) else { return };
    if !ctx.select(database) {
        return;
    }
    let mut key = ctx.open_peek(&name);
    let Some(entry) = key.value_mut::<Entry>() else { return };
    if entry.handle() != Some(handle) || entry.raw().is_none() {
        return;
    }
    let before = entry.size();
    entry.compress(encoding, bytes);
    let after = entry.size();
    CACHE.with(|cache| cache.index(database).resize(handle, before, after));
    QUEUE.with(|queue| queue.compressed += 1);
}

/// Seconds of a clock that never steps back.
fn now_s() -> u32 {
    u32::try_from(BEGIN.elapsed().as_secs()).unwrap_or(u32::MAX)
}
