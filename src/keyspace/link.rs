//! Links an entry in the index of its database.

use crate::cache::{CACHE, compressor, names};
use crate::entry::{Entry, Placement};
use crate::index::{Handle, Index, Origin, State};
use crate::redis::{Ctx, KeyContext};
use crate::request::key_name::Layout;

/// Links an entry that stands under a key, and queues it for the compressor.
pub fn link(ctx: &Ctx<'_>, entry: &Entry, origin: &Origin, place: KeyContext<'_>) {
    let KeyContext { database, key } = place;
    let handle = CACHE.with(|cache| {
        let layout = cache.layout;
        let handle = link_in(cache.index(database), layout, entry, origin, key);
        cache.mark_arriving((database, handle), &origin.persona);
        handle
    });
    if let Some(response) = entry.raw().filter(|_| origin.state == State::Live) {
        compressor::enqueue(ctx, (database, handle), response.stored().len());
    }
}

/// Links an entry in this index, under this key.
pub fn link_in(index: &mut Index, layout: Layout, entry: &Entry, origin: &Origin, key: &[u8]) -> Handle {
    let (tier, persona, user) = (origin.tier, &*origin.persona, &*origin.user);
    let name = names::index_name(layout, tier, persona, user, key);
    let handle = match origin.state {
        State::Live => index.link(tier, persona, user, name, entry.size()),
        State::Tombstone => index.link_tombstone(tier, persona, user, name),
    };
    entry.move_to(Placement::Linked(handle));
    handle
}
