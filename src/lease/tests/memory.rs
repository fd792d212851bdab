//! What leases and waiters cost. `cargo test lease_and_a_waiter -- --nocapture` prints it.

use super::support::MANY;
use crate::lease::flights::Flight;
use crate::lease::waiters::Waiter;
use crate::lease::{Ask, FetchOutcome, LeaseKey, LeaseTable, Step, Wait, Wake};
use crate::tier::Tier;

fn ask(lease_key: u64, client: u64, user: &[u8]) -> Ask<'_> {
    let mut identity = [0; 32];
    identity[..8].copy_from_slice(&lease_key.to_le_bytes());
    let lease_key = LeaseKey { database: 0, tier: Tier::Response, identity };
    Ask { lease_key, persona: b"p", user, client, lease_ms: 1000 }
}

fn event<R>(event: impl FnOnce(&mut Step<'_>) -> R) -> (R, Vec<Wake>) {
    let mut wakes = Vec::new();
    let result = event(&mut Step { now_ms: 0, random: &mut rand::random, wakes: &mut wakes });
    (result, wakes)
}

fn leases(count: u64) -> LeaseTable {
    let mut table = LeaseTable::new();
    for n in 0..count {
        event(|step| table.fetch(&ask(n, n, format!("user-{n}").as_bytes()), Wait::No, step));
    }
    table
}

fn wait(table: &mut LeaseTable, lease_key: u64, client: u64) -> bool {
    let wait = Wait::Until { deadline_ms: 500, max_waiters: MANY };
    let user = vec![b'u'; 5000];
    matches!(
        event(|step| table.fetch(&ask(lease_key, client, &user), wait, step)).0,
        FetchOutcome::Waiting(_)
    )
}

#[test]
fn a_lease_and_a_waiter_cost_at_most_some_hundreds_of_bytes() {
    println!(
        "Flight {}, Waiter {}; table {}",
        size_of::<Flight>(),
        size_of::<Waiter>(),
        size_of::<LeaseTable>()
    );
    // Maps double when they are 7/8 full: the worst is just after, the best just before.
    for count in [1, 10_000, 57_000, 57_500, 100_000] {
        let per_lease = leases(count).heap_bytes() / count as usize;
        let mut table = leases(1);
        let before = table.heap_bytes();
        assert!((0..count).all(|n| wait(&mut table, 0, 1_000_000 + n)));
        let per_waiter = (table.heap_bytes() - before) / count as usize;
        println!("{count}: {per_lease} bytes a lease, {per_waiter} a waiter, whose name is of 5,000 bytes");
        if count > 1 {
            assert!(per_waiter <= 250 && per_lease <= 1000);
        }
    }
}

#[test]
fn the_memory_of_a_crowd_is_given_back_while_others_still_wait() {
    let mut table = leases(2);
    assert!(wait(&mut table, 1, 1000));
    let before = table.heap_bytes();
    assert!((0..50_000).all(|n| wait(&mut table, 0, 2000 + n)));
    assert!(table.heap_bytes() > 50_000 * 64);
    let (_, wakes) = event(|step| table.stored(&ask(0, 0, b"").lease_key, step));
    assert_eq!(wakes.len(), 50_000);
    table.validate();
    assert!(table.heap_bytes() <= 2 * before, "{} of {before}", table.heap_bytes());
    event(|step| table.stored(&ask(1, 0, b"").lease_key, step));
    table.validate();
}

#[test]
fn ten_thousand_leaves_and_returns_of_one_waiter_keep_nothing() {
    let mut table = leases(1);
    assert!(wait(&mut table, 0, 1000));
    let before = table.heap_bytes();
    for client in 0..10_000 {
        assert!(wait(&mut table, 0, 2000 + client));
        event(|step| table.client_gone(2000 + client, step));
        table.validate();
    }
    assert!(table.heap_bytes() <= before + 2000, "{} of {before}", table.heap_bytes());
}
