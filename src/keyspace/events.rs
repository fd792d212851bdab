//! Keeps the indexes in step with a keyspace that anybody may change.
//!
//! Values leave through the type's `unlinked`. They arrive without a command of ours by RDB, RESTORE, RENAME,
//! MOVE and COPY, each of which ends in a notification; whole databases go by a flush event, change places by
//! SWAPDB's, and are replaced by a full sync that loads beside them (`async_load`). That is all there is: see the life of
//! an entry in docs/dev/architecture.md.

use crate::cache::hot::{self, Held};
use crate::cache::{CACHE, compressor, databases, direct};
use crate::entry::Entry;
use crate::flight::{self, LeaseKeys};
use crate::index::{Origin, State};
use crate::keyspace::link::link;
use crate::keyspace::{async_load, reclaim};
use crate::lease::VoidScope;
use crate::redis::{
    Arrival, AsyncLoad, Content, Ctx, EventLoop, Events, Incoming, KeyContext, MainThread, Moment,
    SlotMigration, SlotMigrations,
};
use crate::request::fingerprint::Fingerprint;
use crate::request::key_name::Layout;

pub struct Keyspace;

/// True if a value of ours was read from outside and has not arrived under a key since. It spares the look-up for all
/// other keys of an RDB file.
static AWAITED: MainThread<bool> = MainThread::new(false);

/// The entry that left its key last, while there are leases: its key, and what it was the answer to. A `del` of that
/// key that comes next is about it; expiry and eviction, which void no lease, are told by other names.
static LEFT: MainThread<Option<(Box<[u8]>, LeaseKeys)>> = MainThread::new(None);

/// An entry has left its key.
pub fn left(place: KeyContext<'_>, origin: &Origin, fingerprint: &Fingerprint) {
    if flight::has_leases() {
        let lease_keys = flight::lease_keys(place.database, origin.tier, fingerprint, &origin.persona);
        LEFT.with(|left| *left = Some((place.key.into(), lease_keys)));
    }
}

/// Warns of a server whose notifications do harm: Valkey 8.1 leaves the client of a COPY or MOVE into another database in
/// that database once a module listens (seen on 8.1.8; Valkey's pull request 4024 mends it). To not listen would be
/// to lose count of answers.
pub fn loaded(ctx: &Ctx<'_>) {
    let layout = if ctx.is_cluster() { Layout::Cluster } else { Layout::Single };
    let secret = [ctx.random(), ctx.random()];
    CACHE.with(|cache| {
        cache.layout = layout;
        cache.set_secret(secret);
    });
    hot::renew_l1(Held::Stay);
    if ctx.is_cluster() {
        ctx.watch_incoming::<Keyspace>();
    }
    if let Some(version) =
        ctx.valkey_version().filter(|version| version.starts_with("8.1.") || version.starts_with("9.0."))
    {
        ctx.log_warning(&format!(
            "Valkey {version} may leave a connection in the other database after COPY or MOVE between databases \
             (its pull request 4024): do not use these with any module that follows the keyspace"
        ));
    }
}

/// An entry was read from an RDB file or by RESTORE. Its arrival comes next, unless the server discards it.
pub fn expect_arrival(entry: &Entry, place: KeyContext<'_>) {
    AWAITED.with(|awaited| *awaited = true);
    async_load::read(entry, place);
}

impl Incoming for Keyspace {
    /// While a slot moves here, all commands about its personas come here: their keys are bare names, which the source
    /// never has. So an answer that stands here is newer than what the source sends under its name.
    fn is_outdated(ctx: &Ctx<'_>, name: &[u8]) -> bool {
        let is_here = |database| {
            ctx.select(database) && matches!(ctx.open_peek(name).content(), Content::Value::<Entry>(_))
        };
        CACHE.with(|cache| cache.databases()).into_iter().any(is_here) && !ctx.serves(name)
    }
}

impl SlotMigrations for Keyspace {
    fn slots_move(_: &Ctx<'_>, SlotMigration { name, slots, moment }: SlotMigration) {
        CACHE.with(|cache| match moment {
            Moment::ImportStarted => cache.slot_moves.arrive(name, slots),
            Moment::ExportStarted => cache.slot_moves.leave(name, slots),
            Moment::Ended => cache.end_slot_move(&name),
        });
    }
}

impl Events for Keyspace {
    fn emptied(ctx: &Ctx<'_>, database: Option<i32>) {
        databases::emptied(database);
        flight::void(ctx, database.map_or(VoidScope::All, VoidScope::Database));
    }

    fn loading(ctx: &Ctx<'_>) {
        // During a load beside the old data, clients are served, and the keys of the new data cannot be opened.
        if !async_load::is_under_way() {
            reclaim::reclaim_all(ctx);
        }
    }

    fn async_load(ctx: &Ctx<'_>, event: AsyncLoad) {
        async_load::follow(ctx, event);
    }

    fn swapped(ctx: &Ctx<'_>, first: i32, second: i32) {
        databases::swapped(first, second);
        compressor::swapped(first, second);
        flight::swapped(ctx, first, second);
    }

    fn retimed(ctx: &Ctx<'_>, name: &[u8]) {
        direct::retimed(ctx, name);
    }

    fn deleted(ctx: &Ctx<'_>, name: &[u8]) {
        match LEFT.with(Option::take) {
            Some((key, lease_keys)) if *key == *name => flight::void_response(ctx, &lease_keys),
            _ => {}
        }
    }

    fn client_gone(ctx: &Ctx<'_>, client: u64) {
        flight::client_gone(ctx, client);
    }

    fn event_loop(ctx: &Ctx<'_>, event: EventLoop) {
        reclaim::event_loop(event);
        if let EventLoop::Sleeps = event {
            hot::follow_settings();
            direct::follow_settings(ctx);
            compressor::collect(ctx);
            flight::deliver();
        }
    }

    fn became_replica(ctx: &Ctx<'_>) {
        flight::end_all(ctx);
    }

    fn arrived(ctx: &Ctx<'_>, name: &[u8], how: Arrival) {
        if how == Arrival::Loaded && async_load::is_under_way() {
            return async_load::confirm(KeyContext { database: ctx.database(), key: name });
        }
        if how != Arrival::FromAnotherKey && !AWAITED.with(std::mem::take) {
            return;
        }
        if ctx.is_loading() {
            reclaim::reclaim_all(ctx);
        }
        let key = ctx.open_peek(name);
        let Content::Value::<Entry>(entry) = key.content() else { return };
        let database = key.database();
        if how == Arrival::Restored {
            async_load::restored(entry, KeyContext { database, key: name });
        }
        let Some(origin) = entry.origin() else { return };
        link(ctx, entry, &origin, KeyContext { database, key: name });
        if origin.state == State::Tombstone {
            // A replica or a replayed AOF may have reclaimed the dropped entry before the command that moves it:
            // there nothing moves, and what stood under this name must go all the same.
            if how == Arrival::FromAnotherKey && !ctx.is_replica() && !ctx.is_loading() {
                ctx.replicate_unlink(name);
            }
            reclaim::start_slices(ctx);
        } else {
            flight::appeared(
                ctx,
                &flight::lease_keys(database, origin.tier, entry.fingerprint(), &origin.persona),
            );
        }
    }
}
