//! The records of the index: nodes, groups of nodes, personas and users of groups, batches of tombstones.
//!
//! Each entry has a node, so an index has millions and every byte counts: the sizes are asserted, the pool's
//! cell included. Records refer to each other by id and hold no pointers.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::counts::Counts;
use super::liveness::Liveness;
use super::pool::{Cell, Id};
use super::size::Size;
use super::stats::PersonaStats;
use crate::tier::Tier;

/// A key's full name, if it is not the canonical one.
pub(super) struct OwnName(pub Box<[u8]>);

impl OwnName {
    /// Returns the heap bytes of the name, rounded up as an allocator does.
    pub fn heap_bytes(&self) -> u64 {
        (self.0.len() as u64).next_multiple_of(16)
    }
}

/// A node's record of the name of its key.
pub(super) enum Key {
    /// The digest in the canonical name.
    Digest([u8; 16]),
    /// The full name.
    Own(Id<OwnName>),
}

/// One entry of the keyspace.
pub(super) struct Node {
    /// The neighbours in the group's list; the head has no `prev`.
    pub prev: Option<Id<Node>>,
    pub next: Option<Id<Node>>,
    /// The group's number; the top bit is set if `key` is the id of an own name.
    group: u32,
    /// A handle must carry the same stamp, as slots are used again.
    pub stamp: NonZeroU32,
    key: [u8; 16],
}

// 4 prev, 4 next, 4 group, 4 stamp, 16 key. The stamp is 0 in a vacant cell only.
const _: () = assert!(size_of::<Cell<Node>>() == 32);

const OWN_NAME: u32 = 1 << 31;

impl Node {
    /// Returns a node that is not yet in its group's list.
    pub fn new(group: Id<Group>, stamp: NonZeroU32, key: Key) -> Node {
        let (flag, key) = match key {
            Key::Digest(digest) => (0, digest),
            Key::Own(id) => (OWN_NAME, u128::from(id.number()).to_le_bytes()),
        };
        Node { prev: None, next: None, group: group.number() | flag, stamp, key }
    }

    pub fn group(&self) -> Id<Group> {
        // A group's number is not 0 and fits in 31 bits.
        Id::from_number(self.group & !OWN_NAME).unwrap_or(Id::NOWHERE)
    }

    pub fn key(&self) -> Key {
        if self.group & OWN_NAME == 0 {
            return Key::Digest(self.key);
        }
        let number = u128::from_le_bytes(self.key) as u32;
        Key::Own(Id::from_number(number).unwrap_or(Id::NOWHERE))
    }
}

/// The three kinds of owner that can be invalidated. A group is in one chain of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Persona,
    User,
    Tier,
}

impl Axis {
    pub const ALL: [Axis; 3] = [Axis::Persona, Axis::User, Axis::Tier];
}

/// The predecessor of a group in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// The group is in no chain of this axis: it has no user, or it was never live.
    Unchained,
    /// The group is the head of the chain of its persona, user or tier.
    Owner,
    /// The group is the head of a batch.
    Batch(Id<Batch>),
    /// Another group of the chain.
    Group(Id<Group>),
}

/// A group's place in the chain of one axis. `Before` takes 4 bytes; its top bit marks a batch.
#[derive(Clone, Copy)]
pub(super) struct Link {
    before: u32,
    pub after: Option<Id<Group>>,
}

const UNCHAINED: u32 = 0;
const BATCH: u32 = 1 << 31;
/// The tag with no batch in it.
const OWNER: u32 = BATCH;

impl Link {
    pub const UNCHAINED: Link = Link { before: UNCHAINED, after: None };

    pub fn new(before: Before, after: Option<Id<Group>>) -> Link {
        let mut link = Link { after, ..Link::UNCHAINED };
        link.set_before(before);
        link
    }

    pub fn before(&self) -> Before {
        if self.before & BATCH == 0 {
            Id::from_number(self.before).map_or(Before::Unchained, Before::Group)
        } else {
            Id::from_number(self.before & !BATCH).map_or(Before::Owner, Before::Batch)
        }
    }

    pub fn set_before(&mut self, before: Before) {
        self.before = match before {
            Before::Unchained => UNCHAINED,
            Before::Owner => OWNER,
            Before::Batch(id) => BATCH | id.number(),
            Before::Group(id) => id.number(),
        };
    }
}

/// The generations of a group's persona, user (0 without one) and tier at the time it was made. The
/// persona's generation tells both whether the group is live and whether it is stale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Generations {
    pub persona: u32,
    pub user: u32,
    pub tier: u32,
}

/// The state in which the entries of a group arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Live: the group is live while its three owners are in the generations it was made in.
    Stored,
    /// Invalidated: the group is never live.
    Tombstones,
}

/// The entries of one persona, user and tier that arrived between two invalidations of one of these, soft
/// ones included. So all entries of a group have the same liveness. A group has at least one node, except
/// while `link` makes it.
pub(super) struct Group {
    /// The size of the entries; no longer updated once the group is dead.
    pub size: Size,
    pub persona: Id<Persona>,
    pub user: Option<Id<User>>,
    pub born: Generations,
    pub head: Option<Id<Node>>,
    pub entries: u32,
    in_persona: Link,
    in_user: Link,
    in_tier: Link,
    pub tier: Tier,
    pub kind: Kind,
}

// 16 size, 4 persona, 4 user, 12 born, 4 head, 4 entries, 24 links, 1 tier, 1 kind, 2 spare.
const _: () = assert!(size_of::<Cell<Group>>() == 72);

impl Group {
    /// Returns an empty group that is in no chain.
    pub fn new(
        tier: Tier,
        persona: Id<Persona>,
        user: Option<Id<User>>,
        born: Generations,
        kind: Kind,
    ) -> Self {
        Group {
            size: Size::default(),
            persona,
            user,
            born,
            head: None,
            entries: 0,
            in_persona: Link::UNCHAINED,
            in_user: Link::UNCHAINED,
            in_tier: Link::UNCHAINED,
            tier,
            kind,
        }
    }

    pub fn link(&self, axis: Axis) -> &Link {
        match axis {
            Axis::Persona => &self.in_persona,
            Axis::User => &self.in_user,
            Axis::Tier => &self.in_tier,
        }
    }

    pub fn link_mut(&mut self, axis: Axis) -> &mut Link {
        match axis {
            Axis::Persona => &mut self.in_persona,
            Axis::User => &mut self.in_user,
            Axis::Tier => &mut self.in_tier,
        }
    }
}

/// A persona or a user. The record stays until no group refers to it, live or dead: reclaim needs the name.
pub(super) struct Named<X> {
    pub name: Arc<[u8]>,
    /// Rises when the owner is invalidated or soft-invalidated; a group of an earlier generation is dead or
    /// stale.
    generation: u32,
    /// The distance from `generation` back to the last invalidation that was not soft, or to the beginning:
    /// a group made since then is live. Always 0 for a user, as users cannot be soft-invalidated.
    reach: u32,
    /// The chain of groups made since the last invalidation. Another owner may have made some of them dead.
    pub head: Option<Id<Group>>,
    /// The number of groups that refer to this record.
    pub groups: u32,
    pub data: X,
}

impl<X> Named<X> {
    /// Returns a record without groups.
    pub fn new(name: &[u8], generation: u32, data: X) -> Self {
        Named { name: Arc::from(name), generation, reach: 0, head: None, groups: 0, data }
    }

    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Makes all earlier groups dead. `generation` is the newest of all.
    pub fn invalidate(&mut self, generation: u32) {
        self.generation = generation;
        self.reach = 0;
    }

    /// Makes all earlier live groups stale. `generation` is the newest of all.
    pub fn soft_invalidate(&mut self, generation: u32) {
        // The reach must not wrap: at its maximum, no group is too old to be live.
        self.reach = self.reach.saturating_add(generation.wrapping_sub(self.generation));
        self.generation = generation;
    }

    /// Returns whether a group of this generation is live. Generations wrap around, so ages are compared.
    pub fn is_live(&self, born: u32) -> bool {
        self.generation.wrapping_sub(born) <= self.reach
    }

    /// Returns the liveness of a group of this generation, as far as this owner decides it.
    pub fn liveness(&self, born: u32) -> Liveness {
        match self.is_live(born) {
            true if self.generation == born => Liveness::Fresh,
            true => Liveness::Stale,
            false => Liveness::Dead,
        }
    }
}

/// The part of a record that only personas have.
#[derive(Default)]
pub(super) struct PersonaData {
    pub counts: Counts,
    pub stats: PersonaStats,
}

/// A chain of groups to reclaim, in a first-in-first-out queue: see `tombstones`.
pub(super) struct Batch {
    pub head: Id<Group>,
    pub older: Option<Id<Batch>>,
    pub newer: Option<Id<Batch>>,
    pub stamp: u32,
}

/// The tombstones of one invalidation. The id is unknown once they are all reclaimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchId {
    pub(super) batch: Id<Batch>,
    pub(super) stamp: u32,
}

pub(super) type Persona = Named<PersonaData>;
pub(super) type User = Named<()>;

// 16 name, 4 generation, 4 reach, 4 head, 4 groups; a persona's 120 counts and 24 stats.
const _: () = assert!(size_of::<Cell<User>>() == 32);
const _: () = assert!(size_of::<Cell<Persona>>() == 176);
const _: () = assert!(size_of::<Cell<OwnName>>() == 16);
