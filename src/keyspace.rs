//! Keeps the indexes in step with a keyspace that anybody may change.
//!
//! Values leave through the type's `unlinked`. They arrive without a command of ours by RDB, RESTORE, RENAME,
//! MOVE and COPY, each of which ends in a notification; whole databases go by a flush event and change places by
//! SWAPDB's. That is all there is: see the life of an entry in docs/architecture.md.

use crate::cache::{self, CACHE};
use crate::entry::{Entry, Home};
use crate::index::State;
use crate::reclaim;
use crate::redis::{Arrival, Ctx, Events, Held, MainThread};

pub struct Keyspace;

/// Whether a value of ours was read from outside and has not arrived under a key since. Spares the look-up for all
/// other keys of an RDB file.
static AWAITED: MainThread<bool> = MainThread::new(false);

/// Warns of a server whose notifications do harm: Valkey 8.1 leaves the client of a COPY or MOVE into another database in
/// that database once a module listens (seen on 8.1.8; Valkey's pull request 4024 mends it). To not listen would be
/// to lose count of answers.
pub fn loaded(ctx: &Ctx<'_>) {
    if let Some(version) =
        ctx.valkey_version().filter(|version| version.starts_with("8.1.") || version.starts_with("9.0."))
    {
        ctx.log_warning(&format!(
            "Valkey {version} may leave a connection in the other database after COPY or MOVE between databases \
             (its pull request 4024): do not use these with any module that follows the keyspace"
        ));
    }
}

/// A value was read from an RDB file or by RESTORE; its arrival comes next, unless the server throws it away.
pub fn expect_arrival() {
    AWAITED.with(|awaited| *awaited = true);
}

impl Events for Keyspace {
    fn emptied(database: Option<i32>) {
        CACHE.with(|cache| cache.empty(database));
    }

    fn loading(ctx: &Ctx<'_>) {
        reclaim::at_once(ctx);
    }

    fn swapped(first: i32, second: i32) {
        CACHE.with(|cache| cache.swap(first, second));
    }

    fn arrived(ctx: &Ctx<'_>, name: &[u8], how: Arrival) {
        if how == Arrival::FromOutside && !AWAITED.with(std::mem::take) {
            return;
        }
        if ctx.is_loading() {
            reclaim::at_once(ctx);
        }
        let key = ctx.open_peek(name);
        let Held::Value::<Entry>(entry) = key.held() else { return };
        let Home::Loose(origin) = entry.home() else { return };
        let database = key.database();
        let handle = CACHE.with(|cache| {
            let (tier, persona, user) = (origin.tier, &*origin.persona, &*origin.user);
            let kept = cache::index_name(cache.layout, tier, persona, user, name);
            let index = cache.index(database);
            match origin.state {
                State::Live => index.link(tier, persona, user, kept, entry.stored_bytes()),
                State::Dropped => index.link_dropped(tier, persona, user, kept),
            }
        });
        entry.move_to(Home::Linked(handle));
        if origin.state == State::Dropped {
            // A replica or a replayed AOF may have reclaimed the dropped entry before the command that moves it:
            // there nothing moves, and what stood under this name must go all the same.
            if how == Arrival::FromAnotherKey && !ctx.is_replica() && !ctx.is_loading() {
                ctx.replicate_unlink(name);
            }
            reclaim::wake(ctx);
        }
    }
}
