//! The cost of a look-up in L1, in the cache that L1 is built on and in the one that was asked for first, what finding
//! the place costs, and how long one insertion may take: `cargo bench --bench l1`. No server, one thread, the best of
//! several rounds each.
//!
//! 40,000 answers that are all there, asked for in a random order. The answers are shared bytes, and both caches hold the
//! key that L1 has: 16 bytes that are a hash already.

use std::cell::Cell;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatcache::cache::l1::{L1, L1Entry};
use chatcache::entry::{Frequency, Response};
use chatcache::index::{Index, Name};
use chatcache::request::{Accepts, RequestArgs};
use chatcache::tier::Tier;
use highway::{HighwayHash, HighwayHasher};
use quick_cache::Weighter;

const ANSWERS: usize = 40_000;
const ANSWER_BYTES: usize = 1_400;
const MAX_BYTES: u64 = 80_000_000;
const ROUNDS: usize = 9;
const LOOK_UPS: usize = 400_000;

/// The number of one-byte responses that fill an L1 of this size, which counts each as 512 bytes.
const FILLED: usize = 500_000;
const FILLED_BYTES: u64 = 512 * FILLED as u64;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key([u64; 2]);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

type AsIs = BuildHasherDefault<AsItIs>;

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<[u8]>> for ByBytes {
    fn weight(&self, _: &Key, answer: &Arc<[u8]>) -> u64 {
        answer.len() as u64
    }
}

type Quick = quick_cache::unsync::Cache<Key, Arc<[u8]>, ByBytes, AsIs>;

fn quick_cache(answers: usize, max_bytes: u64) -> Quick {
    Quick::with(answers, max_bytes, ByBytes, AsIs::default(), Default::default())
}

/// The nanoseconds of one call, in the best round.
fn nanoseconds(calls: usize, mut call: impl FnMut(usize)) -> f64 {
    let round = |call: &mut dyn FnMut(usize)| {
        let started = Instant::now();
        (0..calls).for_each(call);
        started.elapsed().as_nanos() as f64 / calls as f64
    };
    (0..ROUNDS).map(|_| round(&mut call)).fold(f64::INFINITY, f64::min)
}

fn main() {
    let hash = |bytes: &[u8]| {
        let mut hasher = HighwayHasher::new(highway::Key([1, 2, 3, 4]));
        hasher.append(bytes);
        Key(hasher.finalize128())
    };
    let keys: Vec<Key> = (0..ANSWERS).map(|n| hash(&n.to_le_bytes())).collect();
    // A walk through all of them that no prefetcher foresees.
    let at = |n: usize| keys[(n * 7_368_787) % ANSWERS];

    let moka = moka::sync::Cache::builder()
        .max_capacity(MAX_BYTES)
        .weigher(|_, answer: &Arc<[u8]>| answer.len() as u32)
        .build_with_hasher(AsIs::default());
    let mut quick = quick_cache(ANSWERS, MAX_BYTES);
    for key in &keys {
        let answer: Arc<[u8]> = vec![b'x'; ANSWER_BYTES].into();
        moka.insert(*key, Arc::clone(&answer));
        quick.insert(*key, answer);
    }
    moka.run_pending_tasks();

    println!("| a hit in | ns |\n| --- | --- |");
    let moka_ns = nanoseconds(LOOK_UPS, |n| {
        black_box(moka.get(&at(n)).expect("it is there").len());
    });
    println!("| moka::sync | {moka_ns:.0} |");
    let quick_ns = nanoseconds(LOOK_UPS, |n| {
        black_box(quick.get(&at(n)).expect("it is there").len());
    });
    println!("| quick_cache::unsync | {quick_ns:.0} |");
    println!(
        "\n| finding the place of a request of | 100 bytes | 1,000 | 4,096 |\n| --- | --- | --- | --- |"
    );
    let of_each = |name: &str, find: &dyn Fn(&[u8])| {
        let cells = [100, 1000, 4096].map(|bytes| {
            let message = vec![b'q'; bytes];
            format!("{:.0} ns", nanoseconds(LOOK_UPS / 10, |_| find(black_box(&message))))
        });
        println!("| {name} | {} |", cells.join(" | "));
    };
    of_each("in L1: HighwayHash", &|message| _ = black_box(hash(message)));
    of_each("in the keyspace: MD5, and BLAKE3 to be sure", &|message| {
        black_box(chatcache::request::digest(message));
        black_box(chatcache::request::fingerprint::Fingerprint::of(chatcache::request::Parts::Msg {
            message,
        }));
    });

    println!(
        "\n| the longest insertion while {FILLED_BYTES} bytes fill with one-byte answers | ms |\n| --- | --- |"
    );
    let mut unsplit = quick_cache(FILLED, FILLED as u64);
    let one_byte: Arc<[u8]> = Arc::from(*b"x");
    let unsplit_ms = longest(|n| unsplit.insert(hash(&n.to_le_bytes()), Arc::clone(&one_byte)));
    println!("| quick_cache::unsync | {unsplit_ms:.1} |");
    let (mut l1, mut index) = (L1::new(FILLED_BYTES, [1, 2, 3, 4]), Index::new());
    let hot: Vec<_> = (0..FILLED)
        .map(|n: usize| {
            let message = n.to_le_bytes();
            let asked = RequestArgs::parse(Accepts::Tiers, [b"msg", b"", b"helper", &message], None);
            let key = l1.key(0, &asked.expect("a good request").request());
            let handle = index.link(Tier::Msg, b"helper", b"", Name::Own(&message), 1);
            let (until_ms, touched_ms, untouched_hits) = Default::default();
            let answer = Response::new(b"x");
            (
                key,
                L1Entry {
                    location: (0, handle),
                    response: answer,
                    until_ms,
                    cost_ms: 0,
                    touched_ms,
                    untouched_hits,
                    frequency: Cell::new(Frequency::default()),
                },
            )
        })
        .collect();
    let mut hot = hot.into_iter();
    let l1_ms = longest(|_| {
        let (key, hot) = hot.next().expect("one for each");
        // Every response is requested once, so L1 admits it only while there is space.
        if let Some(admission) = l1.weigh(key, hot.response.len(), 1, 0) {
            l1.admit(admission, hot);
        }
    });
    println!("| L1, which is split and knows its way back from the entries | {l1_ms:.1} |");
}

/// The CPU time of the longest of `calls` calls, in milliseconds.
fn longest(mut insert: impl FnMut(usize)) -> f64 {
    let took = |n| {
        let started = processor_time();
        insert(n);
        processor_time() - started
    };
    (0..FILLED).map(took).max().unwrap_or_default().as_secs_f64() * 1e3
}

fn processor_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists, and the time is written to what is there.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
