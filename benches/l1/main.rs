//! Compares caches for hot responses: a hit, and the longest insertion, in the request table with L1 (which samples the
//! least frequent), quick_cache and moka; and the time that finding a response takes. `cargo bench --bench l1`, without a
//! server, in one thread, by its CPU time. Each hit reads the first byte of its response.
//!
//! The caches hold 40,000 responses, which are read in a random order. Each response is shared bytes under the hash of its
//! request.

use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use chatcache::cache::l1::{Candidate, L1};
use chatcache::cache::location::Location;
use chatcache::cache::request_table::{RequestHash, RequestHasher, RequestTable};
use chatcache::entry::{ALWAYS_FRESH, Facts, Response};
use chatcache::index::{Index, Name};
use chatcache::request::fingerprint::Fingerprint;
use chatcache::request::{self, Accepts, Parts, RequestArgs};
use chatcache::tier::Tier;
use quick_cache::Weighter;

const RESPONSES: usize = 40_000;
const RESPONSE_BYTES: usize = 1_400;
const MAX_BYTES: u64 = 80_000_000;
const ROUNDS: usize = 9;
const READS: usize = 400_000;

/// The number of one-byte responses that fill an L1 of this size, which counts each as 512 bytes.
const FILLED: usize = 500_000;
const FILLED_BYTES: u64 = 512 * FILLED as u64;

/// Passes on a key that is a hash already.
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

impl Weighter<RequestHash, Arc<[u8]>> for ByBytes {
    fn weight(&self, _: &RequestHash, response: &Arc<[u8]>) -> u64 {
        response.len() as u64
    }
}

type Quick = quick_cache::unsync::Cache<RequestHash, Arc<[u8]>, ByBytes, AsIs>;
type Moka = moka::sync::Cache<RequestHash, Arc<[u8]>, AsIs>;

fn quick_cache(responses: usize, max_bytes: u64) -> Quick {
    Quick::with(responses, max_bytes, ByBytes, AsIs::default(), Default::default())
}

fn moka(max_bytes: u64) -> Moka {
    moka::sync::Cache::builder()
        .max_capacity(max_bytes)
        .weigher(|_, response: &Arc<[u8]>| response.len() as u32)
        .build_with_hasher(AsIs::default())
}

const HASHER: RequestHasher = RequestHasher::new([[1; 16], [2; 16]]);

fn hash(message: &[u8]) -> RequestHash {
    let request = RequestArgs::parse(Accepts::Tiers, [b"msg", b"", b"helper", message], None);
    HASHER.hash(&request.expect("a valid request").request())
}

/// The request table, and L1 beside it.
struct Ours {
    index: Index,
    table: RequestTable,
    l1: L1,
}

impl Ours {
    fn new(max_bytes: u64) -> Ours {
        Ours { index: Index::new(), table: RequestTable::new(), l1: L1::new(max_bytes) }
    }

    fn response(&mut self, message: &[u8], bytes: &[u8]) -> (Location, Response) {
        let fingerprint = Fingerprint::from_bytes([0; 32]);
        let facts = Facts { fingerprint, stored_at_ms: 0, fresh_until_ms: ALWAYS_FRESH, cost_ms: 0, hits: 0 };
        let handle = self.index.link(Tier::Msg, b"helper", b"", Name::Own(message), bytes.len() as u64);
        ((0, handle), Response::new(&facts, bytes))
    }

    fn insert(&mut self, hash: &RequestHash, (location, response): &(Location, Response)) {
        self.table.insert(hash, response);
        let candidate = Candidate { finder: hash.finder, raw_bytes: response.raw_bytes(), frequency: 1 };
        if self.l1.may_admit(candidate)
            && let Some(admission) = self.l1.weigh(candidate, 0)
        {
            self.l1.admit(admission, *location, response);
        }
    }
}

/// Returns the nanoseconds of CPU time of one call, in the best round.
fn nanoseconds(calls: usize, mut call: impl FnMut(usize)) -> f64 {
    let round = |call: &mut dyn FnMut(usize)| {
        let started = processor_time();
        (0..calls).for_each(call);
        (processor_time() - started).as_nanos() as f64 / calls as f64
    };
    (0..ROUNDS).map(|_| round(&mut call)).fold(f64::INFINITY, f64::min)
}

fn main() {
    compare_hits();
    compare_places();
    compare_insertions();
}

fn compare_hits() {
    let mut ours = Ours::new(MAX_BYTES);
    let (moka, mut quick) = (moka(MAX_BYTES), quick_cache(RESPONSES, MAX_BYTES));
    let bytes = vec![b'x'; RESPONSE_BYTES];
    let keys: Vec<RequestHash> = (0..RESPONSES).map(|n| hash(&n.to_le_bytes())).collect();
    for (n, key) in keys.iter().enumerate() {
        let response: Arc<[u8]> = bytes.clone().into();
        moka.insert(*key, Arc::clone(&response));
        quick.insert(*key, response);
        let response = ours.response(&n.to_le_bytes(), &bytes);
        ours.insert(key, &response);
    }
    moka.run_pending_tasks();
    // A walk through all keys that no prefetcher foresees.
    let at = |n: usize| keys[(n * 7_368_787) % RESPONSES];

    println!("| a hit in | ns |\n| --- | --- |");
    let l1_ns = nanoseconds(READS, |n| {
        let response = ours.table.get(&at(n)).expect("the table has it");
        // `direct` counts each hit.
        response.count_hit(0);
        black_box(response.stored()[0]);
    });
    println!("| the request table | {l1_ns:.0} |");
    let quick_ns = nanoseconds(READS, |n| {
        black_box(quick.get(&at(n)).expect("the cache holds it")[0]);
    });
    println!("| quick_cache::unsync | {quick_ns:.0} |");
    let moka_ns = nanoseconds(READS, |n| {
        black_box(moka.get(&at(n)).expect("the cache holds it")[0]);
    });
    println!("| moka::sync | {moka_ns:.0} |");
}

fn compare_places() {
    println!("\n| the place of a request of | 100 bytes | 1,000 | 4,096 |\n| --- | --- | --- | --- |");
    let of_each = |name: &str, find: &dyn Fn(&[u8])| {
        let cells = [100, 1000, 4096].map(|bytes| {
            let message = vec![b'q'; bytes];
            format!("{:.0} ns", nanoseconds(READS / 10, |_| find(black_box(&message))))
        });
        println!("| {name} | {} |", cells.join(" | "));
    };
    of_each("in the request table: SipHash-1-3, AEGIS-128X2 above 256 bytes", &|message| {
        black_box(hash(message));
    });
    of_each("in the keyspace: MD5 for the name, SHA-256 for the fingerprint", &|message| {
        black_box(request::digest(message));
        black_box(Fingerprint::of(Parts::Msg { message }));
    });
}

fn compare_insertions() {
    println!(
        "\n| the longest insertion while {FILLED_BYTES} bytes fill with one-byte responses | ms |\n| --- | --- |"
    );
    let mut ours = Ours::new(FILLED_BYTES);
    let keys: Vec<RequestHash> = (0..FILLED).map(|n| hash(&n.to_le_bytes())).collect();
    let responses: Vec<_> = (0..FILLED).map(|n| ours.response(&n.to_le_bytes(), b"x")).collect();
    let one_byte: Arc<[u8]> = Arc::from(*b"x");

    let l1_ms = longest(|n| ours.insert(&keys[n], &responses[n]));
    println!("| the request table and L1, in shards | {l1_ms:.1} |");
    let mut quick = quick_cache(FILLED, FILLED as u64);
    let quick_ms = longest(|n| quick.insert(keys[n], Arc::clone(&one_byte)));
    println!("| quick_cache::unsync, unsplit | {quick_ms:.1} |");
    let moka = moka(FILLED as u64);
    let moka_ms = longest(|n| moka.insert(keys[n], Arc::clone(&one_byte)));
    println!("| moka::sync | {moka_ms:.1} |");
}

/// Returns the CPU time of the longest of `FILLED` calls, in milliseconds.
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
    // SAFETY: the clock exists, and `now` is valid for the write.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
