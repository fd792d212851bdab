//! Bytes and time of leases and waiters. `cargo test --release lease::tests::memory -- --nocapture` prints them.

use super::support::MANY;
use crate::lease::flights::Flight;
use crate::lease::ids::Ids;
use crate::lease::waiters::Waiter;
use crate::lease::{
    FetchOutcome, LeaseKey, LeaseRequest, LeaseTable, Step, StoredAs, Stream, Tie, Wait, Wake,
};
use crate::tier::Tier;

fn request(lease_key: u64, client: u64, user: &[u8]) -> LeaseRequest<'_> {
    let mut identity = [0; 32];
    identity[..8].copy_from_slice(&lease_key.to_le_bytes());
    let lease_key = LeaseKey { database: 0, tier: Tier::Response, identity };
    LeaseRequest {
        lease_key,
        persona: b"p",
        user,
        client,
        account: 0,
        tie: Tie::Connection,
        lease_ms: 1000,
        stream: Stream::No,
        max_leases: MANY,
    }
}

fn event<R>(event: impl FnOnce(&mut Step<'_>) -> R) -> (R, Vec<Wake>) {
    let mut wakes = Vec::new();
    let result = event(&mut Step { now_ms: 0, random: &mut rand::random, wakes: &mut wakes });
    (result, wakes)
}

fn leases(count: u64) -> LeaseTable {
    let mut table = LeaseTable::new();
    for n in 0..count {
        event(|step| table.fetch(&request(n, n, format!("user-{n}").as_bytes()), Wait::No, step));
    }
    table
}

fn wait(table: &mut LeaseTable, lease_key: u64, client: u64) -> bool {
    let wait = Wait::Until { deadline_ms: 500, max_waiters: MANY };
    let user = vec![b'u'; 5000];
    matches!(
        event(|step| table.fetch(&request(lease_key, client, &user), wait, step)).0,
        FetchOutcome::Waiting(_)
    )
}

#[test]
fn a_lease_and_a_waiter_take_a_few_hundred_bytes() {
    println!(
        "Flight {}, Waiter {}; table {}",
        size_of::<Flight>(),
        size_of::<Waiter>(),
        size_of::<LeaseTable>()
    );
    // Maps double when they are 7/8 full: the worst is just after, the best just before.
    for count in [1, 10_000, 57_000, 57_500, 100_000] {
        let mut per_lease = 0;
        let really = allocation_counter::measure(|| {
            let table = leases(count);
            per_lease = table.heap_bytes() / count as usize;
            std::mem::forget(table);
        });
        println!("{count}: really {} bytes a lease", really.bytes_current / count as i64);
        let mut table = leases(1);
        let before = table.heap_bytes();
        assert!((0..count).all(|n| wait(&mut table, 0, 1_000_000 + n)));
        let per_waiter = (table.heap_bytes() - before) / count as usize;
        println!("{count}: {per_lease} bytes a lease, {per_waiter} a waiter, whose name is of 5,000 bytes");
        if count > 1 {
            assert!(per_waiter <= 350 && per_lease <= 1000);
        }
    }
}

#[test]
fn the_table_returns_the_memory_of_many_waiters_while_others_still_wait() {
    let mut table = leases(2);
    assert!(wait(&mut table, 1, 1000));
    let before = table.heap_bytes();
    assert!((0..50_000).all(|n| wait(&mut table, 0, 2000 + n)));
    assert!(table.heap_bytes() > 50_000 * 64);
    let (_, wakes) = event(|step| table.stored(&request(0, 0, b"").lease_key, StoredAs::Response, step));
    assert_eq!(wakes.len(), 50_000);
    table.validate();
    assert!(table.heap_bytes() <= 2 * before, "{} of {before}", table.heap_bytes());
    event(|step| table.stored(&request(1, 0, b"").lease_key, StoredAs::Response, step));
    table.validate();
}

#[test]
fn ten_thousand_waiters_that_join_and_leave_keep_no_memory() {
    let mut table = leases(1);
    assert!(wait(&mut table, 0, 1000));
    let before = table.heap_bytes();
    for client in 0..10_000 {
        assert!(wait(&mut table, 0, 2000 + client));
        event(|step| table.client_gone(2000 + client, step.now_ms));
        table.validate();
    }
    assert!(table.heap_bytes() <= before + 2000, "{} of {before}", table.heap_bytes());
}

/// Nanoseconds of one look-up among 100,000 leases.
fn look_up_ns<S: std::hash::BuildHasher + Default>() -> f64 {
    let mut ids = Ids::default();
    let ids: Vec<_> = (0..100_000).map(|_| ids.flight()).collect();
    let map: hashbrown::HashMap<_, _, S> = ids.iter().map(|id| (*id, *id)).collect();
    let begin = std::time::Instant::now();
    let found = (0..20).map(|_| ids.iter().filter(|id| map.get(*id) == Some(*id)).count()).sum::<usize>();
    begin.elapsed().as_nanos() as f64 / found as f64
}

#[test]
fn a_lease_takes_microseconds_to_grant_and_to_end() {
    let begin = std::time::Instant::now();
    let mut table = leases(100_000);
    let granted = begin.elapsed() / 100_000;
    let begin = std::time::Instant::now();
    for n in 0..100_000 {
        event(|step| table.stored(&request(n, n, b"").lease_key, StoredAs::Response, step));
    }
    let stored = begin.elapsed() / 100_000;
    let hashers = (look_up_ns::<foldhash::fast::FixedState>(), look_up_ns::<std::hash::RandomState>());
    println!("{granted:?} a grant, {stored:?} an end; foldhash and SipHash {hashers:?} ns a look-up");
    assert!(granted + stored < std::time::Duration::from_millis(1));
}
