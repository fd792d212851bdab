//! Any interleavings, on the table and on plain lists that are searched from end to end for every event.

use std::collections::{BTreeMap, HashSet};

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::lists::{Draft, Expected, Lease, Model, Scope, Waiting, WaitsFor};
use super::support::{Harness, MANY};
use crate::fuzzing::Dice;
use crate::lease::{
    AppendOutcome, DraftLimits, DraftName, DraftNews, FetchOutcome, LeaseKey, LeaseRequest, LeaveReason,
    StoredAs, Stream, Tie, Token, VoidScope, WaitOutcome, WaiterId, Wake,
};
use crate::tier::Tier;

/// How wide a run is, and how fast its time goes.
#[derive(Clone, Copy)]
struct Plan {
    lease_keys: u8,
    clients: u64,
    max_waiters: usize,
    max_leases: usize,
    steps: u32,
    step_ms: i64,
}

struct Run<'a> {
    rng: Dice<'a>,
    plan: Plan,
    harness: Harness,
    model: Model,
    issued: Vec<(LeaseKey, Token)>,
    /// The reads of clients: a lease key, the name of its draft, and an offset in it.
    read: Vec<(LeaseKey, DraftName, usize)>,
    ended: HashSet<WaiterId>,
    seen: BTreeMap<&'static str, u32>,
}

#[cfg(test)]
#[test]
fn the_lease_table_agrees_with_plain_lists_after_any_interleaving() {
    let seed = std::env::var("CHATCACHE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("CHATCACHE_SEED={seed}");
    let plans = [
        Plan { lease_keys: 1, clients: 6, max_waiters: 100, max_leases: MANY, steps: 4000, step_ms: 20 },
        Plan { lease_keys: 4, clients: 12, max_waiters: 4, max_leases: MANY, steps: 8000, step_ms: 20 },
        Plan { lease_keys: 12, clients: 100, max_waiters: 1000, max_leases: MANY, steps: 8000, step_ms: 4 },
        Plan { lease_keys: 60, clients: 300, max_waiters: 1000, max_leases: 15, steps: 8000, step_ms: 2 },
    ];
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for (n, plan) in plans.into_iter().enumerate() {
        for (what, times) in Run::new(Dice::seeded(seed.wrapping_add(n as u64)), plan).go() {
            *seen.entry(what).or_default() += times;
        }
    }
    println!("{seen:?}");
    assert!(
        seen.len() == 39 && seen.values().all(|times| *times > 5),
        "a run that missed something: {seen:?}"
    );
}

/// The interleaving that these bytes stand for.
pub(crate) fn follow(bytes: &[u8]) {
    let mut dice = Dice::Bytes(bytes);
    let few = Plan { lease_keys: 2, clients: 5, max_waiters: 4, max_leases: MANY, steps: 4000, step_ms: 40 };
    let many =
        Plan { lease_keys: 12, clients: 40, max_waiters: 100, max_leases: MANY, steps: 4000, step_ms: 4 };
    let plan = if dice.random::<bool>() { few } else { many };
    Run::new(dice, plan).go();
}

impl Run<'_> {
    fn new(rng: Dice<'_>, plan: Plan) -> Run<'_> {
        Run {
            rng,
            plan,
            harness: Harness::with_at_most(plan.max_waiters),
            model: Model::default(),
            issued: Vec::new(),
            read: Vec::new(),
            ended: HashSet::new(),
            seen: BTreeMap::new(),
        }
    }

    fn go(mut self) -> BTreeMap<&'static str, u32> {
        for _ in 0..self.plan.steps {
            if self.rng.is_over() {
                break;
            }
            self.harness.now_ms += self.rng.random_range(0..=self.plan.step_ms);
            self.step();
        }
        // Nothing more comes: all ends by itself, timer by timer.
        self.advance_all();
        while let Some(deadline) = self.harness.table.next_deadline() {
            self.harness.now_ms = self.harness.now_ms.max(deadline);
            self.advance_all();
        }
        assert!(self.model.leases.is_empty() && self.model.waiters.is_empty() && self.model.kept.is_empty());
        assert_eq!(self.harness.table.heap_bytes(), 0);
        self.seen
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn lease_key(&mut self) -> LeaseKey {
        let n = self.rng.random_range(0..self.plan.lease_keys);
        LeaseKey { database: i32::from(n % 3), tier: Tier::ALL[usize::from(n % 4)], identity: [n; 32] }
    }

    fn name(&mut self, names: &[&'static str]) -> &'static str {
        names.choose(&mut self.rng).copied().unwrap()
    }

    fn client(&mut self) -> u64 {
        self.rng.random_range(1..=self.plan.clients)
    }

    /// A token of some time, mostly one that holds.
    fn token(&mut self) -> Option<(LeaseKey, Token)> {
        match self.rng.random_range(0..3) {
            0 => self.issued.choose(&mut self.rng).copied(),
            _ => self.model.leases.choose(&mut self.rng).map(|lease| (lease.lease_key, lease.token)),
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..44 => self.fetch(),
            44..52 => self.append(),
            52..55 => self.refresh(),
            55..60 => self.store(),
            60..66 => self.commit(),
            66..71 => self.release(),
            71..74 => self.gone(),
            74..78 => self.leave(),
            78..90 => self.advance(),
            90..93 => self.advance_all(),
            93..97 => self.void(),
            97 => self.appeared(),
            98 => self.swap(),
            _ if self.rng.random_range(0..10) == 0 => self.end_all(),
            _ => self.advance_all(),
        }
    }

    fn fetch(&mut self) {
        let (lease_key, client, now) = (self.lease_key(), self.client(), self.harness.now_ms);
        let (persona, user) = (self.name(&["p", "q", "r"]), self.name(&["", "ann", "bob"]));
        let lease_ms = self.rng.random_range(1..400);
        let max_leases = self.plan.max_leases;
        let tie = if self.rng.random_range(0..4) == 0 { Tie::Detached } else { Tie::Connection };
        let (lease_key, stream) = self.stream(lease_key);
        let request = Harness::request(lease_key, persona, user, client);
        let request = LeaseRequest { lease_ms, max_leases, tie, stream, ..request };
        let wait = if self.rng.random_range(0..5) == 0 { 0 } else { self.rng.random_range(1..600) };
        let (fetched, wakes) = self.harness.fetch(request, wait);
        if let Stream::From { name, offset } = stream
            && let Some(expected) = self.model.read(lease_key, name, offset, now)
            && !(matches!(expected, Expected::Part { .. }) && self.joins(lease_key, client, wait))
        {
            self.is_news(lease_key, fetched, expected);
            return self.agree(wakes);
        }
        if self.model.left(lease_key, now) == 0 {
            self.model.pass_on(lease_key, now);
        }
        let deadline = now + wait as i64;
        let ms = self.model.left(lease_key, now);
        match self.model.lease(lease_key).map(|lease| lease.holder) {
            None if self.is_full(client) => {
                assert_eq!(fetched, FetchOutcome::Unshared);
                self.saw("unshared");
            }
            None => {
                let FetchOutcome::Leased(leased) = fetched else { panic!("{fetched:?}") };
                assert_eq!(leased.ms, lease_ms);
                self.granted(request, leased.token);
                self.saw("leased");
            }
            Some(_) if stream == Stream::FromStart && self.model.start(lease_key).is_some() => {
                let start = self.model.start(lease_key).unwrap();
                self.is_news(lease_key, fetched, start);
            }
            Some(holder) => {
                if holder == client {
                    self.saw("the holder fetches again");
                }
                let what = match () {
                    () if wait == 0 => "no wait",
                    () if self.model.waits(client).is_some() => "waits already",
                    () if self.model.waiters.len() >= self.plan.max_waiters => "too many",
                    () => "waits",
                };
                self.saw(what);
                if what == "waits" {
                    let FetchOutcome::Waiting(id) = fetched else { panic!("{fetched:?}") };
                    assert!(self.model.waiters.iter().all(|waiter| waiter.id < id));
                    let (persona, user) = (persona.into(), user.into());
                    let Lease { number, flight, .. } = *self.model.lease(lease_key).unwrap();
                    let waits_for = match stream {
                        Stream::No => WaitsFor::Response,
                        Stream::FromStart => WaitsFor::Stream,
                        Stream::From { offset, .. } => {
                            self.saw("waits for more");
                            WaitsFor::Draft(number, offset)
                        }
                    };
                    self.model.waiters.push(Waiting {
                        id,
                        lease_key,
                        flight,
                        waits_for,
                        client,
                        tie,
                        deadline,
                        lease_ms,
                        persona,
                        user,
                    });
                } else {
                    assert_eq!(fetched, FetchOutcome::Busy { ms }, "{what}");
                }
            }
        }
        self.agree(wakes);
    }

    /// Returns true if a reader with more to read waits for its turn among those that are being woken.
    fn joins(&mut self, lease_key: LeaseKey, client: u64, wait: u64) -> bool {
        let joins = wait > 0
            && self.model.is_due(lease_key, self.harness.now_ms)
            && self.model.waits(client).is_none()
            && self.model.waiters.len() < self.plan.max_waiters;
        if joins {
            self.saw("joins the readers that are being woken");
        }
        joins
    }

    /// A way to read along, and its lease key: mostly that of a draft which the caller can read.
    fn stream(&mut self, lease_key: LeaseKey) -> (LeaseKey, Stream) {
        match self.rng.random_range(0..10) {
            0..4 => (lease_key, Stream::No),
            4..6 => (lease_key, Stream::FromStart),
            _ => {
                let growing = self.model.leases.iter().filter_map(|lease| {
                    let draft = lease.draft.as_ref()?;
                    Some((lease.lease_key, draft.name, draft.text.len()))
                });
                let kept = self.model.kept.iter().map(|kept| (kept.lease_key, kept.name, kept.text.len()));
                let drafts: Vec<_> = growing.chain(kept).collect();
                // Now and then one of some time.
                let drafts = if self.rng.random_range(0..8) == 0 { &self.read } else { &drafts };
                let Some((of, name, length)) = drafts.choose(&mut self.rng).copied() else {
                    return (lease_key, Stream::FromStart);
                };
                let (lease_key, offset) = match self.rng.random_range(0..16) {
                    0 => (lease_key, length),
                    1 => (of, length + 1 + self.rng.random_range(0..3)),
                    2..5 => (of, self.rng.random_range(0..=length)),
                    _ => (of, length),
                };
                (lease_key, Stream::From { name, offset })
            }
        }
    }

    /// A caller that reads along has heard this at once.
    fn is_news(&mut self, lease_key: LeaseKey, fetched: FetchOutcome, expected: Expected) {
        let FetchOutcome::Draft(news) = fetched else { panic!("{fetched:?} and not {expected:?}") };
        assert_eq!(news_of(news), expected);
        self.saw(match expected {
            Expected::Part { .. } => "a part at once",
            Expected::Rest { .. } => "the rest at once",
            _ => "lost at once",
        });
        self.has_read(lease_key, &expected);
    }

    fn has_read(&mut self, lease_key: LeaseKey, news: &Expected) {
        if let Expected::Part { name, next, .. } = news {
            self.read.push((lease_key, *name, *next));
        }
    }

    fn append(&mut self) {
        let Some((lease_key, token)) = self.token() else { return };
        let now = self.harness.now_ms;
        let piece = vec![self.rng.random_range(1..=255); self.rng.random_range(0..6)];
        let pace_ms = [0, 5, 20].choose(&mut self.rng).copied().unwrap();
        let limits = DraftLimits { max_bytes: 6, pace_ms };
        let appended = self.harness.append_within(lease_key, token, &piece, limits);
        if self.model.holds(lease_key, token, now).is_none() {
            assert_eq!(appended, AppendOutcome::Refused);
            self.saw("not appended");
            return self.agree(Vec::new());
        }
        let random = self.harness.last_random();
        let lease = self.model.leases.iter_mut().find(|lease| lease.lease_key == lease_key).unwrap();
        let length = lease.draft.as_ref().map_or(0, |draft| draft.text.len()) + piece.len();
        if length > limits.max_bytes {
            assert_eq!(appended, AppendOutcome::TooLong);
            self.saw("too long");
            return self.agree(Vec::new());
        }
        assert_eq!(appended, AppendOutcome::Appended(length));
        let draft = lease.draft.get_or_insert_with(|| Draft {
            name: DraftName::from_bytes(random),
            text: Vec::new(),
            pace: 0,
            due: None,
            waking: None,
            woken: None,
        });
        draft.pace = pace_ms;
        draft.text.extend_from_slice(&piece);
        if !piece.is_empty() && draft.due.is_none() {
            draft.due = Some(draft.woken.map_or(now, |woken| now.max(woken + pace_ms)));
        }
        lease.ends = now + lease.length;
        self.saw("appended");
        self.agree(Vec::new());
    }

    fn commit(&mut self) {
        let Some((lease_key, token)) = self.token() else { return };
        let now = self.harness.now_ms;
        let expected = self.model.holds(lease_key, token, now).and_then(|lease| lease.draft.as_ref());
        let draft = self.harness.table.draft(&lease_key, &token, now);
        assert_eq!(
            draft.as_ref().map(|draft| draft.bytes().to_vec()),
            expected.map(|draft| draft.text.clone())
        );
        if draft.is_none() {
            self.saw("nothing to commit");
            return;
        }
        // The response of one lease key may be another's too.
        let other = self.rng.random_range(0..4) == 0;
        let stored = if other { self.lease_key() } else { lease_key };
        let wakes = self.harness.stored_as(stored, StoredAs::Draft(token));
        self.model.end(stored, Some(token), now);
        self.model.wake_all(stored, Expected::Hit);
        self.saw(if stored == lease_key { "committed" } else { "committed beside" });
        self.agree(wakes);
    }

    /// Returns true if `max_leases` forbids this client one more lease.
    fn is_full(&self, client: u64) -> bool {
        let held = self.model.leases.iter().filter(|lease| lease.holder == client).count();
        self.model.leases.len() >= self.plan.max_leases || held >= (self.plan.max_leases / 10).max(1)
    }

    fn refresh(&mut self) {
        let (lease_key, client, now) = (self.lease_key(), self.client(), self.harness.now_ms);
        let request = LeaseRequest {
            lease_ms: 100,
            max_leases: self.plan.max_leases,
            ..Harness::request(lease_key, "p", "ann", client)
        };
        let (leased, wakes) = self.harness.step(|table, step| table.refresh(&request, step));
        if self.model.left(lease_key, now) == 0 {
            self.model.pass_on(lease_key, now);
        }
        assert_eq!(leased.is_some(), self.model.lease(lease_key).is_none() && !self.is_full(client));
        if let Some(leased) = leased {
            self.granted(request, leased.token);
            self.saw("refreshes");
        }
        self.agree(wakes);
    }

    fn granted(&mut self, request: LeaseRequest<'_>, token: Token) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (persona, user) = (text(request.persona), text(request.user));
        let LeaseRequest { lease_key, client: holder, tie, lease_ms, .. } = request;
        let (granted, length) = (self.harness.now_ms, lease_ms as i64);
        let (flight, number) = (self.model.number(), self.model.number());
        self.model.leases.push(Lease {
            lease_key,
            token,
            holder,
            tie,
            number,
            flight,
            granted,
            ends: granted + length,
            length,
            persona,
            user,
            draft: None,
        });
        self.issue(lease_key, token);
    }

    fn issue(&mut self, lease_key: LeaseKey, token: Token) {
        assert!(self.issued.iter().all(|(_, old)| *old != token), "a token given twice");
        self.issued.push((lease_key, token));
    }

    fn store(&mut self) {
        let now = self.harness.now_ms;
        let mut lease_key = self.lease_key();
        if self.rng.random_range(0..4) > 0 {
            let Some((of, token)) = self.token() else { return };
            lease_key = of;
            let held = self.model.holds(lease_key, token, now).map(|lease| (now - lease.granted) as u64);
            assert_eq!(self.harness.check(lease_key, token), held, "a token that should not hold, or should");
            if held.is_none() {
                self.saw("refused");
                return;
            }
            self.saw("accepted");
        }
        let wakes = self.harness.stored(lease_key);
        self.model.end(lease_key, None, now);
        self.model.wake_all(lease_key, Expected::Hit);
        self.agree(wakes);
    }

    fn release(&mut self) {
        let Some((lease_key, token)) = self.token() else { return };
        let now = self.harness.now_ms;
        let (released, wakes) = self.harness.release(lease_key, token);
        assert_eq!(released, self.model.holds(lease_key, token, now).is_some());
        if released {
            self.model.pass_on(lease_key, now);
        }
        self.saw(if released { "released" } else { "not released" });
        self.agree(wakes);
    }

    fn gone(&mut self) {
        let client = self.client();
        let ((), wakes) = self.harness.step(|table, step| table.client_gone(client, step.now_ms));
        self.model.waiters.retain(|waiter| waiter.client != client);
        let before = self.model.number();
        self.model.void(Scope::Holder(client), before);
        self.agree(wakes);
    }

    fn leave(&mut self) {
        let now = self.harness.now_ms;
        let Some(waiter) = self.model.waiters.choose(&mut self.rng).map(|waiter| waiter.id) else { return };
        let left = self.model.left_for(waiter, now);
        self.model.remove(waiter);
        let why = [LeaveReason::Answered, LeaveReason::TimedOut, LeaveReason::Gone];
        let why = why.choose(&mut self.rng).copied().unwrap();
        assert_eq!(self.harness.table.leave(waiter, why, now), Some(left));
        self.ended.insert(waiter);
        let other = self.ended.iter().next().copied().unwrap();
        assert_eq!(self.harness.table.leave(other, why, now), None);
        self.saw("leaves");
        self.agree(Vec::new());
    }

    /// One slice.
    fn advance(&mut self) {
        let budget = self.rng.random_range(0..4);
        let wakes = self.harness.advance(budget);
        let now = self.harness.now_ms;
        (0..budget).take_while(|_| self.model.advance_once(now)).for_each(drop);
        self.agree(wakes);
    }

    /// All slices, until nothing is left to do.
    fn advance_all(&mut self) {
        let now = self.harness.now_ms;
        let wakes = self.harness.advance(MANY);
        while self.model.advance_once(now) {}
        self.agree(wakes);
        assert!(!self.harness.table.has_backlog(now), "an end that is overdue");
    }

    fn void(&mut self) {
        let (lease_key, now) = (self.lease_key(), self.harness.now_ms);
        let LeaseKey { database, tier, .. } = lease_key;
        let (persona, user) = (self.name(&["p", "q", "r"]), self.name(&["", "ann", "bob"]));
        let (void, what) = match self.rng.random_range(0..20) {
            0..6 => (VoidScope::LeaseKey(lease_key), "void lease_key"),
            6..11 => (VoidScope::Persona(database, persona.as_bytes()), "void persona"),
            11..16 => (VoidScope::User(database, user.as_bytes()), "void user"),
            16..18 => (VoidScope::Tier(database, tier), "void tier"),
            18 => (VoidScope::Database(database), "void database"),
            _ => (VoidScope::All, "void all"),
        };
        let ((), wakes) = self.harness.step(|table, step| table.void(void, step));
        let before = self.model.number();
        let scope = match void {
            VoidScope::LeaseKey(_) => None,
            VoidScope::Persona(..) => Some(Scope::Persona(database, persona.into())),
            VoidScope::User(..) => Some(Scope::User(database, user.into())),
            VoidScope::Tier(..) => Some(Scope::Tier(database, tier)),
            VoidScope::Database(..) => Some(Scope::Database(database)),
            VoidScope::All => Some(Scope::All),
        };
        match scope {
            Some(scope) => {
                self.model.void(scope, before);
            }
            None => {
                self.model.kept.retain(|kept| kept.lease_key != lease_key);
                self.model.pass_on(lease_key, now);
            }
        }
        if !matches!(void, VoidScope::All) {
            self.model.invalidated.insert(database, before);
        }
        self.saw(what);
        self.agree(wakes);
    }

    fn appeared(&mut self) {
        let lease_key = self.lease_key();
        let ((), wakes) = self.harness.step(|table, step| table.response_appeared(&lease_key, step));
        self.model.wake_all(lease_key, Expected::Recheck);
        self.agree(wakes);
    }

    fn swap(&mut self) {
        let (one, other) = (self.rng.random_range(0..3), self.rng.random_range(0..3));
        let ((), wakes) = self.harness.step(|table, step| table.swapped(one, other, step));
        if one != other {
            let (of_one, of_other) =
                (self.model.invalidated.remove(&one), self.model.invalidated.remove(&other));
            for database in [one, other] {
                self.model.forget(&Scope::Database(database), u64::MAX);
            }
            for (database, before) in [(one, of_other), (other, of_one)] {
                let Some(before) = before else { continue };
                self.model.invalidated.insert(database, before);
                if self.model.void(Scope::Database(database), before) {
                    self.saw("void by swap");
                }
            }
            let lease_keys: Vec<_> = self.model.leases.iter().map(|lease| lease.lease_key).collect();
            for lease_key in lease_keys.into_iter().filter(|q| [one, other].contains(&q.database)) {
                self.model.wake_all(lease_key, Expected::Recheck);
            }
        }
        self.agree(wakes);
    }

    fn end_all(&mut self) {
        let ((), wakes) = self.harness.step(|table, step| table.end_all(step));
        let lease_keys: Vec<_> = self.model.leases.iter().map(|lease| lease.lease_key).collect();
        for lease_key in lease_keys {
            self.model.end(lease_key, None, self.harness.now_ms);
            self.model.wake_all(lease_key, Expected::Busy { ms: 0 });
        }
        self.model.kept.clear();
        while let Some(number) = self.model.ended.front().copied() {
            self.model.tell_end(number);
        }
        assert_eq!(self.harness.table.heap_bytes(), 0);
        self.agree(wakes);
    }

    /// Compares what came out, in order for each question, and what is left.
    fn agree(&mut self, wakes: Vec<Wake>) {
        let mut seen = Vec::new();
        for Wake { waiter, client, outcome } in wakes {
            assert!(!self.ended.contains(&waiter), "woken after its end");
            let outcome = match outcome {
                WaitOutcome::Hit => Expected::Hit,
                WaitOutcome::Busy { ms } => Expected::Busy { ms },
                WaitOutcome::Recheck => Expected::Recheck,
                WaitOutcome::Draft(news) => news_of(news),
                WaitOutcome::Lease { token, ms } => {
                    let mut leases = self.model.leases.iter_mut();
                    let unnamed =
                        |lease: &&mut Lease| lease.holder == client && *lease.token.as_bytes() == [0; 16];
                    // A client waits for one question, so it gets one lease at a time.
                    let lease = leases.find(unnamed).unwrap();
                    lease.token = token;
                    let lease_key = lease.lease_key;
                    self.issue(lease_key, token);
                    Expected::Lease { ms }
                }
            };
            self.saw(match &outcome {
                Expected::Part { .. } => "woken with a part",
                Expected::Rest { .. } => "woken with the rest",
                Expected::Lost => "woken to hear lost",
                Expected::Hit => "woken with a hit",
                Expected::Lease { .. } => "woken with a lease",
                Expected::Busy { .. } => "woken to be busy",
                Expected::Recheck => "woken to look again",
            });
            if outcome != Expected::Recheck {
                self.ended.insert(waiter);
            }
            if let Expected::Part { name, .. } = outcome {
                let has_it = |lease: &&Lease| lease.draft.as_ref().is_some_and(|draft| draft.name == name);
                let of = self.model.leases.iter().find(has_it).map(|lease| lease.lease_key);
                of.into_iter().for_each(|lease_key| self.has_read(lease_key, &outcome));
            }
            seen.push((waiter, client, outcome));
        }
        let mut expected = std::mem::take(&mut self.model.wakes);
        seen.sort_unstable();
        expected.sort_unstable();
        assert_eq!(seen, expected);
        self.model.tidy();
        let lease_keys: HashSet<_> = self.model.leases.iter().map(|lease| lease.lease_key).collect();
        assert_eq!(lease_keys.len(), self.model.leases.len(), "two leases for one lease_key");
        let (readers, queued): (Vec<_>, Vec<_>) =
            self.model.waiters.iter().partition(|waiter| matches!(waiter.waits_for, WaitsFor::Draft(..)));
        assert!(queued.iter().all(|waiter| lease_keys.contains(&waiter.lease_key)));
        let report = self.harness.table.report();
        assert_eq!((report.leases, report.waiters), (self.model.leases.len(), self.model.waiters.len()));
        let growing = self.model.leases.iter().filter_map(|lease| lease.draft.as_ref());
        let texts = growing.clone().map(|draft| &draft.text);
        let bytes = texts.chain(self.model.kept.iter().map(|kept| &kept.text)).map(Vec::len).sum::<usize>();
        assert_eq!(
            (report.readers, report.drafts, report.draft_bytes),
            (readers.len(), growing.count(), bytes)
        );
        assert_eq!(self.harness.table.next_deadline(), self.model.next_deadline());
        let overdue = self.model.next_deadline().is_some_and(|deadline| deadline <= self.harness.now_ms);
        let has_backlog = overdue || !self.model.voids.is_empty() || !self.model.ended.is_empty();
        assert_eq!(self.harness.table.has_backlog(self.harness.now_ms), has_backlog);
        if !self.model.voids.is_empty() {
            self.saw("a backlog of voids");
        }
    }
}

fn news_of(news: DraftNews) -> Expected {
    match news {
        DraftNews::Part { name, part, next } => {
            assert!(!part.is_empty());
            Expected::Part { name, bytes: part.bytes().into_owned(), next }
        }
        DraftNews::Rest(part) => Expected::Rest { bytes: part.bytes().into_owned() },
        DraftNews::Lost => Expected::Lost,
    }
}
