//! FETCH for a caller that found no fresh response, RELEASE, and the check of a token.

use crate::config;
use crate::lease::{
    AppendOutcome, DraftLimits, DraftName, DraftPart, FetchOutcome, GrantedLease, LeaseKey, LeaseRequest,
    LeaseTable, Step, Stream, Tie, Token, Wait,
};
use crate::redis::Ctx;
use crate::request::Request;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use super::blocked_clients::block;
use super::lease_keys::{of_request, shared};
use super::reply::{FetchReply, parse_draft, parse_token};
use super::state::now_ms;
use super::steps::{act, follow_slots, step};

/// The terms of a caller.
#[derive(Clone, Copy)]
pub struct FetchTerms {
    /// Length of the lease in milliseconds.
    pub lease_ms: i64,
    /// The tie of the lease to the caller's connection.
    pub tie: Tie,
    /// The longest wait in milliseconds; 0 for no wait.
    pub wait_ms: i64,
    /// The draft that the caller reads along, if any.
    pub stream: Stream,
}

/// The keys of the numbers of accounts, which no client can make collide.
static ACCOUNTS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

fn lease_request<'a>(
    ctx: &Ctx<'_>,
    request: &Request<'a>,
    lease_key: LeaseKey,
    terms: FetchTerms,
) -> LeaseRequest<'a> {
    LeaseRequest {
        lease_key,
        stream: terms.stream,
        persona: request.persona,
        user: request.user,
        client: ctx.client(),
        account: ACCOUNTS.hash_one(ctx.caller()),
        tie: terms.tie,
        lease_ms: terms.lease_ms.unsigned_abs(),
        max_leases: config::MAX_LEASES.get(),
    }
}

/// Grants the caller the lease, tells it that another caller has it, or blocks the caller and returns None. `key` is
/// the name of the response's key, and `fresh_ms` the milliseconds for which a response there stays fresh.
pub fn fetch(
    ctx: &Ctx<'_>,
    request: &Request<'_>,
    key: &[u8],
    fresh_ms: Option<u64>,
    terms: FetchTerms,
) -> Option<FetchReply> {
    follow_slots(ctx);
    let (lease_key, audience) = shared(ctx, request);
    let asked = lease_request(ctx, request, lease_key, terms);
    let wait = match terms.wait_ms > 0 && ctx.may_block() {
        true => Wait::Until {
            deadline_ms: now_ms().saturating_add(terms.wait_ms),
            max_waiters: config::MAX_WAITERS.get(),
        },
        false => Wait::No,
    };
    // Nothing more in this step: it might end the wait of this very caller, who is not blocked yet.
    match act(ctx, None, |flight, step| flight.table.fetch(&asked, wait, step)) {
        FetchOutcome::Leased(GrantedLease { token, ms }) => Some(FetchReply::Lease { token, ms }),
        FetchOutcome::Unshared => Some(dummy_lease(ctx, terms)),
        FetchOutcome::Draft(news) => Some(FetchReply::Draft { news, fresh_ms }),
        FetchOutcome::Busy { ms } => Some(FetchReply::Busy { ms }),
        FetchOutcome::Waiting(waiter) => {
            block(ctx, waiter, (lease_key, audience), request, key);
            None
        }
    }
}

/// Returns the token for the one caller that refreshes a stale response, or None for the other callers.
pub fn refresh(ctx: &Ctx<'_>, request: &Request<'_>, terms: FetchTerms) -> Option<Token> {
    follow_slots(ctx);
    let (lease_key, _) = shared(ctx, request);
    let asked = lease_request(ctx, request, lease_key, terms);
    step(ctx, None, |table, step| table.refresh(&asked, step)).map(|leased| leased.token)
}

/// Returns an untracked lease, whose token proves nothing. It is for callers that may not see the entry in the key or
/// may not replace it, and for callers beyond `max-leases`: others must not wait for what they compute.
pub fn dummy_lease(ctx: &Ctx<'_>, terms: FetchTerms) -> FetchReply {
    FetchReply::Lease { token: Token::from_bytes(ctx.random()), ms: terms.lease_ms.unsigned_abs() }
}

/// Brings the table an event about the lease of the request that the token proves. Returns None if that lease is held
/// for another persona or user.
fn step_with_token<R>(
    ctx: &Ctx<'_>,
    request: &Request<'_>,
    token: &Token,
    event: impl FnOnce(&mut LeaseTable, &LeaseKey, &mut Step<'_>) -> R,
) -> Option<R> {
    follow_slots(ctx);
    let lease_keys = of_request(ctx, request);
    step(ctx, None, |table, step| {
        let proven = lease_keys.each().find(|lease_key| table.proves(lease_key, token, step.now_ms));
        let lease_key = proven.unwrap_or(&lease_keys.open);
        // The lease of other names would outlive an invalidation of these.
        table.is_for(lease_key, request.persona, request.user).then(|| event(table, lease_key, step))
    })
}

/// Returns the milliseconds for which the lease of the request has been held, or None if the token does not prove it.
pub fn check(ctx: &Ctx<'_>, request: &Request<'_>, token: &[u8]) -> Option<u64> {
    let token = parse_token(token).unwrap_or(Token::from_bytes([0; 16]));
    step_with_token(ctx, request, &token, |table, lease_key, step| {
        table.check(lease_key, &token, step.now_ms)
    })?
}

/// Returns the stream of a caller that has read the draft with this name up to the offset. A name that never was one
/// leads to `lost`.
pub fn reading_from(ctx: &Ctx<'_>, name: &[u8], offset: usize) -> Stream {
    let name = parse_draft(name).unwrap_or(DraftName::from_bytes(ctx.random()));
    Stream::From { name, offset }
}

/// Adds a piece to the draft of the request's lease, if the token proves it.
pub fn append(ctx: &Ctx<'_>, request: &Request<'_>, token: &[u8], piece: &[u8]) -> AppendOutcome {
    let token = parse_token(token).unwrap_or(Token::from_bytes([0; 16]));
    let limits = DraftLimits {
        max_bytes: usize::try_from(config::MAX_RESPONSE_SIZE.get()).unwrap_or(usize::MAX),
        pace_ms: config::STREAM_PACE_MS.get(),
    };
    let appended = step_with_token(ctx, request, &token, |table, lease_key, step| {
        table.append(lease_key, &token, piece, limits, step)
    });
    appended.unwrap_or(AppendOutcome::Refused)
}

/// Returns the draft of the request's lease, or None if it has none or the token does not prove it.
pub fn draft(ctx: &Ctx<'_>, request: &Request<'_>, token: &[u8]) -> Option<DraftPart> {
    let token = parse_token(token)?;
    step_with_token(ctx, request, &token, |table, lease_key, step| {
        table.draft(lease_key, &token, step.now_ms)
    })?
}

/// Gives a lease back. Returns false if the token proves none.
pub fn release(ctx: &Ctx<'_>, request: &Request<'_>, token: &[u8]) -> bool {
    let Some(token) = parse_token(token) else { return false };
    let released = step_with_token(ctx, request, &token, |table, lease_key, step| {
        table.release(lease_key, &token, step)
    });
    released.unwrap_or(false)
}
