//! Stories of answers that a soft drop has made stale.

use super::stories::{reclaim, store};
use crate::index::{Handle, Index, Name, PersonaReport};
use crate::tier::Tier;

/// Whether it is live, and softly stale.
fn state(index: &Index, handle: Handle) -> (bool, bool) {
    (index.is_live(handle), index.is_soft_stale(handle))
}

const FRESH: (bool, bool) = (true, false);
const STALE: (bool, bool) = (true, true);
const GONE: (bool, bool) = (false, false);

#[test]
fn a_softly_dropped_persona_is_stale_at_once_and_counted_as_before() {
    let mut index = Index::new();
    let mine: Vec<_> = Tier::ALL.into_iter().map(|tier| store(&mut index, tier, "p", "ann", 1)).collect();
    let other = store(&mut index, Tier::Response, "q", "ann", 1);
    assert_eq!(index.soft_invalidate_persona(b"p"), 4);
    index.check();
    assert!(mine.iter().all(|handle| state(&index, *handle) == STALE));
    assert_eq!(state(&index, other), FRESH);
    assert_eq!((index.entries(), index.size(), index.personas_len()), (5, 500.into(), 2));
    assert_eq!((index.stale(), index.pending(), index.next_tombstone(None)), (4, 0, None));
    let report = PersonaReport { entries: 4, stale: 4, bytes: 400, ..PersonaReport::default() };
    assert_eq!(index.persona_stats(b"p"), Some(report));
    assert_eq!((index.soft_invalidate_persona(b"p"), index.soft_invalidate_persona(b"nobody")), (0, 0));
}

#[test]
fn what_is_stored_after_a_soft_drop_is_fresh_until_the_next_one() {
    let mut index = Index::new();
    let old = store(&mut index, Tier::Persona, "p", "", 1);
    index.soft_invalidate_persona(b"p");
    let new = store(&mut index, Tier::Persona, "p", "", 2);
    let newer = store(&mut index, Tier::Persona, "p", "", 3);
    assert_eq!((state(&index, old), state(&index, new), state(&index, newer)), (STALE, FRESH, FRESH));
    assert_eq!(index.groups_len(), 2);
    assert_eq!(index.soft_invalidate_persona(b"p"), 2);
    assert_eq!((state(&index, old), state(&index, new), index.stale()), (STALE, STALE, 3));
    index.check();
    let newest = store(&mut index, Tier::Persona, "p", "", 1);
    assert!(index.unlink(old, 100).is_some());
    assert_eq!((state(&index, newest), index.stale(), index.groups_len()), (FRESH, 2, 2));
    index.check();
}

#[test]
fn a_refreshed_answer_is_stale_no_more() {
    let mut index = Index::new();
    let old = store(&mut index, Tier::Response, "p", "ann", 1);
    index.soft_invalidate_persona(b"p");
    index.resize(old, 100, 300);
    assert_eq!((index.size(), index.stale()), (300.into(), 1));
    index.unlink(old, 300);
    let new = store(&mut index, Tier::Response, "p", "ann", 1);
    assert_eq!((state(&index, old), state(&index, new)), (GONE, FRESH));
    assert_eq!((index.stale(), index.entries(), index.soft_invalidate_persona(b"p")), (0, 1, 1));
    index.unlink(new, 100);
    index.check_empty();
}

#[test]
fn hard_drops_take_the_stale_with_the_fresh_and_count_both() {
    let mut index = Index::new();
    let tiers = |index: &mut Index| Tier::ALL.map(|tier| store(index, tier, "p", "ann", 1));
    let old = tiers(&mut index);
    assert_eq!(index.soft_invalidate_persona(b"p"), 4);
    let new = tiers(&mut index);
    assert_eq!(index.invalidate_tier(Tier::Msg).responses, 2);
    assert_eq!((index.entries(), index.stale(), index.pending()), (6, 3, 2));
    assert_eq!((state(&index, old[0]), state(&index, new[0])), (GONE, GONE));
    index.check();

    // The flushed tier has nothing stale any more, though nobody has told the persona yet.
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
fn what_is_dropped_is_never_revived_nor_stale() {
    let mut index = Index::new();
    let dropped = store(&mut index, Tier::Persona, "p", "", 1);
    index.invalidate_persona(b"p");
    let came_dropped = index.link_tombstone(Tier::Persona, b"p", b"", Name::Own(b"copy"));
    let forgotten = store(&mut index, Tier::Response, "p", "ann", 1);
    index.invalidate_user(b"ann");
    let mut live = Vec::new();
    for n in 0..5 {
        live.push(store(&mut index, Tier::Persona, "p", "", n));
        assert_eq!(index.soft_invalidate_persona(b"p"), 1);
        for handle in [dropped, came_dropped, forgotten] {
            assert_eq!(state(&index, handle), GONE);
        }
        assert!(live.iter().all(|handle| state(&index, *handle) == STALE));
        index.check();
    }
    assert_eq!(reclaim(&mut index), 3);
    assert_eq!(index.invalidate_persona(b"p").responses, 5);
}

#[test]
fn stale_answers_stay_live_however_many_drops_come_elsewhere() {
    let mut index = Index::of_generation(u32::MAX - 2);
    let mut live = Vec::new();
    for n in 0..10 {
        live.push(store(&mut index, Tier::Persona, "p", "", n));
        assert_eq!(index.soft_invalidate_persona(b"p"), 1);
        store(&mut index, Tier::Persona, "q", "", n);
        index.invalidate_persona(b"q");
        // Two thirds of all generations.
        index.generation = index.generation.wrapping_add(u32::MAX / 3 * 2);
        assert!(live.iter().all(|handle| index.is_live(*handle)));
        assert_eq!((index.entries(), index.stale()), (n + 1, n + 1));
    }
    assert_eq!(index.invalidate_persona(b"p").responses, 10);
    assert!(live.iter().all(|handle| state(&index, *handle) == GONE));
    reclaim(&mut index);
    index.check_empty();
}
