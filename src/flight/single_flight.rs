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

use crate::entry::Answer;
use crate::cache::{self, CACHE};
use crate::entry::Entry;
use crate::request::fingerprint::Fingerprint;
use crate::request::hex;
use crate::index::Handle;
use crate::request::key_name::Layout;
use crate::lease::{
    Ask, Fetched, LeaseTable, Leased, Leaving, Outcome, Question, Report, Token, Turn, Void, Wait, WaiterId,
    Wake,
};
use crate::redis::{Blocked, Caller, Ctx, Held, MainThread, Timer, Waiting};
use crate::request::Request;
use crate::cache::access::{self, Access};
use crate::tier::Tier;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

static FLIGHT: MainThread<Option<Flight>> = MainThread::new(None);

/// When the clock of the leases began. It never steps back, as the system's may.
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The lease table, and the clients that it keeps waiting.
struct Flight {
    table: LeaseTable,
    seats: HashMap<WaiterId, Seat>,
    by_client: HashMap<u64, WaiterId>,
    /// Who waits no more, by client, with what they are to be told.
    ready: HashMap<u64, Ready>,
    /// When the earliest timer that was started goes off.
    timer_at_ms: Option<i64>,
}

/// A waiting client, and where its answer would stand.
struct Seat {
    blocked: Blocked,
    client: u64,
    question: Question,
    key: Box<[u8]>,
    fingerprint: Fingerprint,
    /// Whose rights hold when the answer comes.
    caller: Caller,
}

/// A client that is to be told what its wait has come to.
struct Ready {
    blocked: Blocked,
    question: Question,
    answer: Reply,
}

/// An answer for those who wait, and what computing it took.
struct Served {
    database: i32,
    tier: Tier,
    persona: Arc<[u8]>,
    handle: Handle,
    response: Answer,
    cost_ms: u32,
}

/// What an answer is the answer to.
#[derive(Clone, Copy)]
pub struct Questions {
    /// Of those who may read all personas.
    open: Question,
    /// Of those who name its persona; the open one where the key holds the persona.
    own: Question,
}

impl Questions {
    /// Each of them once.
    fn each(&self) -> impl Iterator<Item = &Question> {
        let own = (self.own != self.open).then_some(&self.own);
        std::iter::once(&self.open).chain(own)
    }
}

/// What FETCH replies.
pub enum Reply {
    Hit(Answer),
    Lease { token: Token, ms: u64 },
    Busy { ms: u64 },
}

impl Flight {
    fn new() -> Self {
        Flight {
            table: LeaseTable::new(),
            seats: HashMap::new(),
            by_client: HashMap::new(),
            ready: HashMap::new(),
            timer_at_ms: None,
        }
    }

    /// Ends a client's wait: its seat.
    fn take(&mut self, waiter: WaiterId) -> Option<Seat> {
        let seat = self.seats.remove(&waiter)?;
        self.by_client.remove(&seat.client);
        Some(seat)
    }

    /// Ends a client's wait with an answer, to be delivered.
    fn make_ready(&mut self, waiter: WaiterId, answer: Reply) {
        if let Some(Seat { blocked, client, question, .. }) = self.take(waiter) {
            self.ready.insert(client, Ready { blocked, question, answer });
        }
    }

    /// Ends the wait of a client whom the server has unblocked: its handle, and what is left of the lease.
    fn leave(&mut self, client: u64, leaving: Leaving) -> Option<(Blocked, u64)> {
        let waiter = *self.by_client.get(&client)?;
        let left_ms = self.table.leave(waiter, leaving, now_ms());
        Some((self.take(waiter)?.blocked, left_ms.unwrap_or(0)))
    }
}

/// What an answer in this database, to what has this fingerprint, is the answer to.
pub fn questions(database: i32, tier: Tier, fingerprint: &Fingerprint, persona: &[u8]) -> Questions {
    let open = Question { database, tier, identity: *fingerprint.as_bytes() };
    let own = || {
        let mut hasher = blake3::Hasher::new();
        hasher.update(fingerprint.as_bytes()).update(persona);
        Question { identity: *hasher.finalize().as_bytes(), ..open }
    };
    match CACHE.with(|cache| cache.layout) {
        Layout::Single if access::is_shared(tier) => Questions { open, own: own() },
        Layout::Single => Questions { open, own: open },
        // In a cluster every key holds the persona, also where the fingerprint does not.
        Layout::Cluster => {
            let own = own();
            Questions { open: own, own }
        }
    }
}

fn questions_of(ctx: &Ctx<'_>, request: &Request<'_>) -> Questions {
    questions(ctx.database(), request.tier, &request.fingerprint(), request.persona)
}

/// The question that the caller shares with others.
fn shared_question(ctx: &Ctx<'_>, request: &Request<'_>) -> Question {
    let Questions { open, own } = questions_of(ctx, request);
    if open == own || access::has_all_keys(ctx, Access::Read) { open } else { own }
}

fn now_ms() -> i64 {
    i64::try_from(BEGIN.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// Brings the table an event, and does what comes of it.
fn turn<R>(
    ctx: &Ctx<'_>,
    served: Option<Served>,
    event: impl FnOnce(&mut LeaseTable, &mut Turn<'_>) -> R,
) -> R {
    let mut wakes = Vec::new();
    let result = FLIGHT.with(|flight| {
        let table = &mut flight.get_or_insert_with(Flight::new).table;
        event(table, &mut Turn { now_ms: now_ms(), random: &mut || ctx.random(), wakes: &mut wakes })
    });
    let mut rights = Rights::new();
    for wake in wakes {
        perform(ctx, wake, served.as_ref(), &mut rights);
    }
    set_timer(ctx);
    result
}

/// Whether anybody has a lease. All waiters wait for somebody's.
pub fn anybody_flies() -> bool {
    FLIGHT.with(|flight| flight.as_ref().is_some_and(|flight| flight.table.next_deadline().is_some()))
}

/// The same for an event that means nothing where nobody has a lease.
fn turn_if_flying(ctx: &Ctx<'_>, served: Option<Served>, event: impl FnOnce(&mut LeaseTable, &mut Turn<'_>)) {
    if anybody_flies() {
        turn(ctx, served, event);
    }
}

/// Who may have the answer that is there now: asked once for all who wait in one user's name.
type Rights = HashMap<Caller, bool>;

/// Whether a waiting client may have this answer, by the rights that its user has now.
fn may_have(waiter: WaiterId, served: &Served, rights: &mut Rights) -> bool {
    let Some(caller) = FLIGHT.with(|flight| Some(flight.as_ref()?.seats.get(&waiter)?.caller.clone())) else {
        return false;
    };
    *rights.entry(caller).or_insert_with_key(|caller| access::may_fetch(caller, served.tier, &served.persona))
}

/// Wakes a client, or looks again for its answer.
fn perform(ctx: &Ctx<'_>, wake: Wake, served: Option<&Served>, rights: &mut Rights) {
    let answer = match (wake.outcome, served) {
        (Outcome::Lease { token, ms }, _) => Reply::Lease { token, ms },
        (Outcome::Busy { ms }, _) => Reply::Busy { ms },
        (Outcome::Hit, Some(served)) if may_have(wake.waiter, served, rights) => hit(served),
        // It has lost its rights while it waited: when it asks again it hears what holds now.
        (Outcome::Hit, Some(_)) => Reply::Busy { ms: 0 },
        // An answer that has come by another way, or (a hit without one) has gone again.
        (Outcome::Hit, None) => Reply::Busy { ms: 0 },
        (Outcome::LookAgain, _) => match look_again(ctx, wake.waiter) {
            Some(served) => {
                FLIGHT.with(|flight| {
                    let table = flight.as_mut().map(|flight| &mut flight.table);
                    table.map(|table| table.leave(wake.waiter, Leaving::Answered, now_ms()))
                });
                hit(&served)
            }
            None => return,
        },
    };
    FLIGHT.with(|flight| {
        if let Some(flight) = flight {
            flight.make_ready(wake.waiter, answer);
        }
    });
}

/// Tells those who wait no more what has come of it. For the moment before the event loop sleeps.
pub fn deliver() {
    let ready = FLIGHT.with(|flight| match flight {
        Some(flight) if !flight.ready.is_empty() => std::mem::take(&mut flight.ready),
        _ => HashMap::new(),
    });
    for (_, Ready { blocked, answer, .. }) in ready {
        blocked.answer::<Seats>(answer);
    }
}

/// An answer for one who waited: a model call that was not made.
fn hit(served: &Served) -> Reply {
    CACHE.with(|cache| {
        cache.counters.coalesced += 1;
        let saved_ms = served.cost_ms.into();
        cache.counters.count_saved(served.tier, saved_ms);
        cache.index(served.database).record_hit(served.handle, saved_ms);
    });
    Reply::Hit(served.response.clone())
}

/// The fresh answer that a waiting client waits for, if there is one now.
fn look_again(ctx: &Ctx<'_>, waiter: WaiterId) -> Option<Served> {
    let (database, tier, name, fingerprint) = FLIGHT.with(|flight| {
        let seat = flight.as_ref()?.seats.get(&waiter)?;
        Some((seat.question.database, seat.question.tier, seat.key.clone(), seat.fingerprint))
    })?;
    let selected = ctx.database();
    if !ctx.select(database) {
        return None;
    }
    let key = ctx.open_peek(&name);
    let served = match key.held::<Entry>() {
        Held::Value(entry) if entry.fingerprint == fingerprint && cache::is_fresh(ctx, database, entry) => {
            let served = || {
                let handle = entry.handle()?;
                let persona = CACHE.with(|cache| cache.origin(database, handle))?.persona;
                let response = entry.raw().cloned().or_else(|| cache::read(entry, Answer::new).ok())?;
                Some(Served { database, tier, persona, handle, response, cost_ms: entry.cost_ms })
            };
            served()
        }
        _ => None,
    };
    ctx.select(selected);
    served.filter(|served| may_have(waiter, served, &mut Rights::new()))
}

/// Has a timer go off when the table next has something to do.
fn set_timer(ctx: &Ctx<'_>) {
    let now_ms = now_ms();
    let delay_ms = FLIGHT.with(|flight| {
        let flight = flight.as_mut()?;
        let next_ms = flight.table.next_deadline()?;
        if flight.timer_at_ms.is_some_and(|set_ms| set_ms <= next_ms) {
            return None;
        }
        flight.timer_at_ms = Some(next_ms);
        Some(next_ms.saturating_sub(now_ms).max(1))
    });
    if let Some(delay_ms) = delay_ms {
        ctx.start_timer::<Seats>(delay_ms);
    }
}

/// The waiting clients, to the server.
struct Seats;

impl Timer for Seats {
    fn fire(ctx: &Ctx<'_>) {
        FLIGHT.with(|flight| {
            if let Some(flight) = flight {
                flight.timer_at_ms = None;
            }
        });
        turn(ctx, None, |table, turn| table.tick(turn));
    }
}

impl Waiting for Seats {
    type Answer = Reply;

    fn reply(ctx: &Ctx<'_>, answer: &Reply) {
        reply(ctx, answer);
    }

    fn timed_out(ctx: &Ctx<'_>, client: u64) -> Option<Blocked> {
        if let Some(Ready { blocked, answer, .. }) = take_ready(client) {
            reply(ctx, &answer);
            return Some(blocked);
        }
        let left = FLIGHT.with(|flight| flight.as_mut()?.leave(client, Leaving::TimedOut));
        let (blocked, ms) = left?;
        reply(ctx, &Reply::Busy { ms });
        Some(blocked)
    }

    fn disconnected(ctx: &Ctx<'_>, client: u64) -> Option<Blocked> {
        if let Some(Ready { blocked, question, answer }) = take_ready(client) {
            // A lease that nobody has been told of goes to the next.
            if let Reply::Lease { token, .. } = answer {
                turn(ctx, None, |table, turn| table.release(&question, &token, turn));
            }
            return Some(blocked);
        }
        let left = FLIGHT.with(|flight| flight.as_mut()?.leave(client, Leaving::Gone));
        left.map(|(blocked, _)| blocked)
    }
}

fn take_ready(client: u64) -> Option<Ready> {
    FLIGHT.with(|flight| flight.as_mut()?.ready.remove(&client))
}

/// Replies a fresh answer.
pub fn reply_hit(ctx: &Ctx<'_>, response: &[u8]) {
    ctx.reply_array(2);
    ctx.reply_bytes(b"hit");
    ctx.reply_bytes(response);
}

/// Replies what a FETCH has come to.
pub fn reply(ctx: &Ctx<'_>, answer: &Reply) {
    match answer {
        Reply::Hit(response) => reply_hit(ctx, response),
        Reply::Lease { token, ms } => {
            ctx.reply_array(3);
            ctx.reply_bytes(b"lease");
            ctx.reply_bytes(&token_text(token));
            ctx.reply_count(*ms);
        }
        Reply::Busy { ms } => {
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

fn ask<'a>(ctx: &Ctx<'_>, request: &Request<'a>, lease_ms: i64) -> Ask<'a> {
    Ask {
        question: shared_question(ctx, request),
        persona: request.persona,
        user: request.user,
        client: ctx.client(),
        lease_ms: lease_ms.unsigned_abs(),
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
) -> Option<Reply> {
    let ask = ask(ctx, request, lease_ms);
    let wait = match wait_ms > 0 && ctx.may_block() {
        true => Wait::Until { deadline_ms: now_ms().saturating_add(wait_ms), max_waiters },
        false => Wait::No,
    };
    match turn(ctx, None, |table, turn| table.fetch(&ask, wait, turn)) {
        Fetched::Leased(Leased { token, ms }) => Some(Reply::Lease { token, ms }),
        Fetched::Busy { ms } => Some(Reply::Busy { ms }),
        Fetched::Waiting(waiter) => {
            let seat = Seat {
                blocked: ctx.block::<Seats>(),
                client: ask.client,
                question: ask.question,
                key: key.into(),
                fingerprint: request.fingerprint(),
                caller: ctx.caller(),
            };
            FLIGHT.with(|flight| {
                let flight = flight.get_or_insert_with(Flight::new);
                flight.by_client.insert(seat.client, waiter);
                flight.seats.insert(waiter, seat);
            });
            None
        }
    }
}

/// The answer is there, and stale: a token for the one caller that is to refresh it.
pub fn refresh(ctx: &Ctx<'_>, request: &Request<'_>, lease_ms: i64) -> Option<Token> {
    let ask = ask(ctx, request, lease_ms);
    turn(ctx, None, |table, turn| table.refresh(&ask, turn)).map(|leased| leased.token)
}

/// A lease that nobody shares and no token proves: for who may not know what stands under the key. What it computes
/// could not be stored there, and others would wait for it in vain.
pub fn lease_of_nothing(ctx: &Ctx<'_>, lease_ms: i64) -> Reply {
    Reply::Lease { token: Token::from_bytes(ctx.random()), ms: lease_ms.unsigned_abs() }
}

/// Brings the table an event about the request's lease that this token is to prove.
fn turn_with_token<R>(
    ctx: &Ctx<'_>,
    request: &Request<'_>,
    token: &Token,
    event: impl FnOnce(&mut LeaseTable, &Question, &mut Turn<'_>) -> R,
) -> Option<R> {
    let questions = questions_of(ctx, request);
    turn(ctx, None, |table, turn| {
        let proven = questions.each().find(|question| table.proves(question, token, turn.now_ms));
        let question = proven.unwrap_or(&questions.open);
        // A lease of other names would outlive a drop of these.
        table.is_for(question, request.persona, request.user).then(|| event(table, question, turn))
    })
}

/// Whether the token proves the request's lease; if so, for how many milliseconds it has been held.
pub fn check(ctx: &Ctx<'_>, request: &Request<'_>, token: &[u8]) -> Option<u64> {
    let token = parse_token(token).unwrap_or(Token::from_bytes([0; 16]));
    turn_with_token(ctx, request, &token, |table, question, turn| table.check(question, &token, turn.now_ms))?
}

/// The request's answer has been stored: its lease ends, and all who wait have it.
pub fn stored(ctx: &Ctx<'_>, request: &Request<'_>, response: Answer, cost_ms: u32, handle: Handle) {
    if anybody_flies() {
        let questions = questions_of(ctx, request);
        let Question { database, tier, .. } = questions.open;
        let persona = Arc::from(request.persona);
        let served = Served { database, tier, persona, handle, response, cost_ms };
        turn(ctx, Some(served), |table, turn| {
            questions.each().for_each(|question| table.stored(question, turn));
        });
    }
}

/// Gives a lease back; false where the token proves none.
pub fn release(ctx: &Ctx<'_>, request: &Request<'_>, token: &[u8]) -> bool {
    let Some(token) = parse_token(token) else { return false };
    let released =
        turn_with_token(ctx, request, &token, |table, question, turn| table.release(question, &token, turn));
    released.unwrap_or(false)
}

/// What these leases were to answer has been dropped: what is computed for them comes too late.
pub fn void(ctx: &Ctx<'_>, what: Void<'_>) {
    turn_if_flying(ctx, None, |table, turn| {
        table.void(what, turn);
    });
}

/// The same for one answer.
pub fn void_answer(ctx: &Ctx<'_>, questions: &Questions) {
    for question in questions.each() {
        void(ctx, Void::Question(*question));
    }
}

/// The same for one request that the caller deletes: what it may write of it.
pub fn void_request(ctx: &Ctx<'_>, request: &Request<'_>) {
    if !anybody_flies() {
        return;
    }
    let Questions { open, own } = questions_of(ctx, request);
    let is_own = || {
        FLIGHT.with(|flight| {
            flight.as_ref().is_none_or(|flight| flight.table.is_for_persona(&open, request.persona))
        })
    };
    if open == own || is_own() || access::has_all_keys(ctx, Access::Write) {
        void_answer(ctx, &Questions { open, own });
    } else {
        void(ctx, Void::Question(own));
    }
}

/// An answer has come under a key without a command of ours.
pub fn appeared(ctx: &Ctx<'_>, questions: &Questions) {
    turn_if_flying(ctx, None, |table, turn| {
        questions.each().for_each(|question| table.answer_appeared(question, turn));
    });
}

pub fn swapped(ctx: &Ctx<'_>, first: i32, second: i32) {
    turn_if_flying(ctx, None, |table, turn| table.swapped(first, second, turn));
}

pub fn client_gone(ctx: &Ctx<'_>, client: u64) {
    turn_if_flying(ctx, None, |table, turn| table.client_gone(client, turn));
}

/// This server gives no more leases: nobody waits any longer.
pub fn end_all(ctx: &Ctx<'_>) {
    turn_if_flying(ctx, None, |table, turn| table.end_all(turn));
}

/// What the table has seen, and holds now.
pub fn report() -> Report {
    FLIGHT.with(|flight| flight.as_ref().map(|flight| flight.table.report()).unwrap_or_default())
}
