//! The compressor: compresses cold entries on a thread of its own, a little after they were stored.
//!
//! SET stores a response raw. Two seconds later, if the entry is not hot, the thread compresses the bytes, which it shares.
//! The main thread then swaps the bodies of the entries that are still the same: two lookups of a key for each response, in
//! small batches between two turns of the event loop. The key does not count as used, and the server is not told, as the
//! response is the same. An entry that leaves L1 is compressed likewise, without the delay.
//!
//! **Bounds**: an entry joins the queue of stored entries once, with the handle that it was linked under. Each new
//! place clears out two of entries that are gone where most are, as after many SETs over one key. So the queue is at most some
//! three times as long as the index. Entries that have left L1 have a queue of their own, with each entry once: it is never longer
//! than the index, and stored entries do not wait behind it.

use crate::cache::location::{ByHandle, Location, after_swap};
use crate::cache::names;
use crate::cache::state::{CACHE, Cache};
use crate::config;
use crate::entry::compression::{Compressor, Encoding, Method};
use crate::entry::{Entry, Response};
use crate::index::{Handle, Index};
use crate::redis::{Background, Content, Ctx, MainThread, OneTimer, Timer};
use crate::sharded_table::{ShardedTable, Slot, bits};
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Seconds before a stored entry is compressed. A response that is requested again is mostly requested soon.
const DELAY_S: u32 = 2;

/// The longest response that is compressed, in bytes. The main thread decompresses it for each reader, at 3.5 ms a megabyte,
/// and any shard of an L1 of some size has space for it.
const LONGEST: usize = 4 << 20;

/// The responses and bytes that the thread is given at once.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 256 * 1024;

/// The length to which the queue of stored entries may grow whatever the number of entries.
const SPARE: u64 = 1024;

/// The entries that have left L1 that are queued in one turn of the event loop.
const COOLED_AT_ONCE: usize = 2000;

/// The places of the queue that are looked at when it is cleared out.
const CLEARED_AT_ONCE: usize = 128;

/// The time for which the main thread looks for them.
const LOOK: Duration = Duration::from_micros(250);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

static NEXT_DUE: OneTimer<Due> = OneTimer::new();

static COMPRESSOR: MainThread<State> = MainThread::new(State::new());

struct State {
    queue: Queue,
    thread: Option<Background<Job, Job>>,
    activity: Activity,
    /// Databases that were swapped since the thread was given its job.
    swaps: Vec<(i32, i32)>,
    /// Responses compressed so far.
    compressed: u64,
}

/// The reason for which the compressor will go on by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// Nothing is queued.
    Idle,
    /// A timer runs until an entry is due.
    Timer,
    /// The thread has a job.
    Thread,
}

impl State {
    const fn new() -> Self {
        State {
            queue: Queue { stored: VecDeque::new(), cooled: VecDeque::new(), in_cooled: None },
            thread: None,
            activity: Activity::Idle,
            swaps: Vec::new(),
            compressed: 0,
        }
    }
}

/// The entries to compress.
struct Queue {
    /// Stored entries, and the second in which each is due. First in, first out, so sorted by time.
    stored: VecDeque<(u32, Location)>,
    /// Entries that have left L1, due at once.
    cooled: VecDeque<Location>,
    /// The handles of `cooled`, or None before the first. Two databases hardly ever have the same handle; an entry that finds
    /// another's there is not compressed this time.
    in_cooled: Option<Handles>,
}

/// A set of handles, of which no growth stalls the event loop.
struct Handles {
    slots: ShardedTable<HandleSlot>,
    hasher: ByHandle,
}

struct HandleSlot {
    bits: u32,
    handle: Handle,
}

impl Slot for HandleSlot {
    fn bits(&self) -> u32 {
        self.bits
    }
}

impl Handles {
    fn new() -> Handles {
        Handles { slots: ShardedTable::new(), hasher: ByHandle::new() }
    }

    /// Returns false if the handle is there already.
    fn insert(&mut self, handle: Handle) -> bool {
        let hash = self.hasher.hash_one(handle);
        let is_new = self.slots.find(hash, |slot| slot.handle == handle).is_none();
        if is_new {
            self.slots.insert(hash, HandleSlot { bits: bits(hash), handle });
        }
        is_new
    }

    fn remove(&mut self, handle: Handle) {
        self.slots.remove(self.hasher.hash_one(handle), |slot| slot.handle == handle);
    }
}

/// The part of the queue that an entry joins.
#[derive(Clone, Copy)]
enum Since {
    Stored,
    Cooled,
}

impl Queue {
    fn push(&mut self, location: Location, since: Since) {
        match since {
            Since::Stored => self.stored.push_back((now_s().saturating_add(DELAY_S), location)),
            Since::Cooled => {
                if self.in_cooled.get_or_insert_with(Handles::new).insert(location.1) {
                    self.cooled.push_back(location);
                }
            }
        }
    }

    /// Drops the places of stored entries that are gone if the queue is longer than twice their number: at most 128 at every
    /// 64th entry, since looks into the index one after the other take a quarter of the time. Entries that are still there go
    /// to the end: they wait up to two seconds longer. `entries` counts those of all databases.
    fn clear_out(&mut self, entries: impl FnOnce() -> u64, is_known: impl Fn(Location) -> bool) {
        if !self.stored.len().is_multiple_of(CLEARED_AT_ONCE / 2) {
            return;
        }
        let most = entries().saturating_mul(2) + SPARE;
        for _ in 0..CLEARED_AT_ONCE {
            if self.stored.len() as u64 <= most {
                return;
            }
            if let Some((due_s, location)) = self.stored.pop_front()
                && is_known(location)
            {
                self.stored.push_back((due_s, location));
            }
        }
    }

    /// Takes out the next entry that is due.
    fn pop(&mut self, now_s: u32) -> Option<Location> {
        let is_due = self.stored.front().is_some_and(|(due_s, _)| *due_s <= now_s);
        let location = match is_due {
            true => self.stored.pop_front().map(|(_, location)| location)?,
            false => {
                let location = self.cooled.pop_front()?;
                self.in_cooled.iter_mut().for_each(|queued| queued.remove(location.1));
                location
            }
        };
        self.give_back_memory();
        Some(location)
    }

    /// Seconds until an entry is due, or None if the queue is empty.
    fn due_in_s(&self, now_s: u32) -> Option<u32> {
        let stored = self.stored.front().map(|(due_s, _)| due_s.saturating_sub(now_s));
        let cooled = self.cooled.front().map(|_| 0);
        stored.into_iter().chain(cooled).min()
    }

    fn len(&self) -> usize {
        self.stored.len() + self.cooled.len()
    }

    fn swap(&mut self, swap: (i32, i32)) {
        let all = self.stored.iter_mut().map(|(_, location)| location).chain(&mut self.cooled);
        all.for_each(|(database, _)| *database = after_swap(*database, swap));
    }

    /// Frees memory that a queue eight times as long needed.
    fn give_back_memory(&mut self) {
        fn shrinks(len: usize, capacity: usize) -> bool {
            capacity > 1024 && len < capacity / 8
        }
        if shrinks(self.stored.len(), self.stored.capacity()) {
            self.stored.shrink_to(self.stored.capacity() / 4);
        }
        if shrinks(self.cooled.len(), self.cooled.capacity()) {
            self.cooled.shrink_to(self.cooled.capacity() / 4);
        }
    }
}

struct Job {
    method: Method,
    items: Vec<Item>,
}

struct Item {
    location: Location,
    response: Response,
    compressed: Option<(Encoding, Box<[u8]>)>,
}

/// The compressor's counters.
pub struct Report {
    /// Responses compressed so far.
    pub compressed: u64,
    /// Entries in the queue.
    pub waiting: u64,
}

/// Returns the compressor's counters.
pub fn report() -> Report {
    let cooled = CACHE.with(|cache| cache.cooled.len());
    COMPRESSOR
        .with(|state| Report { compressed: state.compressed, waiting: (cooled + state.queue.len()) as u64 })
}

fn is_compressible(bytes: usize) -> bool {
    bytes <= LONGEST && bytes as u64 >= config::COMPRESSION_MIN_BYTES.get()
}

/// Queues an entry that was stored raw or has arrived raw, if its response of `bytes` bytes is of a length to compress.
pub fn enqueue(ctx: &Ctx<'_>, location: Location, bytes: usize) {
    if is_compressible(bytes) {
        enqueue_all(ctx, [location], Since::Stored);
    }
}

fn enqueue_all(ctx: &Ctx<'_>, locations: impl IntoIterator<Item = Location>, since: Since) {
    if config::COMPRESSION.get() == Method::None {
        return;
    }
    let was_idle = COMPRESSOR.with(|state| {
        for location in locations {
            state.queue.push(location, since);
            // One that has left L1 makes the queue of stored entries no longer.
            if let Since::Stored = since {
                CACHE.with(|cache| {
                    let entries = || cache.indexes().map(Index::nodes).sum();
                    state.queue.clear_out(entries, |location| cache.knows(location));
                });
            }
        }
        state.activity == Activity::Idle
    });
    if was_idle {
        wait(ctx);
    }
}

/// Starts a timer for the next entry that is due, if the compressor is idle.
fn wait(ctx: &Ctx<'_>) {
    let due_in_s = COMPRESSOR.with(|state| {
        let due_in_s = state.queue.due_in_s(now_s()).filter(|_| state.activity == Activity::Idle)?;
        state.activity = Activity::Timer;
        Some(due_in_s)
    });
    if let Some(due_in_s) = due_in_s {
        NEXT_DUE.set_no_later(ctx, Instant::now() + Duration::from_secs(due_in_s.into()));
    }
}

/// Swaps two databases in the queue: the server has swapped their contents.
pub fn swapped(first: i32, second: i32) {
    // The queue has no entries of databases without any.
    let is_empty =
        |cache: &Cache, database| cache.known_index(database).is_none_or(|index| index.nodes() == 0);
    if CACHE.with(|cache| is_empty(cache, first) && is_empty(cache, second)) {
        return;
    }
    COMPRESSOR.with(|state| {
        state.queue.swap((first, second));
        if state.activity == Activity::Thread {
            state.swaps.push((first, second));
        }
    });
}

/// Queues the entries that have left L1, puts compressed bodies in their entries, and gives the thread more. Call it before
/// the event loop sleeps.
pub fn collect(ctx: &Ctx<'_>) {
    let cooled =
        CACHE.with(|cache| cache.cooled.split_off(cache.cooled.len().saturating_sub(COOLED_AT_ONCE)));
    if !cooled.is_empty() {
        enqueue_all(ctx, cooled, Since::Cooled);
    }
    let done = COMPRESSOR.with(|state| {
        if state.activity != Activity::Thread {
            return None;
        }
        let job = state.thread.as_ref()?.take_done()?;
        state.activity = Activity::Idle;
        Some((job, std::mem::take(&mut state.swaps)))
    });
    let Some((job, swaps)) = done else { return };
    let selected = ctx.database();
    for Item { location: (database, handle), response, compressed } in job.items {
        // The job's share of the raw bytes must go, or they would stay in memory.
        drop(response);
        if let Some((encoding, bytes)) = compressed {
            let database = swaps.iter().fold(database, |database, swap| after_swap(database, *swap));
            swap_body(ctx, (database, handle), encoding, bytes);
        }
    }
    ctx.select(selected);
    give_job(ctx);
}

struct Due;

impl Timer for Due {
    fn fire(ctx: &Ctx<'_>) {
        COMPRESSOR.with(|state| state.activity = Activity::Idle);
        give_job(ctx);
    }
}

/// Gives the thread the entries that are due, or waits until one is.
fn give_job(ctx: &Ctx<'_>) {
    let job = Job { method: config::COMPRESSION.get(), items: due_items(ctx) };
    if !job.items.is_empty() {
        COMPRESSOR.with(|state| {
            if state.thread.is_none() {
                state.thread = Background::start("chatcache-compress", work);
            }
            match state.thread.as_ref().is_some_and(|thread| thread.submit(job)) {
                true => state.activity = Activity::Thread,
                // The system gives no thread, or it has ended: the next job starts a new one.
                false => state.thread = None,
            }
        });
    }
    wait(ctx);
}

fn work(compressor: &mut Compressor, mut job: Job) -> Job {
    for item in &mut job.items {
        item.compressed = compressor.compress(job.method, item.response.stored());
    }
    job
}

/// Takes the next due entries out of the queue that are still raw and not in L1.
fn due_items(ctx: &Ctx<'_>) -> Vec<Item> {
    let started = Instant::now();
    let now_s = now_s();
    let selected = ctx.database();
    let (mut items, mut bytes) = (Vec::new(), 0);
    while items.len() < BATCH && bytes < BATCH_BYTES && started.elapsed() < LOOK {
        let Some(location) = COMPRESSOR.with(|state| state.queue.pop(now_s)) else { break };
        if let Some(response) = raw_response(ctx, location) {
            bytes += response.stored().len();
            items.push(Item { location, response, compressed: None });
        }
    }
    ctx.select(selected);
    items
}

/// Returns the response of an entry that is raw, cold and of a length to compress. Selects its database.
fn raw_response(ctx: &Ctx<'_>, location: Location) -> Option<Response> {
    let (database, handle) = location;
    let name = names::name_of(location)?;
    if !ctx.select(database) {
        return None;
    }
    let key = ctx.open_peek(&name);
    let Content::Value::<Entry>(entry) = key.content() else { return None };
    let raw =
        entry.raw().filter(|raw| raw.handle() == Some(handle) && is_compressible(raw.stored().len()))?;
    CACHE.with(|cache| !cache.is_hot(raw)).then(|| raw.clone())
}

/// Swaps the raw body of an entry for the compressed one, if the entry is still the same and cold. Selects its database.
fn swap_body(ctx: &Ctx<'_>, location: Location, encoding: Encoding, bytes: Box<[u8]>) {
    let (database, handle) = location;
    let Some(name) = names::name_of(location) else { return };
    if !ctx.select(database) {
        return;
    }
    let mut key = ctx.open_peek(&name);
    let Some(entry) = key.value_mut::<Entry>() else { return };
    if entry.handle() != Some(handle) || !entry.is_raw() || CACHE.with(|cache| cache.is_hot(entry)) {
        return;
    }
    let old = entry.replace(entry.encoded(encoding, &bytes));
    CACHE.with(|cache| cache.replace(database, &old, entry));
    COMPRESSOR.with(|state| state.compressed += 1);
}

/// Seconds of a clock that never steps back.
fn now_s() -> u32 {
    u32::try_from(START.elapsed().as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Index, Name};
    use crate::tier::Tier;

    const EMPTY: Queue = Queue { stored: VecDeque::new(), cooled: VecDeque::new(), in_cooled: None };

    fn locations<const N: usize>() -> [Location; N] {
        let mut index = Index::new();
        std::array::from_fn(|n| {
            (0, index.link(Tier::Msg, b"helper", b"", Name::Canonical([n as u8; 16]), 1u64))
        })
    }

    #[test]
    fn stored_entries_do_not_wait_behind_those_that_left_l1() {
        let (mut queue, [a, b, c]) = (EMPTY, locations());
        queue.push(a, Since::Cooled);
        queue.push(b, Since::Cooled);
        queue.push(c, Since::Stored);
        let stored = now_s();
        assert_eq!(queue.due_in_s(stored), Some(0));
        assert_eq!(queue.pop(stored), Some(a), "the stored one is not due yet");
        assert_eq!(queue.pop(stored + 10), Some(c));
        assert_eq!((queue.pop(stored + 10), queue.pop(stored + 10)), (Some(b), None));
    }

    #[test]
    fn an_entry_that_leaves_l1_again_and_again_is_queued_once() {
        let (mut queue, [a]) = (EMPTY, locations());
        for _ in 0..3 {
            queue.push(a, Since::Cooled);
        }
        assert_eq!((queue.len(), queue.pop(0), queue.pop(0)), (1, Some(a), None));
        queue.push(a, Since::Cooled);
        assert_eq!(queue.len(), 1, "it has left the queue in between");
    }

    #[test]
    fn the_places_of_entries_that_are_gone_are_cleared_out_as_others_come() {
        let (mut queue, [a, b, c]) = (EMPTY, locations());
        let mut longest = 0;
        for n in 0..100_000 {
            // Two entries stay, and one is stored again and again.
            queue.push(if n < 2 { [a, b][n] } else { c }, Since::Stored);
            queue.clear_out(|| 3, |location| location != c);
            longest = longest.max(queue.len());
        }
        assert!(longest <= 3 * 2 + SPARE as usize + CLEARED_AT_ONCE / 2, "{longest}");
        let left: Vec<_> = std::iter::from_fn(|| queue.pop(u32::MAX)).collect();
        assert!(left.contains(&a) && left.contains(&b));
    }

    #[test]
    fn entries_in_the_queue_follow_their_databases() {
        let (mut queue, [a, b]) = (EMPTY, locations());
        queue.push(a, Since::Stored);
        queue.push(b, Since::Cooled);
        queue.swap((0, 3));
        let moved = |(_, handle): Location| (3, handle);
        queue.push(moved(b), Since::Cooled);
        assert_eq!(queue.len(), 2);
        let later = now_s() + 10;
        assert_eq!([queue.pop(later), queue.pop(later)], [Some(moved(a)), Some(moved(b))]);
    }

    #[test]
    fn a_queue_gives_back_the_memory_of_a_backlog() {
        let mut queue = EMPTY;
        for database in 0..100 {
            for (_, handle) in locations::<200>() {
                queue.push((database, handle), Since::Cooled);
            }
        }
        let large = queue.cooled.capacity();
        while queue.len() > 10 {
            assert!(queue.pop(0).is_some());
        }
        assert!(queue.cooled.capacity() < large / 8, "{} of {large}", queue.cooled.capacity());
    }
}
