//! The cluster slots that move between this node and others by Valkey's atomic slot migration.
//!
//! The entries of a slot that arrives are in the keyspace and in the index before the slot is served here. Commands about
//! their personas come only from the slot's old node, and no report counts them (`Index::mark_arriving`).

use crate::index::ArrivalId;
use crate::request::key_name;
use std::ops::RangeInclusive;

/// The server's name of a migration, which both nodes use.
pub type MigrationName = [u8; 40];

/// The migrations that are under way.
pub struct SlotMoves {
    moves: Vec<SlotMove>,
    /// The number of the last arrival.
    last: u32,
}

struct SlotMove {
    name: MigrationName,
    slots: Vec<RangeInclusive<u16>>,
    /// The arrival of the slots' entries; None if the slots leave.
    arrival: Option<ArrivalId>,
}

impl SlotMoves {
    pub(super) const fn new() -> Self {
        SlotMoves { moves: Vec::new(), last: 0 }
    }

    /// Notes that slots arrive.
    pub fn arrive(&mut self, name: MigrationName, slots: Vec<RangeInclusive<u16>>) {
        self.last = self.last.wrapping_add(1);
        self.moves.push(SlotMove { name, slots, arrival: ArrivalId::new(self.last) });
    }

    /// Notes that slots leave.
    pub fn leave(&mut self, name: MigrationName, slots: Vec<RangeInclusive<u16>>) {
        self.moves.push(SlotMove { name, slots, arrival: None });
    }

    /// Notes the end of a migration. Returns its number if its slots arrived here.
    pub fn end(&mut self, name: &MigrationName) -> Option<ArrivalId> {
        let position = self.moves.iter().position(|moving| moving.name == *name)?;
        self.moves.swap_remove(position).arrival
    }

    /// Returns true if no slot moves.
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }

    /// Returns the arrival that a persona's slot is part of.
    pub fn arrival_of(&self, persona: &[u8]) -> Option<ArrivalId> {
        if self.moves.is_empty() {
            return None;
        }
        let slot = key_name::slot(persona);
        let arriving =
            self.moves.iter().filter(|moving| moving.slots.iter().any(|range| range.contains(&slot)));
        arriving.filter_map(|moving| moving.arrival).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persona_is_of_an_arrival_while_its_slot_arrives() {
        let mut moves = SlotMoves::new();
        let (coming, going) = ([b'a'; 40], [b'b'; 40]);
        let slot = key_name::slot(b"foo");
        assert_eq!((moves.is_empty(), moves.arrival_of(b"foo")), (true, None));
        moves.leave(going, vec![0..=100]);
        moves.arrive(coming, vec![200..=300, slot..=slot]);
        let arrival = moves.arrival_of(b"{foo}bar");
        assert!(arrival.is_some());
        assert_eq!(moves.arrival_of(b"another"), None);
        assert_eq!((moves.end(&going), moves.is_empty()), (None, false));
        assert_eq!((moves.end(&coming), moves.is_empty()), (arrival, true));
        assert_eq!((moves.end(&coming), moves.arrival_of(b"foo")), (None, None));
        moves.arrive(coming, vec![0..=16_383]);
        assert_ne!(moves.arrival_of(b"foo"), arrival, "no number is given twice");
    }
}
