//! The chains of groups. Each persona, user and tier has one, and an invalidation cuts one off whole.
//!
//! Cutting takes O(1), as only the head changes: the owner forgets it, and its link names the batch instead.
//! From then on the chain belongs to the batch. A group needs only its own link to leave a chain: the link
//! says whether a group, the owner or a batch precedes it. This holds because a link says `Owner` only in
//! the owner's present chain: a cut changes the tag of the head, and a group that becomes a head inherits
//! the tag.

use super::database::Index;
use super::pool::Id;
use super::records::{Axis, BatchId, Before, Group, Link, Persona, User};
use crate::tier::Tier;

/// The owner of a chain that no invalidation has cut off.
enum Owner {
    Persona(Id<Persona>),
    User(Id<User>),
    Tier(Tier),
}

/// Returns the owner of a group along an axis: None for the user of a group without one.
fn owner(group: &Group, axis: Axis) -> Option<Owner> {
    match axis {
        Axis::Persona => Some(Owner::Persona(group.persona)),
        Axis::User => group.user.map(Owner::User),
        Axis::Tier => Some(Owner::Tier(group.tier)),
    }
}

impl Index {
    /// Puts a new group at the head of the chains of its persona, its user and its tier.
    pub(super) fn chain(&mut self, id: Id<Group>) {
        for axis in Axis::ALL {
            let Some(owner) = self.groups.get(id).and_then(|group| owner(group, axis)) else { continue };
            let Some(head) = self.head_mut(owner) else { continue };
            let after = head.replace(id);
            self.put_before(axis, id, Before::Owner, after);
        }
    }

    /// Removes a group that has left the pool from all its chains.
    pub(super) fn unchain(&mut self, group: &Group) {
        for axis in Axis::ALL {
            let Link { after, .. } = *group.link(axis);
            let before = group.link(axis).before();
            if let Some(after) = after.and_then(|after| self.groups.get_mut(after)) {
                after.link_mut(axis).set_before(before);
            }
            match before {
                Before::Unchained => {}
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

    /// Queues a chain whose owner has just forgotten this head, and returns the batch.
    pub(super) fn cut(&mut self, axis: Axis, head: Id<Group>) -> Option<BatchId> {
        let batch = self.batches.push(head)?;
        self.groups.get_mut(head)?.link_mut(axis).set_before(Before::Batch(batch.batch));
        Some(batch)
    }

    /// Queues a group of tombstones, which is in no chain: at the head of the batch of such groups, which
    /// follows the links along the axis of personas.
    pub(super) fn queue_tombstone_group(&mut self, id: Id<Group>) {
        let open = self.tombstone_batch.and_then(|batch| Some((batch, self.batches.get(batch)?.head)));
        if let Some((batch, head)) = open {
            self.batches.set_head(batch.batch, Some(id));
            self.put_before(Axis::Persona, id, Before::Batch(batch.batch), Some(head));
        } else {
            self.tombstone_batch = self.cut(Axis::Persona, id);
        }
    }

    /// Returns the head of an owner's chain.
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
