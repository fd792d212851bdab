//! Linking, invalidating and reclaiming entries, one feature a test.

use crate::index::idle::{MAX_BYTES, MAX_NAME_BYTES};
use crate::index::{Handle, Index, Invalidated, Liveness, Name, PersonaReport, Resolved, State};
use crate::tier::Tier;

pub(super) fn digest(n: u64) -> Name<'static> {
    Name::Canonical(u128::from(n).to_le_bytes())
}

pub(super) fn store(index: &mut Index, tier: Tier, persona: &str, user: &str, n: u64) -> Handle {
    index.link(tier, persona.as_bytes(), user.as_bytes(), digest(n), 100)
}

/// Deletes all tombstones, as the reclaimer does, and returns their number.
pub(super) fn reclaim(index: &mut Index) -> u64 {
    let mut reclaimed = 0;
    while let Some(handle) = index.next_tombstone(None).map(|tombstone| tombstone.handle) {
        assert!(index.unlink(handle, 100).is_some_and(|origin| origin.state == State::Tombstone));
        reclaimed += 1;
    }
    reclaimed
}

#[test]
fn an_invalidated_persona_is_dead_at_once_and_reclaimed_later() {
    let mut index = Index::new();
    let mine: Vec<_> = (0..50).map(|n| store(&mut index, Tier::Response, "p", "ann", n)).collect();
    let other = store(&mut index, Tier::Response, "q", "ann", 1);
    let Invalidated { responses, batch } = index.invalidate_persona(b"p");
    assert_eq!(responses, 50);
    assert!(mine.iter().all(|handle| !index.is_live(*handle) && index.contains(*handle)));
    assert!(index.is_live(other));
    assert_eq!((index.entries(), index.pending(), index.personas_len()), (1, 50, 1));
    assert_eq!(index.persona_stats(b"p"), None);
    assert!(index.next_tombstone(batch).is_some_and(|tombstone| tombstone.persona == b"p"));
    assert_eq!(reclaim(&mut index), 50);
    assert!(index.next_tombstone(batch).is_none());
    index.check();
}

#[test]
fn an_entry_stored_after_an_invalidation_lives_beside_the_tombstones() {
    let mut index = Index::new();
    let old = store(&mut index, Tier::Persona, "p", "", 1);
    index.invalidate_persona(b"p");
    let new = store(&mut index, Tier::Persona, "p", "", 1);
    assert!(!index.is_live(old) && index.is_live(new));
    index.check();
    assert_eq!(reclaim(&mut index), 1);
    assert!(index.is_live(new));
    let newer = store(&mut index, Tier::Persona, "p", "", 2);
    assert_eq!((index.groups_len(), index.is_live(newer)), (1, true));
    assert_eq!(index.invalidate_persona(b"p").responses, 2);
}

#[test]
fn a_second_invalidation_counts_no_entry_twice() {
    let mut index = Index::new();
    store(&mut index, Tier::Session, "p", "ann", 1);
    store(&mut index, Tier::Session, "q", "ann", 2);
    store(&mut index, Tier::Msg, "q", "ann", 3);
    assert_eq!(index.invalidate_persona(b"p").responses, 1);
    assert_eq!(index.invalidate_persona(b"p"), Invalidated::default());
    assert_eq!(index.invalidate_tier(Tier::Session).responses, 1);
    assert_eq!(index.invalidate_user(b"ann").responses, 1);
    assert_eq!(index.invalidate_user(b"ann"), Invalidated::default());
    index.check();
    assert_eq!(reclaim(&mut index), 3);
    index.check_empty();
}

#[test]
fn invalidating_a_user_leaves_the_entries_of_other_users() {
    let mut index = Index::new();
    store(&mut index, Tier::Response, "p", "ann", 1);
    store(&mut index, Tier::Session, "q", "ann", 2);
    store(&mut index, Tier::Response, "p", "ben", 3);
    store(&mut index, Tier::Persona, "p", "", 4);
    assert_eq!(index.personas_of_user(b"ann").len(), 2);
    assert_eq!(index.invalidate_user(b"ann").responses, 2);
    assert_eq!(index.personas_of_user(b"ann").len(), 0);
    assert_eq!((index.personas_len(), index.entries()), (1, 2));
    assert_eq!(index.invalidate_user(b""), Invalidated::default());
    assert_eq!(index.invalidate_user(b"nobody"), Invalidated::default());
}

#[test]
fn an_entry_linked_as_a_tombstone_waits_for_reclaim_and_is_never_live() {
    let mut index = Index::new();
    let live = store(&mut index, Tier::Response, "p", "ann", 1);
    let dead: Vec<_> =
        (0..9).map(|_| index.link_tombstone(Tier::Response, b"p", b"ann", Name::Own(b"copy"))).collect();
    assert!(dead.iter().all(|handle| !index.is_live(*handle)));
    assert_eq!((index.entries(), index.pending(), index.groups_len()), (1, 9, 2));
    index.check();
    assert!(index.next_tombstone(None).is_some_and(|tombstone| tombstone.name == Name::Own(b"copy")));
    assert_eq!(reclaim(&mut index), 9);
    assert!(index.is_live(live));
    index.link_tombstone(Tier::Response, b"p", b"ann", digest(1));
    assert_eq!(index.invalidate_persona(b"p").responses, 1);
    assert_eq!(reclaim(&mut index), 2);
    index.check_empty();
}

#[test]
fn a_batch_is_reclaimed_before_an_older_one_if_its_id_is_given() {
    let mut index = Index::new();
    for n in 0..10 {
        store(&mut index, Tier::Response, "large", "ann", n);
    }
    store(&mut index, Tier::Response, "small", "ann", 1);
    let large = index.invalidate_persona(b"large").batch;
    let small = index.invalidate_persona(b"small").batch;
    let tombstone = index.next_tombstone(small).map(|tombstone| (tombstone.handle, tombstone.persona));
    let Some((handle, b"small")) = tombstone else { panic!("{tombstone:?}") };
    index.unlink(handle, 100);
    assert_eq!(index.next_tombstone(small), None);
    assert!(index.next_tombstone(large).is_some_and(|tombstone| tombstone.persona == b"large"));
}

#[test]
fn a_handle_of_a_slot_used_again_is_unknown() {
    let mut index = Index::new();
    let old = store(&mut index, Tier::Msg, "p", "", 1);
    assert!(index.unlink(old, 100).is_some());
    let new = store(&mut index, Tier::Msg, "p", "", 1);
    assert_eq!(old.node, new.node);
    assert!(!index.contains(old) && !index.is_live(old) && index.unlink(old, 100).is_none());
    assert!(index.is_live(new));
    assert!(!Index::new().contains(new) && !index.contains(Handle::NOWHERE));
}

#[test]
fn statistics_outlive_the_entries_and_return_with_them() {
    let mut index = Index::new();
    index.record_miss(b"p");
    assert_eq!(index.persona_stats(b"p").map(|report| report.misses), Some(1));
    let handle = store(&mut index, Tier::Msg, "p", "", 1);
    let resolved = index.resolve(handle);
    index.record_hit(resolved, 250);
    index.record_miss(b"p");
    let report = PersonaReport { entries: 1, stale: 0, bytes: 100, hits: 1, misses: 2, saved_ms: 250 };
    assert_eq!(index.persona_stats(b"p"), Some(report));
    index.unlink(handle, 100);
    assert_eq!(index.persona_stats(b"p"), Some(PersonaReport { entries: 0, bytes: 0, ..report }));
    store(&mut index, Tier::Msg, "p", "", 2);
    assert_eq!(index.persona_stats(b"p"), Some(report));
}

#[test]
fn misses_of_personas_without_entries_take_bounded_memory() {
    let mut index = Index::new();
    for n in 0..20_000 {
        index.record_miss(format!("nobody-{n}").as_bytes());
    }
    assert!(index.heap_bytes() <= MAX_BYTES);
    assert_eq!(index.persona_stats(b"nobody-0"), None);
    assert!(index.persona_stats(b"nobody-19999").is_some());
    index.check_empty();
}

#[test]
fn misses_of_long_persona_names_take_bounded_memory_which_a_flush_returns() {
    let mut index = Index::new();
    let handle = store(&mut index, Tier::Msg, "p", "", 1);
    let before = index.heap_bytes();
    for n in 0..100 {
        index.record_miss(format!("{n:0>65000}").as_bytes());
    }
    assert_eq!((index.heap_bytes(), index.idle().personas), (before, 0));
    for n in 0..2000 {
        index.record_miss(format!("{n:0>width$}", width = MAX_NAME_BYTES).as_bytes());
    }
    assert!((MAX_BYTES / 2..=MAX_BYTES).contains(&(index.heap_bytes() - before)));
    assert!(index.idle().evicted > 1000);
    let resolved = index.resolve(handle);
    index.record_hit(resolved, 1);
    index.forget_idle();
    assert_eq!(index.heap_bytes(), before);
    assert_eq!(index.persona_stats(b"p").map(|report| report.hits), Some(1), "entries keep statistics");
}

#[test]
fn a_persona_with_a_long_name_keeps_statistics_while_it_has_entries() {
    let mut index = Index::new();
    let persona = "p".repeat(MAX_NAME_BYTES + 1);
    let handle = store(&mut index, Tier::Msg, &persona, "", 1);
    let resolved = index.resolve(handle);
    index.record_hit(resolved, 9);
    index.record_miss(persona.as_bytes());
    let report = index.persona_stats(persona.as_bytes()).map(|report| (report.hits, report.misses));
    assert_eq!(report, Some((1, 1)));
    index.unlink(handle, 100);
    assert_eq!(index.persona_stats(persona.as_bytes()), None);
    assert_eq!(index.idle().evicted, 1);
}

#[test]
fn one_walk_tells_the_liveness_and_the_persona_of_an_entry() {
    let mut index = Index::new();
    let handle = store(&mut index, Tier::Msg, "p", "", 1);
    let resolved = index.resolve(handle);
    assert_eq!(resolved.liveness, Liveness::Fresh);
    assert!(index.is_owned_by(resolved, b"p") && !index.is_owned_by(resolved, b"q"));
    index.soft_invalidate_persona(b"p");
    assert_eq!(index.resolve(handle).liveness, Liveness::Stale);
    index.record_hit(index.resolve(handle), 7);
    index.invalidate_persona(b"p");
    assert_eq!(index.resolve(handle).liveness, Liveness::Dead);
    assert_eq!(index.owner(index.resolve(handle)).map(|name| &**name), Some(&b"p"[..]));
    index.unlink(handle, 1);
    assert_eq!((index.resolve(handle), index.owner(Resolved::UNKNOWN)), (Resolved::UNKNOWN, None));
    assert_eq!(index.persona_stats(b"p").map(|report| (report.hits, report.saved_ms)), Some((1, 7)));
}

#[test]
fn an_iteration_over_the_personas_returns_each_that_stays() {
    let mut index = Index::new();
    let name = |n: u64| format!("p{n}");
    let handles: Vec<_> = (0..3000).map(|n| store(&mut index, Tier::Msg, &name(n), "", n)).collect();
    let (mut cursor, mut met) = (0, std::collections::HashSet::new());
    for round in 0.. {
        let (next, personas) = index.personas(cursor, 7);
        assert!(personas.len() <= 7);
        met.extend(personas.into_iter().map(|(persona, _)| persona.to_vec()));
        // Odd personas leave, new ones arrive, even ones stay.
        index.unlink(handles[(round * 2 + 1) % 3000], 100);
        store(&mut index, Tier::Session, &name(10_000 + round as u64), "ann", 1);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert!((0..3000).step_by(2).all(|n| met.contains(name(n).as_bytes())));
    assert_eq!(index.personas(u64::MAX, usize::MAX).0, 0);
}

#[test]
fn an_iteration_over_the_personas_passes_vacant_slots() {
    let mut index = Index::new();
    let mut handles: Vec<_> =
        (0..3000).map(|n| store(&mut index, Tier::Msg, &format!("p{n}"), "", n)).collect();
    handles.pop();
    handles.into_iter().for_each(|handle| assert!(index.unlink(handle, 100).is_some()));
    let (mut cursor, mut calls, mut met) = (0, 0, Vec::new());
    while calls == 0 || cursor != 0 {
        let (next, personas) = index.personas(cursor, 10);
        assert!(
            next == 0 || next <= cursor + 100,
            "a call looks at ten slots for each persona it may return"
        );
        met.extend(personas);
        (cursor, calls) = (next, calls + 1);
    }
    assert_eq!(met.len(), 1);
    assert!(calls >= 30);
}

#[test]
fn a_wrong_size_from_the_caller_does_not_stay_in_the_counts() {
    let mut index = Index::new();
    let (one, two) = (store(&mut index, Tier::Msg, "p", "", 1), store(&mut index, Tier::Msg, "p", "", 2));
    index.resize(one, 5000, 40);
    index.check();
    index.unlink(one, u64::MAX);
    index.check();
    index.unlink(two, 0);
    index.check_empty();
}

#[test]
fn an_index_may_be_freed_on_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&Index::new());
}
