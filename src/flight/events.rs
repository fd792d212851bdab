//! Events outside FETCH that end leases and waits: stored responses, invalidations, keys that others change, clients
//! that disconnect.

use crate::cache::rights::{self, Access};
use crate::entry::Response;
use crate::index::Handle;
use crate::lease::{LeaseKey, LeaseReport, LeaseTable, Step, StoredAs, VoidScope};
use crate::redis::Ctx;
use crate::request::Request;
use std::sync::Arc;

use super::lease_keys::{LeaseKeys, of_request};
use super::reply::{ms_until, parse_token};
use super::state::{FLIGHT, StoredResponse};
use super::steps::step;

/// Returns true if a lease is held, or a draft is remembered. Every waiter waits for one of them.
pub fn has_leases() -> bool {
    FLIGHT.with(|flight| flight.as_ref().is_some_and(|flight| !flight.table.is_empty()))
}

/// Brings the table an event that means nothing without leases.
fn step_if_leases(
    ctx: &Ctx<'_>,
    stored: Option<StoredResponse>,
    event: impl FnOnce(&mut LeaseTable, &mut Step<'_>),
) {
    if has_leases() {
        step(ctx, stored, event);
    }
}

/// The response to the request is stored: its lease ends, and its waiters get the response. `draft_of` is the token of
/// the lease whose draft it is, if any. It is fresh until `fresh_until_ms`, in Unix milliseconds; `i64::MAX` for ever.
pub fn stored(
    ctx: &Ctx<'_>,
    request: &Request<'_>,
    draft_of: Option<&[u8]>,
    response: &Response,
    cost_ms: u32,
    handle: Handle,
    fresh_until_ms: i64,
) {
    if !has_leases() {
        return;
    }
    let lease_keys = of_request(ctx, request);
    let LeaseKey { database, tier, .. } = lease_keys.open;
    let stored_as = draft_of.and_then(parse_token).map_or(StoredAs::Response, StoredAs::Draft);
    let persona = Arc::from(request.persona);
    let fresh_ms = ms_until(fresh_until_ms, ctx.now_ms());
    let stored =
        StoredResponse { database, tier, persona, handle, response: response.clone(), cost_ms, fresh_ms };
    step(ctx, Some(stored), |table, step| {
        lease_keys.each().for_each(|lease_key| table.stored(lease_key, stored_as, step));
    });
}

/// Voids leases whose responses have been invalidated: a response computed for them comes too late.
pub fn void(ctx: &Ctx<'_>, what: VoidScope<'_>) {
    step_if_leases(ctx, None, |table, step| table.void(what, step));
}

/// Voids the leases of one response.
pub fn void_response(ctx: &Ctx<'_>, lease_keys: &LeaseKeys) {
    for lease_key in lease_keys.each() {
        void(ctx, VoidScope::LeaseKey(*lease_key));
    }
}

/// Voids the leases of a request that the caller deletes, as far as the caller may write them.
pub fn void_request(ctx: &Ctx<'_>, request: &Request<'_>) {
    if !has_leases() {
        return;
    }
    let LeaseKeys { open, own } = of_request(ctx, request);
    let is_own = || {
        FLIGHT.with(|flight| {
            flight.as_ref().is_none_or(|flight| flight.table.is_for_persona(&open, request.persona))
        })
    };
    if open == own || is_own() || rights::has_all_keys(ctx, Access::Write) {
        void_response(ctx, &LeaseKeys { open, own });
    } else {
        void(ctx, VoidScope::LeaseKey(own));
    }
}

/// A response has come under a key by a command of the server's own.
pub fn appeared(ctx: &Ctx<'_>, lease_keys: &LeaseKeys) {
    step_if_leases(ctx, None, |table, step| {
        lease_keys.each().for_each(|lease_key| table.response_appeared(lease_key, step));
    });
}

/// The server has swapped the contents of two databases.
pub fn swapped(ctx: &Ctx<'_>, first: i32, second: i32) {
    step_if_leases(ctx, None, |table, step| table.swapped(first, second, step));
}

/// A client has disconnected.
pub fn client_gone(ctx: &Ctx<'_>, client: u64) {
    step_if_leases(ctx, None, |table, step| table.client_gone(client, step.now_ms));
}

/// Ends all leases and all waits: this server grants no more leases.
pub fn end_all(ctx: &Ctx<'_>) {
    step_if_leases(ctx, None, |table, step| table.end_all(step));
}

/// Returns the counters of the lease table, and its size.
pub fn report() -> LeaseReport {
    FLIGHT.with(|flight| flight.as_ref().map(|flight| flight.table.report()).unwrap_or_default())
}
