//! The memory of real responses, with keys, TTLs and index.

use redis::cmd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::charts::{self, Bar};
use crate::report::{Goal, Row, Series, figure};
use crate::requests::{DAY, INDEX, PERSONA, store};
use testkit::bench::server::{PATIENCE, Server};

const RESPONSES: u64 = 60_000;

const SINGLE_RESPONSES: u64 = 1_000_000;
const SHORT_RESPONSE_BYTES: usize = 100;

/// Users and personas: the number that a service of this size may have.
const PERSONAS: u64 = 10;
const USERS: u64 = 1_000;

pub fn run(bench: &mut Bench) {
    many_users(bench);
    real_responses(bench);
}

/// Users with one short response each, all of one persona: what a response costs beside its bytes.
fn many_users(bench: &mut Bench) {
    let count = bench.options.count(SINGLE_RESPONSES);
    let (plain, ours) = (Server::plain(), Server::with_chatcache());
    let before = [&plain, &ours].map(Server::settled_memory);
    let response = "x".repeat(SHORT_RESPONSE_BYTES);
    let user = |number: u64| format!("user-{number:07}");
    let key = |number: u64| format!("response:{}:{PERSONA}:{number:032x}", user(number));
    eprintln!("memory: {count} users");
    store(&ours, count, |number| {
        let mut set = cmd("CHATCACHE.SET");
        set.arg("response").arg(user(number)).arg(PERSONA).arg("hello").arg(&response);
        set.arg("EX").arg(DAY).to_owned()
    });
    store(&plain, count, |number| cmd("SET").arg(key(number)).arg(&response).arg("EX").arg(DAY).to_owned());
    let indexes: [fn(u64) -> String; 2] = [|_| INDEX.to_owned(), |number| format!("index:user-{number:07}")];
    for index in indexes {
        store(&plain, count, |number| cmd("SADD").arg(index(number)).arg(key(number)).to_owned());
    }
    assert_eq!(ours.stats()["entries"], count, "responses in the cache");
    wait_until_compressed(&ours);
    let after = [&plain, &ours].map(Server::settled_memory);
    let bytes = |at: usize| (after[at] - before[at]) / count as f64;
    bench.report.add(Row {
        what: format!("memory of a response of 100 B, one for each of {} users", figure(count as f64)),
        ours: Series::of("chatcache", "B", vec![bytes(1)]),
        other: Some(Series::of(
            "SET EX + SADD to a set of the persona and one of the user",
            "B",
            vec![bytes(0)],
        )),
        goal: Some(Goal::AtMost(0.75)),
    });
}

/// Responses of a service, with keys, TTLs and index.
fn real_responses(bench: &mut Bench) {
    let count = bench.options.count(RESPONSES);
    let (plain, ours) = (Server::plain(), Server::with_chatcache());
    let before = [&plain, &ours].map(Server::settled_memory);
    let persona = |number: u64| format!("persona-{}", number % PERSONAS);
    eprintln!("memory: {count} responses");
    let text = &bench.text;
    store(&ours, count, |number| {
        let (question, response) = text.pair(number as usize);
        let mut set = cmd("CHATCACHE.SET");
        set.arg("persona").arg(format!("user-{}", number * 7 % USERS)).arg(persona(number)).arg(question);
        set.arg(response).arg("EX").arg(DAY).to_owned()
    });
    let key = |number: u64| format!("persona:{}:{number:032}", persona(number));
    store(&plain, count, |number| {
        let (_, response) = text.pair(number as usize);
        cmd("SET").arg(key(number)).arg(response).arg("EX").arg(DAY).to_owned()
    });
    store(&plain, count, |number| {
        cmd("SADD").arg(format!("index:{}", persona(number))).arg(key(number)).to_owned()
    });
    let entries = ours.stats()["entries"];
    assert_eq!(entries, count, "responses in the cache");

    let compressed_after = wait_until_compressed(&ours);
    let after = [&plain, &ours].map(Server::settled_memory);
    let mib = |at: usize| (after[at] - before[at]) / f64::from(1 << 20);
    let stats = ours.stats();
    bench.report.add(Row {
        what: format!("memory of {} real responses, keys, TTLs and index", figure(count as f64)),
        ours: Series::of("chatcache", "MiB", vec![mib(1)]),
        other: Some(Series::of("SET EX + SADD", "MiB", vec![mib(0)])),
        goal: Some(Goal::AtMost(0.6)),
    });
    bench.report.note(format!(
        "Memory: the responses are {} bytes raw and {} stored ({} s until nothing more was compressed); the index takes {} \
         bytes; {} personas, {} users.",
        figure(stats["raw-bytes"] as f64),
        figure(stats["stored-bytes"] as f64),
        figure(compressed_after.as_secs_f64()),
        figure(stats["index-bytes"] as f64),
        stats["personas"],
        stats["users"],
    ));
    let bars = [Bar::other("SET EX + SADD", mib(0)), Bar::ours("chatcache", mib(1))];
    let title = format!("Memory of {} real responses, MiB", figure(count as f64));
    charts::bars("memory", &title, &bars);
    bench.report.chart("memory", &title);
}

/// Waits until no response is to be compressed and none has become smaller for three seconds. Returns the time that took.
fn wait_until_compressed(server: &Server) -> Duration {
    let begun = Instant::now();
    let (mut stored, mut changed) = (0, begun);
    while changed.elapsed() < Duration::from_secs(3) {
        assert!(begun.elapsed() < 2 * PATIENCE, "compressing does not end");
        let stats = server.stats();
        if stats["stored-bytes"] != stored || stats["waiting-to-compress"] > 0 {
            (stored, changed) = (stats["stored-bytes"], Instant::now());
        }
        sleep(Duration::from_millis(100));
    }
    changed - begun
}
