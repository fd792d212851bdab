//! Drafts and their readers.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::support::{Harness, LEASE_MS, MANY, PACE_MS, lease_key};
use crate::lease::{
    AppendOutcome, DraftLimits, DraftName, DraftNews, DraftPart, FetchOutcome, LeaseKey, StoredAs, Stream,
    Tie, Token, VoidScope, WaitOutcome, WaiterId, Wake,
};

const Q: fn(u8) -> LeaseKey = lease_key;

fn bytes(part: &DraftPart) -> Vec<u8> {
    part.slices().flatten().copied().collect()
}

fn part(outcome: FetchOutcome) -> (DraftName, Vec<u8>, usize) {
    match outcome {
        FetchOutcome::Draft(DraftNews::Part { name, part, next }) => (name, bytes(&part), next),
        other => panic!("{other:?}"),
    }
}

fn waiting(outcome: FetchOutcome) -> WaiterId {
    match outcome {
        FetchOutcome::Waiting(waiter) => waiter,
        other => panic!("{other:?}"),
    }
}

/// A lease of client 1 with this draft, and the draft's name.
fn draft(harness: &mut Harness, text: &[u8]) -> (Token, DraftName) {
    let token = harness.lease(Q(1), 1);
    harness.append(Q(1), token, text);
    harness.advance(100);
    let (name, ..) = part(harness.read(Q(1), 2, Stream::FromStart, 0));
    (token, name)
}

#[test]
fn append_renews_the_lease_and_returns_the_length_of_the_draft() {
    let mut harness = Harness::new();
    let token = harness.lease(Q(1), 1);
    for n in 1..=20 {
        harness.pass(LEASE_MS as i64 - 1);
        assert_eq!(harness.append(Q(1), token, b"abc"), 3 * n);
    }
    let whole = harness.table.draft(&Q(1), &token, harness.now_ms).unwrap();
    assert_eq!(bytes(&whole), b"abc".repeat(20));
    assert_ne!(draft_name(&mut harness).as_bytes(), token.as_bytes());
    let limits = DraftLimits { max_bytes: 62, pace_ms: 0 };
    let refused = harness.append_within(Q(1), token, b"abc", limits);
    assert_eq!(refused, AppendOutcome::TooLong);
    assert!(harness.check(Q(1), token).is_some(), "the lease stays");
    harness.pass(LEASE_MS as i64);
    let refused = harness.append_within(Q(1), token, b"a", limits);
    assert_eq!(refused, AppendOutcome::Refused);
}

fn draft_name(harness: &mut Harness) -> DraftName {
    part(harness.read(Q(1), 99, Stream::FromStart, 0)).0
}

#[test]
fn a_reader_gets_the_draft_at_once_and_wakes_with_more_at_most_once_in_the_pace() {
    let mut harness = Harness::new();
    let token = harness.lease(Q(1), 1);
    let early = waiting(harness.read(Q(1), 2, Stream::FromStart, 5000));
    let other = harness.wait(Q(1), 3, 5000);
    harness.append(Q(1), token, b"one ");
    let wakes = harness.advance(100);
    let [Wake { waiter, outcome: WaitOutcome::Draft(DraftNews::Part { name, part: first, next: 4 }), .. }] =
        &wakes[..]
    else {
        panic!("{wakes:?}")
    };
    assert_eq!((*waiter, bytes(first)), (early, b"one ".to_vec()));
    assert_eq!(part(harness.read(Q(1), 4, Stream::FromStart, 0)), (*name, b"one ".to_vec(), 4));
    let reader = waiting(harness.read(Q(1), 2, Stream::From { name: *name, offset: 4 }, 5000));
    harness.now_ms += 5;
    harness.append(Q(1), token, b"two ");
    assert_eq!(harness.advance(100), vec![]);
    assert_eq!(harness.table.next_deadline(), Some(harness.now_ms - 5 + PACE_MS));
    harness.append(Q(1), token, b"three");
    let wakes = harness.pass(PACE_MS - 5);
    let [Wake { waiter, outcome: WaitOutcome::Draft(DraftNews::Part { part: more, next: 13, .. }), .. }] =
        &wakes[..]
    else {
        panic!("{wakes:?}")
    };
    assert_eq!((*waiter, bytes(more)), (reader, b"two three".to_vec()));
    let wakes = harness.commit(Q(1), token);
    assert!(matches!(&wakes[..], [Wake { waiter, outcome: WaitOutcome::Hit, .. }] if *waiter == other));
}

#[test]
fn a_late_reader_gets_the_rest_for_as_long_as_a_lease_lasts() {
    let mut harness = Harness::new();
    let (token, name) = draft(&mut harness, b"all of it");
    let from = |offset| Stream::From { name, offset };
    let reader = waiting(harness.read(Q(1), 2, from(9), 5000));
    let wakes = harness.commit(Q(1), token);
    let [Wake { waiter, outcome: WaitOutcome::Draft(DraftNews::Rest(part)), .. }] = &wakes[..] else {
        panic!("{wakes:?}")
    };
    assert_eq!((*waiter, part.len()), (reader, 0));
    harness.pass(LEASE_MS as i64 - 1);
    match harness.read(Q(1), 3, from(4), 5000) {
        FetchOutcome::Draft(DraftNews::Rest(part)) => assert_eq!(bytes(&part), b"of it"),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        harness.read(Q(1), 3, from(10), 0),
        FetchOutcome::Draft(DraftNews::Lost),
        "an offset beyond the draft"
    );
    assert_eq!(harness.read(Q(2), 3, from(4), 0), FetchOutcome::Draft(DraftNews::Lost), "another lease key");
    harness.pass(1);
    assert_eq!(harness.read(Q(1), 3, from(4), 0), FetchOutcome::Draft(DraftNews::Lost));
    assert_eq!(harness.table.next_deadline(), None);
}

#[test]
fn the_rest_outlives_the_holders_connection() {
    let mut harness = Harness::new();
    let (token, name) = draft(&mut harness, b"all of it");
    harness.commit(Q(1), token);
    harness.gone(1);
    let late = harness.read(Q(1), 2, Stream::From { name, offset: 4 }, 0);
    let FetchOutcome::Draft(DraftNews::Rest(part)) = late else { panic!("{late:?}") };
    assert_eq!(bytes(&part), b"of it");
}

#[test]
fn a_draft_that_is_not_the_committed_one_is_lost() {
    let mut harness = Harness::new();
    let (_, name) = draft(&mut harness, b"half of a dra");
    let reader = waiting(harness.read(Q(1), 2, Stream::From { name, offset: 13 }, 5000));
    let wakes = harness.commit(Q(1), Token::from_bytes([7; 16]));
    assert!(
        matches!(&wakes[..], [Wake { waiter, outcome: WaitOutcome::Draft(DraftNews::Lost), .. }] if *waiter == reader),
        "{wakes:?}"
    );
    let late = harness.read(Q(1), 2, Stream::From { name, offset: 0 }, 0);
    assert_eq!(late, FetchOutcome::Draft(DraftNews::Lost));
}

#[test]
fn the_readers_of_an_ended_draft_are_told_in_slices_and_an_invalidation_comes_between() {
    let mut harness = Harness::new();
    let (token, name) = draft(&mut harness, b"text");
    for client in 0..10 {
        waiting(harness.read(Q(1), 100 + client, Stream::From { name, offset: 4 }, 50_000));
    }
    assert_eq!(harness.stored_as(Q(1), StoredAs::Draft(token)), vec![]);
    let rests = harness.advance(3);
    let is_rest = |wake: &Wake| matches!(wake.outcome, WaitOutcome::Draft(DraftNews::Rest(_)));
    assert!(rests.len() == 3 && rests.iter().all(is_rest), "{rests:?}");
    assert!(harness.table.has_backlog(harness.now_ms));
    assert_eq!((harness.table.report().readers, harness.table.report().draft_bytes), (7, 4));
    let lost = harness.void(VoidScope::Persona(0, b"p"));
    let is_lost = |wake: &Wake| wake.outcome == WaitOutcome::Draft(DraftNews::Lost);
    assert!(lost.len() == 7 && lost.iter().all(is_lost), "{lost:?}");
    assert_eq!(harness.table.heap_bytes(), 0);
}

#[test]
fn a_thousand_committed_drafts_are_remembered_and_those_that_readers_wait_for() {
    let mut harness = Harness::new();
    let key = |n: u16| LeaseKey {
        identity: [[n as u8; 16], [(n >> 8) as u8; 16]].concat().try_into().unwrap(),
        ..Q(0)
    };
    let mut names = Vec::new();
    for n in 0..1005 {
        let token = harness.lease(key(n), 1);
        harness.append(key(n), token, b"text");
        let (name, ..) = part(harness.read(key(n), 2, Stream::FromStart, 0));
        names.push(name);
        if n < 2 {
            waiting(harness.read(key(n), 10 + u64::from(n), Stream::From { name, offset: 4 }, 50_000));
        }
        harness.stored_as(key(n), StoredAs::Draft(token));
    }
    let counters = harness.table.report().counters;
    assert_eq!((counters.drafts_pushed_out, harness.table.report().draft_bytes), (3, 4 * 1002));
    let rests = harness.advance(MANY);
    assert_eq!(rests.len(), 2, "{rests:?}");
    assert_eq!(harness.table.report().counters.drafts_pushed_out, 5);
    for (n, kept) in [(2, false), (4, false), (7, true), (1004, true)] {
        let late = harness.read(key(n), 3, Stream::From { name: names[usize::from(n)], offset: 0 }, 0);
        assert_eq!(matches!(late, FetchOutcome::Draft(DraftNews::Rest(_))), kept, "{n}: {late:?}");
    }
}

#[test]
fn a_draft_is_lost_with_its_lease_and_another_response() {
    type Event = fn(&mut Harness, Token) -> Vec<Wake>;
    let ends: [Event; 7] = [
        |harness, token| harness.release(Q(1), token).1,
        |harness, _| harness.gone(1),
        |harness, _| harness.pass(LEASE_MS as i64),
        |harness, _| harness.void(VoidScope::Persona(0, b"p")),
        |harness, _| harness.void(VoidScope::LeaseKey(Q(1))),
        |harness, _| harness.stored(Q(1)),
        |harness, _| harness.step(|table, step| table.end_all(step)).1,
    ];
    for end in ends {
        let mut harness = Harness::new();
        let (token, name) = draft(&mut harness, b"text");
        let reader = waiting(harness.read(Q(1), 2, Stream::From { name, offset: 4 }, 50_000));
        let mut wakes = end(&mut harness, token);
        wakes.extend(harness.advance(100));
        assert!(
            matches!(&wakes[..], [Wake { waiter, outcome: WaitOutcome::Draft(DraftNews::Lost), .. }] if *waiter == reader),
            "{wakes:?}"
        );
        let late = harness.read(Q(1), 3, Stream::From { name, offset: 0 }, 0);
        assert_eq!(late, FetchOutcome::Draft(DraftNews::Lost));
        assert_eq!(harness.table.report().readers, 0);
    }
}

#[test]
fn an_invalidation_takes_a_draft_from_its_readers_at_once_growing_or_committed() {
    let mut harness = Harness::new();
    let (_, name) = draft(&mut harness, b"old prompt");
    harness.step(|table, step| table.void(VoidScope::Persona(0, b"p"), step));
    assert_eq!(
        harness.read(Q(1), 2, Stream::From { name, offset: 0 }, 0),
        FetchOutcome::Draft(DraftNews::Lost)
    );
    for scope in
        [VoidScope::Persona(0, b"p"), VoidScope::User(0, b"ann"), VoidScope::LeaseKey(Q(1)), VoidScope::All]
    {
        let mut harness = Harness::new();
        let (token, name) = draft(&mut harness, b"old prompt");
        harness.commit(Q(1), token);
        harness.step(|table, step| table.void(scope, step));
        let late = harness.read(Q(1), 2, Stream::From { name, offset: 0 }, 0);
        assert_eq!(late, FetchOutcome::Draft(DraftNews::Lost), "{scope:?}");
    }
}

#[test]
fn two_hundred_readers_who_join_at_any_time_have_the_bytes_of_the_draft() {
    let seed = std::env::var("CHATCACHE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("CHATCACHE_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut harness = Harness::new();
    let request = crate::lease::LeaseRequest { tie: Tie::Detached, ..Harness::request(Q(1), "p", "ann", 1) };
    let token = harness.lease_as(request);
    let mut text = Vec::new();
    // What each client has, and the draft that it reads; the end of one that has all.
    let mut had: Vec<(Vec<u8>, Option<DraftName>, bool)> = vec![(Vec::new(), None, false); 200];
    let mut waits = [false; 200];
    let mut last_wake = vec![i64::MIN; 200];
    for piece in 0..=120 {
        if piece < 120 {
            let new: Vec<u8> = (0..rng.random_range(0..30)).map(|_| rng.random()).collect();
            text.extend_from_slice(&new);
            assert_eq!(harness.append(Q(1), token, &new), text.len());
        }
        let mut wakes = if piece == 120 { harness.commit(Q(1), token) } else { Vec::new() };
        let budget = rng.random_range(0..300);
        wakes.extend(harness.advance(budget));
        for Wake { client, outcome, .. } in wakes {
            let n = client as usize - 1000;
            assert!(std::mem::take(&mut waits[n]));
            let (bytes_had, draft, ended) = &mut had[n];
            match outcome {
                WaitOutcome::Draft(DraftNews::Part { name, part, next }) => {
                    assert!(!part.is_empty() && harness.now_ms >= last_wake[n].saturating_add(PACE_MS));
                    last_wake[n] = harness.now_ms;
                    bytes_had.extend(bytes(&part));
                    *draft = Some(name);
                    assert_eq!(bytes_had.len(), next);
                }
                WaitOutcome::Draft(DraftNews::Rest(part)) => {
                    bytes_had.extend(bytes(&part));
                    *ended = true;
                }
                WaitOutcome::Hit => {
                    bytes_had.clone_from(&text);
                    *ended = true;
                }
                other => panic!("{other:?}"),
            }
        }
        for n in 0..200 {
            let (bytes_had, draft, ended) = &mut had[n];
            if waits[n] || *ended || (piece < 120 && rng.random_range(0..3) > 0) {
                continue;
            }
            let stream =
                draft.map_or(Stream::FromStart, |name| Stream::From { name, offset: bytes_had.len() });
            match harness.read(Q(1), 1000 + n as u64, stream, 100_000) {
                FetchOutcome::Draft(DraftNews::Part { name, part, .. }) => {
                    bytes_had.extend(bytes(&part));
                    *draft = Some(name);
                }
                FetchOutcome::Waiting(_) => waits[n] = true,
                FetchOutcome::Draft(DraftNews::Rest(part)) => {
                    bytes_had.extend(bytes(&part));
                    *ended = true;
                }
                // A newcomer after the end: its FETCH would find the response.
                FetchOutcome::Leased(_) | FetchOutcome::Busy { .. } => *ended = draft.is_none(),
                other => panic!("{other:?}"),
            }
            if piece == 120 && draft.is_none() {
                harness.stored(Q(1));
                waits[n] = false;
            }
            assert!(text.starts_with(bytes_had));
        }
        harness.now_ms += rng.random_range(0..15);
    }
    let all = had.iter().filter(|(bytes_had, ..)| *bytes_had == text).count();
    let none = had.iter().filter(|(bytes_had, draft, _)| bytes_had.is_empty() && draft.is_none()).count();
    assert_eq!(all + none, 200, "{all} of 200 have all");
    assert!(all > 150);
}
