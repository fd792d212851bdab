//! Soft-invalidated entries.

use super::stories::{reclaim, store};
use crate::index::Liveness::{Dead, Fresh, Stale};
use crate::index::{Index, Name, PersonaReport};
use crate::tier::Tier;

#[test]
fn a_soft_invalidated_persona_is_stale_at_once_and_counted_as_before() {
    let mut index = Index::new();
    let mine: Vec<_> = Tier::ALL.into_iter().map(|tier| store(&mut index, tier, "p", "ann", 1)).collect();
    let other = store(&mut index, Tier::Response, "q", "ann", 1);
    assert_eq!(index.soft_invalidate_persona(b"p"), 4);
    index.check();
    assert!(mine.iter().all(|handle| index.resolve(*handle).liveness == Stale));
    assert_eq!(index.resolve(other).liveness, Fresh);
    assert_eq!((index.entries(), index.size(), index.personas_len()), (5, 500.into(), 2));
    assert_eq!((index.stale(), index.pending(), index.next_tombstone(None)), (4, 0, None));
    let report = PersonaReport { entries: 4, stale: 4, bytes: 400, ..PersonaReport::default() };
    assert_eq!(index.persona_stats(b"p"), Some(report));
    assert_eq!((index.soft_invalidate_persona(b"p"), index.soft_invalidate_persona(b"nobody")), (0, 0));
}

#[test]
fn an_entry_stored_after_a_soft_invalidation_is_fresh_until_the_next() {
    let mut index = Index::new();
    let old = store(&mut index, Tier::Persona, "p", "", 1);
    index.soft_invalidate_persona(b"p");
    let new = store(&mut index, Tier::Persona, "p", "", 2);
    let newer = store(&mut index, Tier::Persona, "p", "", 3);
    assert_eq!(
        (index.resolve(old).liveness, index.resolve(new).liveness, index.resolve(newer).liveness),
        (Stale, Fresh, Fresh)
    );
    assert_eq!(index.groups_len(), 2);
    assert_eq!(index.soft_invalidate_persona(b"p"), 2);
    assert_eq!((index.resolve(old).liveness, index.resolve(new).liveness, index.stale()), (Stale, Stale, 3));
    index.check();
    let newest = store(&mut index, Tier::Persona, "p", "", 1);
    assert!(index.unlink(old, 100).is_some());
    assert_eq!((index.resolve(newest).liveness, index.stale(), index.groups_len()), (Fresh, 2, 2));
    index.check();
}

#[test]
fn a_refreshed_entry_is_not_stale() {
    let mut index = Index::new();
    let old = store(&mut index, Tier::Response, "p", "ann", 1);
    index.soft_invalidate_persona(b"p");
    index.resize(old, 100, 300);
    assert_eq!((index.size(), index.stale()), (300.into(), 1));
    index.unlink(old, 300);
    let new = store(&mut index, Tier::Response, "p", "ann", 1);
    assert_eq!((index.resolve(old).liveness, index.resolve(new).liveness), (Dead, Fresh));
    assert_eq!((index.stale(), index.entries(), index.soft_invalidate_persona(b"p")), (0, 1, 1));
    index.unlink(new, 100);
    index.check_empty();
}

#[test]
fn an_invalidation_takes_stale_and_fresh_entries_and_counts_both() {
    let mut index = Index::new();
    let tiers = |index: &mut Index| Tier::ALL.map(|tier| store(index, tier, "p", "ann", 1));
    let old = tiers(&mut index);
    assert_eq!(index.soft_invalidate_persona(b"p"), 4);
    let new = tiers(&mut index);
    assert_eq!(index.invalidate_tier(Tier::Msg).responses, 2);
    assert_eq!((index.entries(), index.stale(), index.pending()), (6, 3, 2));
    assert_eq!((index.resolve(old[0]).liveness, index.resolve(new[0]).liveness), (Dead, Dead));
    index.check();

    // The invalidated tier has no stale entries, although the persona's counts have not followed yet.
    store(&mut index, Tier::Msg, "p", "", 1);
    assert_eq!(index.soft_invalidate_persona(b"p"), 4);
    assert_eq!((index.entries(), index.stale()), (7, 7));

    assert_eq!(index.personas_of_user(b"ann").len(), 1);
    assert_eq!(index.invalidate_user(b"ann").responses, 6);
    assert_eq!((index.entries(), index.stale()), (1, 1));
    assert_eq!(index.invalidate_persona(b"p").responses, 1);
    assert_eq!((index.entries(), index.stale(), index.pending()), (0, 0, 9));
    index.check();
    assert_eq!(reclaim(&mut index), 9);
    index.check_empty();
}

#[test]
fn a_soft_invalidation_neither_revives_nor_counts_a_tombstone() {
    let mut index = Index::new();
    let invalidated = store(&mut index, Tier::Persona, "p", "", 1);
    index.invalidate_persona(b"p");
    let came_invalidated = index.link_tombstone(Tier::Persona, b"p", b"", Name::Own(b"copy"));
    let forgotten = store(&mut index, Tier::Response, "p", "ann", 1);
    index.invalidate_user(b"ann");
    let mut live = Vec::new();
    for n in 0..5 {
        live.push(store(&mut index, Tier::Persona, "p", "", n));
        assert_eq!(index.soft_invalidate_persona(b"p"), 1);
        for handle in [invalidated, came_invalidated, forgotten] {
            assert_eq!(index.resolve(handle).liveness, Dead);
        }
        assert!(live.iter().all(|handle| index.resolve(*handle).liveness == Stale));
        index.check();
    }
    assert_eq!(reclaim(&mut index), 3);
    assert_eq!(index.invalidate_persona(b"p").responses, 5);
}

#[test]
fn stale_entries_stay_live_after_any_invalidations_of_other_personas() {
    let mut index = Index::of_generation(u32::MAX - 2);
    let mut live = Vec::new();
    for n in 0..10 {
        live.push(store(&mut index, Tier::Persona, "p", "", n));
        assert_eq!(index.soft_invalidate_persona(b"p"), 1);
        store(&mut index, Tier::Persona, "q", "", n);
        index.invalidate_persona(b"q");
        // Two thirds of all generations pass.
        index.generation = index.generation.wrapping_add(u32::MAX / 3 * 2);
        assert!(live.iter().all(|handle| index.is_live(*handle)));
        assert_eq!((index.entries(), index.stale()), (n + 1, n + 1));
    }
    assert_eq!(index.invalidate_persona(b"p").responses, 10);
    assert!(live.iter().all(|handle| index.resolve(*handle).liveness == Dead));
    reclaim(&mut index);
    index.check_empty();
}
