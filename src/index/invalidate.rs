//! Invalidating entries. Readers see the effect at once; the caller reclaims the memory key by key.
//! Soft-invalidated entries are stale at once and stay live.

use std::iter::successors;
use std::sync::Arc;

use super::counts::Amount;
use super::database::Index;
use super::handle::Handle;
use super::liveness::Liveness;
use super::origin::Located;
use super::pool::Id;
use super::records::{Axis, BatchId, Group};
use crate::tier::Tier;

/// The result of an invalidation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Invalidated {
    /// The number of live entries that were invalidated.
    pub responses: u64,
    /// The tombstones to reclaim; None iff no live entry was invalidated. The batch may also hold tombstones
    /// of an earlier invalidation along another axis (of a user of this persona, for example): a caller that
    /// reclaims at once counts its own work instead of going on to the end of the batch.
    pub batch: Option<BatchId>,
}

impl Index {
    /// Invalidates all entries of a persona, in every tier. O(1).
    pub fn invalidate_persona(&mut self, persona: &[u8]) -> Invalidated {
        self.try_invalidate_persona(persona).unwrap_or_default()
    }

    /// Soft-invalidates all entries of a persona, in every tier. Returns the number of those that were fresh.
    /// They become stale, and stay live and counted; entries linked later are fresh. O(1).
    pub fn soft_invalidate_persona(&mut self, persona: &[u8]) -> u64 {
        self.try_soft_invalidate_persona(persona).unwrap_or_default()
    }

    /// Invalidates all entries of a user, of every persona. O(groups of the user): at most four for each of
    /// the user's personas, four more for each soft-invalidation that left some of them, and those not yet
    /// reclaimed. The empty user has no entries.
    pub fn invalidate_user(&mut self, user: &[u8]) -> Invalidated {
        self.try_invalidate_user(user).unwrap_or_default()
    }

    /// Invalidates all entries of a tier. O(1): the personas' counts follow when they are next read.
    pub fn invalidate_tier(&mut self, tier: Tier) -> Invalidated {
        self.try_invalidate_tier(tier).unwrap_or_default()
    }

    /// Returns the personas with live entries of this user, in no order.
    pub fn personas_of_user(&self, user: &[u8]) -> Vec<Arc<[u8]>> {
        let head = self.users.find(user).and_then(|id| self.users.get(id)).and_then(|user| user.head);
        let mut personas: Vec<_> = self.live_groups_of_user(head).map(|group| group.persona).collect();
        personas.sort_unstable_by_key(|id| id.number());
        personas.dedup();
        personas.into_iter().filter_map(|id| Some(Arc::clone(&self.personas.get(id)?.name))).collect()
    }

    /// Returns the next entry to reclaim, of this batch or else of the oldest one; None if no tombstone is
    /// left. The caller deletes its key, which calls `unlink`. If the key is missing or holds another
    /// entry, the caller must `unlink` the handle, as otherwise every call returns the same entry. O(1).
    pub fn next_tombstone(&self, batch: Option<BatchId>) -> Option<Located<'_>> {
        let batch = match batch {
            Some(id) => self.batches.get(id)?,
            None => self.batches.oldest()?,
        };
        let node = self.groups.get(batch.head)?.head?;
        let stamp = self.nodes.get(node)?.stamp;
        self.located(Handle { node, stamp })
    }

    fn try_soft_invalidate_persona(&mut self, persona: &[u8]) -> Option<u64> {
        let id = self.personas.find(persona)?;
        let persona = self.personas.get_mut(id)?;
        let responses = self.ledger.soft_invalidate_persona(&mut persona.data.counts);
        if responses > 0 {
            self.generation = self.generation.wrapping_add(1);
            persona.soft_invalidate(self.generation);
        }
        Some(responses)
    }

    // An owner without live entries has no live group, so nothing is cut off: dead groups in its chain are in
    // a batch already.

    fn try_invalidate_persona(&mut self, persona: &[u8]) -> Option<Invalidated> {
        let id = self.personas.find(persona)?;
        let persona = self.personas.get_mut(id)?;
        let responses = self.ledger.invalidate_persona(&mut persona.data.counts);
        if responses == 0 {
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        persona.invalidate(self.generation);
        let head = persona.head.take()?;
        Some(self.queue(Axis::Persona, head, responses))
    }

    fn try_invalidate_user(&mut self, user: &[u8]) -> Option<Invalidated> {
        let id = self.users.find(user)?;
        let head = self.users.get(id)?.head;
        let live: Vec<_> = self
            .live_groups_of_user(head)
            .map(|group| {
                let stale = if self.group_liveness(group) == Liveness::Stale { group.entries } else { 0 };
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
                self.ledger.lose(&mut persona.data.counts, tier, amount);
            }
        }
        self.generation = self.generation.wrapping_add(1);
        let user = self.users.get_mut(id)?;
        user.invalidate(self.generation);
        let head = user.head.take()?;
        Some(self.queue(Axis::User, head, responses))
    }

    fn try_invalidate_tier(&mut self, tier: Tier) -> Option<Invalidated> {
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
