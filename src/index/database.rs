//! `Index`, and the questions about groups that its other files share.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;

use super::counts::{Ledger, PerTier};
use super::handle::Handle;
use super::idle::Idle;
use super::liveness::Liveness;
use super::names::Names;
use super::pool::{Id, Pool};
use super::records::{BatchId, Group, Kind, Node, OwnName, PersonaData};
use super::table::Table;
use super::tombstones::Batches;

/// The index of one database: the owner of each entry, and whether the entry is live. See the room's head.
pub struct Index {
    pub(super) nodes: Pool<Node>,
    pub(super) own_names: Pool<OwnName>,
    pub(super) own_names_bytes: u64,
    pub(super) groups: Pool<Group>,
    pub(super) personas: Names<PersonaData>,
    pub(super) users: Names<()>,
    /// The youngest group of each tier, persona and user that entries were stored in; it may be stale or dead.
    pub(super) stored_groups: Table<Group>,
    /// The group of each tier, persona and user for entries that arrive as tombstones.
    pub(super) tombstone_groups: Table<Group>,
    pub(super) hasher: RandomState,
    /// The chain of each tier.
    pub(super) heads: PerTier<Option<Id<Group>>>,
    pub(super) ledger: Ledger,
    pub(super) batches: Batches,
    /// The batch of the groups in `tombstone_groups`, if it is not reclaimed.
    pub(super) tombstone_batch: Option<BatchId>,
    /// Nodes in dead groups.
    pub(super) pending: u64,
    /// The statistics of personas without entries.
    pub(super) idle: Idle,
    /// The last stamp given out.
    pub(super) stamp: NonZeroU32,
    /// The last generation given out. Personas, users and tiers share the sequence, so that a record never
    /// has a generation that an earlier record in its slot had. The sequence wraps after 2³² invalidations;
    /// only a tombstone that waited for reclaim all that time could then be mistaken.
    pub(super) generation: u32,
}

impl Default for Index {
    fn default() -> Self {
        Index::new()
    }
}

impl Index {
    /// Returns an empty index.
    pub fn new() -> Self {
        let hasher = RandomState::new();
        // Stamps start at a random number, so that a handle of a replaced index fits nothing in the new one.
        let stamp = NonZeroU32::new(hasher.hash_one("stamp") as u32).unwrap_or(NonZeroU32::MIN);
        // So do generations, for walks that are remembered.
        let generation = hasher.hash_one("generation") as u32;
        Index {
            nodes: Pool::new(),
            own_names: Pool::new(),
            own_names_bytes: 0,
            groups: Pool::new(),
            personas: Names::new(),
            users: Names::new(),
            stored_groups: Table::new(),
            tombstone_groups: Table::new(),
            hasher,
            heads: PerTier::default(),
            ledger: Ledger::default(),
            batches: Batches::new(),
            tombstone_batch: None,
            pending: 0,
            idle: Idle::new(),
            stamp,
            generation,
        }
    }

    pub(super) fn next_stamp(&mut self) -> NonZeroU32 {
        self.stamp = self.stamp.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.stamp
    }

    /// Returns the node of a handle, or None if the entry is unknown.
    pub(super) fn node(&self, handle: Handle) -> Option<&Node> {
        self.nodes.get(handle.node).filter(|node| node.stamp == handle.stamp)
    }

    /// Returns the group of an entry, or None if the entry is unknown.
    pub(super) fn group_of(&self, handle: Handle) -> Option<&Group> {
        self.groups.get(self.node(handle)?.group())
    }

    /// Returns the liveness that all entries of the group share.
    pub(super) fn group_liveness(&self, group: &Group) -> Liveness {
        let user_is_live = match group.user {
            Some(user) => self.users.get(user).is_some_and(|user| user.is_live(group.born.user)),
            None => true,
        };
        let tier_is_live = self.ledger.generation(group.tier) == group.born.tier;
        match self.personas.get(group.persona) {
            Some(persona) if group.kind == Kind::Stored && user_is_live && tier_is_live => {
                persona.liveness(group.born.persona)
            }
            _ => Liveness::Dead,
        }
    }

    pub(super) fn is_group_live(&self, group: &Group) -> bool {
        self.group_liveness(group) != Liveness::Dead
    }

    /// Returns the names of the group's persona and user (empty without one).
    pub(super) fn names_of(&self, group: &Group) -> Option<(&[u8], &[u8])> {
        let user = match group.user {
            Some(user) => &*self.users.get(user)?.name,
            None => &[],
        };
        Some((&self.personas.get(group.persona)?.name, user))
    }
}
