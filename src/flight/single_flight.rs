//! Single flight: who computes an answer, and who waits for it, between the lease table and blocked clients.
//!
//! The table (`lease`) decides; this room brings it the events, blocks and wakes the clients, and keeps one timer at
//! the table's next deadline. Leases live in this process alone: nothing here is persisted or replicated.
//!
//! A client that waits has a seat: its handle, and where its answer would stand. It loses the seat the moment
//! its wait ends, whichever way, so it is woken once. Its answer is then ready, and delivered when the event loop is
//! about to sleep: until then CLIENT UNBLOCK may still come, which takes the answer, or hands its lease on.
//!
//! Who asks the same shares a lease, whatever persona it names, where the key does not hold the persona. But nobody
//! waits for an answer that it may have no right to: who may not read all personas shares a lease only with those who
//! name the same one. So a request stands for two questions, an open one and its persona's own, and what happens to
//! its answer concerns both.

use crate::cache::access::{self, Access};
use crate::cache::{self, CACHE};
use crate::entry::Entry;
use crate::entry::Response;
use crate::index::Handle;
use crate::lease::{
    FetchOutcome, GrantedLease, LeaseKey, LeaseReport, LeaseRequest, LeaseTable, LeaveReason, Step, StoredAs,
    Stream, Tie, Token, VoidScope, Wait, WaitOutcome, WaiterId, Wake,
};
use crate::redis::{Blocked, Caller, Content, Ctx, MainThread, Timer, Waiting};
use crate::request::Request;
use crate::request::fingerprint::Fingerprint;
use crate::request::hex;
use crate::request::key_name::Layout;
use crate::tier::Tier;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

static FLIGHT: MainThread<Option<Flight>> = MainThread::new(None);

/// The bound on leases.
const MAX_LEASES: usize = 100_000;

/// Leases and waits that end in one turn of the event loop: each takes a few microseconds.
const SLICE: usize = 200;

/// When the clock of the leases began. It never steps back, as the system's may.
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The lease table, and the clients that it keeps waiting.
struct Flight {
    table: LeaseTable,
    waiting: HashMap<WaiterId, WaitingClient>,
    by_client: HashMap<u64, WaiterId>,
    /// Who waits no more, by client, with what they are to be told.
    finished: HashMap<u64, FinishedWait>,
    /// When the earliest timer that was started goes off.
    timer_at_ms: Option<i64>,
}

/// A waiting client, and where its answer would stand.
struct WaitingClient {
    blocked: Blocked,
    client: u64,
    lease_key: LeaseKey,
    key: Box<[u8]>,
    fingerprint: Fingerprint,
    /// Whose rights hold when the answer comes.
    caller: Caller,
}

/// A client that is to be told what its wait has come to.
struct FinishedWait {
    blocked: Blocked,
    lease_key: LeaseKey,
    response: FetchReply,
}

/// An answer for those who wait, and what computing it took.
struct StoredResponse {
    database: i32,
    tier: Tier,
    persona: Arc<[u8]>,
    handle: Handle,
    response: Response,
    cost_ms: u32,
}

/// What an answer is the answer to.
#[derive(Clone, Copy)]
pub struct LeaseKeys {
    /// Of those who may read all personas.
    open: LeaseKey,
    /// Of those who name its persona; the open one where the key holds the persona.
    own: LeaseKey,
}

impl LeaseKeys {
    /// Each of them once.
    fn each(&self) -> impl Iterator<Item = &LeaseKey> {
        let own = (self.own != self.open).then_some(&self.own);
        std::iter::once(&self.open).chain(own)
    }
}

/// What FETCH replies.
pub enum FetchReply {
    Hit(Response),
    Lease { token: Token, ms: u64 },
    Busy { ms: u64 },
}

impl Flight {
    fn new() -> Self {
        Flight {
            table: LeaseTable::new(),
            waiting: HashMap::new(),
            by_client: HashMap::new(),
            finished: HashMap::new(),
            timer_at_ms: None,
        }
    }

    /// Ends a client's wait: its seat.
    fn take(&mut self, waiter: WaiterId) -> Option<WaitingClient> {
        let seat = self.waiting.remove(&waiter)?;
        self.by_client.remove(&seat.client);
        Some(seat)
    }

    /// Ends a client's wait with an answer, to be delivered.
    fn finish_wait(&mut self, waiter: WaiterId, response: FetchReply) {
        if let Some(WaitingClient { blocked, client, lease_key, .. }) = self.take(waiter) {
            self.finished.insert(client, FinishedWait { blocked, lease_key, response });
        }
    }

    /// Ends the wait of a client whom the server has unblocked: its handle, and what is left of the lease.
    fn leave(&mut self, client: u64, leaving: LeaveReason) -> Option<(Blocked, u64)> {
        let waiter = *self.by_client.get(&client)?;
        let left_ms = self.table.leave(waiter, leaving, now_ms());
        Some((self.take(waiter)?.blocked, left_ms.unwrap_or(0)))
    }
}

/// What an answer in this database, to what has this fingerprint, is the answer to.
pub fn lease_keys(database: i32, tier: Tier, fingerprint: &Fingerprint, persona: &[u8]) -> LeaseKeys {
    let open = LeaseKey { database, tier, identity: *fingerprint.as_bytes() };
    let own = || {
        let mut hasher = blake3::Hasher::new();
        hasher.update(fingerprint.as_bytes()).update(persona);
        LeaseKey { identity: *hasher.finalize().as_bytes(), ..open }
    };
    match CACHE.with(|cache| cache.layout) {
        Layout::Single if access::is_shared(tier) => LeaseKeys { open, own: own() },
        Layout::Single => LeaseKeys { open, own: open },
        // In a cluster every key holds the persona, also where the fingerprint does not.
        Layout::Cluster => {
            let own = own();
            LeaseKeys { open: own, own }
        }
    }
}

fn lease_keys_of(ctx: &Ctx<'_>, request: &Request<'_>) -> LeaseKeys {
    lease_keys(ctx.database(), request.tier, &request.fingerprint(), request.persona)
}

/// The question that the caller shares with others.
fn shared_lease_key(ctx: &Ctx<'_>, request: &Request<'_>) -> LeaseKey {
    let LeaseKeys { open, own } = lease_keys_of(ctx, request);
    if open == own || access::has_all_keys(ctx, Access::Read) { open } else { own }
}

fn now_ms() -> i64 {
    i64::try_from(BEGIN.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// Brings the table an event, and does what comes of it.
fn step<R>(
    ctx: &Ctx<'_>,
    stored_response: Option<StoredResponse>,
    event: impl FnOnce(&mut LeaseTable, &mut Step<'_>) -> R,
) -> R {
    let mut wakes = Vec::new();
    let result = FLIGHT.with(|flight| {
        let table = &mut flight.get_or_insert_with(Flight::new).table;
        let mut step = Step { now_ms: now_ms(), random: &mut || ctx.random(), wakes: &mut wakes };
        let result = event(table, &mut step);
        if table.has_backlog(step.now_ms) {
            table.advance(&mut step, SLICE);
        }
        result
    });
    let mut rights = Rights::new();
    for wake in wakes {
        perform(ctx, wake, stored_response.as_ref(), &mut rights);
    }
    set_timer(ctx);
    result
}

/// Whether anybody has a lease. All waiters wait for somebody's.
pub fn has_leases() -> bool {
    FLIGHT.with(|flight| flight.as_ref().is_some_and(|flight| flight.table.next_deadline().is_some()))
}

/// The same for an event that means nothing where nobody has a lease.
fn step_if_leases(
    ctx: &Ctx<'_>,
    stored_response: Option<StoredResponse>,
    event: impl FnOnce(&mut LeaseTable, &mut Step<'_>),
) {
    if has_leases() {
        step(ctx, stored_response, event);
    }
}

/// Who may have the answer that is there now: asked once for all who wait in one user's name.
type Rights = HashMap<Caller, bool>;

/// Whether a waiting client may have this answer, by the rights that its user has now.
fn may_have(waiter: WaiterId, stored_response: &StoredResponse, rights: &mut Rights) -> bool {
    let Some(caller) = FLIGHT.with(|flight| Some(flight.as_ref()?.waiting.get(&waiter)?.caller.clone()))
    else {
        return false;
    };
    *rights.entry(caller).or_insert_with_key(|caller| {
        access::may_fetch(caller, stored_response.tier, &stored_response.persona)
    })
}

/// Wakes a client, or looks again for its answer.
fn perform(ctx: &Ctx<'_>, wake: Wake, stored_response: Option<&StoredResponse>, rights: &mut Rights) {
    let response = match (wake.outcome, stored_response) {
        (WaitOutcome::Lease { token, ms }, _) => FetchReply::Lease { token, ms },
        (WaitOutcome::Busy { ms }, _) => FetchReply::Busy { ms },
        (WaitOutcome::Hit, Some(stored_response)) if may_have(wake.waiter, stored_response, rights) => {
            hit(stored_response)
        }
        // It has lost its rights while it waited: when it asks again it hears what holds now.
        (WaitOutcome::Hit, Some(_)) => FetchReply::Busy { ms: 0 },
        // An answer that has come by another way, or (a hit without one) has gone again.
        (WaitOutcome::Hit, None) => FetchReply::Busy { ms: 0 },
        // Only callers with STREAM read a draft, and FETCH does not know that word yet.
        (WaitOutcome::Part { .. } | WaitOutcome::Rest { .. } | WaitOutcome::Lost, _) => {
            FetchReply::Busy { ms: 0 }
        }
        (WaitOutcome::Recheck, _) => match look_again(ctx, wake.waiter) {
            Some(stored_response) => {
                FLIGHT.with(|flight| {
                    let table = flight.as_mut().map(|flight| &mut flight.table);
                    table.map(|table| table.leave(wake.waiter, LeaveReason::Answered, now_ms()))
                });
                hit(&stored_response)
            }
            None => return,
        },
    };
    FLIGHT.with(|flight| {
        if let Some(flight) = flight {
            flight.finish_wait(wake.waiter, response);
        }
    });
}

/// Tells those who wait no more what has come of it. For the moment before the event loop sleeps.
pub fn deliver() {
    let finished = FLIGHT.with(|flight| match flight {
        Some(flight) if !flight.finished.is_empty() => std::mem::take(&mut flight.finished),
        _ => HashMap::new(),
    });
    for (_, FinishedWait { blocked, response, .. }) in finished {
        blocked.unblock::<Waits>(response);
    }
}

/// An answer for one who waited: a model call that was not made.
fn hit(stored_response: &StoredResponse) -> FetchReply {
    CACHE.with(|cache| {
        cache.counters.coalesced += 1;
        let saved_ms = stored_response.cost_ms.into();
        cache.counters.count_saved(stored_response.tier, saved_ms);
        cache.index(stored_response.database).record_hit(stored_response.handle, saved_ms);
    });
    FetchReply::Hit(stored_response.response.clone())
}

/// The fresh answer that a waiting client waits for, if there is one now.
fn look_again(ctx: &Ctx<'_>, waiter: WaiterId) -> Option<StoredResponse> {
    let (database, tier, name, fingerprint) = FLIGHT.with(|flight| {
        let seat = flight.as_ref()?.waiting.get(&waiter)?;
        Some((seat.lease_key.database, seat.lease_key.tier, seat.key.clone(), seat.fingerprint))
    })?;
    let selected = ctx.database();
    if !ctx.select(database) {
        return None;
    }
    let key = ctx.open_peek(&name);
    let stored_response = match key.content::<Entry>() {
        Content::Value(entry)
            if entry.fingerprint == fingerprint && cache::is_fresh(ctx, database, entry) =>
        {
            let stored_response = || {
                let handle = entry.handle()?;
                let persona = CACHE.with(|cache| cache.origin(database, handle))?.persona;
                let response = entry.raw().cloned().or_else(|| cache::read(entry, Response::new).ok())?;
                Some(StoredResponse { database, tier, persona, handle, response, cost_ms: entry.cost_ms })
            };
            stored_response()
        }
        _ => None,
    };
    ctx.select(selected);
    stored_response.filter(|stored_response| may_have(waiter, stored_response, &mut Rights::new()))
}

/// Has a timer go off when the table next has something to do.
fn set_timer(ctx: &Ctx<'_>) {
    let now_ms = now_ms();
    let delay_ms = FLIGHT.with(|flight| {
        let flight = flight.as_mut()?;
        let next_ms = flight.table.next_deadline()?;
        let next_ms = if flight.table.has_backlog(now_ms) { now_ms } else { next_ms };
        if flight.timer_at_ms.is_some_and(|set_ms| set_ms <= next_ms) {
            return None;
        }
        flight.timer_at_ms = Some(next_ms);
        Some(next_ms.saturating_sub(now_ms).max(1))
    });
    if let Some(delay_ms) = delay_ms {
        ctx.start_timer::<Waits>(delay_ms);
    }
}

/// The waiting clients, to the server.
struct Waits;

impl Timer for Waits {
    fn fire(ctx: &Ctx<'_>) {
        FLIGHT.with(|flight| {
            if let Some(flight) = flight {
                flight.timer_at_ms = None;
            }
        });
        step(ctx, None, |_, _| ());
    }
}

impl Waiting for Waits {
    type Reply = FetchReply;

    fn reply(ctx: &Ctx<'_>, response: &FetchReply) {
        reply(ctx, response);
    }

    fn timed_out(ctx: &Ctx<'_>, client: u64) -> Option<Blocked> {
        if let Some(FinishedWait { blocked, response, .. }) = take_finished(client) {
            reply(ctx, &response);
            return Some(blocked);
        }
        let left = FLIGHT.with(|flight| flight.as_mut()?.leave(client, LeaveReason::TimedOut));
        let (blocked, ms) = left?;
        reply(ctx, &FetchReply::Busy { ms });
        Some(blocked)
    }

    fn disconnected(ctx: &Ctx<'_>, client: u64) -> Option<Blocked> {
        if let Some(FinishedWait { blocked, lease_key, response }) = take_finished(client) {
            // A lease that nobody has been told of goes to the next.
            if let FetchReply::Lease { token, .. } = response {
                step(ctx, None, |table, step| table.release(&lease_key, &token, step));
            }
            return Some(blocked);
        }
        let left = FLIGHT.with(|flight| flight.as_mut()?.leave(client, LeaveReason::Gone));
        left.map(|(blocked, _)| blocked)
    }
}

fn take_finished(client: u64) -> Option<FinishedWait> {
    FLIGHT.with(|flight| flight.as_mut()?.finished.remove(&client))
}

/// Replies a fresh answer.
pub fn reply_hit(ctx: &Ctx<'_>, response: &[u8]) {
    ctx.reply_array(2);
    ctx.reply_bytes(b"hit");
    ctx.reply_bytes(response);
}

/// Replies what a FETCH has come to.
pub fn reply(ctx: &Ctx<'_>, response: &FetchReply) {
    match response {
        FetchReply::Hit(response) => reply_hit(ctx, response),
        FetchReply::Lease { token, ms } => {
            ctx.reply_array(3);
            ctx.reply_bytes(b"lease");
            ctx.reply_bytes(&token_text(token));
            ctx.reply_count(*ms);
        }
        FetchReply::Busy { ms } => {
            ctx.reply_array(2);
            ctx.reply_bytes(b"busy");
            ctx.reply_count(*ms);
        }
    }
}

/// A token as clients see it: 32 hex digits.
pub fn token_text(token: &Token) -> [u8; 32] {
    hex::digits(*token.as_bytes())
}

/// The token that a client shows, if it can be one.
pub fn parse_token(text: &[u8]) -> Option<Token> {
    hex::parse(text.try_into().ok()?).map(Token::from_bytes)
}

fn ask<'a>(ctx: &Ctx<'_>, request: &Request<'a>, lease_ms: i64) -> LeaseRequest<'a> {
    LeaseRequest {
        lease_key: shared_lease_key(ctx, request),
        persona: request.persona,
        user: request.user,
        client: ctx.client(),
        tie: Tie::Connection,
        lease_ms: lease_ms.unsigned_abs(),
        stream: Stream::No,
        max_leases: MAX_LEASES,
    }
}

/// Nobody has the answer: the caller gets the lease, is told that another has it, or (None) waits.
pub fn fetch(
    ctx: &Ctx<'_>,
    request: &Request<'_>,
    key: &[u8],
    lease_ms: i64,
    wait_ms: i64,
    max_waiters: usize,
) -> Option<FetchReply> {
    let ask = ask(ctx, request, lease_ms);
    let wait = match wait_ms > 0 && ctx.may_block() {
        true => Wait::Until { deadline_ms: now_ms().saturating_add(wait_ms), max_waiters },
        false => Wait::No,
    };
    match step(ctx, None, |table, step| table.fetch(&ask, wait, step)) {
        FetchOutcome::Leased(GrantedLease { token, ms }) => Some(FetchReply::Lease { token, ms }),
        FetchOutcome::Unshared => Some(dummy_lease(ctx, lease_ms)),
        FetchOutcome::Part { .. } | FetchOutcome::Rest { .. } | FetchOutcome::Lost => {
            Some(FetchReply::Busy { ms: 0 })
        }
        FetchOutcome::Busy { ms } => Some(FetchReply::Busy { ms }),
        FetchOutcome::Waiting(waiter) => {
            let seat = WaitingClient {
                blocked: ctx.block::<Waits>(),
                client: ask.client,
                lease_key: ask.lease_key,
                key: key.into(),
                fingerprint: request.fingerprint(),
                caller: ctx.caller(),
            };
            FLIGHT.with(|flight| {
                let flight = flight.get_or_insert_with(Flight::new);
                flight.by_client.insert(seat.client, waiter);
                flight.waiting.insert(waiter, seat);
            });
            None
        }
    }
}

/// The answer is there, and stale: a token for the one caller that is to refresh it.
pub fn refresh(ctx: &Ctx<'_>, request: &Request<'_>, lease_ms: i64) -> Option<Token> {
    let ask = ask(ctx, request, lease_ms);
    step(ctx, None, |table, step| table.refresh(&ask, step)).map(|leased| leased.token)
}

/// A lease that nobody shares and no token proves: for who may not know what stands under the key. What it computes
/// could not be stored there, and others would wait for it in vain.
pub fn dummy_lease(ctx: &Ctx<'_>, lease_ms: i64) -> FetchReply {
    FetchReply::Lease { token: Token::from_bytes(ctx.random()), ms: lease_ms.unsigned_abs() }
}

/// Brings the table an event about the request's lease that this token is to prove.
fn step_with_token<R>(
    ctx: &Ctx<'_>,
    request: &Request<'_>,
    token: &Token,
    event: impl FnOnce(&mut LeaseTable, &LeaseKey, &mut Step<'_>) -> R,
) -> Option<R> {
    let lease_keys = lease_keys_of(ctx, request);
    step(ctx, None, |table, step| {
        let proven = lease_keys.each().find(|lease_key| table.proves(lease_key, token, step.now_ms));
        let lease_key = proven.unwrap_or(&lease_keys.open);
        // A lease of other names would outlive a drop of these.
        table.is_for(lease_key, request.persona, request.user).then(|| event(table, lease_key, step))
    })
}

/// Whether the token proves the request's lease; if so, for how many milliseconds it has been held.
pub fn check(ctx: &Ctx<'_>, request: &Request<'_>, token: &[u8]) -> Option<u64> {
    let token = parse_token(token).unwrap_or(Token::from_bytes([0; 16]));
    step_with_token(ctx, request, &token, |table, lease_key, step| {
        table.check(lease_key, &token, step.now_ms)
    })?
}

/// The request's answer has been stored: its lease ends, and all who wait have it.
pub fn stored(ctx: &Ctx<'_>, request: &Request<'_>, response: Response, cost_ms: u32, handle: Handle) {
    if has_leases() {
        let lease_keys = lease_keys_of(ctx, request);
        let LeaseKey { database, tier, .. } = lease_keys.open;
        let persona = Arc::from(request.persona);
        let stored_response = StoredResponse { database, tier, persona, handle, response, cost_ms };
        step(ctx, Some(stored_response), |table, step| {
            lease_keys.each().for_each(|lease_key| table.stored(lease_key, StoredAs::Response, step));
        });
    }
}

/// Gives a lease back; false where the token proves none.
pub fn release(ctx: &Ctx<'_>, request: &Request<'_>, token: &[u8]) -> bool {
    let Some(token) = parse_token(token) else { return false };
    let released = step_with_token(ctx, request, &token, |table, lease_key, step| {
        table.release(lease_key, &token, step)
    });
    released.unwrap_or(false)
}

/// What these leases were to answer has been dropped: what is computed for them comes too late.
pub fn void(ctx: &Ctx<'_>, what: VoidScope<'_>) {
    step_if_leases(ctx, None, |table, step| table.void(what, step));
}

/// The same for one answer.
pub fn void_response(ctx: &Ctx<'_>, lease_keys: &LeaseKeys) {
    for lease_key in lease_keys.each() {
        void(ctx, VoidScope::LeaseKey(*lease_key));
    }
}

/// The same for one request that the caller deletes: what it may write of it.
pub fn void_request(ctx: &Ctx<'_>, request: &Request<'_>) {
    if !has_leases() {
        return;
    }
    let LeaseKeys { open, own } = lease_keys_of(ctx, request);
    let is_own = || {
        FLIGHT.with(|flight| {
            flight.as_ref().is_none_or(|flight| flight.table.is_for_persona(&open, request.persona))
        })
    };
    if open == own || is_own() || access::has_all_keys(ctx, Access::Write) {
        void_response(ctx, &LeaseKeys { open, own });
    } else {
        void(ctx, VoidScope::LeaseKey(own));
    }
}

/// An answer has come under a key without a command of ours.
pub fn appeared(ctx: &Ctx<'_>, lease_keys: &LeaseKeys) {
    step_if_leases(ctx, None, |table, step| {
        lease_keys.each().for_each(|lease_key| table.response_appeared(lease_key, step));
    });
}

pub fn swapped(ctx: &Ctx<'_>, first: i32, second: i32) {
    step_if_leases(ctx, None, |table, step| table.swapped(first, second, step));
}

pub fn client_gone(ctx: &Ctx<'_>, client: u64) {
    step_if_leases(ctx, None, |table, step| table.client_gone(client, step.now_ms));
}

/// This server gives no more leases: nobody waits any longer.
pub fn end_all(ctx: &Ctx<'_>) {
    step_if_leases(ctx, None, |table, step| table.end_all(step));
}

/// What the table has seen, and holds now.
pub fn report() -> LeaseReport {
    FLIGHT.with(|flight| flight.as_ref().map(|flight| flight.table.report()).unwrap_or_default())
}
