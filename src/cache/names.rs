//! Names of keys: the name that a request makes, and the name under which an entry is stored.

use crate::cache::location::Location;
use crate::cache::state::CACHE;
use crate::index::Name;
use crate::redis::{Ctx, MainThread};
use crate::request::Request;
use crate::request::error::CommandError;
use crate::request::key_name::{self, Layout, Tail};
use crate::tier::Tier;
use std::ops::Deref;

/// The name of a request's key. Its buffer is used again for the next name.
pub struct KeyName(Vec<u8>);

static BUFFER: MainThread<Vec<u8>> = MainThread::new(Vec::new());

/// Returns the name of the request's key.
pub fn key_name(request: &Request<'_>) -> KeyName {
    let layout = CACHE.with(|cache| cache.layout);
    let mut name = BUFFER.with(std::mem::take);
    name.clear();
    request.key_name(layout, &mut name);
    KeyName(name)
}

impl Deref for KeyName {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for KeyName {
    fn drop(&mut self) {
        // The limits on names keep the buffer below some 400 KB.
        BUFFER.with(|name| *name = std::mem::take(&mut self.0));
    }
}

/// Returns the name of the key that holds an entry, or None if the index does not know the entry.
pub fn name_of((database, handle): Location) -> Option<Vec<u8>> {
    CACHE.with(|cache| {
        let located = cache.known_index(database)?.located(handle)?;
        let mut name = Vec::with_capacity(128);
        match located.name {
            Name::Own(own) => name.extend_from_slice(own),
            Name::Canonical(digest) => {
                let tail = Tail::Digest(digest);
                key_name::write(cache.layout, located.tier, located.user, located.persona, tail, &mut name);
            }
        }
        Some(name)
    })
}

/// Returns the form in which the index keeps the name of a key: the digest alone if the name derives from it.
pub fn index_name<'a>(layout: Layout, tier: Tier, persona: &[u8], user: &[u8], name: &'a [u8]) -> Name<'a> {
    match key_name::canonical_digest(layout, tier, user, persona, name) {
        Some(digest) => Name::Canonical(digest),
        None => Name::Own(name),
    }
}

/// Refuses a command that must reach every entry of a persona while the persona's slot moves, as two nodes have some of
/// them then. SET does without it: see `keyspace`.
///
/// # Errors
/// `SlotMoving`, with which the server's clients try again.
pub fn check_slot_is_stable(ctx: &Ctx<'_>, persona: &[u8]) -> Result<(), CommandError> {
    let checked = CACHE.with(|cache| {
        // The old node of a slot that arrives as a whole sends its commands after the entries.
        cache.layout == Layout::Cluster && cache.slot_moves.arrival_of(persona).is_none()
    });
    match checked && !ctx.is_replayed() && !ctx.serves(&key_name::absent_in_slot_of(persona)) {
        true => Err(CommandError::SlotMoving),
        false => Ok(()),
    }
}

/// Refuses a command that must reach every entry of the cluster while slots move as a whole: it names no key, so the
/// slots' old node would not send it to the new one.
///
/// # Errors
/// `SlotsMoving`, with which the server's clients try again.
pub fn check_no_slot_moves(ctx: &Ctx<'_>) -> Result<(), CommandError> {
    match CACHE.with(|cache| cache.slot_moves.is_empty()) || ctx.is_replayed() {
        true => Ok(()),
        false => Err(CommandError::SlotsMoving),
    }
}
