//! What callers live through, one thing at a time.

use super::support::{Desk, LEASE_MS, hits, lease_key, passed_on};
use crate::lease::{FetchOutcome, LeaseKey, Leaving, Outcome, Token, VoidScope, WaiterId, Wake};
use crate::tier::Tier;

const Q: fn(u8) -> LeaseKey = lease_key;

fn outcomes(wakes: &[Wake]) -> Vec<(WaiterId, Outcome)> {
    wakes.iter().map(|wake| (wake.waiter, wake.outcome)).collect()
}

#[test]
fn of_a_thousand_callers_one_has_the_lease_and_all_others_its_answer() {
    let mut desk = Desk::new();
    let token = desk.lease(Q(1), 1);
    let waiting: Vec<_> = (2..=1000).map(|client| desk.wait(Q(1), client, 5000)).collect();
    desk.now_ms += 500;
    assert_eq!(desk.check(Q(1), token), Some(500));
    assert_eq!(hits(&desk.stored(Q(1))), waiting, "in the order in which they came");
    let counters = desk.table.report().counters;
    assert_eq!((counters.granted, counters.answered, counters.waits_hit), (1, 1, 999));
}

#[test]
fn who_does_not_wait_is_told_for_how_long_the_lease_is_held() {
    let mut desk = Desk::new();
    desk.lease(Q(1), 1);
    desk.now_ms += 300;
    assert_eq!(desk.busy(Q(1), 2, 0), LEASE_MS - 300);
}

#[test]
fn the_next_waiter_computes_when_the_holder_gives_up() {
    let mut desk = Desk::new();
    let token = desk.lease(Q(1), 1);
    let (first, second) = (desk.wait(Q(1), 2, 5000), desk.wait(Q(1), 3, 5000));
    let (released, wakes) = desk.release(Q(1), token);
    assert!(released);
    let (waiter, next) = passed_on(&wakes);
    assert_eq!(waiter, first);
    assert_eq!((desk.check(Q(1), token), desk.check(Q(1), next)), (None, Some(0)));
    assert_eq!(desk.release(Q(1), token), (false, vec![]));
    assert_eq!(hits(&desk.stored(Q(1))), [second]);
}

#[test]
fn the_next_waiter_computes_when_the_holders_connection_closes() {
    let mut desk = Desk::new();
    let mine = [desk.lease(Q(1), 1), desk.lease(Q(2), 1)];
    let other = desk.lease(Q(3), 2);
    let (one, two) = (desk.wait(Q(1), 3, 5000), desk.wait(Q(2), 4, 5000));
    desk.wait(Q(3), 5, 5000);
    let wakes = desk.gone(1);
    assert_eq!(wakes.iter().map(|wake| wake.waiter).collect::<Vec<_>>(), [one, two]);
    assert!(wakes.iter().all(|wake| matches!(wake.outcome, Outcome::Lease { .. })));
    assert_eq!((desk.check(Q(1), mine[0]), desk.check(Q(2), mine[1])), (None, None));
    assert!(desk.check(Q(3), other).is_some());
    assert_eq!(desk.table.report().counters.passed_on.disconnected, 2);
}

#[test]
fn the_next_waiter_computes_when_the_lease_runs_out() {
    let mut desk = Desk::new();
    let token = desk.lease(Q(1), 1);
    let first = desk.wait(Q(1), 2, 60_000);
    assert_eq!(desk.table.next_deadline(), Some(desk.now_ms + 1000));
    assert_eq!(desk.pass(999), vec![]);
    assert_eq!(desk.check(Q(1), token), Some(999));
    let (waiter, next) = passed_on(&desk.pass(1));
    assert_eq!(waiter, first);
    assert_eq!((desk.check(Q(1), token), desk.check(Q(1), next)), (None, Some(0)));
    assert_eq!(desk.table.report().counters.passed_on.ran_out, 1);
}

#[test]
fn a_waiter_who_disconnects_is_passed_over() {
    let mut desk = Desk::new();
    let token = desk.lease(Q(1), 1);
    desk.wait(Q(1), 2, 5000);
    let second = desk.wait(Q(1), 3, 5000);
    assert_eq!(desk.gone(2), vec![]);
    assert_eq!(passed_on(&desk.release(Q(1), token).1).0, second);
}

#[test]
fn a_waiter_who_got_the_lease_and_died_before_it_heard_passes_it_on() {
    let mut desk = Desk::new();
    let token = desk.lease(Q(1), 1);
    let (first, second) = (desk.wait(Q(1), 2, 5000), desk.wait(Q(1), 3, 5000));
    assert_eq!(passed_on(&desk.release(Q(1), token).1).0, first);
    assert_eq!(desk.table.leave(first, Leaving::TimedOut, desk.now_ms), None, "its wait has ended already");
    assert_eq!(passed_on(&desk.gone(2)).0, second);
}

#[test]
fn a_wait_that_is_over_ends_with_busy() {
    let mut desk = Desk::new();
    desk.lease(Q(1), 1);
    let (short, long) = (desk.wait(Q(1), 2, 100), desk.wait(Q(1), 3, 200));
    assert_eq!(desk.table.next_deadline(), Some(desk.now_ms + 100));
    assert_eq!(outcomes(&desk.pass(100)), [(short, Outcome::Busy { ms: 900 })]);
    assert_eq!(outcomes(&desk.pass(100)), [(long, Outcome::Busy { ms: 800 })]);
    assert_eq!(desk.table.report().counters.waits_over, 2);
}

#[test]
fn a_waiter_that_the_server_unblocks_is_told_how_long_the_lease_lasts() {
    let mut desk = Desk::new();
    desk.lease(Q(1), 1);
    let waiter = desk.wait(Q(1), 2, 5000);
    desk.now_ms += 400;
    assert_eq!(desk.table.leave(waiter, Leaving::TimedOut, desk.now_ms), Some(600));
    assert_eq!(desk.table.leave(waiter, Leaving::Gone, desk.now_ms), None);
    desk.table.validate();
    assert_eq!(desk.stored(Q(1)), vec![]);
}

#[test]
fn a_late_timer_gives_the_lease_to_nobody_whose_wait_is_over() {
    let mut desk = Desk::new();
    desk.lease(Q(1), 1);
    let over = desk.wait(Q(1), 2, 1500);
    let next = desk.wait(Q(1), 3, 9000);
    let last = desk.wait(Q(1), 4, 1500);
    let wakes = outcomes(&desk.pass(2000));
    assert!(matches!(wakes[0], (waiter, Outcome::Lease { ms: LEASE_MS, .. }) if waiter == next));
    assert_eq!(wakes[1..], [(over, Outcome::Busy { ms: 1000 }), (last, Outcome::Busy { ms: 1000 })]);
}

#[test]
fn a_lease_that_ran_out_unnoticed_passes_on_before_a_newcomer_gets_it() {
    let mut desk = Desk::new();
    desk.lease(Q(1), 1);
    let first = desk.wait(Q(1), 2, 9000);
    desk.now_ms += 1000;
    let (fetched, wakes) = desk.fetch(Desk::ask(Q(1), "p", "ann", 3), 0);
    assert_eq!(fetched, FetchOutcome::Busy { ms: LEASE_MS });
    assert_eq!(passed_on(&wakes).0, first);
    desk.now_ms += 1000;
    desk.lease(Q(1), 4);
}

#[test]
fn an_answer_without_a_token_serves_the_waiters_and_ends_the_lease() {
    let mut desk = Desk::new();
    let token = desk.lease(Q(1), 1);
    let waiter = desk.wait(Q(1), 2, 5000);
    assert_eq!(hits(&desk.stored(Q(1))), [waiter]);
    assert_eq!(desk.check(Q(1), token), None);
    assert_eq!(desk.table.report().counters.refused, 1);
    assert_eq!(desk.stored(Q(1)), vec![], "where nobody has a lease, nothing happens");
}

#[test]
fn a_token_is_good_for_its_own_question_and_its_own_database_only() {
    let mut desk = Desk::new();
    let token = desk.lease(Q(1), 1);
    desk.lease(Q(2), 1);
    let elsewhere = LeaseKey { database: 1, ..Q(1) };
    desk.lease(elsewhere, 1);
    let wider = LeaseKey { tier: Tier::Persona, ..Q(1) };
    for lease_key in [Q(2), elsewhere, wider] {
        assert_eq!(desk.check(lease_key, token), None);
        assert_eq!(desk.release(lease_key, token), (false, vec![]));
    }
    let mut forged = *token.as_bytes();
    forged[15] ^= 1;
    assert_eq!(desk.check(Q(1), Token::from_bytes(forged)), None);
    assert!(desk.check(Q(1), token).is_some());
}

#[test]
fn no_answer_of_an_old_prompt_comes_after_the_invalidation() {
    let mut desk = Desk::new();
    let token = desk.lease(Q(1), 1);
    let other = desk.lease_as(Desk::ask(Q(2), "q", "ann", 1));
    let elsewhere = LeaseKey { database: 1, ..Q(1) };
    let there = desk.lease(elsewhere, 1);
    let (first, second) = (desk.wait(Q(1), 2, 5000), desk.wait(Q(1), 3, 5000));
    let (voided, wakes) = desk.void(VoidScope::Persona(0, b"p"));
    assert_eq!(voided, 1);
    let (waiter, next) = passed_on(&wakes);
    assert_eq!(waiter, first, "it starts with the new prompt");
    assert_eq!(desk.check(Q(1), token), None);
    assert!(desk.check(Q(2), other).is_some() && desk.check(elsewhere, there).is_some());
    assert!(desk.check(Q(1), next).is_some());
    assert_eq!(hits(&desk.stored(Q(1))), [second]);
}

#[test]
fn a_lease_that_passed_on_belongs_to_the_waiters_persona_and_user() {
    let mut desk = Desk::new();
    let msg = LeaseKey { tier: Tier::Msg, ..Q(1) };
    let token = desk.lease_as(Desk::ask(msg, "p", "ann", 1));
    desk.wait_as(Desk::ask(msg, "q", "bob", 2), 5000);
    let (_, next) = passed_on(&desk.release(msg, token).1);
    assert_eq!(desk.void(VoidScope::Persona(0, b"p")).0, 0);
    assert_eq!(desk.void(VoidScope::User(0, b"ann")).0, 0);
    assert!(desk.check(msg, next).is_some());
    assert_eq!(desk.void(VoidScope::User(0, b"bob")).0, 1);
    assert_eq!(desk.check(msg, next), None);
}

#[test]
fn a_user_forgotten_a_tier_flushed_a_key_deleted_and_a_database_flushed_void_their_leases() {
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
        let mut desk = Desk::new();
        let asks = [
            Desk::ask(Q(1), "p", "ann", 1),
            Desk::ask(LeaseKey { tier: Tier::Msg, ..Q(2) }, "q", "ann", 1),
            Desk::ask(Q(3), "p", "bob", 1),
            Desk::ask(Q(4), "q", "", 1),
            Desk::ask(LeaseKey { database: 7, ..Q(1) }, "p", "ann", 1),
        ];
        let tokens = asks.map(|ask| desk.lease_as(ask));
        let waiting: Vec<_> =
            (10..).zip(&asks).map(|(client, ask)| desk.wait(ask.lease_key, client, 5000)).collect();
        let (voided, wakes) = desk.void(void);
        assert_eq!(voided, gone.len(), "{void:?}");
        assert!(wakes.iter().all(|wake| matches!(wake.outcome, Outcome::Lease { .. })));
        let mut woken: Vec<_> = wakes.iter().map(|wake| wake.waiter).collect();
        woken.sort_unstable();
        assert_eq!(woken, gone.iter().map(|n| waiting[*n]).collect::<Vec<_>>(), "{void:?}");
        for (n, ask) in asks.iter().enumerate() {
            assert_eq!(desk.check(ask.lease_key, tokens[n]).is_none(), gone.contains(&n), "{void:?}");
        }
    }
}

#[test]
fn of_all_who_find_a_stale_answer_one_refreshes_it() {
    let mut desk = Desk::new();
    let mine = desk.refresh(Q(1), 1).unwrap();
    assert_eq!(mine.ms, LEASE_MS);
    assert!((1..50).all(|client| desk.refresh(Q(1), client).is_none()));
    assert_eq!(desk.gone(1), vec![]);
    let next = desk.refresh(Q(1), 2).unwrap();
    assert_eq!(desk.check(Q(1), mine.token), None);
    // The answer's grace ends before its refreshment comes: who asks now waits for that.
    let waiter = desk.wait(Q(1), 3, 5000);
    assert_eq!(desk.check(Q(1), next.token), Some(0));
    assert_eq!(hits(&desk.stored(Q(1))), [waiter]);
}

#[test]
fn a_client_never_waits_for_itself() {
    let mut desk = Desk::new();
    let token = desk.lease(Q(1), 1);
    assert_eq!(desk.busy(Q(1), 1, 5000), LEASE_MS);
    assert!(desk.check(Q(1), token).is_some(), "and its lease is as it was");
}

#[test]
fn two_clients_never_wait_for_each_other() {
    let mut desk = Desk::new();
    for client in 1..=3 {
        desk.lease(Q(client as u8), client);
    }
    desk.wait(Q(2), 1, 5000);
    let second = desk.wait(Q(3), 2, 5000);
    assert_eq!(desk.busy(Q(1), 3, 5000), LEASE_MS, "1 waits for 2, 2 for 3");
    desk.wait(Q(1), 4, 5000);
    desk.table.leave(second, Leaving::TimedOut, desk.now_ms);
    desk.wait(Q(1), 3, 5000);
}

#[test]
fn a_caller_too_many_does_not_wait() {
    let mut desk = Desk::new();
    desk.max_waiters = 2;
    desk.lease(Q(1), 1);
    desk.lease(Q(2), 2);
    let first = desk.wait(Q(1), 3, 5000);
    desk.wait(Q(2), 4, 5000);
    assert_eq!(desk.busy(Q(1), 5, 5000), LEASE_MS);
    assert_eq!(desk.table.report().counters.turned_away, 1);
    desk.table.leave(first, Leaving::Gone, desk.now_ms);
    desk.wait(Q(1), 5, 5000);
    desk.max_waiters = 0;
    desk.busy(Q(1), 6, 5000);
}

#[test]
fn who_looks_again_in_vain_keeps_its_place() {
    let mut desk = Desk::new();
    let token = desk.lease(Q(1), 1);
    let waiting = [2, 3, 4].map(|client| desk.wait(Q(1), client, 5000));
    let (_, wakes) = desk.step(|table, step| table.response_appeared(&Q(1), step));
    assert_eq!(outcomes(&wakes), waiting.map(|waiter| (waiter, Outcome::LookAgain)));
    // The second may see that answer, the others may not.
    assert_eq!(desk.table.leave(waiting[1], Leaving::Answered, desk.now_ms), Some(LEASE_MS));
    assert!(desk.check(Q(1), token).is_some());
    assert_eq!(hits(&desk.stored(Q(1))), [waiting[0], waiting[2]]);
    assert_eq!(desk.table.report().counters.waits_hit, 3);
}

#[test]
fn after_a_swap_leases_hold_where_their_clients_are_and_waiters_look_again() {
    let mut desk = Desk::new();
    let there = LeaseKey { database: 1, ..Q(1) };
    let (token, other) = (desk.lease(Q(1), 1), desk.lease(there, 2));
    let (one, two) = (desk.wait(Q(1), 3, 5000), desk.wait(there, 4, 5000));
    desk.lease(LeaseKey { database: 2, ..Q(1) }, 5);
    desk.wait(LeaseKey { database: 2, ..Q(1) }, 6, 5000);
    let (_, wakes) = desk.step(|table, step| table.swapped(1, 0, step));
    let mut seen = outcomes(&wakes);
    seen.sort_unstable_by_key(|(waiter, _)| *waiter);
    assert_eq!(seen, [(one, Outcome::LookAgain), (two, Outcome::LookAgain)]);
    assert!(desk.check(Q(1), token).is_some() && desk.check(there, other).is_some());
    assert_eq!((desk.check(Q(1), other), desk.check(there, token)), (None, None));
    assert_eq!(desk.step(|table, step| table.swapped(0, 0, step)).1, vec![]);
}

#[test]
fn no_answer_from_before_an_invalidation_comes_into_a_database_by_a_swap() {
    let mut desk = Desk::new();
    let old = desk.lease(Q(1), 1);
    let waiter = desk.wait(Q(1), 2, 5000);
    desk.now_ms += 10;
    desk.void(VoidScope::Persona(1, b"p"));
    desk.now_ms += 10;
    let young = desk.lease(Q(2), 3);
    let (_, wakes) = desk.step(|table, step| table.swapped(0, 1, step));
    assert_eq!(passed_on(&wakes).0, waiter);
    assert_eq!(desk.check(Q(1), old), None);
    assert!(desk.check(Q(2), young).is_some());
    // The drop went with the contents: a swap with a database without drops ends nothing.
    let (_, wakes) = desk.step(|table, step| table.swapped(0, 5, step));
    assert_eq!(wakes, vec![]);
    assert!(desk.check(Q(2), young).is_some());
}

#[test]
fn a_server_that_gives_up_leaves_nobody_waiting() {
    let mut desk = Desk::new();
    let token = desk.lease(Q(1), 1);
    let waiting = [2, 3].map(|client| desk.wait(Q(1), client, 5000));
    desk.lease(Q(2), 4);
    let (_, wakes) = desk.step(|table, step| table.end_all(step));
    assert_eq!(outcomes(&wakes), waiting.map(|waiter| (waiter, Outcome::Busy { ms: 0 })));
    assert_eq!(desk.check(Q(1), token), None);
    assert_eq!((desk.table.report().leases, desk.table.next_deadline()), (0, None));
}

#[test]
fn names_and_times_of_any_size_do_no_harm() {
    let mut desk = Desk::new();
    desk.now_ms = i64::MAX - 5;
    let mut ask = Desk::ask(Q(1), "p", "", 1);
    ask.lease_ms = u64::MAX;
    let (fetched, _) = desk.fetch(ask, 0);
    assert!(matches!(fetched, FetchOutcome::Leased(leased) if leased.ms == 5));
    desk.now_ms = i64::MIN;
    ask = Desk::ask(Q(2), "p", "", 1);
    ask.lease_ms = 0;
    let (fetched, _) = desk.fetch(ask, 0);
    assert!(matches!(fetched, FetchOutcome::Leased(leased) if leased.ms == 1));
    desk.pass(1);
    assert_eq!(desk.table.report().leases, 1);
}

#[test]
fn a_token_does_not_show_in_a_log() {
    assert_eq!(format!("{:?}", Token::from_bytes([7; 16])), "Token");
}
