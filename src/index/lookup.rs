//! Finding out about an entry by its handle.

use std::os::raw::c_void;
use std::sync::Arc;

use super::database::Index;
use super::handle::Handle;
use super::liveness::{Liveness, State};
use super::origin::{Located, Name, Origin};
use super::records::Key;

impl Index {
    /// Returns the address of the entry's node, to prefetch it, or None if the index has no such node. This does not read it.
    pub fn address(&self, handle: Handle) -> Option<*const c_void> {
        self.nodes.address(handle.node)
    }

    /// Returns whether the index knows the entry, live or invalidated.
    pub fn contains(&self, handle: Handle) -> bool {
        self.node(handle).is_some()
    }

    /// Returns whether the entry may be served: the index knows it and it is not invalidated.
    pub fn is_live(&self, handle: Handle) -> bool {
        self.resolve(handle).liveness != Liveness::Dead
    }

    /// Returns all parts of the name of the entry's key, or None if the entry is unknown.
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

    /// Returns the owner and the state of the entry, or None if the entry is unknown.
    pub fn origin(&self, handle: Handle) -> Option<Origin> {
        let group = self.group_of(handle)?;
        let user = match group.user {
            Some(user) => Arc::clone(&self.users.get(user)?.name),
            None => Arc::default(),
        };
        let persona = Arc::clone(&self.personas.get(group.persona)?.name);
        let state = if self.is_group_live(group) { State::Live } else { State::Tombstone };
        Some(Origin { tier: group.tier, persona, user, state })
    }
}
