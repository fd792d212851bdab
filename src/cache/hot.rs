//! Admission to L1, and its size.

use crate::cache::l1::{Admission, Candidate, L1};
use crate::cache::location::Location;
use crate::cache::lookup::Found;
use crate::cache::state::{CACHE, free};
use crate::config;
use crate::entry::Response;

/// Returns a response's application for L1 at a hit that is not counted yet, or None if L1 holds it, it is not asked about at
/// this hit, or L1 would refuse it at once.
pub(super) fn application(l1: &L1, response: &Response, now_ms: i64) -> Option<Candidate> {
    if !response.applies_for_l1(now_ms) || l1.holds(response) {
        return None;
    }
    let candidate = Candidate {
        finder: response.request_hash(),
        raw_bytes: response.raw_bytes(),
        frequency: response.frequency().after_hit(now_ms).at(now_ms),
    };
    l1.may_admit(candidate).then_some(candidate)
}

/// Asks L1 whether it admits the response of an entry, which is in the request table and whose hit is not counted yet.
pub(super) fn weigh(found: &Found<'_>, now_ms: i64) -> Option<Admission> {
    CACHE.with(|cache| {
        let l1 = cache.l1()?;
        l1.weigh(application(l1, found, now_ms)?, now_ms)
    })
}

/// Admits a raw response to L1.
pub(super) fn admit(admission: Admission, location: Location, response: &Response) {
    CACHE.with(|cache| {
        if let Some(l1) = &mut cache.l1 {
            let left = l1.admit(admission, location, response);
            cache.cooled.extend(left);
        }
    });
}

/// Makes L1 of the size that is set. This costs one comparison where it has that size.
pub fn follow_settings() {
    if CACHE.with(|cache| cache.l1.as_ref().map_or(0, L1::max_bytes)) != config::L1_MAX_BYTES.get() {
        renew_l1(Held::Stay);
    }
}

/// The fate of the entries that a replaced L1 held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// They are cold from now on.
    Stay,
    /// They are gone.
    Gone,
}

/// Replaces L1 by an empty one of the size that is set.
pub fn renew_l1(held: Held) {
    let max_bytes = config::L1_MAX_BYTES.get();
    let old = CACHE.with(|cache| {
        let old = std::mem::replace(&mut cache.l1, (max_bytes > 0).then(|| L1::new(max_bytes)))?;
        if held == Held::Stay {
            // At once: a list that grows step by step is copied again and again.
            cache.cooled.reserve(old.len());
            cache.cooled.extend(old.locations());
        }
        Some(old)
    });
    if let Some(old) = old {
        free(old.len() as u64, old);
    }
}
