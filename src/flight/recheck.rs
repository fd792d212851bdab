//! A look into the key for clients that wait for its response, which may have come by COPY, RENAME or RESTORE.
//!
//! All waiters of one key share one look, so a compressed response is decompressed once, and one user's rights are
//! asked once.

use crate::cache::CACHE;
use crate::cache::lookup::{is_fresh, read};
use crate::cache::rights;
use crate::entry::{Encoding, Entry};
use crate::lease::WaiterId;
use crate::redis::{Caller, Content, Ctx, Key};
use crate::request::fingerprint::Fingerprint;
use crate::tier::Tier;
use std::collections::HashMap;
use std::sync::Arc;

use super::reply::ms_until;
use super::state::{FLIGHT, StoredResponse};

/// A response, and the users that may have it, each asked once.
pub(super) struct Sharing {
    response: StoredResponse,
    rights: HashMap<Caller, bool>,
}

impl Sharing {
    pub fn new(response: StoredResponse) -> Self {
        Sharing { response, rights: HashMap::new() }
    }

    /// Returns the response if the waiter's user may have it by its present rights.
    pub fn for_waiter(&mut self, waiter: WaiterId) -> Option<&StoredResponse> {
        let caller = FLIGHT.with(|flight| Some(flight.as_ref()?.waiting.get(&waiter)?.caller.clone()))?;
        let StoredResponse { tier, persona, .. } = &self.response;
        let may_have =
            self.rights.entry(caller).or_insert_with_key(|caller| rights::may_fetch(caller, *tier, persona));
        may_have.then_some(&self.response)
    }
}

/// The place in which a waiter's response would stand.
#[derive(PartialEq)]
struct Place {
    database: i32,
    tier: Tier,
    key: Arc<[u8]>,
    fingerprint: Fingerprint,
}

/// The last look: its place, and the fresh response there.
#[derive(Default)]
pub(super) struct Look(Option<(Place, Option<Sharing>)>);

impl Look {
    /// Returns the fresh response that the waiter waits for, if there is one that its user may have.
    pub fn find(&mut self, ctx: &Ctx<'_>, waiter: WaiterId) -> Option<&StoredResponse> {
        let place = FLIGHT.with(|flight| {
            let client = flight.as_ref()?.waiting.get(&waiter)?;
            let (database, tier) = (client.lease_key.database, client.lease_key.tier);
            Some(Place { database, tier, key: client.key.clone(), fingerprint: client.fingerprint })
        })?;
        if self.0.as_ref().is_none_or(|(last, _)| *last != place) {
            let found = look(ctx, &place).map(Sharing::new);
            self.0 = Some((place, found));
        }
        self.0.as_mut()?.1.as_mut()?.for_waiter(waiter)
    }
}

fn look(ctx: &Ctx<'_>, place: &Place) -> Option<StoredResponse> {
    let selected = ctx.database();
    if !ctx.select(place.database) {
        return None;
    }
    let key = ctx.open_peek(&place.key);
    let found = match key.content::<Entry>() {
        Content::Value(entry)
            if *entry.fingerprint() == place.fingerprint && is_fresh(ctx, place.database, entry) =>
        {
            stored_response(ctx, place, &key, entry)
        }
        _ => None,
    };
    ctx.select(selected);
    found
}

fn stored_response(ctx: &Ctx<'_>, place: &Place, key: &Key<'_>, entry: &Entry) -> Option<StoredResponse> {
    let Place { database, tier, .. } = *place;
    let handle = entry.handle()?;
    let persona = CACHE.with(|cache| cache.origin(database, handle))?.persona;
    let response = match entry.raw() {
        Some(raw) => raw.clone(),
        None => read(entry, |bytes| entry.encoded(Encoding::Raw, bytes)).ok()?,
    };
    let until_ms = key.expires_at().unwrap_or(i64::MAX).min(entry.fresh_until_ms());
    let fresh_ms = ms_until(until_ms, ctx.now_ms());
    Some(StoredResponse { database, tier, persona, handle, response, cost_ms: entry.cost_ms(), fresh_ms })
}
