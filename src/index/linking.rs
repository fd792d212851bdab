//! Entries arrive in the index and leave it, with their keys in the keyspace.

use super::counts::{Amount, ArrivalId};
use super::database::Index;
use super::handle::Handle;
use super::liveness::{Liveness, State};
use super::origin::{Name, Origin};
use super::pool::Id;
use super::records::{Group, Key, Node, OwnName};
use super::size::Size;
use crate::tier::Tier;

impl Index {
    /// Adds a live entry and returns its handle. `user` may be empty; the caller gives the same `size` to
    /// `unlink`. A full index, at 2³¹ entries, returns a handle that it does not know.
    pub fn link(
        &mut self,
        tier: Tier,
        persona: &[u8],
        user: &[u8],
        name: Name<'_>,
        size: impl Into<Size>,
    ) -> Handle {
        self.try_link(tier, persona, user, name, size.into()).unwrap_or(Handle::NOWHERE)
    }

    /// Adds a live entry that replaces `old`, of size `old_size`, in the same key, and returns its handle.
    /// An entry of the same persona, user and tier takes over the node under a new stamp, so that no
    /// neighbour changes.
    pub fn relink(
        &mut self,
        (old, old_size): (Handle, Size),
        tier: Tier,
        persona: &[u8],
        user: &[u8],
        name: Name<'_>,
        size: impl Into<Size>,
    ) -> Handle {
        let size = size.into();
        if self.may_take_over(old, tier, persona, user, name) == Some(true)
            && let stamp = self.next_stamp()
            && let Some(node) = self.nodes.get_mut(old.node)
        {
            node.stamp = stamp;
            let handle = Handle { stamp, ..old };
            self.resize(handle, old_size, size);
            return handle;
        }
        let handle = self.link(tier, persona, user, name, size);
        self.unlink(old, old_size);
        handle
    }

    /// Counts the entries of this entry's persona as arriving: no report has them until `settle`. Call it for each entry
    /// that comes to a cluster slot which another node still serves.
    pub fn mark_arriving(&mut self, handle: Handle, arrival: ArrivalId) {
        let Some(group) = self.group_of(handle) else { return };
        let persona = group.persona;
        if let Some(persona) = self.personas.get_mut(persona) {
            self.ledger.mark_arriving(&mut persona.data.counts, arrival);
        }
    }

    /// Counts the entries of an arrival with the others: their slots are served here now, or they are gone.
    pub fn settle(&mut self, arrival: ArrivalId) {
        self.ledger.settle(arrival);
    }

    /// Adds an entry that was invalidated before it arrived (by RDB, RESTORE, COPY or RENAME) and queues it
    /// for reclaim. Returns its handle.
    pub fn link_tombstone(&mut self, tier: Tier, persona: &[u8], user: &[u8], name: Name<'_>) -> Handle {
        self.try_link_tombstone(tier, persona, user, name).unwrap_or(Handle::NOWHERE)
    }

    /// Removes an entry that has left the keyspace. Returns its owner and state, or None if the entry is
    /// unknown, for example because it was unlinked before.
    pub fn unlink(&mut self, handle: Handle, size: impl Into<Size>) -> Option<Origin> {
        let origin = self.origin(handle)?;
        let stale = u32::from(self.resolve(handle).liveness == Liveness::Stale);
        let node = self.nodes.remove(handle.node)?;
        if let Key::Own(id) = node.key()
            && let Some(name) = self.own_names.remove(id)
        {
            self.own_names_bytes = self.own_names_bytes.saturating_sub(name.heap_bytes());
        }
        if let Some(next) = node.next.and_then(|next| self.nodes.get_mut(next)) {
            next.prev = node.prev;
        }
        let group = self.groups.get_mut(node.group())?;
        match node.prev.and_then(|prev| self.nodes.get_mut(prev)) {
            Some(prev) => prev.next = node.next,
            None => group.head = node.next,
        }
        group.entries = group.entries.saturating_sub(1);
        let empty = group.entries == 0;
        match origin.state {
            State::Tombstone => self.pending = self.pending.saturating_sub(1),
            State::Live => {
                // The last entry takes the rest of the size, so that a caller's wrong size does not stay.
                let size = if empty { group.size } else { size.into().at_most(group.size) };
                group.size.subtract(size);
                let lost = Amount { entries: 1, stale, size };
                if let Some(persona) = self.personas.get_mut(group.persona) {
                    self.ledger.lose(&mut persona.data.counts, group.tier, lost);
                }
            }
        }
        if empty {
            self.close_group(node.group());
        }
        Some(origin)
    }

    /// Changes the size of a live entry from `old` to `new`.
    pub fn resize(&mut self, handle: Handle, old: impl Into<Size>, new: impl Into<Size>) {
        let Some(id) = self.node(handle).map(Node::group) else { return };
        if !self.is_live(handle) {
            return;
        }
        let Some(group) = self.groups.get_mut(id) else { return };
        let Some(persona) = self.personas.get_mut(group.persona) else { return };
        let (old, new) = (old.into().at_most(group.size), new.into());
        group.size.subtract(old);
        group.size.add(new);
        self.ledger.lose(&mut persona.data.counts, group.tier, Amount { size: old, ..Amount::default() });
        self.ledger.gain(&mut persona.data.counts, group.tier, Amount { size: new, ..Amount::default() });
    }

    /// Returns whether an entry of these parts fits the node of `old`, or None if `old` is unknown.
    fn may_take_over(
        &self,
        old: Handle,
        tier: Tier,
        persona: &[u8],
        user: &[u8],
        name: Name<'_>,
    ) -> Option<bool> {
        let node = self.node(old)?;
        let group = self.groups.get(node.group())?;
        let is_same_name =
            matches!((node.key(), name), (Key::Digest(old), Name::Canonical(new)) if old == new);
        Some(
            is_same_name
                && group.tier == tier
                && self.names_of(group)? == (persona, user)
                && self.group_liveness(group) == Liveness::Fresh,
        )
    }

    /// Returns None if the index is full, at 2³¹ entries, before anything is made. Groups, records and own
    /// names are never more than nodes, so their pools have vacancies if this one has.
    fn check_capacity(&self) -> Option<()> {
        (!self.nodes.is_full()).then_some(())
    }

    fn try_link(
        &mut self,
        tier: Tier,
        persona: &[u8],
        user: &[u8],
        name: Name<'_>,
        size: Size,
    ) -> Option<Handle> {
        self.check_capacity()?;
        let id = self.fresh_group(tier, persona, user)?;
        let handle = self.attach(id, name)?;
        let group = self.groups.get_mut(id)?;
        group.size.add(size);
        let persona = self.personas.get_mut(group.persona)?;
        self.ledger.gain(&mut persona.data.counts, tier, Amount { entries: 1, stale: 0, size });
        Some(handle)
    }

    fn try_link_tombstone(
        &mut self,
        tier: Tier,
        persona: &[u8],
        user: &[u8],
        name: Name<'_>,
    ) -> Option<Handle> {
        self.check_capacity()?;
        let id = self.tombstone_group(tier, persona, user)?;
        let handle = self.attach(id, name)?;
        self.pending += 1;
        Some(handle)
    }

    /// Makes a node at the head of its group's list.
    fn attach(&mut self, id: Id<Group>, name: Name<'_>) -> Option<Handle> {
        let key = match name {
            Name::Canonical(digest) => Key::Digest(digest),
            Name::Own(name) => {
                let name = OwnName(name.into());
                self.own_names_bytes += name.heap_bytes();
                Key::Own(self.own_names.insert(name)?)
            }
        };
        let stamp = self.next_stamp();
        let group = self.groups.get_mut(id)?;
        let mut node = Node::new(id, stamp, key);
        node.next = group.head;
        let node = self.nodes.insert(node)?;
        if let Some(next) = group.head.replace(node).and_then(|next| self.nodes.get_mut(next)) {
            next.prev = Some(node);
        }
        group.entries += 1;
        Some(Handle { node, stamp })
    }
}
