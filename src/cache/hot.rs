//! Hot responses: reads from L1, admission to it, and its agreement with the keyspace.
//!
//! L1 is never seen. A response leaves it in the moment in which its entry leaves its key (`remove_from_l1`), in which its
//! key gets another TTL (`retimed`), and in which its database is emptied or swapped. The index tells it of invalidations:
//! a hit counts only while the entry's handle is fresh there.

use crate::cache::l1::{Admission, L1, L1Entry, L1Key, Location};
use crate::cache::lookup::{Found, count_hit, read};
use crate::cache::state::{CACHE, Cache};
use crate::config;
use crate::entry::{Entry, Response};
use crate::index::{Index, Liveness};
use crate::redis::{Content, Ctx, TICK_MS, prefetch};
use crate::request::error::CommandError;
use crate::request::{Request, key_name};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::thread;

/// Milliseconds between two openings of a hot response's key: the server evicts the keys that are used least.
const TOUCH_MS: i64 = 1000;

/// An index or an L1 with more entries than this is freed on a thread of its own: that many take some milliseconds.
const FREE_INLINE: u64 = 20_000;

/// The bytes of a hot response that are prefetched. The response's own length is not known before they are there.
const HOT_PREFETCH: usize = 512;

/// The result of a read from L1.
pub enum HotLookup {
    /// The fresh response was served, and counted.
    Served,
    /// No response to serve from L1: the caller reads the key.
    Miss(L1Miss),
}

/// The state of L1 for a request that it did not serve. Admission uses it in place of a second look into L1.
pub enum L1Miss {
    /// L1 is off.
    Off,
    /// L1 does not hold the request's response.
    Absent(L1Key),
    /// L1 holds the response of this entry. Its time is over, or its key is due to be opened.
    Due(L1Key, Location),
}

/// Serves the fresh response to a request from L1, and counts it. `reply` gets the response, and the end of its freshness or
/// of its key in Unix milliseconds; `i64::MAX` for never.
///
/// The clock counts, and not the time at which a script around the command began: freshness ends within a long script too.
pub fn get(ctx: &Ctx<'_>, request: &Request<'_>, reply: impl FnOnce(&[u8], i64)) -> HotLookup {
    CACHE.with(|cache| cache.serve_hot(ctx, request, reply))
}

impl Cache {
    /// See `get`.
    fn serve_hot(
        &mut self,
        ctx: &Ctx<'_>,
        request: &Request<'_>,
        reply: impl FnOnce(&[u8], i64),
    ) -> HotLookup {
        let l1 = self.l1.as_ref().filter(|l1| l1.pause.lets_look());
        let Some(l1) = l1 else { return HotLookup::Miss(L1Miss::Off) };
        let database = ctx.database();
        let key = l1.key(database, request);
        let Some(hot) = l1.get(&key) else { return HotLookup::Miss(L1Miss::Absent(key)) };
        prefetch(hot.response.address(), HOT_PREFETCH);
        let miss = HotLookup::Miss(L1Miss::Due(key, hot.location));
        let until_ms = hot.until_ms.get();
        let tick_ms = ctx.tick_ms();
        let untouched_ms = tick_ms.saturating_sub(hot.touched_ms.get());
        if tick_ms.saturating_add(TICK_MS) >= until_ms || !(-TICK_MS..TOUCH_MS).contains(&untouched_ms) {
            return miss;
        }
        let (_, handle) = hot.location;
        let Some(index) = self.databases.get_mut(&database) else { return miss };
        // It is as it was at the last opening of its key, unless something was invalidated since then.
        let resolved = index.resolve_again(handle, hot.resolved.get());
        if resolved.liveness != Liveness::Fresh {
            return miss;
        }
        hot.resolved.set(resolved);
        // This calls nothing back.
        reply(&hot.response, until_ms);
        let saved_ms = hot.cost_ms.into();
        index.record_hit(resolved, saved_ms);
        hot.frequency.set(hot.frequency.get().after_hit(tick_ms));
        hot.untouched_hits.set(hot.untouched_hits.get().saturating_add(1));
        hot.response.count_hit();
        self.counters.count_hit(request.tier, saved_ms);
        self.counters.hits_l1 += 1;
        l1.pause.note_hit();
        HotLookup::Served
    }
}

/// Serves the fresh response of an entry, counts it, and admits it to L1 if it is requested often enough.
///
/// # Errors
/// `Internal` if the response cannot be decompressed.
pub fn serve(
    ctx: &Ctx<'_>,
    mut found: Found<'_>,
    request: &Request<'_>,
    miss: L1Miss,
    now_ms: i64,
    reply: impl FnOnce(&[u8]),
) -> Result<(), CommandError> {
    let database = ctx.database();
    let location = found.handle().map(|handle| (database, handle));
    let admission = match &miss {
        L1Miss::Absent(key) => weigh(&found, *key, Place::New, database, request, now_ms),
        L1Miss::Due(key, other) if location != Some(*other) => {
            weigh(&found, *key, Place::OfOlder, database, request, now_ms)
        }
        L1Miss::Due(..) | L1Miss::Off => None,
    };
    if let (L1Miss::Absent(_), None) = (&miss, &admission) {
        CACHE.with(|cache| cache.l1().iter().for_each(|l1| l1.pause.note_refusal()));
    }
    let decompressed = read(&found, |bytes| {
        reply(bytes);
        (admission.is_some() && found.raw().is_none()).then(|| Response::new(bytes))
    })?;
    count_hit(ctx, request.tier, &found, now_ms);
    match (admission, miss, location) {
        (Some(admission), _, Some(location)) => admit(&mut found, location, admission, now_ms, decompressed),
        (None, L1Miss::Due(key, other), _) if location == Some(other) => refresh(&mut found, &key, now_ms),
        _ => {}
    }
    Ok(())
}

/// The place that a response would take in L1.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// One of its own.
    New,
    /// That of an older response to the same request.
    OfOlder,
}

/// Asks L1 whether it admits the response of an entry.
fn weigh(
    found: &Found<'_>,
    key: L1Key,
    place: Place,
    database: i32,
    request: &Request<'_>,
    now_ms: i64,
) -> Option<Admission> {
    let frequency = found.frequency().after_hit(now_ms);
    if !frequency.is_milestone() {
        return None;
    }
    CACHE.with(|cache| {
        let (l1, bytes, frequency) = (cache.l1()?, found.raw_bytes() as usize, frequency.at(now_ms));
        if place == Place::New && !l1.may_admit(key, bytes, frequency) {
            return None;
        }
        // A response is hot only for requests that name its own persona: the rights of others may differ.
        let index = cache.known_index(database)?;
        if !index.is_owned_by(found.resolved, request.persona) {
            return None;
        }
        l1.weigh(key, bytes, frequency, now_ms)
    })
}

/// Tells L1 that the key of a hot response was opened, and tells the server how often it was served meanwhile.
fn refresh(found: &mut Found<'_>, key: &L1Key, now_ms: i64) {
    let until_ms = ends_at(found);
    let uses = CACHE.with(|cache| {
        let hot = cache.l1.as_ref()?.get(key)?;
        hot.resolved.set(found.resolved);
        hot.until_ms.set(until_ms);
        hot.touched_ms.set(now_ms);
        Some(hot.untouched_hits.take())
    });
    found.key.key_mut().count_uses(uses.unwrap_or(0));
}

/// Admits a response to L1: a raw one, or a compressed one that has been decompressed for it.
fn admit(
    found: &mut Found<'_>,
    location: Location,
    admission: Admission,
    now_ms: i64,
    decompressed: Option<Response>,
) {
    let until_ms = ends_at(found);
    if let Some(response) = decompressed {
        let (database, handle) = location;
        let before = found.size();
        found.key.decompress(response);
        let after = found.size();
        CACHE.with(|cache| cache.index(database).resize(handle, before, after));
    }
    let Some(response) = found.raw().cloned() else { return };
    let hot = L1Entry {
        location,
        resolved: Cell::new(found.resolved),
        response,
        until_ms: Cell::new(until_ms),
        cost_ms: found.cost_ms,
        frequency: Cell::new(found.frequency()),
        touched_ms: Cell::new(now_ms),
        untouched_hits: Cell::new(0),
    };
    CACHE.with(|cache| {
        if let Some(l1) = &mut cache.l1 {
            let left = l1.admit(admission, hot);
            cache.cooled.extend(left);
        }
    });
}

/// Returns the time at which the response is no longer fresh or its key expires, in Unix milliseconds; `i64::MAX` for
/// never.
pub fn ends_at(found: &Found<'_>) -> i64 {
    let expires_at = found.key.key().expires_at().unwrap_or(i64::MAX);
    expires_at.min(found.fresh_until_ms.get())
}

/// Makes L1 of the size that is set. This costs one comparison where it has that size.
pub fn follow_settings(ctx: &Ctx<'_>) {
    let wanted = config::L1_MAX_BYTES.get();
    if CACHE.with(|cache| cache.l1.as_ref().map_or(0, L1::max_bytes)) != wanted {
        renew_l1(ctx);
    }
}

/// The fate of the entries that a replaced L1 held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// They are cold from now on.
    Stay,
    /// They are gone.
    Gone,
}

/// Replaces L1 by an empty one of the size that is set. Its entries are cold from now on.
pub fn renew_l1(ctx: &Ctx<'_>) {
    replace_l1(ctx, Held::Stay);
}

fn replace_l1(ctx: &Ctx<'_>, held: Held) {
    let max_bytes = config::L1_MAX_BYTES.get();
    let [a, b] = [ctx.random(), ctx.random()].map(u128::from_le_bytes);
    let secret = [a as u64, (a >> 64) as u64, b as u64, (b >> 64) as u64];
    let old = CACHE.with(|cache| {
        let old = std::mem::replace(&mut cache.l1, (max_bytes > 0).then(|| L1::new(max_bytes, secret)))?;
        if held == Held::Stay {
            cache.cooled.extend(old.locations());
        }
        Some(old)
    });
    if let Some(old) = old {
        free(old.len() as u64 > FREE_INLINE, old);
    }
}

/// Frees a large value on a thread of its own.
fn free<T: Send + 'static>(large: bool, gone: T) {
    if large {
        // If the system gives no thread, the closure is dropped here, and the value with it.
        let _ = thread::Builder::new().name("chatcache-free".into()).spawn(move || drop(gone));
    }
}

/// Forgets all entries of one database, or of every one: the server is emptying it.
pub fn emptied(ctx: &Ctx<'_>, database: Option<i32>) {
    let taken = database.and_then(|database| CACHE.with(|cache| cache.take_from_l1(database)));
    let gone = CACHE.with(|cache| cache.take_indexes(database));
    // A database without entries has none in L1.
    if taken.is_none() && entries(&gone) > 0 {
        let others = CACHE.with(|cache| cache.indexes().any(|index| index.nodes() > 0));
        replace_l1(ctx, if others { Held::Stay } else { Held::Gone });
    }
    discard(gone);
}

/// Replaces what is known of all databases: the server has replaced their contents.
pub fn replaced(ctx: &Ctx<'_>, databases: BTreeMap<i32, Index>) {
    let gone = CACHE.with(|cache| cache.replace_indexes(databases));
    if entries(&gone) > 0 {
        replace_l1(ctx, Held::Gone);
    }
    discard(gone);
}

/// Frees indexes, on a thread of its own if they are large.
pub fn discard(indexes: Vec<Index>) {
    free(entries(&indexes) > FREE_INLINE, indexes);
}

/// Returns the number of entries, tombstones among them.
fn entries(indexes: &[Index]) -> u64 {
    indexes.iter().map(Index::nodes).sum()
}

/// Swaps what is known of two databases: the server has swapped their contents.
pub fn swapped(ctx: &Ctx<'_>, first: i32, second: i32) {
    let are_taken = CACHE.with(|cache| {
        [first, second].into_iter().all(|database| {
            // Tombstones too: L1 holds them until they are reclaimed.
            let Some(taken) = cache.take_from_l1(database) else { return false };
            cache.cooled.extend(taken.into_iter().map(|handle| (database, handle)));
            true
        })
    });
    if !are_taken {
        renew_l1(ctx);
    }
    CACHE.with(|cache| cache.swap_indexes(first, second));
}

/// Takes the entry of a key out of L1: the key has another TTL now.
pub fn retimed(ctx: &Ctx<'_>, name: &[u8]) {
    // The server reports EXPIRE of every key, whatever its type.
    let is_empty = CACHE.with(|cache| cache.l1.as_ref().is_none_or(L1::is_empty));
    if is_empty || !key_name::may_be_ours(name) {
        return;
    }
    let key = ctx.open_peek(name);
    let Content::Value::<Entry>(entry) = key.content() else { return };
    if let Some(handle) = entry.handle() {
        CACHE.with(|cache| cache.remove_from_l1((key.database(), handle)));
    }
}
