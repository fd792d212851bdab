//! The index of one database: which answers are whose, and which of them are dropped.
//!
//! Every entry of the keyspace has a *node* here and holds its `Handle`. Nodes of the same persona, user and
//! tier are in one *group*; each persona, user and tier chains up its groups and has a *generation*. A group
//! is live while no drop has come after any of the three generations it was made in. So a drop, of however
//! many answers, raises one generation, corrects the counts and cuts off one chain (`chains`), which then
//! waits as a *batch* (`batches`) until the caller has deleted its keys one by one: each deletion ends in
//! `unlink`. An answer stored meanwhile goes into a new group.
//!
//! A *soft* drop of a persona raises its generation too, but cuts nothing off and moves the generation from
//! which on groups live (`Named::is_live`) not at all: the groups made before are *stale*, and stay live.
//!
//! Entries and index do not point at each other: handles carry a stamp, so whatever goes wrong between the
//! keyspace and this index can make a count wrong, never a pointer. What is unknown here is not live.
//!
//! Everything here is on one thread and knows nothing of Redis.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;

use super::counts::{Amount, Ledger, PerTier};
use super::names::Names;
use super::pool::{Id, Pool};
use super::records::{Group, Key, Kind, Node, OwnName, PersonaData};
use super::stats::Idle;
use super::table::Table;
use super::tombstones::{BatchId, Batches};

use crate::tier::Tier;

/// What the index keeps of an entry beside the entry itself.
pub const NODE_BYTES: usize = size_of::<Node>();

/// An entry's place in the index: 8 bytes, as is an `Option` of it. It means nothing to any other `Index`,
/// and nothing to this one any more once unlinked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    pub(super) node: Id<Node>,
    pub(super) stamp: NonZeroU32,
}

const _: () = assert!(size_of::<Option<Handle>>() == 8);

impl Handle {
    /// Of an entry that the index could not take: unknown to every index, so never live.
    pub(super) const NOWHERE: Handle = Handle { node: Id::NOWHERE, stamp: NonZeroU32::MAX };
}

/// The name of the key an entry sits under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// The one that tier, persona, user and this digest of the message make: nothing more to keep.
    Canonical([u8; 16]),
    /// Any other, in full.
    Own(&'a [u8]),
}

/// How large answers are, in bytes: as they were given, and as they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub raw: u64,
    pub stored: u64,
}

impl Size {
    // Saturating, as all counts are: see `counts`.
    pub(super) fn add(&mut self, other: Size) {
        self.raw = self.raw.saturating_add(other.raw);
        self.stored = self.stored.saturating_add(other.stored);
    }

    pub(super) fn subtract(&mut self, other: Size) {
        self.raw = self.raw.saturating_sub(other.raw);
        self.stored = self.stored.saturating_sub(other.stored);
    }

    pub(super) fn at_most(self, other: Size) -> Size {
        Size { raw: self.raw.min(other.raw), stored: self.stored.min(other.stored) }
    }
}

/// Of an answer that is stored as it was given.
impl From<u64> for Size {
    fn from(bytes: u64) -> Size {
        Size { raw: bytes, stored: bytes }
    }
}

/// Whether an answer may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Live,
    /// Dropped, and not reclaimed yet.
    Tombstone,
}

/// Where an entry belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub tier: Tier,
    pub persona: Arc<[u8]>,
    /// Empty without one.
    pub user: Arc<[u8]>,
    pub state: State,
}

/// How an entry stands, as far as drops go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Live, and no drop has come after it.
    Fresh,
    /// Live, but older than the last soft drop of its persona.
    Stale,
    /// Dropped, or not known.
    Dead,
}

/// An entry that the index knows, and all that the name of its key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located<'a> {
    pub handle: Handle,
    pub tier: Tier,
    pub persona: &'a [u8],
    /// Empty without one.
    pub user: &'a [u8],
    pub name: Name<'a>,
}

/// See the head of this file.
pub struct Index {
    pub(super) nodes: Pool<Node>,
    pub(super) own_names: Pool<OwnName>,
    pub(super) own_names_bytes: u64,
    pub(super) groups: Pool<Group>,
    pub(super) personas: Names<PersonaData>,
    pub(super) users: Names<()>,
    /// The youngest group of each tier, persona and user that entries were stored in; it may be stale or dead.
    pub(super) by_key: Table<Group>,
    /// The group of each tier, persona and user for entries that come already dropped.
    pub(super) tombstone_groups: Table<Group>,
    pub(super) keys: RandomState,
    /// The chain of each tier.
    pub(super) heads: PerTier<Option<Id<Group>>>,
    pub(super) ledger: Ledger,
    pub(super) batches: Batches,
    /// The batch of the groups in `tombstone_groups`, if it is not reclaimed.
    pub(super) tombstone_batch: Option<BatchId>,
    /// Nodes in dead groups.
    pub(super) pending: u64,
    /// Personas that no entry refers to, but whose statistics are kept.
    pub(super) idle: Idle,
    /// The last stamp given out.
    pub(super) stamp: NonZeroU32,
    /// The last generation given out: of all personas, users and tiers, so that a record never has one that
    /// another had in its slot before. It takes 2³² drops to come around, and then an answer that waited for
    /// its reclaim all that time.
    pub(super) generation: u32,
}

impl Default for Index {
    fn default() -> Self {
        Index::new()
    }
}

impl Index {
    pub fn new() -> Self {
        let keys = RandomState::new();
        // Stamps start anywhere, so that a handle of an index that was replaced fits nothing in the new one.
        let stamp = NonZeroU32::new(keys.hash_one("stamp") as u32).unwrap_or(NonZeroU32::MIN);
        Index {
            nodes: Pool::new(),
            own_names: Pool::new(),
            own_names_bytes: 0,
            groups: Pool::new(),
            personas: Names::new(),
            users: Names::new(),
            by_key: Table::new(),
            tombstone_groups: Table::new(),
            keys,
            heads: PerTier::default(),
            ledger: Ledger::default(),
            batches: Batches::new(),
            tombstone_batch: None,
            pending: 0,
            idle: Idle::new(),
            stamp,
            generation: 0,
        }
    }

    /// Takes in an entry that has come into the keyspace, live. `user` may be empty; `size` is what `unlink`
    /// must be told again.
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

    /// The same for an entry that takes the place of `old`, whose size was `old_size`, under one key. Mostly it is the same
    /// persona's, user's and tier's: then it takes over the node too, under a new stamp, and no neighbour need be told.
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

    /// Whether an entry of these would come into the very place of this one: None where this one is not known.
    pub(super) fn may_take_over(
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
                && self.is_group_live(group)
                && !self.is_group_old(group),
        )
    }

    /// Takes in an entry that was dropped before it came (by RDB, RESTORE, COPY or RENAME) and puts it in
    /// the queue for reclaim.
    pub fn link_tombstone(&mut self, tier: Tier, persona: &[u8], user: &[u8], name: Name<'_>) -> Handle {
        self.try_link_tombstone(tier, persona, user, name).unwrap_or(Handle::NOWHERE)
    }

    /// Lets go of an entry that has left the keyspace. None if it was not known, say unlinked before.
    pub fn unlink(&mut self, handle: Handle, size: impl Into<Size>) -> Option<Origin> {
        let origin = self.origin(handle)?;
        let stale = u32::from(self.is_soft_stale(handle));
        let node = self.nodes.remove(handle.node)?;
        if let Key::Own(id) = node.key()
            && let Some(OwnName(name)) = self.own_names.remove(id)
        {
            self.own_names_bytes = self.own_names_bytes.saturating_sub(own_name_bytes(&name));
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
                // The last one takes what is left: should a caller ever miscount, it does not stay so.
                let size = if empty { group.size } else { size.into().at_most(group.size) };
                group.size.subtract(size);
                let lost = Amount { entries: 1, stale, size };
                if let Some(persona) = self.personas.get_mut(group.persona) {
                    self.ledger.lose(&mut persona.more.counts, group.tier, lost);
                }
            }
        }
        if empty {
            self.close_group(node.group());
        }
        Some(origin)
    }

    /// Whether this handle is an entry's, live or dropped.
    pub fn contains(&self, handle: Handle) -> bool {
        self.node(handle).is_some()
    }

    /// Whether the entry may be served: it is known and not dropped.
    pub fn is_live(&self, handle: Handle) -> bool {
        self.resolve(handle).liveness != Liveness::Dead
    }

    /// Whether the entry is live, but older than the last soft drop of its persona.
    pub fn is_soft_stale(&self, handle: Handle) -> bool {
        self.resolve(handle).liveness == Liveness::Stale
    }

    /// Where the entry's key is; None if it is not known.
    pub fn located(&self, handle: Handle) -> Option<Located<'_>> {
        let node = self.node(handle)?;
        let group = self.groups.get(node.group())?;
        let (persona, user) = self.names_of(group)?;
        let name = match node.key() {
            Key::Digest(digest) => Name::Canonical(digest),
            Key::Own(id) => Name::Own(&self.own_names.get(id)?.0),
        };
        Some(Located { handle, tier: group.tier, persona, user, name })
    }

    /// Where the entry belongs; None if it is not known.
    pub fn origin(&self, handle: Handle) -> Option<Origin> {
        let group = self.group_of(handle)?;
        let user = match group.user {
            Some(user) => Arc::clone(&self.users.get(user)?.name),
            None => Arc::default(),
        };
        let state = if self.is_group_live(group) { State::Live } else { State::Tombstone };
        Some(Origin {
            tier: group.tier,
            persona: Arc::clone(&self.personas.get(group.persona)?.name),
            user,
            state,
        })
    }

    /// The entry has the size `new` now, where it had `old`.
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
        self.ledger.lose(&mut persona.more.counts, group.tier, Amount { size: old, ..Amount::default() });
        self.ledger.gain(&mut persona.more.counts, group.tier, Amount { size: new, ..Amount::default() });
    }

    /// The one limit, 2³¹ entries, checked before anything is made: groups, records and own names are never
    /// more than nodes, so none of their pools is full if this one is not.
    pub(super) fn room(&self) -> Option<()> {
        (!self.nodes.is_full()).then_some(())
    }

    pub(super) fn try_link(
        &mut self,
        tier: Tier,
        persona: &[u8],
        user: &[u8],
        name: Name<'_>,
        size: Size,
    ) -> Option<Handle> {
        self.room()?;
        let id = self.live_group(tier, persona, user)?;
        let handle = self.attach(id, name)?;
        let group = self.groups.get_mut(id)?;
        group.size.add(size);
        let persona = self.personas.get_mut(group.persona)?;
        self.ledger.gain(&mut persona.more.counts, tier, Amount { entries: 1, stale: 0, size });
        Some(handle)
    }

    pub(super) fn try_link_tombstone(
        &mut self,
        tier: Tier,
        persona: &[u8],
        user: &[u8],
        name: Name<'_>,
    ) -> Option<Handle> {
        self.room()?;
        let id = self.grave(tier, persona, user)?;
        let handle = self.attach(id, name)?;
        self.pending += 1;
        Some(handle)
    }

    /// Makes a node, at the head of its group's list.
    pub(super) fn attach(&mut self, id: Id<Group>, name: Name<'_>) -> Option<Handle> {
        let key = match name {
            Name::Canonical(digest) => Key::Digest(digest),
            Name::Own(name) => {
                self.own_names_bytes += own_name_bytes(name);
                Key::Own(self.own_names.insert(OwnName(name.into()))?)
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

    pub(super) fn next_stamp(&mut self) -> NonZeroU32 {
        self.stamp = self.stamp.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.stamp
    }

    pub(super) fn node(&self, handle: Handle) -> Option<&Node> {
        self.nodes.get(handle.node).filter(|node| node.stamp == handle.stamp)
    }

    pub(super) fn group_of(&self, handle: Handle) -> Option<&Group> {
        self.groups.get(self.node(handle)?.group())
    }

    pub(super) fn is_group_live(&self, group: &Group) -> bool {
        let user = match group.user {
            Some(user) => self.users.get(user).is_some_and(|user| user.is_live(group.born.user)),
            None => true,
        };
        group.kind == Kind::Stored
            && user
            && self.ledger.generation(group.tier) == group.born.tier
            && self.personas.get(group.persona).is_some_and(|persona| persona.is_live(group.born.persona))
    }

    /// Whether its persona was dropped, hard or softly, after it was made: it is stale then, if it is live.
    pub(super) fn is_group_old(&self, group: &Group) -> bool {
        self.personas.get(group.persona).is_some_and(|persona| !persona.is_fresh(group.born.persona))
    }
}

/// What a boxed name takes, as an allocator rounds it up.
pub(super) fn own_name_bytes(name: &[u8]) -> u64 {
    (name.len() as u64).next_multiple_of(16)
}
