//! The whole server against the whole model.

use std::collections::{BTreeMap, BTreeSet};
use testkit::{Raw, RawClient, args};

use super::driver::{Driver, LONG_MARGIN_MS, now_ms};
use super::model::{self, DATABASES, Personas, Reclaim};
use super::ops::Op;
use super::requests::{Bytes, TIERS, universe};

/// Checks every database: all personas, keys and responses, and the sums of STATS.
pub fn everything(driver: &mut Driver) {
    driver.wait_out_deadlines(LONG_MARGIN_MS);
    if driver.model.reclaim == Reclaim::Later && driver.chance(0.5) {
        driver.reclaimed();
    }
    let selected = driver.model.selected;
    for database in 0..DATABASES {
        driver.select(database);
        let told = personas(&mut driver.con);
        expect(driver, "PERSONAS", &told, &driver.model.personas(database));
        keys(driver, database);
        responses(driver);
        for (persona, amount) in driver.model.personas(database) {
            let told = map(&driver.con.call(&args!["CHATCACHE.STATS", persona]));
            expect(driver, "STATS persona", &(told["entries"], told["bytes"]), &amount);
        }
    }
    totals(driver);
    driver.select(selected);
}

/// PERSONAS, from the first page to the last.
pub fn personas(con: &mut RawClient) -> Personas {
    let mut all = Personas::new();
    let mut cursor = b"0".to_vec();
    loop {
        let Raw::Array(page) = con.call(&args!["CHATCACHE.PERSONAS", "CURSOR", cursor, "COUNT", 1]) else {
            panic!("PERSONAS is no array");
        };
        let [Raw::Bulk(next), Raw::Array(some)] = &page[..] else { panic!("a page of PERSONAS: {page:?}") };
        for persona in some {
            let Raw::Array(fields) = persona else { panic!("a persona: {persona:?}") };
            let [_, Raw::Bulk(name), _, Raw::Int(entries), _, Raw::Int(bytes), ..] = &fields[..] else {
                panic!("a persona: {fields:?}")
            };
            let twice = all.insert(name.clone(), (*entries as u64, *bytes as u64));
            assert!(twice.is_none(), "PERSONAS tells of {} twice", name.escape_ascii());
        }
        cursor.clone_from(next);
        if cursor == b"0" {
            return all;
        }
    }
}

/// The counters of the server.
pub fn stats(con: &mut RawClient) -> BTreeMap<String, u64> {
    map(&con.call(&["CHATCACHE.STATS"]))
}

fn map(reply: &Raw) -> BTreeMap<String, u64> {
    let Raw::Array(fields) = reply else { panic!("not a map: {reply:?}") };
    let pairs = fields.chunks(2).map(|pair| match pair {
        [Raw::Bulk(name), Raw::Int(value)] => (String::from_utf8_lossy(name).into_owned(), *value as u64),
        other => panic!("not a counter: {other:?}"),
    });
    pairs.collect()
}

/// The names of all keys of the selected database, of any type or of one.
pub fn scan(con: &mut RawClient, more: &[&str]) -> BTreeSet<Bytes> {
    let mut names = BTreeSet::new();
    let mut cursor = b"0".to_vec();
    loop {
        let mut call = args!["SCAN", cursor, "COUNT", 1000].to_vec();
        call.extend(more.iter().map(|word| word.as_bytes().to_vec()));
        let Raw::Array(page) = con.call(&call) else { panic!("SCAN is no array") };
        let [Raw::Bulk(next), Raw::Array(some)] = &page[..] else { panic!("a page of SCAN: {page:?}") };
        names.extend(some.iter().map(|name| match name {
            Raw::Bulk(name) => name.clone(),
            other => panic!("a key's name: {other:?}"),
        }));
        cursor.clone_from(next);
        if cursor == b"0" {
            return names;
        }
    }
}

/// Checks that the keys are those of the model and of tombstones.
fn keys(driver: &mut Driver, database: usize) {
    let found = scan(&mut driver.con, &[]);
    let all = &driver.model.databases[database];
    let surely: BTreeSet<Bytes> =
        all.iter().filter(|(_, key)| !model::is_invalidated(key)).map(|(name, _)| name.clone()).collect();
    for name in surely.symmetric_difference(&found) {
        if !all.get(name).is_some_and(model::is_invalidated) {
            let there = found.contains(name);
            driver.fail(&format!("in {database}, {} is there: {there}", name.escape_ascii()));
        }
    }
    let Raw::Int(size) = driver.con.call(&["DBSIZE"]) else { panic!("DBSIZE is no number") };
    if !(surely.len()..=all.len()).contains(&(size as usize)) {
        driver.fail(&format!("DBSIZE {size} in {database}, for {} keys", all.len()));
    }
}

/// Checks that each request gets the model's reply.
fn responses(driver: &mut Driver) {
    let ops: Vec<Op> = universe().into_iter().map(Op::Get).collect();
    let replies = driver.pipeline(&ops);
    let now = now_ms();
    for (op, reply) in ops.iter().zip(&replies) {
        if let Err(why) = driver.model.apply(op, reply, now) {
            driver.fail(&why);
        }
    }
}

fn totals(driver: &mut Driver) {
    let invalidated: usize = (0..DATABASES).map(|database| driver.model.invalidated(database)).sum();
    let told = stats(&mut driver.con);
    let all: Vec<_> = (0..DATABASES).map(|database| driver.model.personas(database)).collect();
    let amounts = || all.iter().flat_map(|personas| personas.values());
    let users: usize = (0..DATABASES).map(|database| driver.model.users(database)).sum();
    expect(driver, "entries", &told["entries"], &amounts().map(|(entries, _)| entries).sum());
    expect(driver, "stored-bytes", &told["stored-bytes"], &amounts().map(|(_, bytes)| bytes).sum());
    expect(driver, "personas", &told["personas"], &(all.iter().map(|all| all.len() as u64).sum()));
    let tiers = TIERS.map(|tier| told[&format!("entries-{}", tier.name())]);
    expect(driver, "entries by tier", &tiers, &model::by_tier(&driver.model));
    if told["pending-reclaim"] > invalidated as u64 {
        driver.fail(&format!("{} entries to reclaim, but {invalidated} dropped", told["pending-reclaim"]));
    }
    // Users whose last responses are being reclaimed still count.
    if invalidated == 0 {
        expect(driver, "users", &told["users"], &(users as u64));
    }
}

#[track_caller]
fn expect<T: PartialEq + std::fmt::Debug>(driver: &Driver, what: &str, told: &T, wanted: &T) {
    if told != wanted {
        driver.fail(&format!("{what}: the server tells {told:?}, the model {wanted:?}"));
    }
}
