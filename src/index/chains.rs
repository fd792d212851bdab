//! The chains of groups: each persona, user and tier has one, and each drop cuts one off whole.
//!
//! Cutting takes O(1) as only the two ends change: the owner forgets its head, and the head's link names
//! the batch instead. From then on the chain is the batch's. A group leaves a chain through its link alone:
//! it tells whether a group, the owner or a batch is before it, so nobody needs to know whose chain it is.
//! That holds because a link says `Owner` only in the owner's present chain: every cut re-tags the head, and
//! every group that becomes a head inherits the tag.

use super::core::Index;
use super::pool::Id;
use super::records::{Axis, Before, Group, Link, Persona, User};
use super::tombstones::BatchId;
use crate::tier::Tier;

/// Whose chain it is, before any drop.
enum Owner {
    Persona(Id<Persona>),
    User(Id<User>),
    Tier(Tier),
}

/// None along the axis of users for a group that has no user.
fn owner(group: &Group, axis: Axis) -> Option<Owner> {
    match axis {
        Axis::Persona => Some(Owner::Persona(group.persona)),
        Axis::User => group.user.map(Owner::User),
        Axis::Tier => Some(Owner::Tier(group.tier)),
    }
}

impl Index {
    /// Puts a group that is in no chain at the head of its persona's, its user's and its tier's.
    pub(super) fn chain(&mut self, id: Id<Group>) {
        for axis in Axis::ALL {
            let Some(owner) = self.groups.get(id).and_then(|group| owner(group, axis)) else { continue };
            let Some(head) = self.head_mut(owner) else { continue };
            let after = head.replace(id);
            self.put_before(axis, id, Before::Owner, after);
        }
    }

    /// Takes a group that has left the pool out of every chain.
    pub(super) fn unchain(&mut self, group: &Group) {
        for axis in Axis::ALL {
            let Link { after, .. } = *group.link(axis);
            let before = group.link(axis).before();
            if let Some(after) = after.and_then(|after| self.groups.get_mut(after)) {
                after.link_mut(axis).set_before(before);
            }
            match before {
                Before::Loose => {}
                Before::Group(before) => {
                    if let Some(before) = self.groups.get_mut(before) {
                        before.link_mut(axis).after = after;
                    }
                }
                Before::Batch(batch) => self.batches.set_head(batch, after),
                Before::Owner => {
                    if let Some(head) = owner(group, axis).and_then(|owner| self.head_mut(owner)) {
                        *head = after;
                    }
                }
            }
        }
    }

    /// Makes a batch of a chain whose owner has just forgotten this head.
    pub(super) fn cut(&mut self, axis: Axis, head: Id<Group>) -> Option<BatchId> {
        let batch = self.batches.push(head)?;
        self.groups.get_mut(head)?.link_mut(axis).set_before(Before::Batch(batch.id()));
        Some(batch)
    }

    /// Queues a group that never was live, and so is in no chain: at the head of the batch of those, which
    /// follows the persona links.
    pub(super) fn bury(&mut self, id: Id<Group>) {
        let open = self.tombstone_batch.and_then(|batch| Some((batch, self.batches.get(batch)?.head)));
        if let Some((batch, head)) = open {
            self.batches.set_head(batch.id(), Some(id));
            self.put_before(Axis::Persona, id, Before::Batch(batch.id()), Some(head));
        } else {
            self.tombstone_batch = self.cut(Axis::Persona, id);
        }
    }

    /// Where an owner keeps the head of its chain.
    fn head_mut(&mut self, owner: Owner) -> Option<&mut Option<Id<Group>>> {
        match owner {
            Owner::Persona(id) => Some(&mut self.personas.get_mut(id)?.head),
            Owner::User(id) => Some(&mut self.users.get_mut(id)?.head),
            Owner::Tier(tier) => Some(self.heads.of_mut(tier)),
        }
    }

    fn put_before(&mut self, axis: Axis, id: Id<Group>, before: Before, after: Option<Id<Group>>) {
        if let Some(group) = self.groups.get_mut(id) {
            *group.link_mut(axis) = Link::new(before, after);
        }
        if let Some(after) = after.and_then(|after| self.groups.get_mut(after)) {
            after.link_mut(axis).set_before(Before::Group(id));
        }
    }
}
