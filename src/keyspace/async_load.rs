//! A full sync that loads beside the old data set (`repl-diskless-load swapdb`).
//!
//! The server loads its master's data set into new databases, and swaps them with the old ones at the end. Until then clients
//! read the old data set, if it is an older state of the same one, or get LOADING. `Load` is the new data set's half of the
//! module's state: the indexes of the new databases. A completed load replaces the cache's indexes by them; an aborted one
//! discards them.
//!
//! **Keys.** No call of the API opens a key of the new databases: in a `loaded` notification `RM_OpenKey` finds the key of
//! the old one (Redis 7.0.15, module.c, moduleNotifyKeyspaceEvent). So an entry is linked when it is read, before the
//! server has a key for it, and the notification confirms it. The server serves commands while it reads a value, and a
//! writable replica serves RESTORE too. So a value that is read meanwhile may be one of RESTORE, which its own notification
//! tells, or the server may have freed it, which the next confirmation tells.
//!
//! **Databases.** Redis 7.0 calls each of the new databases number 0 (db.c, initTempDb); Redis 7.4 and Valkey 8 give
//! the right numbers. An RDB file has its databases in ascending order, and each loaded key is notified of. So the sizes of the
//! databases tell at the end which entries belong to which. Entries of other databases than 0 are then linked anew, at the
//! cost of one look-up each.
//!
//! The server frees the values of the discarded databases on its background thread, without `unlinked`.

use crate::cache::{CACHE, compressor, databases, names};
use crate::entry::{Entry, Placement};
use crate::flight;
use crate::index::{Handle, Index, Origin, Size, State};
use crate::keyspace::link::{link, link_in};
use crate::keyspace::reclaim;
use crate::lease::VoidScope;
use crate::redis::{AsyncLoad, Content, Ctx, KeyContext, MainThread};
use std::collections::BTreeMap;

/// The load that is under way.
static LOAD: MainThread<Option<Load>> = MainThread::new(None);

#[derive(Default)]
struct Load {
    databases: BTreeMap<i32, Index>,
    /// Entries that were read, and that no notification has told of yet.
    unconfirmed: Vec<Unconfirmed>,
    /// Keys of any type that were loaded as ones of database 0.
    loaded: u64,
    /// Keys of any type that were loaded as ones of another database.
    loaded_elsewhere: u64,
    /// The entries that were loaded as ones of database 0, each with the number of keys loaded before it.
    order: Vec<(u64, Handle)>,
    /// Live entries with raw responses, and the lengths of these in bytes: the compressor gets them at the end.
    raw: Vec<(i32, Handle, usize)>,
}

struct Unconfirmed {
    database: i32,
    key: Box<[u8]>,
    handle: Handle,
    size: Size,
    /// The length of the response in bytes, if the entry is live and its response raw.
    raw: Option<usize>,
}

/// Returns true if a load is under way.
pub fn is_under_way() -> bool {
    LOAD.with(|load| load.is_some())
}

/// Follows the server from event to event of a load.
pub fn follow(ctx: &Ctx<'_>, event: AsyncLoad) {
    match event {
        AsyncLoad::Started => LOAD.with(|load| *load = Some(Load::default())),
        AsyncLoad::Aborted => {
            let load = LOAD.with(Option::take);
            load.into_iter().for_each(|load| databases::discard(load.databases));
        }
        AsyncLoad::Completed => {
            let Some(mut load) = LOAD.with(Option::take) else { return };
            load.forget_unconfirmed();
            databases::replaced(load.databases);
            flight::void(ctx, VoidScope::All);
            if load.loaded_elsewhere == 0 {
                put_in_their_databases(ctx, &load.order, load.loaded);
            }
            for (database, handle, bytes) in load.raw {
                compressor::enqueue(ctx, (database, handle), bytes);
            }
            if !CACHE.with(|cache| cache.databases_to_reclaim()).is_empty() {
                reclaim::start_slices(ctx);
            }
        }
    }
}

/// Links an entry that was just read, if a load is under way.
pub fn read(entry: &Entry, place: KeyContext<'_>) {
    let Some(origin) = entry.origin().filter(|_| is_under_way()) else { return };
    let layout = CACHE.with(|cache| cache.layout);
    LOAD.with(|load| {
        let Some(load) = load else { return };
        let index = load.databases.entry(place.database).or_default();
        let handle = link_in(index, layout, entry, &origin, place.key);
        let raw = entry.raw().filter(|_| origin.state == State::Live).map(|response| response.stored().len());
        let (key, size) = (place.key.into(), entry.size());
        load.unconfirmed.push(Unconfirmed { database: place.database, key, handle, size, raw });
    });
}

/// A key of the new data set has been loaded: its entry, the last one of that name, is there to stay. Entries read before
/// it are gone.
pub fn confirm(place: KeyContext<'_>) {
    LOAD.with(|load| {
        let Some(load) = load else { return };
        match place.database {
            0 => load.loaded += 1,
            _ => load.loaded_elsewhere += 1,
        }
        let is_it = |read: &Unconfirmed| read.database == place.database && *read.key == *place.key;
        let Some(position) = load.unconfirmed.iter().rposition(is_it) else { return };
        let confirmed = load.unconfirmed.swap_remove(position);
        if place.database == 0 {
            load.order.push((load.loaded - 1, confirmed.handle));
        }
        load.raw.extend(confirmed.raw.map(|bytes| (confirmed.database, confirmed.handle, bytes)));
        load.forget_unconfirmed();
    });
}

/// Links the entries of all databases but 0 anew, each in the index of its own. `loaded` is the number of keys that were
/// loaded as ones of database 0, and `order` has the entries among them.
fn put_in_their_databases(ctx: &Ctx<'_>, order: &[(u64, Handle)], loaded: u64) {
    let selected = ctx.database();
    let mut keys_before = 0;
    let mut databases = Vec::new();
    for database in (0..).take_while(|&database| ctx.select(database)) {
        let first = keys_before;
        keys_before += ctx.keys();
        databases.push((database, first..keys_before));
    }
    if keys_before != loaded {
        ctx.log_warning(&format!(
            "a full sync has loaded {loaded} keys, and the databases have {keys_before}"
        ));
    }
    for (database, keys) in databases.into_iter().skip(1) {
        let from = order.partition_point(|(number, _)| *number < keys.start);
        let to = order.partition_point(|(number, _)| *number < keys.end);
        let entries = order.get(from..to).unwrap_or_default();
        if !entries.is_empty() && ctx.select(database) {
            entries.iter().for_each(|(_, handle)| put_in(ctx, database, *handle));
        }
    }
    ctx.select(selected);
}

/// Links an entry of the selected database, which was linked in the index of database 0, in its own.
fn put_in(ctx: &Ctx<'_>, database: i32, handle: Handle) {
    let Some(name) = names::name_of((0, handle)) else { return };
    let key = ctx.open_peek(&name);
    let Content::Value::<Entry>(entry) = key.content() else { return };
    if entry.handle() != Some(handle) {
        return;
    }
    if let Some(origin) = CACHE.with(|cache| cache.index(0).unlink(handle, entry.size())) {
        link(ctx, entry, &origin, KeyContext { database, key: &name });
    }
}

/// RESTORE has put an entry into the old data set: takes it out of the new one.
pub fn restored(entry: &Entry, place: KeyContext<'_>) {
    let origin = LOAD.with(|load| {
        let load = load.as_mut()?;
        let is_it = |read: &Unconfirmed| {
            read.database == place.database && Some(read.handle) == entry.handle() && *read.key == *place.key
        };
        let position = load.unconfirmed.iter().position(is_it)?;
        let restored = load.unconfirmed.swap_remove(position);
        load.unlink(&restored)
    });
    if let Some(origin) = origin {
        entry.move_to(Placement::Unlinked(Box::new(origin)));
    }
}

impl Load {
    /// Unlinks the entries that no notification can tell of any more.
    fn forget_unconfirmed(&mut self) {
        for gone in std::mem::take(&mut self.unconfirmed) {
            self.unlink(&gone);
        }
    }

    fn unlink(&mut self, read: &Unconfirmed) -> Option<Origin> {
        let index = self.databases.get_mut(&read.database)?;
        index.unlink(read.handle, read.size)
    }
}
