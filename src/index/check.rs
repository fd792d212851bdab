//! For tests: checks every invariant of the index by visiting all records.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::counts::Amount;
use super::database::Index;
use super::liveness::Liveness;
use super::names::{Names, name_bytes};
use super::pool::Id;
use super::records::{Axis, Before, Group, Key, Kind, Named, OwnName};
use super::size::Size;
use crate::tier::Tier;

impl Index {
    /// Returns an empty index that has already given out this generation.
    pub(super) fn of_generation(generation: u32) -> Index {
        let mut index = Index { generation, ..Index::new() };
        Tier::ALL.into_iter().for_each(|tier| _ = index.ledger.invalidate_tier(tier, generation));
        index
    }

    /// Panics if an invariant is violated.
    pub(super) fn check(&self) {
        self.check_nodes();
        self.check_names();
        self.check_chains();
        self.check_tables();
        self.check_counts();
    }

    /// Panics if the index holds more than the statistics of personas without entries.
    pub(super) fn check_empty(&self) {
        self.check();
        let lens = [self.nodes.len(), self.own_names.len(), self.groups.len()];
        assert_eq!(lens, [0; 3]);
        assert_eq!((self.personas.len(), self.users.len()), (0, 0));
        assert_eq!((self.stored_groups.ids().len(), self.tombstone_groups.ids().len()), (0, 0));
        assert_eq!((self.batches.all().len(), self.own_names_bytes), (0, 0));
        assert_eq!((self.entries(), self.stale(), self.size()), (0, 0, Size::default()));
        assert_eq!((self.pending(), self.personas_len()), (0, 0));
    }

    fn check_nodes(&self) {
        self.nodes.check();
        self.own_names.check();
        self.groups.check();
        let mut nodes = HashSet::new();
        let mut names: HashSet<Id<OwnName>> = HashSet::new();
        for (id, group) in self.groups.all() {
            let (mut prev, mut next, mut entries) = (None, group.head, 0);
            while let Some(at) = next {
                let node = self.nodes.get(at).expect("a list leads to nodes");
                assert_eq!((node.group(), node.prev), (id, prev));
                assert!(nodes.insert(at), "a node is in one list, once");
                if let Key::Own(name) = node.key() {
                    assert!(self.own_names.get(name).is_some() && names.insert(name));
                }
                entries += 1;
                (prev, next) = (Some(at), node.next);
            }
            assert!(entries > 0, "no group is empty");
            assert_eq!(entries, group.entries);
        }
        assert_eq!(nodes.len(), self.nodes.len());
        assert_eq!(names.len(), self.own_names.len());
        let bytes: u64 = self.own_names.all().map(|(_, name)| name.heap_bytes()).sum();
        assert_eq!(bytes, self.own_names_bytes);
    }

    fn check_names(&self) {
        self.idle.check();
        check_groups_of(&self.personas, self.groups.all().map(|(_, group)| group.persona));
        check_groups_of(&self.users, self.groups.all().filter_map(|(_, group)| group.user));
        for (_, persona) in self.personas.records().all() {
            assert!(self.idle.get(&persona.name).is_none(), "a persona has its statistics in one place");
        }
    }

    fn check_chains(&self) {
        let batches = self.batches.all();
        let mut queued = HashSet::new();
        for axis in Axis::ALL {
            let mut seen = HashSet::new();
            for (_, persona) in self.personas.records().all().filter(|_| axis == Axis::Persona) {
                for id in self.walk(axis, persona.head, Before::Owner) {
                    assert!(seen.insert(id));
                    let group = self.groups.get(id).unwrap();
                    let owner = self.personas.get(group.persona).unwrap();
                    assert_eq!((&owner.name, owner.is_live(group.born.persona)), (&persona.name, true));
                }
            }
            for (_, user) in self.users.records().all().filter(|_| axis == Axis::User) {
                for id in self.walk(axis, user.head, Before::Owner) {
                    assert!(seen.insert(id));
                    let group = self.groups.get(id).unwrap();
                    let owner = self.users.get(group.user.unwrap()).unwrap();
                    assert_eq!((&owner.name, owner.is_live(group.born.user)), (&user.name, true));
                }
            }
            for tier in Tier::ALL.into_iter().filter(|_| axis == Axis::Tier) {
                for id in self.walk(axis, *self.heads.of(tier), Before::Owner) {
                    assert!(seen.insert(id));
                    let group = self.groups.get(id).unwrap();
                    assert_eq!((group.tier, group.born.tier), (tier, self.ledger.generation(tier)));
                }
            }
            for (id, group) in self.groups.all() {
                assert!(!self.is_group_live(group) || seen.contains(&id) || no_chain(group, axis));
            }
            for (batch, record) in &batches {
                let head = self.groups.get(record.head).expect("a batch has a group");
                if head.link(axis).before() != Before::Batch(*batch) {
                    continue;
                }
                for id in self.walk(axis, Some(record.head), Before::Batch(*batch)) {
                    assert!(seen.insert(id), "a group is in one chain of an axis, once");
                    assert!(!self.is_group_live(self.groups.get(id).unwrap()));
                    queued.insert(id);
                }
            }
            for (id, group) in self.groups.all() {
                assert_eq!(!seen.contains(&id), group.link(axis).before() == Before::Unchained);
                assert_eq!(!seen.contains(&id), no_chain(group, axis));
            }
        }
        for (id, group) in self.groups.all() {
            assert_eq!(queued.contains(&id), !self.is_group_live(group), "dead, and only then queued");
        }
    }

    fn walk(&self, axis: Axis, head: Option<Id<Group>>, tag: Before) -> Vec<Id<Group>> {
        let (mut walked, mut before, mut next) = (Vec::new(), tag, head);
        while let Some(id) = next {
            let link = self.groups.get(id).expect("a chain leads to groups").link(axis);
            assert_eq!(link.before(), before);
            assert!(walked.len() < self.groups.len(), "a chain ends");
            walked.push(id);
            (before, next) = (Before::Group(id), link.after);
        }
        walked
    }

    fn check_tables(&self) {
        for (table, kind) in [(&self.stored_groups, Kind::Stored), (&self.tombstone_groups, Kind::Tombstones)]
        {
            let ids = table.ids();
            for id in &ids {
                let group = self.groups.get(*id).expect("a table leads to groups");
                assert_eq!(group.kind, kind);
                let (persona, user) = self.names_of(group).unwrap();
                let hash = self.hash(group.tier, persona, user);
                assert_eq!(self.find_group(table, hash, group.tier, persona, user), Some(*id));
            }
            let ids: HashSet<_> = ids.into_iter().collect();
            for (id, group) in self.groups.all().filter(|(_, group)| group.kind == kind) {
                let must = kind == Kind::Tombstones || self.group_liveness(group) == Liveness::Fresh;
                assert!(!must || ids.contains(&id), "a group that new entries may join is found");
            }
        }
    }

    fn check_counts(&self) {
        let mut tiers: HashMap<u8, Amount> = HashMap::new();
        let mut counts: HashMap<(&[u8], u8), Amount> = HashMap::new();
        let mut pending = 0;
        for (_, group) in self.groups.all() {
            if !self.is_group_live(group) {
                pending += u64::from(group.entries);
                continue;
            }
            let tier = group.tier as u8;
            let (persona, _) = self.names_of(group).unwrap();
            for amount in [tiers.entry(tier).or_default(), counts.entry((persona, tier)).or_default()] {
                amount.entries += group.entries;
                amount.stale += if self.group_liveness(group) == Liveness::Stale { group.entries } else { 0 };
                amount.size.add(group.size);
            }
        }
        assert_eq!(pending, self.pending);
        for tier in Tier::ALL {
            assert_eq!(self.ledger.tier(tier), value(&tiers, &(tier as u8)));
            for (_, persona) in self.personas.records().all() {
                let counted = self.ledger.count(&persona.data.counts, tier);
                assert_eq!(counted, value(&counts, &(&persona.name, tier as u8)));
            }
        }
        assert_eq!(self.stale(), tiers.values().map(|amount| u64::from(amount.stale)).sum::<u64>());
        let personas: HashSet<_> = counts.keys().map(|(persona, _)| persona).collect();
        assert_eq!(personas.len() as u64, self.personas_len());
    }
}

/// Returns whether a group is never in a chain along this axis.
fn no_chain(group: &Group, axis: Axis) -> bool {
    match (group.kind, axis) {
        (Kind::Tombstones, Axis::Persona) => false,
        (Kind::Tombstones, _) => true,
        (Kind::Stored, axis) => axis == Axis::User && group.user.is_none(),
    }
}

fn value<K: Hash + Eq>(map: &HashMap<K, Amount>, key: &K) -> Amount {
    map.get(key).copied().unwrap_or_default()
}

fn check_groups_of<X>(names: &Names<X>, of_groups: impl Iterator<Item = Id<Named<X>>>) {
    names.records().check();
    let mut groups = HashMap::new();
    of_groups.for_each(|id| *groups.entry(id).or_insert(0) += 1);
    for (id, record) in names.records().all() {
        assert_eq!(names.find(&record.name), Some(id), "every record is found by its name");
        assert_eq!(Some(&record.groups), groups.get(&id), "a record counts its groups, and has one");
    }
    assert_eq!((names.len(), names.table_len()), (groups.len(), groups.len()));
    let bytes: u64 = names.records().all().map(|(_, record)| name_bytes(&record.name)).sum();
    assert_eq!(names.name_bytes(), bytes);
}
