//! Growth and memory of the index, beside the crates that could replace its pool and its table:
//! `cargo bench --bench index`. No server, one thread.
//!
//! The event loop must not stall when an index of millions grows, so the bench measures the longest 50 calls
//! while two million entries arrive, in CPU time, as the best of several rounds. Each row of the index is
//! `link` as a whole, with hashing and the look-ups of group, persona and user; each row of a
//! crate is one bare insertion. The last column is the memory that stays after nine entries of ten have left.
//!
//! slab and slotmap grow a vector. The system's allocator moves large blocks by mremap; jemalloc, which Redis
//! uses on Linux, copies them unless the block can grow in place. The row "a doubling by copy" measures that.

use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use chatcache::index::{Handle, Index, Name};
use chatcache::tier::Tier;
use hashbrown::HashTable;
use slab::Slab;
use slotmap::{DefaultKey, SlotMap};

// A little more than 2²¹, so that a vector has just doubled.
const ENTRIES: usize = 2_200_000;
const ROUNDS: usize = 3;

/// The index's node: neighbours, group, stamp, key.
struct Node {
    _neighbours: [Option<NonZeroU32>; 2],
    _group: u32,
    _stamp: NonZeroU32,
    _key: [u8; 16],
}

/// The same without the stamp, as slotmap has a version of its own.
#[derive(Clone, Copy)]
struct Unstamped {
    _neighbours: [Option<NonZeroU32>; 2],
    _group: u32,
    _key: [u8; 16],
}

/// The index's slot in a table: a part of the hash, and an id.
struct Slot {
    hash: u32,
    _id: NonZeroU32,
}

/// The figures of one structure.
struct Figures {
    longest: Duration,
    full_bytes: u64,
    left_bytes: u64,
}

fn main() {
    let pool = best(|| index(|_| [0; 8]));
    let both = best(|| index(|n| n.to_le_bytes()));
    let slab = best(slab);
    let slotmap = best(slotmap);
    let table = best(table);
    let copied = (0..ROUNDS).map(|_| doubling()).min().unwrap_or_default();

    println!(
        "| {ENTRIES} entries | longest 50 calls, ms | bytes each | bytes per entry left |\n| --- | --- | --- | --- |"
    );
    let row = |name: &str, figures: &Figures| {
        println!(
            "| {name} | {:.2} | {:.1} | {:.1} |",
            milliseconds(figures.longest),
            figures.full_bytes as f64 / ENTRIES as f64,
            10.0 * figures.left_bytes as f64 / ENTRIES as f64,
        );
    };
    row("index, one user: nodes in a paged pool", &pool);
    row("slab of nodes", &slab);
    row("slotmap of nodes", &slotmap);
    println!("| a doubling by copy | {:.2} | | |", milliseconds(copied));
    row("index, a user each: pools and sharded tables", &both);
    row("one hashbrown table", &table);
    println!();
    let ratio = |name: &str, longest: Duration, ours: &Figures| {
        println!("{name}: {:.1} times as long", longest.as_secs_f64() / ours.longest.as_secs_f64());
    };
    ratio("slab against the paged pool", slab.longest, &pool);
    ratio("slotmap against the paged pool", slotmap.longest, &pool);
    ratio("a doubling by copy against the paged pool", copied, &pool);
    ratio("one hashbrown table against the sharded tables", table.longest, &both);
}

/// Returns the figures of the round with the shortest longest call.
fn best(round: impl Fn() -> Figures) -> Figures {
    (0..ROUNDS).map(|_| round()).min_by_key(|figures| figures.longest).expect("there is a round")
}

/// Calls that one reading of the clock measures together: a reading takes longer than a call.
const BATCH: usize = 50;

/// Returns the time of the longest batch of calls, and the results of all.
fn longest<R>(mut insert: impl FnMut(usize) -> R) -> (Duration, Vec<R>) {
    let mut results = Vec::with_capacity(ENTRIES);
    let mut longest = Duration::ZERO;
    for batch in 0..ENTRIES / BATCH {
        let started = processor_time();
        results.extend((0..BATCH).map(|n| insert(batch * BATCH + n)));
        longest = longest.max(processor_time() - started);
    }
    (longest, results)
}

/// The part that leaves: the oldest nine of ten.
const LEAVING: usize = ENTRIES / 10 * 9;

fn index(user: impl Fn(usize) -> [u8; 8]) -> Figures {
    let mut index = Index::new();
    let (longest, handles): (_, Vec<Handle>) = longest(|n| {
        let name = Name::Canonical((n as u128).to_le_bytes());
        index.link(Tier::Response, b"helper", &user(n), name, 500)
    });
    let full_bytes = index.heap_bytes();
    for handle in handles.into_iter().take(LEAVING) {
        index.unlink(handle, 500);
    }
    Figures { longest, full_bytes, left_bytes: index.heap_bytes() }
}

fn slab() -> Figures {
    let mut slab = Slab::new();
    let (longest, keys) = longest(|n| {
        let _stamp = NonZeroU32::MIN;
        let Unstamped { _neighbours, _group, _key } = unstamped(n);
        slab.insert(Node { _neighbours, _group, _stamp, _key })
    });
    // A cell of slab: the value, or the next vacant cell.
    let cell = size_of::<Result<Node, usize>>();
    let bytes = |slab: &Slab<Node>| (slab.capacity() * cell) as u64;
    let full_bytes = bytes(&slab);
    keys.into_iter().take(LEAVING).for_each(|key| _ = slab.remove(key));
    slab.shrink_to_fit();
    Figures { longest, full_bytes, left_bytes: bytes(&slab) }
}

fn slotmap() -> Figures {
    let mut slots: SlotMap<DefaultKey, Unstamped> = SlotMap::new();
    let (longest, keys) = longest(|n| slots.insert(unstamped(n)));
    // A slot: the value, and its version.
    let bytes =
        |slots: &SlotMap<_, _>| (slots.capacity() * (size_of::<Unstamped>() + size_of::<u32>())) as u64;
    let full_bytes = bytes(&slots);
    keys.into_iter().take(LEAVING).for_each(|key| _ = slots.remove(key));
    Figures { longest, full_bytes, left_bytes: bytes(&slots) }
}

fn table() -> Figures {
    let hasher = RandomState::new();
    let mut table: HashTable<Slot> = HashTable::new();
    let spread = |hash: u32| u64::from(hash) << 32 | u64::from(hash);
    let (longest, hashes) = longest(|n| {
        let hash = hasher.hash_one(n) as u32;
        table.insert_unique(spread(hash), Slot { hash, _id: NonZeroU32::MIN }, |slot| spread(slot.hash));
        hash
    });
    let full_bytes = table.allocation_size() as u64;
    for hash in hashes.into_iter().take(LEAVING) {
        if let Ok(slot) = table.find_entry(spread(hash), |slot| slot.hash == hash) {
            slot.remove();
        }
    }
    Figures { longest, full_bytes, left_bytes: table.allocation_size() as u64 }
}

fn unstamped(n: usize) -> Unstamped {
    Unstamped { _neighbours: [None; 2], _group: 1, _key: (n as u128).to_le_bytes() }
}

/// Returns the time of the last doubling of a vector of nodes, as an allocator without mremap does it.
fn doubling() -> Duration {
    let full = vec![unstamped(1); ENTRIES.next_power_of_two() / 2];
    let started = processor_time();
    let mut larger = Vec::with_capacity(2 * full.len());
    larger.extend_from_slice(&full);
    let took = processor_time() - started;
    black_box(larger);
    took
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn processor_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists, and `now` is valid for writes.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
