//! What the commands call: the state of the main thread, and the ways to find an answer in it.
//!
//! The keyspace holds the entries; an `Index` for each database says whose they are and which still live. An
//! answer is given only where three agree: a key of the request's name, an entry with the request's
//! fingerprint, and an index in which that entry lives.

use crate::entry::{ALWAYS_FRESH, Entry};
use crate::flight;
use crate::index::{Handle, Index, Name, Origin};
use crate::key::{self, Layout};
use crate::redis::{Ctx, Held, Key, MainThread};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::stats::{Counters, Report};
use crate::tier::Tier;
use std::collections::BTreeMap;
use std::thread;

/// The module's state. Borrow it for a few lines, with no call to the server in between that may call back.
pub static CACHE: MainThread<Cache> = MainThread::new(Cache::new());

/// An emptied index with more entries than this is freed on a thread of its own: some milliseconds' worth.
const FREE_INLINE: u64 = 20_000;

/// The indexes, one for each database that has ever held an entry, and the counters.
pub struct Cache {
    databases: BTreeMap<i32, Index>,
    pub counters: Counters,
    pub layout: Layout,
}

impl Cache {
    const fn new() -> Self {
        let counters = Counters {
            hits: [0; 4],
            misses: 0,
            sets: 0,
            deleted: 0,
            drops: 0,
            dropped: 0,
            reclaimed: 0,
            stale_hits: 0,
            coalesced: 0,
            saved_ms: [0; 4],
        };
        Cache { databases: BTreeMap::new(), counters, layout: Layout::Single }
    }

    /// The index of a database, made where there is none.
    pub fn index(&mut self, database: i32) -> &mut Index {
        self.databases.entry(database).or_default()
    }

    /// The index of a database that may have none.
    pub fn known_index(&self, database: i32) -> Option<&Index> {
        self.databases.get(&database)
    }

    /// The databases that may hold entries.
    pub fn databases(&self) -> Vec<i32> {
        self.databases.keys().copied().collect()
    }

    /// The databases with dropped entries to reclaim.
    pub fn databases_to_reclaim(&self) -> Vec<i32> {
        let pending = self.databases.iter().filter(|(_, index)| index.pending() > 0);
        pending.map(|(&database, _)| database).collect()
    }

    /// Whose the entry with this handle is. The database is where it should be; but MIGRATE saves a value in the
    /// name of the database that it goes to, so any other may know it.
    pub fn origin(&self, database: i32, handle: Handle) -> Option<Origin> {
        let here = self.known_index(database).and_then(|index| index.origin(handle));
        here.or_else(|| self.databases.values().find_map(|index| index.origin(handle)))
    }

    /// Forgets all of one database, or of every one.
    pub fn empty(&mut self, database: Option<i32>) {
        let gone: Vec<Index> = match database {
            Some(database) => self.databases.remove(&database).into_iter().collect(),
            None => std::mem::take(&mut self.databases).into_values().collect(),
        };
        let entries: u64 = gone.iter().map(|index| index.entries() + index.pending()).sum();
        if entries > FREE_INLINE {
            // Where no thread can be had, the closure is dropped here, and the indexes with it.
            let _ = thread::Builder::new().name("chatcache-free".into()).spawn(move || drop(gone));
        }
    }

    pub fn swap(&mut self, first: i32, second: i32) {
        let (one, other) = (self.databases.remove(&first), self.databases.remove(&second));
        self.databases.extend(one.map(|index| (second, index)));
        self.databases.extend(other.map(|index| (first, index)));
    }

    /// The sums over all databases.
    fn report(&self) -> Report {
        let mut report = Report { counters: self.counters, ..Report::default() };
        for index in self.databases.values() {
            report.entries += index.entries();
            for (sum, tier) in report.entries_by_tier.iter_mut().zip(Tier::ALL) {
                *sum += index.entries_of(tier);
            }
            report.personas += index.personas_len();
            report.users += index.users_len();
            report.raw_bytes += index.bytes();
            report.stored_bytes += index.bytes();
            report.pending += index.pending();
            report.stale += index.stale();
            report.index_bytes += index.heap_bytes();
        }
        report
    }
}

/// Learns from the server what never changes in it.
pub fn loaded(ctx: &Ctx<'_>) {
    let layout = if ctx.is_cluster() { Layout::Cluster } else { Layout::Single };
    CACHE.with(|cache| cache.layout = layout);
}

/// The state of the whole module at this moment.
pub fn report() -> Report {
    let flight = flight::report();
    Report {
        leases: flight.leases as u64,
        waiters: flight.waiters as u64,
        leases_granted: flight.counters.granted,
        leases_ended: flight.counters.ended.total(),
        tokens_refused: flight.counters.refused,
        ..CACHE.with(|cache| cache.report())
    }
}

/// The name of the request's key.
pub fn key_name(request: &Request<'_>) -> Vec<u8> {
    let layout = CACHE.with(|cache| cache.layout);
    let mut name = Vec::with_capacity(128);
    request.key_name(layout, &mut name);
    name
}

/// Refuses what must reach every answer of a persona, or the only one to a request, while the persona's slot moves:
/// each of two nodes has some of them. SET need not care, see `keyspace`.
pub fn check_in_one_place(ctx: &Ctx<'_>, persona: &[u8]) -> Result<(), Refusal> {
    let in_cluster = CACHE.with(|cache| cache.layout) == Layout::Cluster;
    match in_cluster && !ctx.is_replayed() && !ctx.serves(&key::absent_in_slot_of(persona)) {
        true => Err(Refusal::SlotMoving),
        false => Ok(()),
    }
}

/// What a request's key holds, for that request.
#[derive(Clone, Copy)]
pub enum Slot<'k> {
    /// Nothing: no key, or one that has expired.
    Free,
    /// An entry that answers this request no more, or another request: dropped, or of a colliding MD5.
    Unrelated,
    /// The answer, of a persona that the caller may not read: for it there is none. Only `rights::visible` says so.
    Hidden,
    /// The answer, past its freshness and inside its grace.
    Stale(&'k Entry),
    /// The answer.
    Fresh(&'k Entry),
}

impl<'k> Slot<'k> {
    /// The answer, if it is fresh: what GET gives.
    pub fn fresh(self) -> Option<&'k Entry> {
        match self {
            Slot::Fresh(entry) => Some(entry),
            Slot::Free | Slot::Unrelated | Slot::Hidden | Slot::Stale(_) => None,
        }
    }

    /// The answer, fresh or stale.
    pub fn answer(self) -> Option<&'k Entry> {
        match self {
            Slot::Fresh(entry) | Slot::Stale(entry) => Some(entry),
            Slot::Free | Slot::Unrelated | Slot::Hidden => None,
        }
    }
}

/// What `key` holds for the request whose name it has.
pub fn look<'k>(ctx: &Ctx<'_>, key: &'k Key<'_>, request: &Request<'_>) -> Result<Slot<'k>, Refusal> {
    let entry: &Entry = match key.held() {
        Held::Nothing => return Ok(Slot::Free),
        Held::Other => return Err(Refusal::WrongType),
        Held::Value(entry) => entry,
    };
    let database = ctx.database();
    if entry.fingerprint != request.fingerprint() || !is_live(database, entry) {
        return Ok(Slot::Unrelated);
    }
    Ok(if in_its_time(ctx, database, entry) { Slot::Fresh(entry) } else { Slot::Stale(entry) })
}

/// Whether the entry may be given as a fresh answer.
pub fn is_fresh(ctx: &Ctx<'_>, database: i32, entry: &Entry) -> bool {
    is_live(database, entry) && in_its_time(ctx, database, entry)
}

/// Whether a live entry is within its freshness.
fn in_its_time(ctx: &Ctx<'_>, database: i32, entry: &Entry) -> bool {
    let until_ms = entry.fresh_until_ms.get();
    (until_ms == ALWAYS_FRESH || ctx.now_ms() < until_ms) && !is_softly_stale(database, entry)
}

/// Whether SOFTINVALIDATE has made the entry stale.
pub fn is_softly_stale(database: i32, entry: &Entry) -> bool {
    let Some(handle) = entry.handle() else { return false };
    CACHE.with(|cache| cache.known_index(database).is_some_and(|index| index.is_soft_stale(handle)))
}

/// Counts a fresh answer that was given.
pub fn count_hit(ctx: &Ctx<'_>, tier: Tier, entry: &Entry) {
    entry.count_hit();
    CACHE.with(|cache| {
        let saved_ms = entry.cost_ms.into();
        cache.counters.count_hit(tier, saved_ms);
        if let Some(handle) = entry.handle() {
            cache.index(ctx.database()).record_hit(handle, saved_ms);
        }
    });
}

/// Counts a stale answer that was given.
pub fn count_stale_hit(ctx: &Ctx<'_>, tier: Tier, entry: &Entry) {
    entry.count_hit();
    CACHE.with(|cache| {
        let saved_ms = entry.cost_ms.into();
        cache.counters.stale_hits += 1;
        cache.counters.count_saved(tier, saved_ms);
        if let Some(handle) = entry.handle() {
            cache.index(ctx.database()).record_hit(handle, saved_ms);
        }
    });
}

fn is_live(database: i32, entry: &Entry) -> bool {
    let Some(handle) = entry.handle() else { return false };
    CACHE.with(|cache| cache.known_index(database).is_some_and(|index| index.is_live(handle)))
}

/// How the index keeps the name of a key that an entry of these has arrived under.
pub fn index_name<'a>(layout: Layout, tier: Tier, persona: &[u8], user: &[u8], name: &'a [u8]) -> Name<'a> {
    match key::canonical_digest(layout, tier, user, persona, name) {
        Some(digest) => Name::Canonical(digest),
        None => Name::Own(name),
    }
}
