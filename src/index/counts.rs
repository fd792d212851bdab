//! How many live answers there are: by tier, by persona and tier, and how many personas have any.
//!
//! FLUSH of a tier may not visit the personas, so a persona's count of a tier carries the tier's generation
//! and is 0 under any other. The number of personas with live answers stays exact all the same: the ledger
//! counts personas by the *set* of tiers they have answers in (16 sets), and a flush moves each set that
//! has the tier to the set without it.
//!
//! Softly stale answers are live ones: every amount says how many of its answers are stale.

use super::core::Size;
use crate::tier::Tier;

/// Some answers, how many of them are softly stale, and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub entries: u32,
    pub stale: u32,
    pub size: Size,
}

impl Amount {
    // Saturating throughout: the counts agree with each other by construction, and if they ever did not, a
    // wrong number is better than a server that is down.
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

/// A persona's live answers in each tier: that many as long as the tier is in that generation, then none.
/// (Amount and generation side by side would take 16 bytes more in all.)
#[derive(Default)]
pub(super) struct Counts {
    live: PerTier<Amount>,
    generations: PerTier<u32>,
}

/// A tier's live answers, and the generation that its drops move on.
#[derive(Clone, Copy, Default)]
struct TierCount {
    live: Amount,
    generation: u32,
}

/// A set of tiers: a bit each.
type TierSet = usize;

fn bit(tier: Tier) -> TierSet {
    1 << tier as u8
}

/// All counts that are not a persona's own, and the only one to change those.
#[derive(Default)]
pub(super) struct Ledger {
    tiers: PerTier<TierCount>,
    /// How many personas have live answers in exactly this set of tiers; the empty set is not counted.
    personas: [u32; 16],
}

impl Ledger {
    pub fn tier(&self, tier: Tier) -> Amount {
        self.tiers.of(tier).live
    }

    pub fn generation(&self, tier: Tier) -> u32 {
        self.tiers.of(tier).generation
    }

    pub fn total(&self) -> Amount {
        let mut total = Amount::default();
        Tier::ALL.into_iter().for_each(|tier| total.add(self.tier(tier)));
        total
    }

    /// The number of personas with live answers.
    pub fn personas_len(&self) -> u64 {
        self.personas.iter().map(|&personas| u64::from(personas)).sum()
    }

    /// A persona's live answers in one tier.
    pub fn count(&self, persona: &Counts, tier: Tier) -> Amount {
        if *persona.generations.of(tier) != self.generation(tier) {
            return Amount::default();
        }
        *persona.live.of(tier)
    }

    /// A persona's live answers.
    pub fn sum(&self, persona: &Counts) -> Amount {
        let mut sum = Amount::default();
        Tier::ALL.into_iter().for_each(|tier| sum.add(self.count(persona, tier)));
        sum
    }

    pub fn gain(&mut self, persona: &mut Counts, tier: Tier, amount: Amount) {
        let mut count = self.count(persona, tier);
        count.add(amount);
        self.set(persona, tier, count);
        self.tiers.of_mut(tier).live.add(amount);
    }

    pub fn lose(&mut self, persona: &mut Counts, tier: Tier, amount: Amount) {
        let mut count = self.count(persona, tier);
        count.subtract(amount);
        self.set(persona, tier, count);
        self.tiers.of_mut(tier).live.subtract(amount);
    }

    /// Counts all of a persona's answers as stale, and says how many were not.
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

    /// Takes all of a persona's answers off the counts, and says how many there were.
    pub fn invalidate_persona(&mut self, persona: &mut Counts) -> u64 {
        let dropped = self.sum(persona);
        for tier in Tier::ALL {
            let count = self.count(persona, tier);
            self.lose(persona, tier, count);
        }
        u64::from(dropped.entries)
    }

    /// Takes all of a tier's answers off the counts, moves the tier to this generation, and says how many
    /// there were.
    pub fn invalidate_tier(&mut self, tier: Tier, generation: u32) -> u64 {
        let count = self.tiers.of_mut(tier);
        let dropped = std::mem::take(&mut count.live);
        count.generation = generation;
        for set in 1..self.personas.len() {
            if set & bit(tier) != 0 {
                let personas = self.personas.get_mut(set).map_or(0, std::mem::take);
                self.recount(set & !bit(tier), |counted| counted.saturating_add(personas));
            }
        }
        u64::from(dropped.entries)
    }

    fn set(&mut self, persona: &mut Counts, tier: Tier, amount: Amount) {
        let before = self.tiers_of(persona);
        *persona.live.of_mut(tier) = amount;
        *persona.generations.of_mut(tier) = self.generation(tier);
        let after = self.tiers_of(persona);
        if before != after {
            self.recount(before, |personas| personas.saturating_sub(1));
            self.recount(after, |personas| personas.saturating_add(1));
        }
    }

    fn tiers_of(&self, persona: &Counts) -> TierSet {
        let has = |tier: &Tier| self.count(persona, *tier).entries > 0;
        Tier::ALL.into_iter().filter(has).fold(0, |set, tier| set | bit(tier))
    }

    fn recount(&mut self, set: TierSet, change: impl FnOnce(u32) -> u32) {
        if set != 0
            && let Some(personas) = self.personas.get_mut(set)
        {
            *personas = change(*personas);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flushed_tier_counts_no_more_though_no_persona_was_visited() {
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
    fn stale_answers_are_counted_once_and_go_with_their_tier() {
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
