//! Reads of fresh responses: through the request table, or from the key.
//!
//! A read through the table opens no key. It is never seen: a response leaves the table in the moment in which its entry
//! leaves its key (`Cache::forget`), and it is served only while the entry's handle is fresh in the index and its time is
//! not over. Its key is opened all the same from time to time, since the server evicts the keys that are used least, and since
//! another module may have changed the TTL without notice.

use crate::cache::hot;
use crate::cache::lookup::{Found, count_hit, count_served, read};
use crate::cache::state::{CACHE, Cache};
use crate::config;
use crate::entry::{Encoding, Entry, Response};
use crate::index::Liveness;
use crate::redis::{Content, Ctx, TICK_MS};
use crate::request::error::CommandError;
use crate::request::{Request, key_name};

/// Most seconds between two openings of a response's key while the server may evict keys.
const OPEN_EACH_S_WITH_EVICTION: i64 = 1;

/// The result of a read through the request table.
pub enum Read {
    /// The fresh response was served, and counted.
    Served,
    /// The caller reads the key.
    OpenKey,
}

/// Serves the fresh response to a request without its key, and counts it. `reply` gets the response, the end of its
/// freshness or of its key (`i64::MAX` for never), and the latest that the time can be now, both in Unix milliseconds.
///
/// The clock counts, and not the time at which a script around the command began: freshness ends within a long script too.
pub fn get(ctx: &Ctx<'_>, request: &Request<'_>, reply: impl FnOnce(&[u8], i64, i64)) -> Read {
    match CACHE.with(|cache| cache.serve(ctx, request, reply)) {
        Some(()) => Read::Served,
        None => Read::OpenKey,
    }
}

/// The coarse clock is trusted for a response that ends later than this, in milliseconds. It is late by more than a tick while
/// the machine is busy (15.7 ms were seen in a virtual machine with ticks of 4 ms).
const COARSE_MS: i64 = 1000;

/// Returns the latest that the time can be now, for a response of this end, by the coarse clock or the exact one.
fn latest(tick_ms: i64, ends_ms: i64, exact_ms: impl FnOnce() -> i64) -> i64 {
    match tick_ms.saturating_add(COARSE_MS) < ends_ms {
        true => tick_ms.saturating_add(TICK_MS),
        false => exact_ms(),
    }
}

impl Cache {
    /// See `get`.
    fn serve(
        &mut self,
        ctx: &Ctx<'_>,
        request: &Request<'_>,
        reply: impl FnOnce(&[u8], i64, i64),
    ) -> Option<()> {
        let database =
            self.databases.get_mut(&ctx.database()).filter(|database| !database.requests.is_empty())?;
        let response = database.requests.get(&self.hasher.hash(request))?;
        let tick_ms = ctx.tick_ms();
        let ends_ms = response.ends_ms();
        let latest_ms = latest(tick_ms, ends_ms, || ctx.now_ms());
        let unopened_s = response.unopened_s(tick_ms);
        if latest_ms >= ends_ms
            || i64::from(unopened_s) >= self.open_each_s
            || may_be_retimed(self.lost_sight_ms, unopened_s, tick_ms)
        {
            return None;
        }
        // It is as it was at the last opening of its key, unless something was invalidated since then.
        let resolved = database.resolve_again(response);
        if resolved.liveness != Liveness::Fresh {
            return None;
        }
        // The key is needed to decompress it for good.
        if self.l1.as_ref().is_some_and(|l1| hot::application(l1, response, tick_ms).is_some()) {
            return None;
        }
        let is_hot = self.l1.as_ref().is_some_and(|l1| l1.holds(response));
        // This calls nothing back.
        read(response, |bytes| reply(bytes, ends_ms, latest_ms)).ok()?;
        response.count_unopened_hit();
        self.counters.count_hit(request.tier);
        self.counters.hits_l1 += u64::from(is_hot);
        count_served(&mut self.counters, &mut database.index, response, resolved, request.tier, tick_ms);
        Some(())
    }

    /// Notes that the key of a fresh response was opened for a request. The request finds the response through the table from
    /// now on, if it names its persona. Returns the hits that the server did not see, and None if the response is in no table.
    fn note_opened(
        &mut self,
        database: i32,
        found: &Found<'_>,
        request: &Request<'_>,
        tick_ms: i64,
    ) -> Option<u16> {
        let ends_ms = ends_at(found);
        let database = self.databases.get_mut(&database)?;
        let response = found.response();
        if response.request_hash() == 0 {
            // The rights to another persona's response may differ.
            if !database.index.is_owned_by(found.resolved, request.persona) {
                return None;
            }
            database.requests.insert(&self.hasher.hash(request), response);
        }
        Some(response.note_opened(tick_ms, ends_ms))
    }

    /// Takes a response out of the table and out of L1: its entry leaves its key.
    pub fn forget(&mut self, database: i32, response: &Response) {
        if let Some(l1) = &mut self.l1 {
            l1.remove(response);
        }
        if let Some(database) = self.databases.get_mut(&database) {
            database.requests.remove(response);
        }
    }

    /// Runs `body`, which may move a response in memory, while the table has no share in it.
    pub fn relocate(&mut self, database: i32, response: &mut Response, body: impl FnOnce(&mut Response)) {
        match self.databases.get_mut(&database) {
            Some(database) => database.requests.relocate(response, body),
            None => body(response),
        }
    }

    /// Puts a response in another encoding in the place of the one before, which is not in L1.
    pub fn replace(&mut self, database: i32, old: &Response, entry: &Entry) {
        let Some(database) = self.databases.get_mut(&database) else { return };
        database.requests.replace(old, entry.response());
        if let Some(handle) = entry.handle() {
            database.index.resize(handle, old.size(), entry.size());
        }
    }
}

/// Serves the fresh response of an entry from its key, and counts it. The request finds it without the key from now on, and
/// L1 admits it if it is requested often enough.
///
/// # Errors
/// `Internal` if the response cannot be decompressed.
pub fn serve(
    ctx: &Ctx<'_>,
    mut found: Found<'_>,
    request: &Request<'_>,
    now_ms: i64,
    reply: impl FnOnce(&[u8]),
) -> Result<(), CommandError> {
    let (database, tick_ms) = (ctx.database(), ctx.tick_ms());
    let unseen = CACHE.with(|cache| cache.note_opened(database, &found, request, tick_ms));
    let admission = unseen.and_then(|_| hot::weigh(&found, now_ms));
    let raw = read(&found, |bytes| {
        reply(bytes);
        (admission.is_some() && !found.is_raw()).then(|| found.encoded(Encoding::Raw, bytes))
    })?;
    if let Some(raw) = raw {
        let old = found.key.replace(raw);
        CACHE.with(|cache| cache.replace(database, &old, &found.key));
    }
    count_hit(ctx, request.tier, &found, now_ms);
    found.key.key_mut().count_uses(unseen.unwrap_or(0).into());
    if let (Some(admission), Some(handle)) = (admission, found.handle()) {
        hot::admit(admission, (database, handle), &found);
    }
    Ok(())
}

/// Returns the time at which the response is no longer fresh or its key expires, in Unix milliseconds; `i64::MAX` for
/// never.
pub fn ends_at(found: &Found<'_>) -> i64 {
    let expires_at = found.key.key().expires_at().unwrap_or(i64::MAX);
    expires_at.min(found.fresh_until_ms())
}

/// Makes the next read of an entry open its key: the key has another TTL now.
pub fn retimed(ctx: &Ctx<'_>, name: &[u8]) {
    // The server reports EXPIRE of every key, whatever its type.
    let database = ctx.database();
    let is_empty = CACHE
        .with(|cache| cache.databases.get(&database).is_none_or(|database| database.requests.is_empty()));
    if is_empty || !key_name::may_be_ours(name) {
        return;
    }
    let key = ctx.open_peek(name);
    match key.content::<Entry>() {
        Content::Value(entry) => entry.forget_end(),
        Content::OtherType => {}
        // A writable replica keeps a key that was expired by hand, and does not open it.
        Content::Missing => {
            let tick_ms = ctx.tick_ms();
            CACHE.with(|cache| cache.lost_sight_ms = Some(tick_ms));
        }
    }
}

/// Returns true if a response whose key was opened this many seconds ago may have got a TTL that could not be read, at
/// `lost_sight_ms`.
fn may_be_retimed(lost_sight_ms: Option<i64>, unopened_s: u16, now_ms: i64) -> bool {
    lost_sight_ms.is_some_and(|at_ms| i64::from(unopened_s) * 1000 + 1000 >= now_ms.saturating_sub(at_ms))
}

/// Follows the setting, and asks the server now and then if it may evict keys. Call it before the event loop sleeps.
pub fn follow_settings(ctx: &Ctx<'_>) {
    let second = ctx.tick_ms() / 1000;
    CACHE.with(|cache| {
        if std::mem::replace(&mut cache.eviction_asked_s, second) != second {
            cache.may_evict = ctx.may_evict();
        }
        let most_s = if cache.may_evict { OPEN_EACH_S_WITH_EVICTION } else { i64::MAX };
        cache.open_each_s = config::KEY_CHECK_S.get().min(most_s);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coarse_clock_that_is_late_serves_no_response_past_its_end() {
        for late_ms in [0, 4, 15, 999] {
            let (now_ms, tick_ms) = (100_000, 100_000 - late_ms);
            for ends_ms in [i64::MIN, now_ms - 1, now_ms, now_ms + 1, now_ms + 990] {
                assert_eq!(latest(tick_ms, ends_ms, || now_ms) < ends_ms, now_ms < ends_ms);
            }
        }
        assert!(latest(100_000, i64::MAX, || panic!("the exact clock")) < i64::MAX);
    }
}
