//! Blocked clients, from the block to the delivery of their replies.

use crate::lease::{LeaseKey, LeaveReason, WaiterId};
use crate::redis::{Blocked, Ctx, Waiting};
use crate::request::Request;
use indexmap::IndexMap;

use super::lease_keys::Audience;
use super::reply::{self, FetchReply};
use super::state::{DELIVERIES, FLIGHT, FinishedWait, Flight, WaitingClient};
use super::steps::step;

/// Blocks the caller, which the table has made this waiter.
pub(super) fn block(
    ctx: &Ctx<'_>,
    waiter: WaiterId,
    (lease_key, audience): (LeaseKey, Audience),
    request: &Request<'_>,
    key: &[u8],
) {
    let client = WaitingClient {
        blocked: ctx.block::<Waits>(),
        client: ctx.client(),
        lease_key,
        key: key.into(),
        fingerprint: request.fingerprint(),
        caller: ctx.caller(),
        persona: request.persona.into(),
        audience,
    };
    FLIGHT.with(|flight| {
        let flight = flight.get_or_insert_with(Flight::new);
        flight.by_client.insert(client.client, waiter);
        flight.waiting.insert(waiter, client);
    });
}

/// Delivers the replies of finished waits, of the first `DELIVERIES` of them: each unblocked client wakes the event loop, so
/// the next turn comes at once, after the commands of other clients. Call this just before the event loop sleeps.
pub fn deliver() {
    let finished: Vec<FinishedWait> = FLIGHT.with(|flight| {
        let Some(flight) = flight else { return Vec::new() };
        flight.has_advanced = false;
        flight.knows_epoch = false;
        let count = flight.finished.len().min(DELIVERIES);
        let finished = flight.finished.drain(..count).map(|(_, finished)| finished).collect();
        if flight.finished.is_empty() {
            flight.finished = IndexMap::new();
        }
        finished
    });
    for FinishedWait { blocked, reply, .. } in finished {
        blocked.unblock::<Waits>(reply);
    }
}

/// The waiting clients, as the server's callbacks see them.
struct Waits;

impl Waiting for Waits {
    type Reply = FetchReply;

    fn reply(ctx: &Ctx<'_>, reply: &FetchReply) {
        reply::reply(ctx, reply);
    }

    fn timed_out(ctx: &Ctx<'_>, client: u64) -> Option<Blocked> {
        if let Some(FinishedWait { blocked, reply, .. }) = take_finished(client) {
            reply::reply(ctx, &reply);
            return Some(blocked);
        }
        let left = FLIGHT.with(|flight| flight.as_mut()?.leave(client, LeaveReason::TimedOut));
        let (blocked, ms) = left?;
        reply::reply(ctx, &FetchReply::Busy { ms });
        Some(blocked)
    }

    fn disconnected(ctx: &Ctx<'_>, client: u64) -> Option<Blocked> {
        if let Some(FinishedWait { blocked, lease_key, reply }) = take_finished(client) {
            // The client was not told of this lease, so it passes on to the next waiter.
            if let FetchReply::Lease { token, .. } = reply {
                step(ctx, None, |table, step| table.release(&lease_key, &token, step));
            }
            return Some(blocked);
        }
        let left = FLIGHT.with(|flight| flight.as_mut()?.leave(client, LeaveReason::Gone));
        left.map(|(blocked, _)| blocked)
    }
}

fn take_finished(client: u64) -> Option<FinishedWait> {
    FLIGHT.with(|flight| flight.as_mut()?.finished.shift_remove(&client))
}
