//! Random commands of all kinds by several clients, and a client beside them that measures PING.
//!
//! `CHATCACHE_STORM_SECONDS` is the length of each storm (3 s), `CHATCACHE_SEED` the seed. The test prints the longest PING
//! beside that of a storm of native commands on a server without the module.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::prelude::IndexedRandom;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use testkit::{Raw, RawClient, Server, seed, words};

const CLIENTS: u64 = 4;

/// Commands of the module. `{r}` is a request, `{p}` a persona, `{u}` a user, `{t}` a tier, `{n}` a small number and
/// `{text}` a response.
const MODULE: [&str; 24] = [
    "CHATCACHE.SET {r} {text}",
    "CHATCACHE.SET {r} {text} PX {n}",
    "CHATCACHE.SET {r} {text} EX 100 STALE 1000 COST {n}",
    "CHATCACHE.GET {r}",
    "CHATCACHE.GET {r}",
    "CHATCACHE.GET {r}",
    "CHATCACHE.GET any {u} {p} request-{n}",
    "CHATCACHE.FETCH {r}",
    "CHATCACHE.FETCH {r} WAIT 5 LEASE 20",
    "CHATCACHE.INSPECT {r}",
    "CHATCACHE.KEY {r}",
    "CHATCACHE.DEL {r}",
    "CHATCACHE.INVALIDATE {p} {p} {p}",
    "CHATCACHE.SOFTINVALIDATE {p}",
    "CHATCACHE.FORGET {u}",
    "CHATCACHE.FLUSH {t}",
    "CHATCACHE.FLUSH",
    "CHATCACHE.PERSONAS CURSOR {n} COUNT 1000000",
    "CHATCACHE.STATS",
    "CHATCACHE.STATS {p}",
    "CONFIG SET chatcache.l1-max-bytes {n}00000",
    "CONFIG SET chatcache.compression lz4",
    "CONFIG SET chatcache.compression zstd",
    "CONFIG SET chatcache.invalidate-sync-limit {n}",
];

/// Native commands.
const NATIVE: [&str; 18] = [
    "SET key-{n} {text}",
    "SET key-{n} {text} PX {n}",
    "GET key-{n}",
    "GET key-{n}",
    "GET key-{n}",
    "DEL key-{n}",
    "UNLINK key-{n}",
    "RENAME key-{n} key-{n}",
    "PEXPIRE key-{n} {n}",
    "RANDOMKEY",
    "SCAN {n} COUNT 1000",
    "INFO",
    "SELECT {n1}",
    "SWAPDB 0 1",
    "FLUSHDB ASYNC",
    "FLUSHALL",
    "CLIENT NO-EVICT off",
    "DBSIZE",
];

/// Fills in a line's gaps at random.
fn drawn(rng: &mut StdRng, line: &str) -> Vec<String> {
    const TIERS: [&str; 4] = ["msg", "persona", "session", "response"];
    let word = |rng: &mut StdRng, word: &str| -> Vec<String> {
        let persona = format!("persona-{}", rng.random_range(0..30));
        let user = format!("user-{}", rng.random_range(0..10));
        let number = rng.random_range(1..300).to_string();
        let tier = TIERS.choose(rng).expect("a tier").to_string();
        match word {
            "{r}" => vec![tier, user, persona, format!("request-{number}")],
            "{p}" => vec![persona],
            "{u}" => vec![user],
            "{t}" => vec![tier],
            // One in a hundred is long.
            "{text}" => {
                let repeats = if rng.random_bool(0.01) { 20_000 } else { rng.random_range(1..100) };
                vec![format!("response {number} ").repeat(repeats)]
            }
            other => {
                let one = rng.random_range(0..2).to_string();
                vec![other.replace("{n1}", &one).replace("{n}", &number)]
            }
        }
    };
    words(line).into_iter().flat_map(|text| word(rng, text)).collect()
}

/// Fresh clients send random lines of these until the time is over. Returns the longest PING and the number of commands.
fn storm(server: &Server, lines: &[&str], seconds: u64, seed: u64) -> (Duration, u64) {
    let end = Instant::now() + Duration::from_secs(seconds);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let mut rng = StdRng::seed_from_u64(seed ^ client);
                    let mut con = server.raw();
                    let mut commands = 0;
                    while Instant::now() < end {
                        commands += some(&mut con, &mut rng, lines);
                    }
                    commands
                })
            })
            .collect();
        let pinger = scope.spawn(|| {
            let mut con = server.raw();
            let mut longest = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let sent = Instant::now();
                assert_eq!(con.say("PING"), Raw::simple("PONG"));
                longest = longest.max(sent.elapsed());
                thread::sleep(Duration::from_millis(1));
            }
            longest
        });
        let commands = clients.into_iter().map(|client| client.join().expect("a client")).sum();
        over.store(true, Ordering::Relaxed);
        (pinger.join().expect("the pinger"), commands)
    })
}

/// Sends a few random lines together, one time in ten as a transaction. Returns their number.
fn some(con: &mut RawClient, rng: &mut StdRng, lines: &[&str]) -> u64 {
    let count = rng.random_range(1..8);
    let drawn = |_| {
        let line = lines.choose(rng).expect("a line");
        drawn(rng, line)
    };
    let mut commands: Vec<Vec<String>> = (0..count).map(drawn).collect();
    if rng.random_bool(0.1) {
        commands.insert(0, vec!["MULTI".to_owned()]);
        commands.push(vec!["EXEC".to_owned()]);
    }
    con.pipeline(&commands);
    count
}

#[test]
fn a_storm_of_random_commands_crashes_nothing_and_lets_ping_through() {
    let seconds = std::env::var("CHATCACHE_STORM_SECONDS");
    let seconds = seconds.map_or(3, |text| text.parse().expect("whole seconds"));
    let seed = seed();
    let bare = Server::builder().without_module().start();
    let (native, commands) = storm(&bare, &NATIVE, seconds, seed);
    println!("native storm: {commands} commands in {seconds} s, longest PING {native:?}");

    let server = Server::start();
    let lines: Vec<&str> = MODULE.into_iter().chain(NATIVE).collect();
    let (longest, commands) = storm(&server, &lines, seconds, seed);
    println!("storm: {commands} commands in {seconds} s, longest PING {longest:?}");
    assert!(!server.crashed());
    // The counters agree with the keyspace after it.
    let mut con = server.raw();
    con.ok("FLUSHALL");
    let stats = con.stats("");
    assert_eq!((stats["entries"], stats["l1-entries"], stats["idle-bytes"]), (0, 0, 0));
}
