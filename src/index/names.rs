//! The records of the personas, or of the users, by name and by id.
//!
//! Invariant: every record is in the table, under its name. A record is removed with its last group
//! (`release`).

use std::hash::{BuildHasher, Hasher, RandomState};

use super::pool::{Id, Pool};
use super::records::Named;
use super::table::Table;

/// Records of one kind, by name and by id.
pub(super) struct Names<X> {
    records: Pool<Named<X>>,
    table: Table<Named<X>>,
    hasher: RandomState,
    /// The heap bytes of all names.
    bytes: u64,
}

impl<X> Names<X> {
    pub fn new() -> Self {
        Names { records: Pool::new(), table: Table::new(), hasher: RandomState::new(), bytes: 0 }
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

    /// Inserts a record without groups for a name that has no record.
    pub fn insert(&mut self, name: &[u8], generation: u32, data: X) -> Option<Id<Named<X>>> {
        let id = self.records.insert(Named::new(name, generation, data))?;
        self.table.insert(self.hash(name), id);
        self.bytes += name_bytes(name);
        Some(id)
    }

    /// Counts one group less. Removes and returns the record if that was its last group.
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

    /// Returns all records, by slot. A record keeps its slot until it is removed.
    pub fn records(&self) -> &Pool<Named<X>> {
        &self.records
    }

    pub fn heap_bytes(&self) -> u64 {
        self.records.heap_bytes() + self.table.heap_bytes() + self.bytes
    }

    fn hash(&self, name: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        hasher.finish()
    }
}

/// Returns the heap bytes of an `Arc` of this name: two counters, rounded up as an allocator does.
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
