//! What callers live through, one thing at a time.

use super::support::{Harness, LEASE_MS, MANY, hits, lease_key, passed_on};
use crate::lease::{
    FetchOutcome, LeaseKey, LeaseRequest, LeaveReason, Tie, Token, VoidScope, WaitOutcome, WaiterId, Wake,
};
use crate::tier::Tier;

const Q: fn(u8) -> LeaseKey = lease_key;

fn outcomes(wakes: &[Wake]) -> Vec<(WaiterId, WaitOutcome)> {
    wakes.iter().map(|wake| (wake.waiter, wake.outcome.clone())).collect()
}

#[test]
fn one_of_a_thousand_callers_gets_the_lease_and_all_waiters_its_response() {
    let mut harness = Harness::new();
    let token = harness.lease(Q(1), 1);
    let waiting: Vec<_> = (2..=1000).map(|client| harness.wait(Q(1), client, 5000)).collect();
    harness.now_ms += 500;
    assert_eq!(harness.check(Q(1), token), Some(500));
    assert_eq!(hits(&harness.stored(Q(1))), waiting, "in the order in which they came");
    let counters = harness.table.report().counters;
    assert_eq!((counters.granted, counters.answered, counters.waits_hit), (1, 1, 999));
}

#[test]
fn a_caller_that_does_not_wait_hears_how_long_the_lease_lasts() {
    let mut harness = Harness::new();
    harness.lease(Q(1), 1);
    harness.now_ms += 300;
    assert_eq!(harness.busy(Q(1), 2, 0), LEASE_MS - 300);
}

#[test]
fn a_released_lease_passes_on_to_the_first_waiter() {
    let mut harness = Harness::new();
    let token = harness.lease(Q(1), 1);
    let (first, second) = (harness.wait(Q(1), 2, 5000), harness.wait(Q(1), 3, 5000));
    let (released, wakes) = harness.release(Q(1), token);
    assert!(released);
    let (waiter, next) = passed_on(&wakes);
    assert_eq!(waiter, first);
    assert_eq!((harness.check(Q(1), token), harness.check(Q(1), next)), (None, Some(0)));
    assert_eq!(harness.release(Q(1), token), (false, vec![]));
    assert_eq!(hits(&harness.stored(Q(1))), [second]);
}

#[test]
fn the_leases_of_a_disconnected_holder_pass_on_to_the_first_waiters() {
    let mut harness = Harness::new();
    let mine = [harness.lease(Q(1), 1), harness.lease(Q(2), 1)];
    let other = harness.lease(Q(3), 2);
    let (one, two) = (harness.wait(Q(1), 3, 5000), harness.wait(Q(2), 4, 5000));
    harness.wait(Q(3), 5, 5000);
    let wakes = harness.gone(1);
    assert_eq!(wakes.iter().map(|wake| wake.waiter).collect::<Vec<_>>(), [one, two]);
    assert!(wakes.iter().all(|wake| matches!(wake.outcome, WaitOutcome::Lease { .. })));
    assert_eq!((harness.check(Q(1), mine[0]), harness.check(Q(2), mine[1])), (None, None));
    assert!(harness.check(Q(3), other).is_some());
    assert_eq!(harness.table.report().counters.passed_on.disconnected, 2);
}

#[test]
fn a_lease_that_runs_out_passes_on_to_the_first_waiter() {
    let mut harness = Harness::new();
    let token = harness.lease(Q(1), 1);
    let first = harness.wait(Q(1), 2, 60_000);
    assert_eq!(harness.table.next_deadline(), Some(harness.now_ms + 1000));
    assert_eq!(harness.pass(999), vec![]);
    assert_eq!(harness.check(Q(1), token), Some(999));
    let (waiter, next) = passed_on(&harness.pass(1));
    assert_eq!(waiter, first);
    assert_eq!((harness.check(Q(1), token), harness.check(Q(1), next)), (None, Some(0)));
    assert_eq!(harness.table.report().counters.passed_on.ran_out, 1);
}

#[test]
fn a_lease_skips_a_waiter_that_disconnected() {
    let mut harness = Harness::new();
    let token = harness.lease(Q(1), 1);
    harness.wait(Q(1), 2, 5000);
    let second = harness.wait(Q(1), 3, 5000);
    assert_eq!(harness.gone(2), vec![]);
    assert_eq!(passed_on(&harness.release(Q(1), token).1).0, second);
}

#[test]
fn a_waiter_that_disconnects_before_it_hears_of_its_lease_passes_it_on() {
    let mut harness = Harness::new();
    let token = harness.lease(Q(1), 1);
    let (first, second) = (harness.wait(Q(1), 2, 5000), harness.wait(Q(1), 3, 5000));
    assert_eq!(passed_on(&harness.release(Q(1), token).1).0, first);
    assert_eq!(
        harness.table.leave(first, LeaveReason::TimedOut, harness.now_ms),
        None,
        "its wait has ended already"
    );
    assert_eq!(passed_on(&harness.gone(2)).0, second);
}

#[test]
fn a_wait_ends_with_busy_at_its_deadline() {
    let mut harness = Harness::new();
    harness.lease(Q(1), 1);
    let (short, long) = (harness.wait(Q(1), 2, 100), harness.wait(Q(1), 3, 200));
    assert_eq!(harness.table.next_deadline(), Some(harness.now_ms + 100));
    assert_eq!(outcomes(&harness.pass(100)), [(short, WaitOutcome::Busy { ms: 900 })]);
    assert_eq!(outcomes(&harness.pass(100)), [(long, WaitOutcome::Busy { ms: 800 })]);
    assert_eq!(harness.table.report().counters.waits_over, 2);
}

#[test]
fn a_waiter_that_the_server_unblocks_hears_how_long_the_lease_lasts() {
    let mut harness = Harness::new();
    harness.lease(Q(1), 1);
    let waiter = harness.wait(Q(1), 2, 5000);
    harness.now_ms += 400;
    assert_eq!(harness.table.leave(waiter, LeaveReason::TimedOut, harness.now_ms), Some(600));
    assert_eq!(harness.table.leave(waiter, LeaveReason::Gone, harness.now_ms), None);
    harness.table.validate();
    assert_eq!(harness.stored(Q(1)), vec![]);
}

#[test]
fn a_late_timer_gives_no_lease_to_a_waiter_past_its_deadline() {
    let mut harness = Harness::new();
    harness.lease(Q(1), 1);
    let over = harness.wait(Q(1), 2, 1500);
    let next = harness.wait(Q(1), 3, 9000);
    let last = harness.wait(Q(1), 4, 1500);
    let wakes = outcomes(&harness.pass(2000));
    assert!(matches!(wakes[2], (waiter, WaitOutcome::Lease { ms: LEASE_MS, .. }) if waiter == next));
    assert_eq!(wakes[..2], [(over, WaitOutcome::Busy { ms: 0 }), (last, WaitOutcome::Busy { ms: 0 })]);
}

#[test]
fn a_lease_that_ran_out_unnoticed_goes_to_a_waiter_before_a_newcomer() {
    let mut harness = Harness::new();
    harness.lease(Q(1), 1);
    let first = harness.wait(Q(1), 2, 9000);
    harness.now_ms += 1000;
    let (fetched, wakes) = harness.fetch(Harness::request(Q(1), "p", "ann", 3), 0);
    assert_eq!(fetched, FetchOutcome::Busy { ms: LEASE_MS });
    assert_eq!(passed_on(&wakes).0, first);
    harness.now_ms += 1000;
    harness.lease(Q(1), 4);
}

#[test]
fn a_response_without_a_token_serves_the_waiters_and_ends_the_lease() {
    let mut harness = Harness::new();
    let token = harness.lease(Q(1), 1);
    let waiter = harness.wait(Q(1), 2, 5000);
    assert_eq!(hits(&harness.stored(Q(1))), [waiter]);
    assert_eq!(harness.check(Q(1), token), None);
    assert_eq!(harness.table.report().counters.refused, 1);
    assert_eq!(harness.stored(Q(1)), vec![], "where nobody has a lease, nothing happens");
}

#[test]
fn a_token_proves_the_lease_of_its_own_key_and_database_only() {
    let mut harness = Harness::new();
    let token = harness.lease(Q(1), 1);
    harness.lease(Q(2), 1);
    let elsewhere = LeaseKey { database: 1, ..Q(1) };
    harness.lease(elsewhere, 1);
    let wider = LeaseKey { tier: Tier::Persona, ..Q(1) };
    for lease_key in [Q(2), elsewhere, wider] {
        assert_eq!(harness.check(lease_key, token), None);
        assert_eq!(harness.release(lease_key, token), (false, vec![]));
    }
    let mut forged = *token.as_bytes();
    forged[15] ^= 1;
    assert_eq!(harness.check(Q(1), Token::from_bytes(forged)), None);
    assert!(harness.check(Q(1), token).is_some());
}

#[test]
fn an_invalidation_voids_the_leases_of_its_persona_and_passes_them_on() {
    let mut harness = Harness::new();
    let token = harness.lease(Q(1), 1);
    let other = harness.lease_as(Harness::request(Q(2), "q", "ann", 1));
    let elsewhere = LeaseKey { database: 1, ..Q(1) };
    let there = harness.lease(elsewhere, 1);
    let (first, second) = (harness.wait(Q(1), 2, 5000), harness.wait(Q(1), 3, 5000));
    let wakes = harness.void(VoidScope::Persona(0, b"p"));
    let (waiter, next) = passed_on(&wakes);
    assert_eq!(waiter, first, "it starts with the new prompt");
    assert_eq!(harness.check(Q(1), token), None);
    assert!(harness.check(Q(2), other).is_some() && harness.check(elsewhere, there).is_some());
    assert!(harness.check(Q(1), next).is_some());
    assert_eq!(hits(&harness.stored(Q(1))), [second]);
}

#[test]
fn a_lease_that_passed_on_is_voided_with_the_waiters_persona_and_user() {
    let mut harness = Harness::new();
    let msg = LeaseKey { tier: Tier::Msg, ..Q(1) };
    let token = harness.lease_as(Harness::request(msg, "p", "ann", 1));
    harness.wait_as(Harness::request(msg, "q", "bob", 2), 5000);
    let (_, next) = passed_on(&harness.release(msg, token).1);
    harness.void(VoidScope::Persona(0, b"p"));
    harness.void(VoidScope::User(0, b"ann"));
    assert!(harness.check(msg, next).is_some());
    harness.void(VoidScope::User(0, b"bob"));
    assert_eq!(harness.check(msg, next), None);
}

#[test]
fn forget_flush_delete_and_flushdb_void_their_leases() {
    let voids: [(VoidScope<'_>, &[usize]); 8] = [
        (VoidScope::User(0, b"ann"), &[0, 1]),
        (VoidScope::User(0, b""), &[]),
        (VoidScope::Tier(0, Tier::Msg), &[1]),
        (VoidScope::LeaseKey(Q(3)), &[2]),
        (VoidScope::LeaseKey(Q(9)), &[]),
        (VoidScope::Database(0), &[0, 1, 2, 3]),
        (VoidScope::Database(7), &[4]),
        (VoidScope::All, &[0, 1, 2, 3, 4]),
    ];
    for (void, gone) in voids {
        let mut harness = Harness::new();
        let requests = [
            Harness::request(Q(1), "p", "ann", 1),
            Harness::request(LeaseKey { tier: Tier::Msg, ..Q(2) }, "q", "ann", 1),
            Harness::request(Q(3), "p", "bob", 1),
            Harness::request(Q(4), "q", "", 1),
            Harness::request(LeaseKey { database: 7, ..Q(1) }, "p", "ann", 1),
        ];
        let tokens = requests.map(|request| harness.lease_as(request));
        let waiting: Vec<_> = (10..)
            .zip(&requests)
            .map(|(client, request)| harness.wait(request.lease_key, client, 5000))
            .collect();
        let wakes = harness.void(void);
        assert!(wakes.iter().all(|wake| matches!(wake.outcome, WaitOutcome::Lease { .. })));
        let mut woken: Vec<_> = wakes.iter().map(|wake| wake.waiter).collect();
        woken.sort_unstable();
        assert_eq!(woken, gone.iter().map(|n| waiting[*n]).collect::<Vec<_>>(), "{void:?}");
        for (n, request) in requests.iter().enumerate() {
            assert_eq!(harness.check(request.lease_key, tokens[n]).is_none(), gone.contains(&n), "{void:?}");
        }
    }
}

#[test]
fn one_caller_of_a_stale_response_gets_the_lease() {
    let mut harness = Harness::new();
    let mine = harness.refresh(Q(1), 1).unwrap();
    assert_eq!(mine.ms, LEASE_MS);
    assert!((1..50).all(|client| harness.refresh(Q(1), client).is_none()));
    assert_eq!(harness.gone(1), vec![]);
    let next = harness.refresh(Q(1), 2).unwrap();
    assert_eq!(harness.check(Q(1), mine.token), None);
    // The answer's grace ends before its refreshment comes: who requests now waits for that.
    let waiter = harness.wait(Q(1), 3, 5000);
    assert_eq!(harness.check(Q(1), next.token), Some(0));
    assert_eq!(hits(&harness.stored(Q(1))), [waiter]);
}

#[test]
fn a_fetch_by_the_client_that_holds_the_lease_waits_as_any_other() {
    let mut harness = Harness::new();
    let token = harness.lease(Q(1), 1);
    let waiter = harness.wait(Q(1), 1, 5000);
    assert!(harness.check(Q(1), token).is_some());
    assert_eq!(hits(&harness.stored(Q(1))), [waiter]);
    // Two connections of a pool may even wait for each other's leases: neither wait outlasts the lease.
    harness.lease(Q(1), 1);
    harness.lease(Q(2), 2);
    let waiting = [harness.wait(Q(2), 1, 5000), harness.wait(Q(1), 2, 5000)];
    let mut woken: Vec<_> = harness.pass(LEASE_MS as i64).iter().map(|wake| wake.waiter).collect();
    woken.sort_unstable();
    assert_eq!(woken, waiting);
}

#[test]
fn a_detached_lease_outlives_its_connection_and_counts_for_its_client() {
    let mut harness = Harness::new();
    let detached = |n, client| LeaseRequest {
        tie: Tie::Detached,
        max_leases: 20,
        ..Harness::request(Q(n), "p", "ann", client)
    };
    let tokens = [harness.lease_as(detached(1, 1)), harness.lease_as(detached(2, 1))];
    assert_eq!(harness.fetch(detached(3, 1), 0).0, FetchOutcome::Unshared);
    let waiter = harness.wait_as(detached(1, 2), 5000);
    assert_eq!(harness.gone(1), vec![]);
    let (released, wakes) = harness.release(Q(1), tokens[0]);
    assert!(released);
    assert_eq!(passed_on(&wakes).0, waiter);
    assert_eq!(harness.gone(2), vec![]);
    assert!(harness.check(Q(2), tokens[1]).is_some());
    assert_eq!(harness.table.report().leases, 2);
}

#[test]
fn a_caller_beyond_max_waiters_hears_busy() {
    let mut harness = Harness::new();
    harness.max_waiters = 2;
    harness.lease(Q(1), 1);
    harness.lease(Q(2), 2);
    let first = harness.wait(Q(1), 3, 5000);
    harness.wait(Q(2), 4, 5000);
    assert_eq!(harness.busy(Q(1), 5, 5000), LEASE_MS);
    assert_eq!(harness.table.report().counters.turned_away, 1);
    harness.table.leave(first, LeaveReason::Gone, harness.now_ms);
    harness.wait(Q(1), 5, 5000);
    harness.max_waiters = 0;
    harness.busy(Q(1), 6, 5000);
}

#[test]
fn a_waiter_whose_recheck_finds_nothing_keeps_its_place() {
    let mut harness = Harness::new();
    let token = harness.lease(Q(1), 1);
    let waiting = [2, 3, 4].map(|client| harness.wait(Q(1), client, 5000));
    let (_, wakes) = harness.step(|table, step| table.response_appeared(&Q(1), step));
    assert_eq!(outcomes(&wakes), waiting.map(|waiter| (waiter, WaitOutcome::Recheck)));
    // The second may see that answer, the others may not.
    assert_eq!(harness.table.leave(waiting[1], LeaveReason::Answered, harness.now_ms), Some(LEASE_MS));
    assert!(harness.check(Q(1), token).is_some());
    assert_eq!(hits(&harness.stored(Q(1))), [waiting[0], waiting[2]]);
    assert_eq!(harness.table.report().counters.waits_hit, 3);
}

#[test]
fn after_swapdb_leases_hold_in_their_database_and_waiters_recheck() {
    let mut harness = Harness::new();
    let there = LeaseKey { database: 1, ..Q(1) };
    let (token, other) = (harness.lease(Q(1), 1), harness.lease(there, 2));
    let (one, two) = (harness.wait(Q(1), 3, 5000), harness.wait(there, 4, 5000));
    harness.lease(LeaseKey { database: 2, ..Q(1) }, 5);
    harness.wait(LeaseKey { database: 2, ..Q(1) }, 6, 5000);
    let (_, wakes) = harness.step(|table, step| table.swapped(1, 0, step));
    let mut seen = outcomes(&wakes);
    seen.sort_unstable_by_key(|(waiter, _)| *waiter);
    assert_eq!(seen, [(one, WaitOutcome::Recheck), (two, WaitOutcome::Recheck)]);
    assert!(harness.check(Q(1), token).is_some() && harness.check(there, other).is_some());
    assert_eq!((harness.check(Q(1), other), harness.check(there, token)), (None, None));
    assert_eq!(harness.step(|table, step| table.swapped(0, 0, step)).1, vec![]);
}

#[test]
fn swapdb_voids_leases_older_than_the_invalidation_of_the_contents() {
    let mut harness = Harness::new();
    let old = harness.lease(Q(1), 1);
    let waiter = harness.wait(Q(1), 2, 5000);
    harness.now_ms += 10;
    harness.void(VoidScope::Persona(1, b"p"));
    harness.now_ms += 10;
    let young = harness.lease(Q(2), 3);
    let (_, wakes) = harness.step(|table, step| table.swapped(0, 1, step));
    assert_eq!(outcomes(&wakes), [(waiter, WaitOutcome::Recheck)]);
    assert_eq!(passed_on(&harness.advance(MANY)).0, waiter);
    assert_eq!(harness.check(Q(1), old), None);
    assert!(harness.check(Q(2), young).is_some());
    // The drop went with the contents: a swap with a database without drops ends nothing.
    let (_, wakes) = harness.step(|table, step| table.swapped(0, 5, step));
    assert_eq!(wakes, vec![]);
    assert!(harness.check(Q(2), young).is_some());
}

#[test]
fn ending_all_leases_ends_all_waits() {
    let mut harness = Harness::new();
    let token = harness.lease(Q(1), 1);
    let waiting = [2, 3].map(|client| harness.wait(Q(1), client, 5000));
    harness.lease(Q(2), 4);
    let (_, wakes) = harness.step(|table, step| table.end_all(step));
    assert_eq!(outcomes(&wakes), waiting.map(|waiter| (waiter, WaitOutcome::Busy { ms: 0 })));
    assert_eq!(harness.check(Q(1), token), None);
    assert_eq!((harness.table.report().leases, harness.table.next_deadline()), (0, None));
}

#[test]
fn extreme_times_and_empty_users_are_accepted() {
    let mut harness = Harness::new();
    harness.now_ms = i64::MAX - 5;
    let mut request = Harness::request(Q(1), "p", "", 1);
    request.lease_ms = u64::MAX;
    let (fetched, _) = harness.fetch(request, 0);
    assert!(matches!(fetched, FetchOutcome::Leased(leased) if leased.ms == 5));
    harness.now_ms = i64::MIN;
    request = Harness::request(Q(2), "p", "", 1);
    request.lease_ms = 0;
    let (fetched, _) = harness.fetch(request, 0);
    assert!(matches!(fetched, FetchOutcome::Leased(leased) if leased.ms == 1));
    harness.pass(1);
    assert_eq!(harness.table.report().leases, 1);
}

#[test]
fn debug_output_hides_a_token() {
    assert_eq!(format!("{:?}", Token::from_bytes([7; 16])), "Token");
}

#[test]
fn an_invalidation_voids_a_thousand_leases_at_once_and_passes_them_on_in_slices() {
    let mut harness = Harness::new();
    let key = |n: u64| LeaseKey { identity: [(n % 256) as u8; 32], database: (n / 256) as i32, ..Q(0) };
    let tokens: Vec<_> = (0..1000).map(|n| harness.lease(key(n), n)).collect();
    let waiting: Vec<_> = (0..1000).map(|n| harness.wait(key(n), 2000 + n, 5000)).collect();
    harness.step(|table, step| table.void(VoidScope::All, step));
    assert!((0..1000).all(|n| harness.check(key(n), tokens[n as usize]).is_none()));
    assert!(harness.table.has_backlog(harness.now_ms));
    let newcomer = harness.fetch(Harness::request(key(999), "p", "ann", 5000), 0);
    assert_eq!(newcomer.0, FetchOutcome::Busy { ms: LEASE_MS }, "the waiter comes before the newcomer");
    let mut woken = vec![passed_on(&newcomer.1).0];
    while harness.table.has_backlog(harness.now_ms) {
        let wakes = harness.advance(10);
        assert!(wakes.len() <= 10);
        woken.extend(wakes.iter().map(|wake| wake.waiter));
    }
    woken.sort_unstable();
    assert_eq!(woken, waiting);
}

#[test]
fn a_fetch_of_a_void_lease_gets_a_new_one_that_the_slices_leave_alone() {
    let mut harness = Harness::new();
    harness.lease(Q(1), 1);
    harness.lease(Q(2), 1);
    harness.step(|table, step| table.client_gone(1, step.now_ms));
    let token = harness.lease(Q(1), 2);
    assert_eq!(harness.table.report().leases, 2);
    harness.advance(MANY);
    assert_eq!(harness.table.report().leases, 1);
    assert!(harness.check(Q(1), token).is_some());
    assert_eq!(harness.table.report().counters.ended.disconnected, 2);
}

#[test]
fn an_account_with_many_clients_leaves_a_tenth_of_the_leases_to_others() {
    let mut harness = Harness::new();
    let request = |n: u8, account| LeaseRequest {
        max_leases: 20,
        account,
        ..Harness::request(Q(n), "p", "ann", n.into())
    };
    for n in 0..18 {
        harness.lease_as(request(n, 1));
    }
    assert_eq!(harness.fetch(request(18, 1), 0).0, FetchOutcome::Unshared);
    for n in 18..20 {
        harness.lease_as(request(n, 2));
    }
    assert_eq!(harness.fetch(request(20, 2), 0).0, FetchOutcome::Unshared, "all are held");
    harness.stored(Q(5));
    harness.lease_as(request(5, 1));
}

#[test]
fn a_caller_beyond_max_leases_gets_a_lease_that_nobody_shares() {
    let mut harness = Harness::new();
    let request =
        |n: u8, client| LeaseRequest { max_leases: 20, ..Harness::request(Q(n), "p", "ann", client) };
    for n in 0..2 {
        harness.lease_as(request(n, 1));
    }
    assert_eq!(harness.fetch(request(2, 1), 0).0, FetchOutcome::Unshared, "a tenth for one client");
    for n in 2..20 {
        harness.lease_as(request(n, n.into()));
    }
    assert_eq!(harness.fetch(request(20, 30), 0).0, FetchOutcome::Unshared);
    assert_eq!(harness.table.report().counters.unshared, 2);
    assert_eq!(harness.fetch(request(5, 30), 0).0, FetchOutcome::Busy { ms: LEASE_MS });
    harness.stored(Q(5));
    harness.lease_as(request(20, 30));
}
