//! With little memory any key may go at any time. The model learns from SCAN which went, and the index must
//! agree about the rest.

use rand::RngExt;
use rand::seq::IndexedRandom;
use testkit::{Raw, Server, args, info_field, skipped_as_copy_changes_the_database};

use super::checks;
use super::driver::{Driver, Pause, steps};
use super::model::{DATABASES, Reclaim};
use super::ops::{Condition, Op, Ttl};
use super::requests::Request;

#[test]
fn the_index_agrees_with_the_keys_that_eviction_leaves() {
    if skipped_as_copy_changes_the_database() {
        return;
    }
    for policy in ["allkeys-lru", "allkeys-lfu", "volatile-ttl"] {
        // The model has no compression, which begins after two seconds: on a busy machine that is within this test.
        let server = Server::builder()
            .config(format!("maxmemory-policy {policy}"))
            .config("chatcache.compression none")
            .start();
        let mut driver = Driver::new(server, Reclaim::AtOnce, Pause::None);
        driver.model.evicting = true;
        let evicted = run(&mut driver, steps(1500).max(600) / 3);
        assert!(evicted > 100, "under {policy} only {evicted} keys went");
    }
}

/// Number of evicted keys.
fn run(driver: &mut Driver, steps: usize) -> usize {
    let mut evicted = 0;
    let used = info_field(&mut driver.server.connect(), "memory", "used_memory");
    let limit = used.parse::<usize>().expect("bytes") + 1_000_000;
    for step in 0..steps {
        config(driver, limit);
        for number in 0..20 {
            let op = draw(driver, step * 20 + number);
            let reply = driver.con.call(&op.args());
            let now = super::driver::now_ms();
            if let Err(why) = driver.model.apply(&op, &reply, now) {
                driver.fail(&why);
            }
        }
        config(driver, 0);
        evicted += learn(driver);
        if step % 10 == 0 {
            agree(driver);
        }
    }
    agree(driver);
    driver.model.evicting = false;
    for persona in super::requests::personas() {
        for database in 0..DATABASES {
            driver.select(database);
            let op = Op::Invalidate(vec![persona.clone()]);
            let reply = driver.con.call(&op.args());
            if let Err(why) = driver.model.apply(&op, &reply, 0) {
                driver.fail(&why);
            }
        }
    }
    agree(driver);
    evicted
}

fn draw(driver: &mut Driver, number: usize) -> Op {
    let database = driver.model.selected;
    match driver.rng.random_range(0..40) {
        0..30 => {
            let persona = super::requests::personas().choose(&mut driver.rng).expect("a persona").clone();
            let request = Request { persona, message: number.to_string().into(), ..driver.request() };
            let text = vec![b'x'; driver.rng.random_range(1000..8000)];
            Op::Set(Request { id: None, ..request }, text, Ttl::Tier, Condition::Always)
        }
        30 => Op::Select(driver.rng.random_range(0..DATABASES)),
        31..34 => Op::Rename(driver.name(database), driver.name(database)),
        34..36 => {
            let target = driver.rng.random_range(0..DATABASES);
            let (from, to) = (driver.name(database), driver.name(target));
            Op::Copy { from, to, database: Some(target), replace: true }
        }
        36 => Op::Move(driver.name(database), driver.rng.random_range(0..DATABASES)),
        37 => Op::SwapDb(0, driver.rng.random_range(0..DATABASES)),
        38 => Op::Count("UNLINK", vec![driver.name(database)]),
        _ => Op::Get(driver.request()),
    }
}

/// Takes the entries that have left the keyspace out of the model. Returns their number.
fn learn(driver: &mut Driver) -> usize {
    let selected = driver.model.selected;
    let mut gone = 0;
    for database in 0..DATABASES {
        driver.select(database);
        let found = checks::scan(&mut driver.con, &[]);
        let known = &mut driver.model.databases[database];
        let before = known.len();
        known.retain(|name, _| found.contains(name));
        gone += before - known.len();
        if known.len() != found.len() {
            driver.fail("there are keys that the model does not know");
        }
    }
    driver.select(selected);
    gone
}

fn agree(driver: &mut Driver) {
    let evicting = std::mem::replace(&mut driver.model.evicting, false);
    checks::everything(driver);
    driver.model.evicting = evicting;
}

fn config(driver: &mut Driver, limit: usize) {
    let reply = driver.con.call(&args!["CONFIG", "SET", "maxmemory", limit]);
    assert_eq!(reply, Raw::simple("OK"));
}
