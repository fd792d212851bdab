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
    /// The effect of invalidations on the entry.
    pub liveness: Liveness,
    /// The entry's persona; None if the index does not know the entry.
    pub(super) persona: Option<Id<Persona>>,
    /// The generation that the index had given out last.
    generation: u32,
}

/// A walk that found an entry fresh, in 8 bytes: its persona, and the generation. The default is no walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    persona: Option<Id<Persona>>,
    generation: u32,
}

impl Walk {
    /// Returns the walk as a number.
    pub fn to_bits(self) -> u64 {
        u64::from(self.persona.map_or(0, Id::number)) << 32 | u64::from(self.generation)
    }

    /// Returns the walk of this number.
    pub fn from_bits(bits: u64) -> Walk {
        Walk { persona: Id::from_number((bits >> 32) as u32), generation: bits as u32 }
    }
}

impl Resolved {
    /// The result for an entry that no index knows.
    pub const UNKNOWN: Resolved = Resolved { liveness: Liveness::Dead, persona: None, generation: 0 };

    /// Returns the walk to remember; that of an entry that is not fresh is no walk.
    pub fn walk(self) -> Walk {
        match self.liveness {
            Liveness::Fresh => Walk { persona: self.persona, generation: self.generation },
            Liveness::Stale | Liveness::Dead => Walk::default(),
        }
    }
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
    pub fn resolve_again(&self, handle: Handle, known: Walk) -> Resolved {
        match known {
            Walk { persona: Some(_), generation } if generation == self.generation => {
                Resolved { liveness: Liveness::Fresh, persona: known.persona, generation }
            }
            _ => self.resolve(handle),
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
