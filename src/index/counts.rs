//! The counts of live entries by tier and by persona, and the number of personas with live entries.
//!
//! FLUSH of a tier must not visit the personas, so a persona's count of a tier carries the tier's generation
//! and is 0 under any other. The number of personas with live entries is exact all the same: the ledger
//! counts personas by the *set* of tiers in which they have entries (16 sets), and a flush moves each set
//! with the tier to the set without it.
//!
//! Stale entries are live; every amount says how many of its entries are stale.
//!
//! The entries of a cluster slot that is still arriving are in a book of their own, which no report reads. Once the slot
//! is served, `settle` adds that book to the main one, whatever the number of its personas.

use super::size::Size;
use crate::tier::Tier;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// A number of entries, the number of stale ones among them, and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub entries: u32,
    pub stale: u32,
    pub size: Size,
}

impl Amount {
    // Saturating throughout: the counts agree with each other by construction, and after a bug a wrong number
    // is better than a server that is down.
    fn add(&mut self, other: Amount) {
        self.entries = self.entries.saturating_add(other.entries);
        self.stale = self.stale.saturating_add(other.stale);
        self.size.add(other.size);
    }

    fn subtract(&mut self, other: Amount) {
        self.entries = self.entries.saturating_sub(other.entries);
        self.stale = self.stale.saturating_sub(other.stale);
        self.size.subtract(other.size);
    }
}

/// One value for each tier.
#[derive(Clone, Default)]
pub(super) struct PerTier<T> {
    msg: T,
    persona: T,
    session: T,
    response: T,
}

impl<T> PerTier<T> {
    pub fn of(&self, tier: Tier) -> &T {
        match tier {
            Tier::Msg => &self.msg,
            Tier::Persona => &self.persona,
            Tier::Session => &self.session,
            Tier::Response => &self.response,
        }
    }

    pub fn of_mut(&mut self, tier: Tier) -> &mut T {
        match tier {
            Tier::Msg => &mut self.msg,
            Tier::Persona => &mut self.persona,
            Tier::Session => &mut self.session,
            Tier::Response => &mut self.response,
        }
    }
}

/// A persona's live entries in each tier. An amount is valid while the tier is in its generation, and 0
/// later. (Pairs of amount and generation would take 16 bytes more in all.)
#[derive(Default)]
pub(super) struct Counts {
    live: PerTier<Amount>,
    generations: PerTier<u32>,
    /// The arrival whose book has the persona's entries, until it is settled.
    arrival: Option<ArrivalId>,
}

/// The number of an arrival of cluster slots. No number is given twice.
pub type ArrivalId = NonZeroU32;

/// A set of tiers, with a bit for each.
type TierSet = usize;

fn bit(tier: Tier) -> TierSet {
    1 << tier as u8
}

/// The live entries of some personas.
#[derive(Default)]
struct Book {
    live: PerTier<Amount>,
    /// The number of personas with live entries in exactly this set of tiers; the empty set is not counted.
    personas: [u32; 16],
}

impl Book {
    fn add(&mut self, other: &Book) {
        Tier::ALL.into_iter().for_each(|tier| self.live.of_mut(tier).add(*other.live.of(tier)));
        for (personas, more) in self.personas.iter_mut().zip(other.personas) {
            *personas = personas.saturating_add(more);
        }
    }

    fn invalidate_tier(&mut self, tier: Tier) -> u64 {
        let invalidated = std::mem::take(self.live.of_mut(tier));
        for set in 1..self.personas.len() {
            if set & bit(tier) != 0 {
                let personas = self.personas.get_mut(set).map_or(0, std::mem::take);
                self.recount(set & !bit(tier), |counted| counted.saturating_add(personas));
            }
        }
        u64::from(invalidated.entries)
    }

    fn recount(&mut self, set: TierSet, change: impl FnOnce(u32) -> u32) {
        if set != 0
            && let Some(personas) = self.personas.get_mut(set)
        {
            *personas = change(*personas);
        }
    }
}

/// All counts but the personas' own, which only the ledger changes.
#[derive(Default)]
pub(super) struct Ledger {
    served: Book,
    /// The book of each arrival that is not settled.
    arriving: BTreeMap<ArrivalId, Book>,
    /// The generation of each tier, which an invalidation raises.
    generations: PerTier<u32>,
}

impl Ledger {
    pub fn tier(&self, tier: Tier) -> Amount {
        *self.served.live.of(tier)
    }

    pub fn generation(&self, tier: Tier) -> u32 {
        *self.generations.of(tier)
    }

    pub fn total(&self) -> Amount {
        let mut total = Amount::default();
        Tier::ALL.into_iter().for_each(|tier| total.add(self.tier(tier)));
        total
    }

    /// Returns the number of personas with live entries.
    pub fn personas_len(&self) -> u64 {
        self.served.personas.iter().map(|&personas| u64::from(personas)).sum()
    }

    /// Returns true if a persona's entries are of a slot that is still arriving.
    pub fn is_arriving(&self, persona: &Counts) -> bool {
        persona.arrival.is_some_and(|arrival| self.arriving.contains_key(&arrival))
    }

    /// Moves a persona's entries to the book of an arrival.
    pub fn mark_arriving(&mut self, persona: &mut Counts, arrival: ArrivalId) {
        if persona.arrival == Some(arrival) {
            return;
        }
        let moved = Tier::ALL.map(|tier| (tier, self.count(persona, tier)));
        moved.into_iter().for_each(|(tier, amount)| self.lose(persona, tier, amount));
        self.arriving.entry(arrival).or_default();
        persona.arrival = Some(arrival);
        moved.into_iter().for_each(|(tier, amount)| self.gain(persona, tier, amount));
    }

    /// Counts the entries of an arrival with the others from now on.
    pub fn settle(&mut self, arrival: ArrivalId) {
        if let Some(book) = self.arriving.remove(&arrival) {
            self.served.add(&book);
        }
    }

    fn book(&mut self, persona: &Counts) -> &mut Book {
        match persona.arrival.and_then(|arrival| self.arriving.get_mut(&arrival)) {
            Some(book) => book,
            None => &mut self.served,
        }
    }

    /// Returns a persona's live entries in one tier.
    pub fn count(&self, persona: &Counts, tier: Tier) -> Amount {
        if *persona.generations.of(tier) != self.generation(tier) {
            return Amount::default();
        }
        *persona.live.of(tier)
    }

    /// Returns a persona's live entries.
    pub fn sum(&self, persona: &Counts) -> Amount {
        let mut sum = Amount::default();
        Tier::ALL.into_iter().for_each(|tier| sum.add(self.count(persona, tier)));
        sum
    }

    pub fn gain(&mut self, persona: &mut Counts, tier: Tier, amount: Amount) {
        let mut count = self.count(persona, tier);
        count.add(amount);
        self.set(persona, tier, count);
        self.book(persona).live.of_mut(tier).add(amount);
    }

    pub fn lose(&mut self, persona: &mut Counts, tier: Tier, amount: Amount) {
        let mut count = self.count(persona, tier);
        count.subtract(amount);
        self.set(persona, tier, count);
        self.book(persona).live.of_mut(tier).subtract(amount);
    }

    /// Counts all of a persona's entries as stale. Returns the number of those that were fresh.
    pub fn soft_invalidate_persona(&mut self, persona: &mut Counts) -> u64 {
        let mut fresh = 0;
        for tier in Tier::ALL {
            let count = self.count(persona, tier);
            let stale = count.entries.saturating_sub(count.stale);
            self.gain(persona, tier, Amount { stale, ..Amount::default() });
            fresh += u64::from(stale);
        }
        fresh
    }

    /// Subtracts all of a persona's entries from the counts. Returns their number.
    pub fn invalidate_persona(&mut self, persona: &mut Counts) -> u64 {
        let invalidated = self.sum(persona);
        for tier in Tier::ALL {
            let count = self.count(persona, tier);
            self.lose(persona, tier, count);
        }
        u64::from(invalidated.entries)
    }

    /// Subtracts all of a tier's entries from the counts and gives the tier this generation. Returns the
    /// number of entries.
    pub fn invalidate_tier(&mut self, tier: Tier, generation: u32) -> u64 {
        *self.generations.of_mut(tier) = generation;
        let arriving: u64 = self.arriving.values_mut().map(|book| book.invalidate_tier(tier)).sum();
        self.served.invalidate_tier(tier) + arriving
    }

    fn set(&mut self, persona: &mut Counts, tier: Tier, amount: Amount) {
        let before = self.tiers_of(persona);
        *persona.live.of_mut(tier) = amount;
        *persona.generations.of_mut(tier) = self.generation(tier);
        let after = self.tiers_of(persona);
        if before != after {
            let book = self.book(persona);
            book.recount(before, |personas| personas.saturating_sub(1));
            book.recount(after, |personas| personas.saturating_add(1));
        }
    }

    fn tiers_of(&self, persona: &Counts) -> TierSet {
        let has = |tier: &Tier| self.count(persona, *tier).entries > 0;
        Tier::ALL.into_iter().filter(has).fold(0, |set, tier| set | bit(tier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalidated_tier_counts_no_entries_although_no_persona_was_visited() {
        let mut ledger = Ledger::default();
        let (mut both, mut one) = (Counts::default(), Counts::default());
        let amount = Amount { entries: 3, stale: 0, size: 30.into() };
        ledger.gain(&mut both, Tier::Msg, amount);
        ledger.gain(&mut both, Tier::Session, amount);
        ledger.gain(&mut one, Tier::Msg, amount);
        assert_eq!((ledger.personas_len(), ledger.total().entries), (2, 9));

        assert_eq!(ledger.invalidate_tier(Tier::Msg, 1), 6);
        assert_eq!(ledger.personas_len(), 1);
        assert_eq!(ledger.sum(&one), Amount::default());
        assert_eq!(ledger.sum(&both), amount);

        let one_more = Amount { entries: 1, stale: 0, size: 7.into() };
        ledger.gain(&mut one, Tier::Msg, one_more);
        assert_eq!((ledger.personas_len(), ledger.sum(&one).size), (2, 7.into()));
        assert_eq!(ledger.invalidate_persona(&mut both), 3);
        assert_eq!((ledger.personas_len(), ledger.total().entries), (1, 1));
        ledger.lose(&mut one, Tier::Msg, one_more);
        assert_eq!((ledger.personas_len(), ledger.total()), (0, Amount::default()));
    }

    #[test]
    fn entries_of_an_arriving_slot_are_counted_once_it_is_settled() {
        let mut ledger = Ledger::default();
        let (mut here, mut arriving) = (Counts::default(), Counts::default());
        let amount = Amount { entries: 3, stale: 0, size: 30.into() };
        let arrival = ArrivalId::new(7).expect("not 0");
        ledger.gain(&mut here, Tier::Msg, amount);
        ledger.gain(&mut arriving, Tier::Msg, amount);
        ledger.mark_arriving(&mut arriving, arrival);
        ledger.gain(&mut arriving, Tier::Response, amount);
        ledger.soft_invalidate_persona(&mut arriving);
        assert!(ledger.is_arriving(&arriving) && !ledger.is_arriving(&here));
        assert_eq!((ledger.personas_len(), ledger.total()), (1, amount));
        assert_eq!(ledger.sum(&arriving), Amount { entries: 6, stale: 6, size: 60.into() });

        assert_eq!(ledger.invalidate_tier(Tier::Msg, 1), 6);
        assert_eq!((ledger.personas_len(), ledger.total()), (0, Amount::default()));

        ledger.settle(arrival);
        assert!(!ledger.is_arriving(&arriving));
        assert_eq!((ledger.personas_len(), ledger.total()), (1, Amount { stale: 3, ..amount }));
        assert_eq!((ledger.invalidate_persona(&mut arriving), ledger.personas_len()), (3, 0));
        assert_eq!(ledger.total(), Amount::default());
    }

    #[test]
    fn stale_entries_are_counted_once_and_invalidated_with_their_tier() {
        let mut ledger = Ledger::default();
        let mut counts = Counts::default();
        let amount = Amount { entries: 3, stale: 0, size: 30.into() };
        ledger.gain(&mut counts, Tier::Msg, amount);
        ledger.gain(&mut counts, Tier::Session, amount);
        assert_eq!(ledger.soft_invalidate_persona(&mut counts), 6);
        assert_eq!(ledger.soft_invalidate_persona(&mut counts), 0);
        assert_eq!(ledger.total(), Amount { entries: 6, stale: 6, size: 60.into() });

        ledger.invalidate_tier(Tier::Msg, 1);
        ledger.gain(&mut counts, Tier::Msg, amount);
        assert_eq!(ledger.sum(&counts), Amount { entries: 6, stale: 3, size: 60.into() });
        assert_eq!(ledger.soft_invalidate_persona(&mut counts), 3);
        assert_eq!((ledger.invalidate_persona(&mut counts), ledger.total()), (6, Amount::default()));
    }
}
