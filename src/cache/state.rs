//! The state of the main thread: an index and a request table for each database, L1, and the counters.
//!
//! The keyspace holds the entries. An `Index` tells which persona, user and tier each entry belongs to, and which entries are
//! live. A `RequestTable` leads to the responses that have been read. L1 holds those that are requested most.

use crate::cache::l1::L1;
use crate::cache::location::{Location, after_swap};
use crate::cache::request_table::{RequestHasher, RequestTable};
use crate::cache::slot_moves::{MigrationName, SlotMoves};
use crate::entry::Response;
use crate::index::{Handle, Index, NODE_BYTES, Origin, Resolved};
use crate::redis::{MainThread, prefetch};
use crate::request::key_name::Layout;
use crate::stats::Counters;
use std::collections::BTreeMap;
use std::thread;

/// The module's state. Borrow it for a few lines, with no call to the server in between that may call back.
pub static CACHE: MainThread<Cache> = MainThread::new(Cache::new());

/// The index and the request table of one database.
#[derive(Default)]
pub(super) struct Database {
    pub index: Index,
    pub requests: RequestTable,
}

impl Database {
    /// Walks from a response to its group and persona, or takes its last walk where that still holds. The response remembers
    /// the walk.
    pub fn resolve_again(&self, response: &Response) -> Resolved {
        let Some(handle) = response.handle() else { return Resolved::UNKNOWN };
        let resolved = self.index.resolve_again(handle, response.walk());
        response.set_walk(resolved.walk());
        resolved
    }
}

/// See the head of this file.
pub struct Cache {
    /// The databases that have held an entry.
    pub(super) databases: BTreeMap<i32, Database>,
    /// Counters since the server started.
    pub counters: Counters,
    /// The layout of key names. It is fixed once the module has loaded.
    pub layout: Layout,
    /// The cluster slots that move.
    pub slot_moves: SlotMoves,
    /// Hashes requests for the request tables.
    pub(super) hasher: RequestHasher,
    /// Seconds after which a response's key is opened again.
    pub(super) open_each_s: i64,
    /// True if the server evicts keys at a limit of memory.
    pub(super) may_evict: bool,
    /// The second of the Unix time in which the server was asked that.
    pub(super) eviction_asked_s: i64,
    /// The last time, in Unix milliseconds, at which a key got a TTL that could not be read.
    pub(super) lost_sight_ms: Option<i64>,
    /// L1, or None while it is off.
    pub(super) l1: Option<L1>,
    /// Entries that have left L1. The compressor takes them over before the event loop sleeps.
    pub(super) cooled: Vec<Location>,
}

impl Cache {
    const fn new() -> Self {
        Cache {
            databases: BTreeMap::new(),
            counters: Counters::new(),
            layout: Layout::Single,
            slot_moves: SlotMoves::new(),
            hasher: RequestHasher::new([[0; 16]; 2]),
            open_each_s: 0,
            may_evict: true,
            eviction_asked_s: 0,
            lost_sight_ms: None,
            l1: None,
            cooled: Vec::new(),
        }
    }

    /// Returns the index of a database, and makes it if there is none.
    pub fn index(&mut self, database: i32) -> &mut Index {
        &mut self.databases.entry(database).or_default().index
    }

    /// Sets the secret of the request tables' hashes. Call it before the first entry.
    pub fn set_secret(&mut self, secret: [[u8; 16]; 2]) {
        self.hasher = RequestHasher::new(secret);
    }

    /// Keeps a new entry out of the reports while its persona's slot is not served here.
    pub fn mark_arriving(&mut self, (database, handle): Location, persona: &[u8]) {
        if let Some(arrival) = self.slot_moves.arrival_of(persona) {
            self.index(database).mark_arriving(handle, arrival);
        }
    }

    /// Notes the end of a slot migration. Entries that arrived in it are in the reports from now on.
    pub fn end_slot_move(&mut self, name: &MigrationName) {
        if let Some(arrival) = self.slot_moves.end(name) {
            self.databases.values_mut().for_each(|database| database.index.settle(arrival));
        }
    }

    /// Returns the index of a database, or None if the database has never held an entry.
    pub fn known_index(&self, database: i32) -> Option<&Index> {
        self.databases.get(&database).map(|database| &database.index)
    }

    /// Returns the index of a database, to be changed, or None if the database has never held an entry.
    pub fn known_index_mut(&mut self, database: i32) -> Option<&mut Index> {
        self.databases.get_mut(&database).map(|database| &mut database.index)
    }

    /// Returns the indexes of all databases.
    pub fn indexes(&self) -> impl Iterator<Item = &Index> {
        self.databases.values().map(|database| &database.index)
    }

    /// Returns the indexes of all databases, to be changed.
    pub(super) fn indexes_mut(&mut self) -> impl Iterator<Item = &mut Index> {
        self.databases.values_mut().map(|database| &mut database.index)
    }

    /// Returns the request tables of all databases.
    pub fn request_tables(&self) -> impl Iterator<Item = &RequestTable> {
        self.databases.values().map(|database| &database.requests)
    }

    /// Returns L1, or None while it is off.
    pub fn l1(&self) -> Option<&L1> {
        self.l1.as_ref()
    }

    /// Returns the databases that may hold entries.
    pub fn databases(&self) -> Vec<i32> {
        self.databases.keys().copied().collect()
    }

    /// Returns the databases that have tombstones to reclaim.
    pub fn databases_to_reclaim(&self) -> Vec<i32> {
        let pending = self.databases.iter().filter(|(_, known)| known.index.pending() > 0);
        pending.map(|(&database, _)| database).collect()
    }

    /// Returns true if the index knows the entry, live or invalidated.
    pub fn knows(&self, (database, handle): Location) -> bool {
        self.known_index(database).is_some_and(|index| index.contains(handle))
    }

    /// Walks from a handle to its group and persona, in the index of one database.
    pub fn resolve(&self, database: i32, handle: Option<Handle>) -> Resolved {
        match (handle, self.known_index(database)) {
            (Some(handle), Some(index)) => index.resolve(handle),
            _ => Resolved::UNKNOWN,
        }
    }

    /// Walks from a response in one database as `Database::resolve_again`, and prefetches the node for those who need it.
    pub(super) fn resolve_again(&self, database: i32, response: &Response) -> Resolved {
        let Some(database) = self.databases.get(&database) else { return Resolved::UNKNOWN };
        if let Some(node) = response.handle().and_then(|handle| database.index.address(handle)) {
            prefetch(node, NODE_BYTES);
        }
        database.resolve_again(response)
    }

    /// Returns the origin of the entry with this handle. The entry is in this database; but MIGRATE saves a value in the
    /// name of its target's database, so the other indexes are searched after it.
    pub fn origin(&self, database: i32, handle: Handle) -> Option<Origin> {
        let here = self.known_index(database).and_then(|index| index.origin(handle));
        here.or_else(|| self.indexes().find_map(|index| index.origin(handle)))
    }

    /// Takes what is known of one database, or of all, out of the cache. L1 keeps the responses.
    pub(super) fn take_databases(&mut self, database: Option<i32>) -> Vec<Database> {
        match database {
            Some(database) => self.databases.remove(&database).into_iter().collect(),
            None => std::mem::take(&mut self.databases).into_values().collect(),
        }
    }

    /// Replaces the indexes of all databases, and returns what was known of the old ones.
    pub(super) fn replace_indexes(&mut self, indexes: BTreeMap<i32, Index>) -> Vec<Database> {
        let new = |(number, index)| (number, Database { index, requests: RequestTable::new() });
        let databases = indexes.into_iter().map(new).collect();
        std::mem::replace(&mut self.databases, databases).into_values().collect()
    }

    /// Swaps two databases.
    pub(super) fn swap_databases(&mut self, first: i32, second: i32) {
        for (database, _) in &mut self.cooled {
            *database = after_swap(*database, (first, second));
        }
        if let Some(l1) = &mut self.l1 {
            l1.swap_databases((first, second));
        }
        let (one, other) = (self.databases.remove(&first), self.databases.remove(&second));
        self.databases.extend(one.map(|database| (second, database)));
        self.databases.extend(other.map(|database| (first, database)));
    }

    /// Returns true if L1 holds the response.
    pub fn is_hot(&self, response: &Response) -> bool {
        self.l1.as_ref().is_some_and(|l1| l1.holds(response))
    }
}

/// A value that holds more entries than this is freed on a thread of its own: that many take some milliseconds.
const FREE_INLINE: u64 = 20_000;

/// Frees a value that holds this number of entries.
pub(super) fn free<T: Send + 'static>(entries: u64, gone: T) {
    if entries > FREE_INLINE {
        // If the system gives no thread, the closure is dropped here, and the value with it.
        let _ = thread::Builder::new().name("chatcache-free".into()).spawn(move || drop(gone));
    }
}
