//! What the commands call: the state of the main thread, and the ways to find an answer in it.
//!
//! The keyspace holds the entries; an `Index` for each database says whose they are and which still live. An
//! answer is given only where three agree: a key of the request's name, an entry with the request's
//! fingerprint, and an index in which that entry lives.

use crate::cache::compressor;
use crate::cache::l1::{L1, L1Entry, L1Key, Location};
use crate::config;
use crate::entry::Response;
use crate::entry::compression;
use crate::entry::{ALWAYS_FRESH, Entry};
use crate::flight;
use crate::index::{Handle, Index, Liveness, Name, Origin};
use crate::redis::{Content, Ctx, Key, MainThread, prefetch};
use crate::request::Request;
use crate::request::error::CommandError;
use crate::request::key_name::{self, Layout, Tail};
use crate::stats::{Counters, Report};
use crate::tier::Tier;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::thread;

/// The module's state. Borrow it for a few lines, with no call to the server in between that may call back.
pub static CACHE: MainThread<Cache> = MainThread::new(Cache::new());

/// An index or an L1 with more entries than this is freed on a thread of its own: some milliseconds' worth.
const FREE_INLINE: u64 = 20_000;

/// The indexes, one for each database that has ever held an entry, and the counters.
pub struct Cache {
    databases: BTreeMap<i32, Index>,
    pub counters: Counters,
    pub layout: Layout,
    /// None while it is off.
    l1: Option<L1>,
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
            hits_l1: 0,
        };
        Cache { databases: BTreeMap::new(), counters, layout: Layout::Single, l1: None }
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

    /// Forgets all of one database, or of every one, and gives back what it knew.
    fn empty(&mut self, database: Option<i32>) -> Vec<Index> {
        match database {
            Some(database) => self.databases.remove(&database).into_iter().collect(),
            None => std::mem::take(&mut self.databases).into_values().collect(),
        }
    }

    fn swap(&mut self, first: i32, second: i32) {
        let (one, other) = (self.databases.remove(&first), self.databases.remove(&second));
        self.databases.extend(one.map(|index| (second, index)));
        self.databases.extend(other.map(|index| (first, index)));
    }

    /// The sums over all databases.
    fn report(&self) -> Report {
        let mut report = Report { counters: self.counters, ..Report::default() };
        if let Some(l1) = &self.l1 {
            report.l1_entries = l1.len() as u64;
            report.l1_bytes = l1.bytes();
        }
        for index in self.databases.values() {
            report.entries += index.entries();
            for (sum, tier) in report.entries_by_tier.iter_mut().zip(Tier::ALL) {
                *sum += index.entries_of(tier);
            }
            report.personas += index.personas_len();
            report.users += index.users_len();
            report.raw_bytes += index.size().raw;
            report.stored_bytes += index.size().stored;
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
    renew_l1(ctx);
}

/// The state of the whole module at this moment.
pub fn report() -> Report {
    let (flight, queue) = (flight::report(), compressor::report());
    Report {
        leases: flight.leases as u64,
        waiters: flight.waiters as u64,
        leases_granted: flight.counters.granted,
        leases_ended: flight.counters.ended.total(),
        tokens_refused: flight.counters.refused,
        compressed: queue.compressed,
        waiting_to_compress: queue.waiting,
        dictionaries: compression::dictionaries(),
        ..CACHE.with(|cache| cache.report())
    }
}

/// The name of a request's key, in a buffer that the next name is built in.
pub struct KeyName(Vec<u8>);

static NAME: MainThread<Vec<u8>> = MainThread::new(Vec::new());

/// The name of the request's key.
pub fn key_name(request: &Request<'_>) -> KeyName {
    let layout = CACHE.with(|cache| cache.layout);
    let mut name = NAME.with(std::mem::take);
    name.clear();
    request.key_name(layout, &mut name);
    KeyName(name)
}

impl Deref for KeyName {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for KeyName {
    fn drop(&mut self) {
        // A name takes some hundreds of kilobytes at most: see the limits on names.
        NAME.with(|name| *name = std::mem::take(&mut self.0));
    }
}

/// Refuses what must reach every answer of a persona, or the only one to a request, while the persona's slot moves:
/// each of two nodes has some of them. SET need not care, see `keyspace`.
pub fn check_in_one_place(ctx: &Ctx<'_>, persona: &[u8]) -> Result<(), CommandError> {
    let in_cluster = CACHE.with(|cache| cache.layout) == Layout::Cluster;
    match in_cluster && !ctx.is_replayed() && !ctx.serves(&key_name::absent_in_slot_of(persona)) {
        true => Err(CommandError::SlotMoving),
        false => Ok(()),
    }
}

/// What a request's key holds, for that request.
#[derive(Clone, Copy)]
pub enum Lookup<'k> {
    /// Nothing: no key, or one that has expired.
    Missing,
    /// An entry that answers this request no more, or another request: dropped, or of a colliding MD5.
    Mismatch,
    /// The answer, of a persona that the caller may not read: for it there is none. Only `access::visible` says so.
    Forbidden,
    /// The answer, past its freshness and inside its grace.
    Stale(&'k Entry),
    /// The answer.
    Fresh(&'k Entry),
}

impl<'k> Lookup<'k> {
    /// The answer, if it is fresh: what GET gives.
    pub fn fresh(self) -> Option<&'k Entry> {
        match self {
            Lookup::Fresh(entry) => Some(entry),
            Lookup::Missing | Lookup::Mismatch | Lookup::Forbidden | Lookup::Stale(_) => None,
        }
    }

    /// The answer, fresh or stale.
    pub fn entry(self) -> Option<&'k Entry> {
        match self {
            Lookup::Fresh(entry) | Lookup::Stale(entry) => Some(entry),
            Lookup::Missing | Lookup::Mismatch | Lookup::Forbidden => None,
        }
    }
}

/// What `key` holds at this time for the request whose name it has. A command reads the clock once, and goes by that
/// throughout: each reading costs as much as a look-up in L1.
pub fn lookup<'k>(
    ctx: &Ctx<'_>,
    key: &'k Key<'_>,
    request: &Request<'_>,
    now_ms: i64,
) -> Result<Lookup<'k>, CommandError> {
    let entry: &Entry = match key.content() {
        Content::Missing => return Ok(Lookup::Missing),
        Content::OtherType => return Err(CommandError::WrongType),
        Content::Value(entry) => entry,
    };
    // First what is in memory that is rarely in the processor's caches: while it comes, the fingerprint is computed.
    if let Some(response) = entry.raw() {
        prefetch(response.address());
    }
    let standing = standing(ctx.database(), entry);
    if entry.fingerprint != request.fingerprint() {
        return Ok(Lookup::Mismatch);
    }
    Ok(match standing {
        Liveness::Dead => Lookup::Mismatch,
        Liveness::Fresh if in_its_time(entry, now_ms) => Lookup::Fresh(entry),
        Liveness::Fresh | Liveness::Stale => Lookup::Stale(entry),
    })
}

/// Whether the entry may be given as a fresh answer.
pub fn is_fresh(ctx: &Ctx<'_>, database: i32, entry: &Entry) -> bool {
    standing(database, entry) == Liveness::Fresh && in_its_time(entry, ctx.now_ms())
}

/// Whether the entry is within its freshness, drops aside.
fn in_its_time(entry: &Entry, now_ms: i64) -> bool {
    let until_ms = entry.fresh_until_ms.get();
    until_ms == ALWAYS_FRESH || now_ms < until_ms
}

/// Whether SOFTINVALIDATE has made the entry stale.
pub fn is_softly_stale(database: i32, entry: &Entry) -> bool {
    standing(database, entry) == Liveness::Stale
}

fn standing(database: i32, entry: &Entry) -> Liveness {
    let Some(handle) = entry.handle() else { return Liveness::Dead };
    CACHE.with(|cache| cache.known_index(database).map_or(Liveness::Dead, |index| index.standing(handle)))
}

/// Counts a fresh answer that was given.
fn count_hit(ctx: &Ctx<'_>, tier: Tier, entry: &Entry, now_ms: i64) {
    entry.count_hit(now_ms);
    CACHE.with(|cache| {
        let saved_ms = entry.cost_ms.into();
        cache.counters.count_hit(tier, saved_ms);
        if let Some(handle) = entry.handle() {
            cache.index(ctx.database()).record_hit(handle, saved_ms);
        }
    });
}

/// Counts a stale answer that was given.
pub fn count_stale_hit(ctx: &Ctx<'_>, tier: Tier, entry: &Entry, now_ms: i64) {
    entry.count_hit(now_ms);
    CACHE.with(|cache| {
        let saved_ms = entry.cost_ms.into();
        cache.counters.stale_hits += 1;
        cache.counters.count_saved(tier, saved_ms);
        if let Some(handle) = entry.handle() {
            cache.index(ctx.database()).record_hit(handle, saved_ms);
        }
    });
}

/// The name of the key that an entry is in.
pub fn name_of((database, handle): Location) -> Option<Vec<u8>> {
    CACHE.with(|cache| {
        let located = cache.known_index(database)?.located(handle)?;
        let mut name = Vec::with_capacity(128);
        match located.name {
            Name::Own(own) => name.extend_from_slice(own),
            Name::Canonical(digest) => {
                let tail = Tail::Digest(digest);
                key_name::write(cache.layout, located.tier, located.user, located.persona, tail, &mut name);
            }
        }
        Some(name)
    })
}

/// How the index keeps the name of a key that an entry of these has arrived under.
pub fn index_name<'a>(layout: Layout, tier: Tier, persona: &[u8], user: &[u8], name: &'a [u8]) -> Name<'a> {
    match key_name::canonical_digest(layout, tier, user, persona, name) {
        Some(digest) => Name::Canonical(digest),
        None => Name::Own(name),
    }
}

// L1: see `l1`. It is in step with the keyspace because an entry leaves it in the same moment as it leaves its key
// (`left`), as its key is given another TTL (`retimed`), and with its database (`empty`, `swap`); drops it sees by the index.

/// How long a hot answer's key may go unopened, in milliseconds: the server evicts the least used.
const TOUCH_MS: i64 = 1000;

impl Cache {
    /// The fresh answer that L1 has under this key, counted as given.
    fn hot(&mut self, database: i32, tier: Tier, key: &L1Key, now_ms: i64) -> Option<Response> {
        let hot = self.l1.as_ref()?.get(key)?;
        prefetch(hot.response.address());
        let untouched_ms = now_ms.saturating_sub(hot.touched_ms.get());
        if now_ms >= hot.until_ms.get() || !(0..TOUCH_MS).contains(&untouched_ms) {
            return None;
        }
        let saved_ms = hot.cost_ms.into();
        let (_, handle) = hot.location;
        if !self.databases.get_mut(&database)?.record_fresh_hit(handle, saved_ms) {
            return None;
        }
        hot.untouched_hits.set(hot.untouched_hits.get().saturating_add(1));
        hot.response.count_hit();
        self.counters.count_hit(tier, saved_ms);
        self.counters.hits_l1 += 1;
        Some(hot.response.clone())
    }

    /// Whether the entry's answer is in L1.
    pub fn is_hot(&self, location: Location) -> bool {
        self.l1.as_ref().is_some_and(|l1| l1.holds(location))
    }

    /// An entry leaves its key, or its key's TTL is another now.
    pub fn remove_from_l1(&mut self, location: Location) {
        if let Some(l1) = &mut self.l1 {
            l1.remove(location);
        }
    }
}

/// A request whose answer L1 has not: where it would be, or None where L1 is off.
pub struct L1Miss(Option<L1Key>);

/// The fresh answer to a request that L1 has, counted as given. The time is the clock's, not the one at which a script
/// around the command began: a key's freshness ends within a long script too.
pub fn hot(ctx: &Ctx<'_>, request: &Request<'_>, now_ms: i64) -> Result<Response, L1Miss> {
    let database = ctx.database();
    CACHE.with(|cache| {
        let Some(key) = cache.l1.as_ref().map(|l1| l1.key(database, request)) else {
            return Err(L1Miss(None));
        };
        cache.hot(database, request.tier, &key, now_ms).ok_or(L1Miss(Some(key)))
    })
}

/// What packed answers are unpacked into, to be sent.
static BUFFER: MainThread<Vec<u8>> = MainThread::new(Vec::new());

/// How large a buffer is kept for the next.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Runs `body` with an entry's answer.
pub fn read<R>(entry: &Entry, body: impl FnOnce(&[u8]) -> R) -> Result<R, CommandError> {
    BUFFER.with(|buffer| {
        let result = entry.read(buffer).map(body).map_err(|_| CommandError::Internal);
        if buffer.capacity() > BUFFER_BYTES {
            *buffer = Vec::new();
        }
        result
    })
}

/// Gives the fresh answer that a key holds for a request that is not hot, and has it in L1 from now on.
pub fn give(
    ctx: &Ctx<'_>,
    mut key: Key<'_>,
    request: &Request<'_>,
    L1Miss(hot_key): L1Miss,
    now_ms: i64,
    reply: impl FnOnce(&[u8]),
) -> Result<(), CommandError> {
    let Content::Value::<Entry>(entry) = key.content() else { return Err(CommandError::Internal) };
    let again = hot_key.is_some() && entry.is_requested_again(now_ms);
    let decompressed = read(entry, |bytes| {
        reply(bytes);
        (again && entry.raw().is_none()).then(|| Response::new(bytes))
    })?;
    count_hit(ctx, request.tier, entry, now_ms);
    if let Some(hot_key) = hot_key {
        admit(ctx, &mut key, request, hot_key, now_ms, decompressed);
    }
    Ok(())
}

/// Takes the answer that a key holds into L1: a raw one, or a packed one that has been unpacked for it.
fn admit(
    ctx: &Ctx<'_>,
    key: &mut Key<'_>,
    request: &Request<'_>,
    hot_key: L1Key,
    now_ms: i64,
    decompressed: Option<Response>,
) {
    let database = ctx.database();
    let expires_at = key.expires_at().unwrap_or(i64::MAX);
    let Some(entry) = key.value_mut::<Entry>() else { return };
    let Some(handle) = entry.handle() else { return };
    let location = (database, handle);
    let until_ms = expires_at.min(entry.fresh_until_ms.get());
    match CACHE.with(|cache| cache.refresh(location, request, &hot_key, until_ms, now_ms)) {
        Refreshed::Was { uses } => return key.count_uses(uses),
        Refreshed::MayNot => return,
        Refreshed::New => {}
    }
    if let Some(response) = decompressed {
        let before = entry.size();
        entry.decompress(response);
        let after = entry.size();
        CACHE.with(|cache| cache.index(database).resize(handle, before, after));
    }
    let Some(response) = entry.raw().cloned() else { return };
    let hot = L1Entry {
        location,
        response,
        until_ms: Cell::new(until_ms),
        cost_ms: entry.cost_ms,
        touched_ms: Cell::new(now_ms),
        untouched_hits: Cell::new(0),
    };
    let left = CACHE.with(|cache| cache.l1.as_mut().map(|l1| l1.insert(hot_key, hot)));
    if let Some(left) = left.filter(|left| !left.is_empty()) {
        compressor::add_all(ctx, left);
    }
}

/// What L1 says to an answer that was given from its key.
enum Refreshed {
    /// It has it, and knows now that its key was opened; it gave it so often since the last time.
    Was { uses: u32 },
    /// It has not, and here it belongs.
    New,
    /// L1 is off; or another persona's answer was given, whose readers have other rights perhaps.
    MayNot,
}

impl Cache {
    fn refresh(
        &mut self,
        (database, handle): Location,
        request: &Request<'_>,
        hot_key: &L1Key,
        until_ms: i64,
        now_ms: i64,
    ) -> Refreshed {
        let Some(l1) = &self.l1 else { return Refreshed::MayNot };
        let located = self.databases.get(&database).and_then(|index| index.located(handle));
        if located.is_none_or(|located| located.persona != request.persona) {
            return Refreshed::MayNot;
        }
        match l1.get(hot_key).filter(|hot| hot.location == (database, handle)) {
            Some(hot) => {
                hot.until_ms.set(until_ms);
                hot.touched_ms.set(now_ms);
                Refreshed::Was { uses: hot.untouched_hits.take() }
            }
            None => Refreshed::New,
        }
    }

    /// An L1 of the size that is set, in the place of the one there is: which is given back with what it held.
    fn renew_l1(&mut self, max_bytes: u64, secret: [u64; 4]) -> Option<L1> {
        let new = (max_bytes > 0).then(|| L1::new(max_bytes, secret));
        std::mem::replace(&mut self.l1, new)
    }
}

/// Makes L1 as large as is set. Costs one comparison where it is.
pub fn follow_settings(ctx: &Ctx<'_>) {
    let wanted = config::L1_MAX_BYTES.get();
    if CACHE.with(|cache| cache.l1.as_ref().map_or(0, L1::max_bytes)) != wanted {
        renew_l1(ctx);
    }
}

/// Empties L1, or makes it of another size. What was in it is cold now.
fn renew_l1(ctx: &Ctx<'_>) {
    let [a, b] = [ctx.random(), ctx.random()].map(u128::from_le_bytes);
    let secret = [a as u64, (a >> 64) as u64, b as u64, (b >> 64) as u64];
    let Some(old) = CACHE.with(|cache| cache.renew_l1(config::L1_MAX_BYTES.get(), secret)) else { return };
    compressor::add_all(ctx, old.locations());
    let large = old.len() as u64 > FREE_INLINE;
    free(large, old);
}

/// Frees on a thread of its own what is large.
fn free<T: Send + 'static>(large: bool, gone: T) {
    if large {
        // Where no thread can be had, the closure is dropped here, and what it holds with it.
        let _ = thread::Builder::new().name("chatcache-free".into()).spawn(move || drop(gone));
    }
}

/// Forgets all of one database, or of every one.
pub fn emptied(ctx: &Ctx<'_>, database: Option<i32>) {
    let gone = CACHE.with(|cache| cache.empty(database));
    let entries: u64 = gone.iter().map(|index| index.entries() + index.pending()).sum();
    // Where there was no answer, none was hot.
    if !gone.is_empty() {
        renew_l1(ctx);
    }
    free(entries > FREE_INLINE, gone);
}

/// Two databases have changed places.
pub fn swapped(ctx: &Ctx<'_>, first: i32, second: i32) {
    let known = |database| CACHE.with(|cache| cache.known_index(database).is_some());
    if known(first) || known(second) {
        renew_l1(ctx);
    }
    CACHE.with(|cache| cache.swap(first, second));
    compressor::swapped(first, second);
}

/// A key's TTL is another now.
pub fn retimed(ctx: &Ctx<'_>, name: &[u8]) {
    // EXPIRE of any key of the server comes by here.
    let nobody_hot = CACHE.with(|cache| cache.l1.as_ref().is_none_or(L1::is_empty));
    if nobody_hot || !key_name::may_be_ours(name) {
        return;
    }
    let key = ctx.open_peek(name);
    let Content::Value::<Entry>(entry) = key.content() else { return };
    if let Some(handle) = entry.handle() {
        CACHE.with(|cache| cache.remove_from_l1((key.database(), handle)));
    }
}
