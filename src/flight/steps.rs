//! One event in the lease table, what it wakes, and the timer for the next deadline.
//!
//! Ends of many leases, and news for many readers, come in slices. In a turn of the event loop the first event handles one
//! batch of them, and the timer more of them for at most a millisecond. Were it a batch for each event, a thousand readers
//! that ask for more in one turn would have all the others woken in it.

use crate::cache::CACHE;
use crate::lease::{DraftNews, LeaseTable, LeaveReason, Step, VoidScope, WaitOutcome, WaiterId, Wake};
use crate::redis::{Ctx, OneTimer, Timer};
use crate::request::key_name::Layout;
use std::time::{Duration, Instant};

use super::reader_rights::Readers;
use super::recheck::{Look, Sharing};
use super::reply::FetchReply;
use super::state::{BEGIN, DELIVERIES, FLIGHT, Flight, StoredResponse, now_ms};

/// Leases and waits that end between two readings of the clock: each takes a few microseconds.
const BATCH: usize = 64;

/// The longest time for which the timer ends leases and waits in one turn of the event loop.
const SLICE: Duration = Duration::from_millis(1);

static NEXT_DEADLINE: OneTimer<Deadline> = OneTimer::new();

/// Brings the table an event, and wakes the clients that it concerns. `stored` is the response that has come, if any.
pub(super) fn step<R>(
    ctx: &Ctx<'_>,
    stored: Option<StoredResponse>,
    event: impl FnOnce(&mut LeaseTable, &mut Step<'_>) -> R,
) -> R {
    act(ctx, stored, |flight, step| {
        let result = event(&mut flight.table, step);
        if !flight.has_advanced && flight.table.has_backlog(step.now_ms) {
            flight.has_advanced = true;
            flight.table.advance(step, BATCH);
        }
        result
    })
}

/// Voids all leases if cluster slots have come to this node since the last look: another node may have served their personas
/// meanwhile, and their INVALIDATE did not come here. Call it before a lease is granted or its token is believed. A slot is
/// away for more than one turn of the event loop, so one look a turn is enough.
pub(super) fn follow_slots(ctx: &Ctx<'_>) {
    let is_known = || FLIGHT.with(|flight| flight.as_ref().is_some_and(|flight| flight.knows_epoch));
    if CACHE.with(|cache| cache.layout) == Layout::Single || is_known() {
        return;
    }
    let epoch = ctx.cluster_epoch();
    let before = FLIGHT.with(|flight| {
        let flight = flight.get_or_insert_with(Flight::new);
        flight.knows_epoch = true;
        std::mem::replace(&mut flight.epoch, epoch)
    });
    if before.is_some() && before != epoch {
        step(ctx, None, |table, step| table.void(VoidScope::All, step));
    }
}

/// Acts on the table, and wakes the clients that it concerns.
pub(super) fn act<R>(
    ctx: &Ctx<'_>,
    stored: Option<StoredResponse>,
    action: impl FnOnce(&mut Flight, &mut Step<'_>) -> R,
) -> R {
    let mut wakes = Vec::new();
    let result = FLIGHT.with(|flight| {
        let flight = flight.get_or_insert_with(Flight::new);
        let mut step = Step { now_ms: now_ms(), random: &mut || ctx.random(), wakes: &mut wakes };
        action(flight, &mut step)
    });
    let mut stored = stored.map(Sharing::new);
    let (mut look, mut readers) = (Look::default(), Readers::default());
    for wake in wakes {
        perform(ctx, wake, stored.as_mut(), &mut look, &mut readers);
    }
    set_timer(ctx);
    result
}

/// Ends a client's wait, or looks into the key for its response.
fn perform(ctx: &Ctx<'_>, wake: Wake, stored: Option<&mut Sharing>, look: &mut Look, readers: &mut Readers) {
    let reply = match (wake.outcome, stored) {
        (WaitOutcome::Lease { token, ms }, _) => FetchReply::Lease { token, ms },
        (WaitOutcome::Busy { ms }, _) => FetchReply::Busy { ms },
        (WaitOutcome::Hit, stored) => match stored.and_then(|stored| stored.for_waiter(wake.waiter)) {
            Some(stored) => hit(stored),
            // The user has lost its rights during the wait, or the response is gone again: the next FETCH tells.
            None => FetchReply::Busy { ms: 0 },
        },
        (WaitOutcome::Draft(news), _) => {
            // A reader that has lost its rights hears what holds now when it asks again.
            let may_read = !matches!(news, DraftNews::Lost) && readers.may_read(wake.waiter);
            let news = if may_read { news } else { DraftNews::Lost };
            let fresh_ms = match news {
                DraftNews::Rest(_) => rest_is_fresh_for(ctx, wake.waiter, look),
                DraftNews::Part { .. } | DraftNews::Lost => None,
            };
            FetchReply::Draft { news, fresh_ms }
        }
        (WaitOutcome::Recheck, _) => match look.find(ctx, wake.waiter) {
            Some(found) => {
                FLIGHT.with(|flight| {
                    let table = flight.as_mut().map(|flight| &mut flight.table);
                    table.map(|table| table.leave(wake.waiter, LeaveReason::Answered, now_ms()))
                });
                hit(found)
            }
            None => return,
        },
    };
    FLIGHT.with(|flight| {
        if let Some(flight) = flight {
            flight.finish_wait(wake.waiter, reply);
        }
    });
}

/// Returns the milliseconds for which the response that a draft has become stays fresh, None for ever, and counts it. The
/// response may have left its key since the COMMIT.
fn rest_is_fresh_for(ctx: &Ctx<'_>, reader: WaiterId, look: &mut Look) -> Option<u64> {
    match look.find(ctx, reader) {
        Some(found) => {
            count_shared(found);
            found.fresh_ms
        }
        None => Some(0),
    }
}

/// Returns the hit of a waiter, and counts it.
fn hit(stored: &StoredResponse) -> FetchReply {
    count_shared(stored);
    FetchReply::Hit { response: stored.response.clone(), fresh_ms: stored.fresh_ms }
}

/// Counts a shared response: it saved a model call.
fn count_shared(stored: &StoredResponse) {
    CACHE.with(|cache| {
        cache.counters.coalesced += 1;
        let saved_ms = stored.cost_ms.into();
        cache.counters.count_saved(stored.tier, saved_ms);
        let resolved = cache.resolve(stored.database, Some(stored.handle));
        if let Some(index) = cache.known_index_mut(stored.database) {
            index.record_hit(resolved, saved_ms);
        }
    });
}

/// Sets the timer for the table's next deadline.
fn set_timer(ctx: &Ctx<'_>) {
    let now_ms = now_ms();
    let next_ms = FLIGHT.with(|flight| {
        let table = &flight.as_ref()?.table;
        if table.has_backlog(now_ms) { Some(now_ms) } else { table.next_deadline() }
    });
    if let Some(next_ms) = next_ms {
        let next = *BEGIN + Duration::from_millis(u64::try_from(next_ms).unwrap_or(0));
        NEXT_DEADLINE.set_no_later(ctx, next);
    }
}

/// The next deadline of a lease or a wait.
struct Deadline;

impl Timer for Deadline {
    fn fire(ctx: &Ctx<'_>) {
        let begin = Instant::now();
        loop {
            act(ctx, None, |flight, step| flight.table.advance(step, BATCH));
            let goes_on = FLIGHT.with(|flight| {
                flight.as_ref().is_some_and(|flight| {
                    flight.finished.len() < DELIVERIES && flight.table.has_backlog(now_ms())
                })
            });
            if !goes_on || begin.elapsed() >= SLICE {
                break;
            }
        }
    }
}
