//! The only way to read an entry by its key.
//!
//! A lookup gives an entry to a request only where three agree: the key has the request's name, the entry has the
//! request's fingerprint, and the index says that the entry is live.

use crate::cache::state::{CACHE, Cache};
use crate::entry::{ALWAYS_FRESH, Entry, Response};
use crate::index::{Index, Liveness, Resolved};
use crate::redis::{Ctx, Key, MainThread, Typed, TypedKey};
use crate::request::Request;
use crate::request::error::CommandError;
use crate::stats::Counters;
use crate::tier::Tier;
use std::ops::Deref;

/// The result of a lookup.
pub enum Lookup<'c> {
    /// The key does not exist, or has expired.
    Missing(Key<'c>),
    /// The key holds an entry that does not serve this request: a tombstone, or the entry of another message whose MD5
    /// is the same.
    Mismatch(Found<'c>),
    /// The key holds the response, of a persona that the caller may not read. Only `rights::visible` makes this one.
    Forbidden,
    /// The key holds the response, past its freshness and inside its grace.
    Stale(Found<'c>),
    /// The key holds the fresh response.
    Fresh(Found<'c>),
}

/// An entry in its open key, and its place in the index.
pub struct Found<'c> {
    /// The key, opened.
    pub key: TypedKey<'c, Entry>,
    /// The walk through the index, for all who need it while the command runs.
    pub resolved: Resolved,
}

impl Deref for Found<'_> {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.key
    }
}

impl<'c> Lookup<'c> {
    /// Returns the entry that serves the request, fresh or stale.
    pub fn response(&self) -> Option<&Found<'c>> {
        match self {
            Lookup::Fresh(found) | Lookup::Stale(found) => Some(found),
            Lookup::Missing(_) | Lookup::Mismatch(_) | Lookup::Forbidden => None,
        }
    }

    /// Returns the entry in the key, whether or not it serves the request.
    pub fn occupant(&self) -> Option<&Found<'c>> {
        match self {
            Lookup::Fresh(found) | Lookup::Stale(found) | Lookup::Mismatch(found) => Some(found),
            Lookup::Missing(_) | Lookup::Forbidden => None,
        }
    }
}

/// Looks into an open key for the request that has its name. `now_ms` is the command's one reading of the clock: each
/// reading costs as much as a lookup in L1.
///
/// # Errors
/// `WrongType` if the key holds a value of another type.
pub fn lookup<'c>(
    ctx: &Ctx<'_>,
    key: Key<'c>,
    request: &Request<'_>,
    now_ms: i64,
) -> Result<Lookup<'c>, CommandError> {
    let key = match key.typed::<Entry>() {
        Typed::Missing(key) => return Ok(Lookup::Missing(key)),
        Typed::OtherType => return Err(CommandError::WrongType),
        Typed::Value(key) => key,
    };
    // The response is rarely in the processor's caches: it arrives while the fingerprint is computed.
    key.prefetch();
    let fingerprint = request.fingerprint();
    let is_same_request = *key.fingerprint() == fingerprint;
    let database = ctx.database();
    let resolved = CACHE.with(|cache| cache.resolve_again(database, &key));
    let found = Found { key, resolved };
    if !is_same_request {
        return Ok(Lookup::Mismatch(found));
    }
    Ok(match resolved.liveness {
        Liveness::Dead => Lookup::Mismatch(found),
        Liveness::Fresh if is_in_time(&found, now_ms) => Lookup::Fresh(found),
        Liveness::Fresh | Liveness::Stale => Lookup::Stale(found),
    })
}

/// Returns true if the entry may be served as fresh.
pub fn is_fresh(ctx: &Ctx<'_>, database: i32, entry: &Entry) -> bool {
    let resolved = CACHE.with(|cache| cache.resolve(database, entry.handle()));
    resolved.liveness == Liveness::Fresh && is_in_time(entry, ctx.now_ms())
}

/// Returns true if SOFTINVALIDATE has made the entry stale.
pub fn is_softly_stale(database: i32, entry: &Entry) -> bool {
    CACHE.with(|cache| cache.resolve(database, entry.handle())).liveness == Liveness::Stale
}

/// Returns true if the entry's time of freshness is not over.
fn is_in_time(entry: &Entry, now_ms: i64) -> bool {
    let until_ms = entry.fresh_until_ms();
    until_ms == ALWAYS_FRESH || now_ms < until_ms
}

/// Counts a fresh response that was served from its key.
pub fn count_hit(ctx: &Ctx<'_>, tier: Tier, found: &Found<'_>, now_ms: i64) {
    count(ctx, tier, found, now_ms, |counters| counters.count_hit(tier));
}

/// Counts a stale response that was served.
pub fn count_stale_hit(ctx: &Ctx<'_>, tier: Tier, found: &Found<'_>, now_ms: i64) {
    count(ctx, tier, found, now_ms, |counters| counters.stale_hits += 1);
}

fn count(ctx: &Ctx<'_>, tier: Tier, found: &Found<'_>, now_ms: i64, count_kind: impl FnOnce(&mut Counters)) {
    CACHE.with(|cache| {
        if let Some(database) = cache.databases.get_mut(&ctx.database()) {
            count_kind(&mut cache.counters);
            count_served(&mut cache.counters, &mut database.index, found, found.resolved, tier, now_ms);
        }
    });
}

/// Counts a response that was served: its own hits, its persona's, and the time that it saved.
pub(super) fn count_served(
    counters: &mut Counters,
    index: &mut Index,
    response: &Response,
    resolved: Resolved,
    tier: Tier,
    now_ms: i64,
) {
    let saved_ms = response.cost_ms().into();
    response.count_hit(now_ms);
    counters.count_saved(tier, saved_ms);
    index.record_hit(resolved, saved_ms);
}

/// The most bytes that the statistics of personas without entries take in all databases after a miss: as many as the
/// index allows in one database.
const MAX_IDLE_BYTES: u64 = 1 << 20;

/// Counts a read that found no response, for the server and for the persona.
pub fn count_miss(ctx: &Ctx<'_>, persona: &[u8]) {
    CACHE.with(|cache| {
        cache.counters.misses += 1;
        let index = cache.index(ctx.database());
        let before = index.idle().bytes;
        index.record_miss(persona);
        if index.idle().bytes > before {
            bound_idle(cache);
        }
    });
}

/// Keeps the statistics of personas without entries within `MAX_IDLE_BYTES`. The database with the most forgets all of
/// them first, so a client that floods one database takes nothing from the others.
fn bound_idle(cache: &mut Cache) {
    let mut bytes: u64 = cache.indexes().map(|index| index.idle().bytes).sum();
    while bytes > MAX_IDLE_BYTES {
        let Some(largest) = cache.indexes_mut().max_by_key(|index| index.idle().bytes) else {
            return;
        };
        bytes = bytes.saturating_sub(largest.idle().bytes);
        largest.forget_idle();
    }
}

/// Compressed responses are decompressed into this buffer, to be sent.
static BUFFER: MainThread<Vec<u8>> = MainThread::new(Vec::new());

/// A larger buffer is freed after use, in bytes.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Runs `body` with a response, decompressed if need be.
///
/// # Errors
/// `Internal` if the response cannot be decompressed.
pub fn read<R>(response: &Response, body: impl FnOnce(&[u8]) -> R) -> Result<R, CommandError> {
    BUFFER.with(|buffer| {
        let result = response.read(buffer).map(body).map_err(|_| CommandError::Internal);
        if buffer.capacity() > BUFFER_BYTES {
            *buffer = Vec::new();
        }
        result
    })
}
