//! Dropping answers: at once for every reader, then key by key for the memory. Or softly: then they are
//! stale at once, and stay live.

use std::iter::successors;
use std::sync::Arc;

use super::core::{Handle, Index, Located};
use super::counts::Amount;
use super::pool::Id;
use super::records::{Axis, Group};
use super::tombstones::BatchId;
use crate::tier::Tier;

/// What a drop has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Invalidated {
    /// How many live answers it hit.
    pub responses: u64,
    /// Where they wait to be reclaimed; None iff there were none. The same batch may also bring nodes that
    /// an earlier drop hit along another way (of a persona whose user was forgotten before, say): who
    /// reclaims it at once counts what he does rather than go on to its end.
    pub batch: Option<BatchId>,
}

impl Index {
    /// Drops all answers of a persona, in every tier. O(1).
    pub fn invalidate_persona(&mut self, persona: &[u8]) -> Invalidated {
        self.try_drop_persona(persona).unwrap_or_default()
    }

    /// Makes all live answers of a persona softly stale, in every tier, and says how many of them were not.
    /// They stay live and counted as before; what is linked from now on is fresh. O(1).
    pub fn soft_invalidate_persona(&mut self, persona: &[u8]) -> u64 {
        self.try_soft_drop_persona(persona).unwrap_or_default()
    }

    /// Drops all answers of a user, of every persona. O(groups of the user): four at most for each persona
    /// he has talked to, as many again for each soft drop that left some of them, and those not yet
    /// reclaimed. Nothing for the empty user, who is nobody.
    pub fn invalidate_user(&mut self, user: &[u8]) -> Invalidated {
        self.try_drop_user(user).unwrap_or_default()
    }

    /// Drops all answers of a tier. O(1): the personas' counts learn of it when they are next looked at.
    pub fn invalidate_tier(&mut self, tier: Tier) -> Invalidated {
        self.try_drop_tier(tier).unwrap_or_default()
    }

    /// The personas that a user has live answers of, in no order.
    pub fn personas_of_user(&self, user: &[u8]) -> Vec<Arc<[u8]>> {
        let head = self.users.find(user).and_then(|id| self.users.get(id)).and_then(|user| user.head);
        let mut personas: Vec<_> = self.live_groups_of_user(head).map(|group| group.persona).collect();
        personas.sort_unstable_by_key(|id| id.number());
        personas.dedup();
        personas.into_iter().filter_map(|id| Some(Arc::clone(&self.personas.get(id)?.name))).collect()
    }

    /// The next entry to reclaim: of this batch, or of the oldest one; None if nothing is left of it. Delete
    /// its key: that calls `unlink`, and the next call brings another. If the key is not there, or holds
    /// another entry than this handle's, `unlink` the handle, or it is brought again for ever. O(1).
    pub fn next_tombstone(&self, batch: Option<BatchId>) -> Option<Located<'_>> {
        let batch = match batch {
            Some(id) => self.batches.get(id)?,
            None => self.batches.oldest()?,
        };
        let node = self.groups.get(batch.head)?.head?;
        let stamp = self.nodes.get(node)?.stamp;
        self.located(Handle { node, stamp })
    }

    fn try_soft_drop_persona(&mut self, persona: &[u8]) -> Option<u64> {
        let id = self.personas.find(persona)?;
        let persona = self.personas.get_mut(id)?;
        let responses = self.ledger.soft_invalidate_persona(&mut persona.more.counts);
        if responses > 0 {
            self.generation = self.generation.wrapping_add(1);
            persona.soft_invalidate(self.generation);
        }
        Some(responses)
    }

    // In all three hard ones: no live answer means no live group, and then there is nothing to cut off. The dead
    // groups that may be in the chain are in a batch already.

    fn try_drop_persona(&mut self, persona: &[u8]) -> Option<Invalidated> {
        let id = self.personas.find(persona)?;
        let persona = self.personas.get_mut(id)?;
        let responses = self.ledger.invalidate_persona(&mut persona.more.counts);
        if responses == 0 {
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        persona.invalidate(self.generation);
        let head = persona.head.take()?;
        Some(self.queue(Axis::Persona, head, responses))
    }

    fn try_drop_user(&mut self, user: &[u8]) -> Option<Invalidated> {
        let id = self.users.find(user)?;
        let head = self.users.get(id)?.head;
        let live: Vec<_> = self
            .live_groups_of_user(head)
            .map(|group| {
                let stale = if self.is_group_old(group) { group.entries } else { 0 };
                (group.persona, group.tier, Amount { entries: group.entries, stale, size: group.size })
            })
            .collect();
        if live.is_empty() {
            return None;
        }
        let mut responses = 0;
        for (persona, tier, amount) in live {
            responses += u64::from(amount.entries);
            if let Some(persona) = self.personas.get_mut(persona) {
                self.ledger.lose(&mut persona.more.counts, tier, amount);
            }
        }
        self.generation = self.generation.wrapping_add(1);
        let user = self.users.get_mut(id)?;
        user.invalidate(self.generation);
        let head = user.head.take()?;
        Some(self.queue(Axis::User, head, responses))
    }

    fn try_drop_tier(&mut self, tier: Tier) -> Option<Invalidated> {
        if self.ledger.tier(tier).entries == 0 {
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        let responses = self.ledger.invalidate_tier(tier, self.generation);
        let head = self.heads.of_mut(tier).take()?;
        Some(self.queue(Axis::Tier, head, responses))
    }

    fn queue(&mut self, axis: Axis, head: Id<Group>, responses: u64) -> Invalidated {
        self.pending += responses;
        Invalidated { responses, batch: self.cut(axis, head) }
    }

    fn live_groups_of_user(&self, head: Option<Id<Group>>) -> impl Iterator<Item = &Group> {
        let group = |id: Id<Group>| self.groups.get(id);
        let chain = successors(head.and_then(group), move |g| g.link(Axis::User).after.and_then(group));
        chain.filter(|group| self.is_group_live(group))
    }
}
