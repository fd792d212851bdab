//! The bytes of the index per entry. `cargo test few_bytes_per_entry -- --nocapture` prints them.

use crate::index::Index;
use crate::index::Name;
use crate::index::records::{Group, Node, Persona, User};
use crate::tier::Tier;

fn filled(entries: u64, personas: u64, users: u64) -> Index {
    let mut index = Index::new();
    for n in 0..entries {
        let (persona, user) = (format!("persona-{:04}", n % personas), format!("user-{:08}", n % users));
        let name = Name::Canonical(u128::from(n).to_le_bytes());
        index.link(Tier::Response, persona.as_bytes(), user.as_bytes(), name, 500);
    }
    index
}

#[test]
fn the_index_takes_few_bytes_per_entry() {
    let sizes = [size_of::<Node>(), size_of::<Group>(), size_of::<Persona>(), size_of::<User>()];
    println!("Node, Group, Persona, User: {sizes:?}; Index {}", size_of::<Index>());
    println!("empty: {}; one entry: {}", Index::new().heap_bytes(), filled(1, 1, 1).heap_bytes());
    let many = filled(100_000, 1, 1000);
    let per_entry = many.heap_bytes() as f64 / 100_000.0;
    println!("100,000 entries, 1 persona, 1,000 users: {per_entry:.1} bytes an entry");
    assert!(per_entry < 36.0);
    let per_user = filled(100_000, 1, 100_000).heap_bytes() as f64 / 100_000.0;
    println!("an entry with a user and a group of its own: {per_user:.1}");
    assert!(per_user < 200.0);
    let per_persona = filled(100_000, 10_000, 1).heap_bytes() as f64 / 10_000.0;
    println!("ten entries with a persona and a group of their own: {per_persona:.1}");
    assert!(per_persona < 660.0);
}

#[test]
fn reclaim_returns_the_memory_of_the_index() {
    let mut index = filled(100_000, 10, 1000);
    let full = index.heap_bytes();
    index.invalidate_tier(Tier::Response);
    while let Some(handle) = index.next_tombstone(None).map(|tombstone| tombstone.handle) {
        index.unlink(handle, 500);
    }
    index.check_empty();
    assert!(index.heap_bytes() * 20 < full, "{} of {full}", index.heap_bytes());
}
