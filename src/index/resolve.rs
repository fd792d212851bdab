//! One walk from an entry's handle to its group and persona, for all that a read asks of the index.

use std::sync::Arc;

use super::database::Index;
use super::handle::Handle;
use super::liveness::Liveness;
use super::pool::Id;
use super::records::Persona;

/// The result of the walk. It is good until the index changes: an outdated one counts a hit for another persona at worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Whether the entry may be served.
    pub liveness: Liveness,
    /// None if the index does not know the entry.
    pub(super) persona: Option<Id<Persona>>,
    /// The generation that the index had given out last.
    generation: u32,
}

impl Resolved {
    /// The result for an entry that no index knows.
    pub const UNKNOWN: Resolved = Resolved { liveness: Liveness::Dead, persona: None, generation: 0 };
}

impl Index {
    /// Walks from a handle to its group and persona.
    pub fn resolve(&self, handle: Handle) -> Resolved {
        let Some(group) = self.group_of(handle) else { return Resolved::UNKNOWN };
        Resolved {
            liveness: self.group_liveness(group),
            persona: Some(group.persona),
            generation: self.generation,
        }
    }

    /// Returns the result of an earlier walk where no entry was invalidated since then, else that of a new one.
    ///
    /// Only for an entry that has not been unlinked since, in the same index, and within 2³² invalidations.
    pub fn resolve_again(&self, handle: Handle, known: Resolved) -> Resolved {
        match known.generation == self.generation {
            true => known,
            false => self.resolve(handle),
        }
    }

    /// Returns true if the entry belongs to the persona of this name.
    pub fn is_owned_by(&self, resolved: Resolved, persona: &[u8]) -> bool {
        self.owner(resolved).is_some_and(|owner| **owner == *persona)
    }

    /// Returns the name of the entry's persona, or None if the index does not know the entry.
    pub fn owner(&self, resolved: Resolved) -> Option<&Arc<[u8]>> {
        resolved.persona.and_then(|id| self.personas.get(id)).map(|persona| &persona.name)
    }
}
