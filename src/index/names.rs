//! The personas, or the users: records found by name or by id.
//!
//! Invariant: every record is in the table, under its name. Who takes away the last group of a record takes
//! the record too (`release`).

use std::hash::{BuildHasher, Hasher, RandomState};

use super::pool::{Id, Pool};
use super::records::Named;
use super::table::Table;

pub(super) struct Names<X> {
    records: Pool<Named<X>>,
    table: Table<Named<X>>,
    keys: RandomState,
    /// The heap memory of all names.
    bytes: u64,
}

impl<X> Names<X> {
    pub fn new() -> Self {
        Names { records: Pool::new(), table: Table::new(), keys: RandomState::new(), bytes: 0 }
    }

    pub fn find(&self, name: &[u8]) -> Option<Id<Named<X>>> {
        let is = |id| self.get(id).is_some_and(|record| *record.name == *name);
        self.table.find(self.hash(name), is)
    }

    pub fn get(&self, id: Id<Named<X>>) -> Option<&Named<X>> {
        self.records.get(id)
    }

    pub fn get_mut(&mut self, id: Id<Named<X>>) -> Option<&mut Named<X>> {
        self.records.get_mut(id)
    }

    /// Adds a record, of no group as yet, for a name that has none.
    pub fn insert(&mut self, name: &[u8], generation: u32, more: X) -> Option<Id<Named<X>>> {
        let id = self.records.insert(Named::new(name, generation, more))?;
        self.table.insert(self.hash(name), id);
        self.bytes += name_bytes(name);
        Some(id)
    }

    /// A group of this record is gone; gives the record back if that was the last.
    pub fn release(&mut self, id: Id<Named<X>>) -> Option<Named<X>> {
        let record = self.records.get_mut(id)?;
        record.groups = record.groups.saturating_sub(1);
        if record.groups > 0 {
            return None;
        }
        let record = self.records.remove(id)?;
        self.table.remove(self.hash(&record.name), id);
        self.bytes = self.bytes.saturating_sub(name_bytes(&record.name));
        Some(record)
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// All records, by slot: a record keeps its slot as long as it is there.
    pub fn records(&self) -> &Pool<Named<X>> {
        &self.records
    }

    pub fn heap_bytes(&self) -> u64 {
        self.records.heap_bytes() + self.table.heap_bytes() + self.bytes
    }

    fn hash(&self, name: &[u8]) -> u64 {
        let mut hasher = self.keys.build_hasher();
        hasher.write(name);
        hasher.finish()
    }
}

/// What an `Arc` of this name takes: two counters, and what an allocator rounds up to.
pub(super) fn name_bytes(name: &[u8]) -> u64 {
    (name.len() as u64 + 16).next_multiple_of(16)
}

#[cfg(any(test, fuzzing))]
impl<X> Names<X> {
    pub fn table_len(&self) -> usize {
        self.table.ids().len()
    }

    pub fn name_bytes(&self) -> u64 {
        self.bytes
    }
}
