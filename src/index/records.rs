//! What the index keeps: nodes, the groups they are in, and the personas and users of the groups.
//!
//! A node is an entry's, so there are millions and every byte of it counts: the sizes are asserted, cell of
//! the pool included. Everything refers to everything else by id; nothing here owns or points.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::core::Size;
use super::counts::Counts;
use super::pool::{Cell, Id};
use super::stats::PersonaStats;
use super::tombstones::Batch;
use crate::tier::Tier;

/// A key's full name, for an entry that does not sit under its canonical one.
pub(super) struct OwnName(pub Box<[u8]>);

/// How a node knows the name of its key.
pub(super) enum Key {
    /// The digest that the canonical name is made from.
    Digest([u8; 16]),
    /// The full name.
    Own(Id<OwnName>),
}

/// One entry of the keyspace.
pub(super) struct Node {
    /// Its neighbours in the group's list; no `prev`: it is the head.
    pub prev: Option<Id<Node>>,
    pub next: Option<Id<Node>>,
    /// The group's number, and in the top bit whether `key` is the id of an own name.
    group: u32,
    /// What a handle must show, as slots are used again.
    pub stamp: NonZeroU32,
    key: [u8; 16],
}

// 4 prev, 4 next, 4 group, 4 stamp, 16 key. The stamp, which is never 0, tells a vacant cell.
const _: () = assert!(size_of::<Cell<Node>>() == 32);

const OWN_NAME: u32 = 1 << 31;

impl Node {
    /// A node alone, not yet in its group's list.
    pub fn new(group: Id<Group>, stamp: NonZeroU32, key: Key) -> Node {
        let (flag, key) = match key {
            Key::Digest(digest) => (0, digest),
            Key::Own(id) => (OWN_NAME, u128::from(id.number()).to_le_bytes()),
        };
        Node { prev: None, next: None, group: group.number() | flag, stamp, key }
    }

    pub fn group(&self) -> Id<Group> {
        // A group's number is neither 0 nor above 31 bits.
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

/// The three ways to drop answers, and so the three chains that a group is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Persona,
    User,
    Tier,
}

impl Axis {
    pub const ALL: [Axis; 3] = [Axis::Persona, Axis::User, Axis::Tier];
}

/// What a group follows in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// It is in no chain of this axis: it has no user, or it was never live.
    Loose,
    /// It is the head of the chain of its persona, user or tier.
    Owner,
    /// It is the head of a dropped chain.
    Batch(Id<Batch>),
    Group(Id<Group>),
}

/// A group's place in the chain of one axis. `Before` is packed into 4 bytes, its top bit for a batch.
#[derive(Clone, Copy)]
pub(super) struct Link {
    before: u32,
    pub after: Option<Id<Group>>,
}

const LOOSE: u32 = 0;
const BATCH: u32 = 1 << 31;
/// The tag with no batch in it.
const OWNER: u32 = BATCH;

impl Link {
    pub const LOOSE: Link = Link { before: LOOSE, after: None };

    pub fn new(before: Before, after: Option<Id<Group>>) -> Link {
        let mut link = Link { after, ..Link::LOOSE };
        link.set_before(before);
        link
    }

    pub fn before(&self) -> Before {
        if self.before & BATCH == 0 {
            Id::from_number(self.before).map_or(Before::Loose, Before::Group)
        } else {
            Id::from_number(self.before & !BATCH).map_or(Before::Owner, Before::Batch)
        }
    }

    pub fn set_before(&mut self, before: Before) {
        self.before = match before {
            Before::Loose => LOOSE,
            Before::Owner => OWNER,
            Before::Batch(id) => BATCH | id.number(),
            Before::Group(id) => id.number(),
        };
    }
}

/// The generations of a group's persona, user (0 without one) and tier, as they were when it was made. The
/// persona's tells both whether it lives and whether it is stale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Generations {
    pub persona: u32,
    pub user: u32,
    pub tier: u32,
}

/// How a group came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// For entries that were live when they came; live while its generations are.
    Stored,
    /// For entries that came dropped; never live.
    Grave,
}

/// The entries of one persona, user and tier that came between two drops that hit them, hard or soft: so
/// they are all live, or all dropped, and all stale or none. It has at least one node, except while `link`
/// makes it.
pub(super) struct Group {
    /// Of its entries; no longer kept up once it is dropped.
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
    /// An empty group in no chain.
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
            in_persona: Link::LOOSE,
            in_user: Link::LOOSE,
            in_tier: Link::LOOSE,
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

/// A persona or a user. It stays as long as a group refers to it, live or not: reclaim needs the name.
pub(super) struct Named<X> {
    pub name: Arc<[u8]>,
    /// Goes up with every drop, hard or soft; a group born in an earlier one is dead or stale.
    generation: u32,
    /// How far before `generation` the last hard drop (or the beginning) is: a group born since then lives.
    /// 0 for a user, who is not dropped softly.
    reach: u32,
    /// The chain of groups made since the last hard drop. Some of them may be dead by another axis.
    pub head: Option<Id<Group>>,
    /// How many groups refer to this.
    pub groups: u32,
    pub more: X,
}

impl<X> Named<X> {
    /// A record of no group as yet.
    pub fn new(name: &[u8], generation: u32, more: X) -> Self {
        Named { name: Arc::from(name), generation, reach: 0, head: None, groups: 0, more }
    }

    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Everything born before `generation`, which is the newest of all, is dead.
    pub fn invalidate(&mut self, generation: u32) {
        self.generation = generation;
        self.reach = 0;
    }

    /// Everything born before `generation`, which is the newest of all, is stale.
    pub fn soft_invalidate(&mut self, generation: u32) {
        // It must not wrap: beyond what it can tell, nothing is too old to live.
        self.reach = self.reach.saturating_add(generation.wrapping_sub(self.generation));
        self.generation = generation;
    }

    /// Whether no hard drop came after this generation. Generations wrap around, so their age is compared.
    pub fn is_live(&self, born: u32) -> bool {
        self.generation.wrapping_sub(born) <= self.reach
    }

    /// Whether no drop came after this generation.
    pub fn is_fresh(&self, born: u32) -> bool {
        self.generation == born
    }
}

/// What only personas have.
#[derive(Default)]
pub(super) struct PersonaData {
    pub counts: Counts,
    pub stats: PersonaStats,
}

pub(super) type Persona = Named<PersonaData>;
pub(super) type User = Named<()>;

// 16 name, 4 generation, 4 reach, 4 head, 4 groups; a persona's 112 counts and 24 stats.
const _: () = assert!(size_of::<Cell<User>>() == 32);
const _: () = assert!(size_of::<Cell<Persona>>() == 168);
const _: () = assert!(size_of::<Cell<OwnName>>() == 16);
