//! How groups come and go: found by tier, persona and user, made on the first entry, closed after the last.

use std::hash::{BuildHasher, Hasher};

use super::core::Index;
use super::pool::Id;
use super::records::{Generations, Group, Kind, Persona, PersonaData, User};
use super::table::Table;
use crate::tier::Tier;

impl Index {
    /// The group that a live entry goes into: a fresh one. One look-up if it is there.
    pub(super) fn live_group(&mut self, tier: Tier, persona: &[u8], user: &[u8]) -> Option<Id<Group>> {
        let hash = self.hash(tier, persona, user);
        let found = self.find_group(&self.by_key, hash, tier, persona, user);
        if let Some(id) = found
            && self.groups.get(id).is_some_and(|group| self.is_group_live(group) && !self.is_group_old(group))
        {
            return Some(id);
        }
        let (persona, user) = self.owners(found, persona, user)?;
        let id = self.open_group(tier, persona, user, Kind::Stored)?;
        match found {
            Some(older) => self.by_key.replace(hash, older, id),
            None => self.by_key.insert(hash, id),
        }
        self.chain(id);
        Some(id)
    }

    /// The group that an entry goes into which is already dropped.
    pub(super) fn grave(&mut self, tier: Tier, persona: &[u8], user: &[u8]) -> Option<Id<Group>> {
        let hash = self.hash(tier, persona, user);
        let found = self.find_group(&self.tombstone_groups, hash, tier, persona, user);
        if found.is_some() {
            return found;
        }
        let (persona, user) = self.owners(None, persona, user)?;
        let id = self.open_group(tier, persona, user, Kind::Grave)?;
        self.tombstone_groups.insert(hash, id);
        self.bury(id);
        Some(id)
    }

    /// Removes a group that has no entries any more, and its persona and user if that was their last.
    pub(super) fn close_group(&mut self, id: Id<Group>) {
        let Some(group) = self.groups.remove(id) else { return };
        self.unchain(&group);
        if let Some((persona, user)) = self.names_of(&group) {
            let hash = self.hash(group.tier, persona, user);
            match group.kind {
                Kind::Stored => self.by_key.remove(hash, id),
                Kind::Grave => self.tombstone_groups.remove(hash, id),
            }
        }
        if let Some(user) = group.user {
            self.users.release(user);
        }
        if let Some(persona) = self.personas.release(group.persona) {
            self.idle.put(persona.name, persona.more.stats);
        }
    }

    /// The persona's and the user's name (empty without one).
    pub(super) fn names_of(&self, group: &Group) -> Option<(&[u8], &[u8])> {
        let user = match group.user {
            Some(user) => &*self.users.get(user)?.name,
            None => &[],
        };
        Some((&self.personas.get(group.persona)?.name, user))
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

    /// The records of these names, made if need be; known already where a group of theirs was found.
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
        let mut hasher = self.keys.build_hasher();
        hasher.write_u8(tier as u8);
        // The length keeps "ab" of "c" apart from "a" of "bc": else anybody could make names that collide.
        hasher.write_usize(persona.len());
        hasher.write(persona);
        hasher.write(user);
        hasher.finish()
    }
}
