//! Groups are found by tier, persona and user, made with their first entry and closed after their last.

use std::hash::{BuildHasher, Hasher};

use super::database::Index;
use super::liveness::Liveness;
use super::pool::Id;
use super::records::{Generations, Group, Kind, Persona, PersonaData, User};
use super::table::Table;
use crate::tier::Tier;

impl Index {
    /// Returns the fresh group for a live entry, made if need be. One look-up finds an existing one.
    pub(super) fn fresh_group(&mut self, tier: Tier, persona: &[u8], user: &[u8]) -> Option<Id<Group>> {
        let hash = self.hash(tier, persona, user);
        let found = self.find_group(&self.stored_groups, hash, tier, persona, user);
        if let Some(id) = found
            && self.groups.get(id).is_some_and(|group| self.group_liveness(group) == Liveness::Fresh)
        {
            return Some(id);
        }
        let (persona, user) = self.owners(found, persona, user)?;
        let id = self.open_group(tier, persona, user, Kind::Stored)?;
        match found {
            Some(older) => self.stored_groups.replace(hash, older, id),
            None => self.stored_groups.insert(hash, id),
        }
        self.chain(id);
        Some(id)
    }

    /// Returns the group for an entry that arrives as a tombstone, made if need be.
    pub(super) fn tombstone_group(&mut self, tier: Tier, persona: &[u8], user: &[u8]) -> Option<Id<Group>> {
        let hash = self.hash(tier, persona, user);
        let found = self.find_group(&self.tombstone_groups, hash, tier, persona, user);
        if found.is_some() {
            return found;
        }
        let (persona, user) = self.owners(None, persona, user)?;
        let id = self.open_group(tier, persona, user, Kind::Tombstones)?;
        self.tombstone_groups.insert(hash, id);
        self.queue_tombstone_group(id);
        Some(id)
    }

    /// Removes a group without entries, and its persona and user if it was their last group.
    pub(super) fn close_group(&mut self, id: Id<Group>) {
        let Some(group) = self.groups.remove(id) else { return };
        self.unchain(&group);
        if let Some((persona, user)) = self.names_of(&group) {
            let hash = self.hash(group.tier, persona, user);
            match group.kind {
                Kind::Stored => self.stored_groups.remove(hash, id),
                Kind::Tombstones => self.tombstone_groups.remove(hash, id),
            }
        }
        if let Some(user) = group.user {
            self.users.release(user);
        }
        if let Some(persona) = self.personas.release(group.persona) {
            self.idle.put(persona.name, persona.data.stats);
        }
    }

    fn open_group(
        &mut self,
        tier: Tier,
        persona: Id<Persona>,
        user: Option<Id<User>>,
        kind: Kind,
    ) -> Option<Id<Group>> {
        let mut born = Generations { persona: 0, user: 0, tier: self.ledger.generation(tier) };
        let record = self.personas.get_mut(persona)?;
        record.groups += 1;
        born.persona = record.generation();
        if let Some(user) = user {
            let record = self.users.get_mut(user)?;
            record.groups += 1;
            born.user = record.generation();
        }
        self.groups.insert(Group::new(tier, persona, user, born, kind))
    }

    /// Returns the records of these names, made if need be. A group that was found knows them already.
    fn owners(
        &mut self,
        found: Option<Id<Group>>,
        persona: &[u8],
        user: &[u8],
    ) -> Option<(Id<Persona>, Option<Id<User>>)> {
        if let Some(group) = found.and_then(|id| self.groups.get(id)) {
            return Some((group.persona, group.user));
        }
        let persona = match self.personas.find(persona) {
            Some(id) => id,
            None => {
                let stats = self.idle.take(persona);
                self.personas.insert(
                    persona,
                    self.generation,
                    PersonaData { stats, ..PersonaData::default() },
                )?
            }
        };
        let user = match user {
            [] => None,
            user => match self.users.find(user) {
                Some(id) => Some(id),
                None => Some(self.users.insert(user, self.generation, ())?),
            },
        };
        Some((persona, user))
    }

    pub(super) fn find_group(
        &self,
        table: &Table<Group>,
        hash: u64,
        tier: Tier,
        persona: &[u8],
        user: &[u8],
    ) -> Option<Id<Group>> {
        table.find(hash, |id| {
            self.groups
                .get(id)
                .is_some_and(|group| group.tier == tier && self.names_of(group) == Some((persona, user)))
        })
    }

    pub(super) fn hash(&self, tier: Tier, persona: &[u8], user: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u8(tier as u8);
        // The length keeps "ab", "c" apart from "a", "bc": otherwise a client could make names that collide.
        hasher.write_usize(persona.len());
        hasher.write(persona);
        hasher.write(user);
        hasher.finish()
    }
}
