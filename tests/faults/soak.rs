//! Long days: memory stays where it was, however often the cache is filled and invalidated.

use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use testkit::{Raw, RawClient, Server, args, eventually_within, info, items, text_of};

use super::{consistency, times};

/// Entries that stay through all invalidations: few beside those that come and go.
const KEPT: usize = 4000;

/// Returns a server that has them, without a slow log, which would keep commands.
fn server() -> Server {
    let builder = Server::builder().config("slowlog-log-slower-than -1").config("chatcache.ttl-jitter 20");
    let (server, mut rng) = (builder.start(), StdRng::seed_from_u64(0));
    let sets: Vec<_> = (0..KEPT)
        .map(|n| {
            let message = format!("kept {n}");
            let response = text(&mut rng, 500);
            args!["CHATCACHE.SET", "persona", "who stays", "kept", message, response, "EX", 864_000].to_vec()
        })
        .collect();
    assert!(server.raw().pipeline(&sets).iter().all(|reply| *reply == Raw::simple("OK")));
    server
}

/// Returns a response that does not shrink by compression.
fn text(rng: &mut StdRng, length: usize) -> Vec<u8> {
    (0..length).map(|_| rng.random()).collect()
}

/// `used_memory` of an idle server, and its fragmentation.
fn memory(server: &Server) -> (f64, String) {
    let memory = info(&mut server.connect(), "memory");
    (memory["used_memory"].parse().expect("bytes"), memory["mem_fragmentation_ratio"].clone())
}

/// Waits until memory is within 2 % of its earlier value: servers shrink their own tables in the background.
#[track_caller]
fn is_as_before(server: &Server, before: f64, what: &str) {
    let mut now = 0.0;
    let met = soon(|| {
        now = memory(server).0;
        (now - before).abs() <= before * 0.02
    });
    let (_, fragmentation) = memory(server);
    let more = (now / before - 1.0) * 100.0;
    println!(
        "{what}: {now} bytes used, {more:+.2} % of the {before} after the first; fragmentation {fragmentation}"
    );
    assert!(met, "{what}: {now} bytes used, {before} after the first");
}

/// Memory in use after the server has shrunk its tables.
fn settled(server: &Server) -> f64 {
    let mut last = f64::INFINITY;
    soon(|| {
        let now = memory(server).0;
        std::mem::replace(&mut last, now) == now
    });
    last
}

/// Returns true if a condition holds within some seconds.
fn soon(mut condition: impl FnMut() -> bool) -> bool {
    (0..100).any(|_| {
        let met = condition();
        if !met {
            thread::sleep(Duration::from_millis(100));
        }
        met
    })
}

#[test]
fn after_twenty_cycles_of_filling_and_invalidating_memory_is_as_after_the_first() {
    let cycles = times("CHATCACHE_CYCLES", 20);
    let server = server();
    let mut con = server.raw();
    let mut rng = StdRng::seed_from_u64(1);
    let mut first = 0.0;
    for cycle in 1..=cycles {
        let sets: Vec<_> = (0..6000)
            .map(|n| {
                let tier = ["msg", "persona", "session", "response"][n % 4];
                let length = rng.random_range(20..1200);
                let response = text(&mut rng, length);
                let (user, persona) = (format!("user {}", n % 300), format!("persona {}", n % 7));
                args!["CHATCACHE.SET", tier, user, persona, format!("cycle {cycle} message {n}"), response]
                    .to_vec()
            })
            .collect();
        assert!(con.pipeline(&sets).iter().all(|reply| *reply == Raw::simple("OK")));
        let full = memory(&server).0;
        let mut invalidate = args!["CHATCACHE.INVALIDATE"].to_vec();
        invalidate.extend((0..7).map(|n| format!("persona {n}").into_bytes()));
        assert_eq!(con.call(&invalidate), Raw::Int(6000));
        let stats = consistency::quiet(&mut con);
        assert_eq!((stats["entries"], stats["users"]), (KEPT as i64, 1));
        if cycle == 1 {
            first = settled(&server);
            println!("{full} bytes used when full, {first} after the first drop");
        }
    }
    is_as_before(&server, first, &format!("after {cycles} cycles"));
}

/// One hour of a service: requests of users, most of them for popular messages; some find their response.
fn an_hour(con: &mut RawClient, rng: &mut StdRng, requests: u32) {
    for _ in 0..requests {
        // The popular ones come up far more often.
        let question = (rng.random_range(0.0..1.0f64).powi(3) * 800.0) as u32;
        let tier = ["msg", "persona", "session", "response"][rng.random_range(0..4)];
        let request = args![
            tier,
            format!("user {}", rng.random_range(0..200)),
            format!("persona {}", question % 12),
            format!("question {question}")
        ];
        let command =
            |name: &str, more: &[Vec<u8>]| [args![name].to_vec(), request.to_vec(), more.to_vec()].concat();
        let fetched = items(con.call(&command("CHATCACHE.FETCH", &args!["WAIT", 1000])));
        let token = match (text_of(&fetched[0]).as_str(), &fetched[..]) {
            ("lease" | "stale", [_, _, Raw::Bulk(token), _]) => token,
            _ => continue,
        };
        if rng.random_range(0..50) == 0 {
            // The model failed.
            con.call(&command("CHATCACHE.RELEASE", &args!["TOKEN", token]));
            continue;
        }
        let length = rng.random_range(50..2000);
        let response = text(rng, length);
        let ttl = rng.random_range(100..3000);
        let reply =
            con.call(&command("CHATCACHE.SET", &args![response, "PX", ttl, "STALE", 300, "TOKEN", token]));
        assert!(matches!(reply, Raw::Simple(_) | Raw::NullBulk), "{reply:?}");
    }
}

#[test]
fn after_days_of_traffic_memory_is_as_after_the_first() {
    let days = times("CHATCACHE_DAYS", 2);
    let server = server();
    let mut first = 0.0;
    for day in 1..=days {
        thread::scope(|scope| {
            for service in 0..3 {
                let mut con = server.raw();
                let mut rng = StdRng::seed_from_u64(u64::from(day * 10 + service));
                scope.spawn(move || (0..24).for_each(|_| an_hour(&mut con, &mut rng, 100)));
            }
            // Meanwhile prompts change, users leave, and there is a deployment.
            let mut con = server.raw();
            for hour in 0..24 {
                con.call(&args!["CHATCACHE.SOFTINVALIDATE", format!("persona {}", hour % 12)]);
                con.call(&args!["CHATCACHE.INVALIDATE", format!("persona {}", hour % 5)]);
                con.call(&args!["CHATCACHE.FORGET", format!("user {hour}")]);
                if hour == 12 {
                    con.call(&args!["CHATCACHE.FLUSH", "response"]);
                }
                thread::sleep(Duration::from_millis(30));
            }
        });
        let mut con = server.raw();
        let stats = con.stats("");
        assert!(stats["hits"] > 0 && stats["leases"] == 0, "{stats:?}");
        // The night: the remaining entries expire.
        eventually_within(Duration::from_secs(40), || con.number("DBSIZE") == KEPT as i64);
        consistency::quiet(&mut con);
        if day == 1 {
            first = settled(&server);
            println!(
                "day 1: {} hits, {} misses, {} sets; {first} bytes used at its end",
                stats["hits"], stats["misses"], stats["sets"]
            );
        }
    }
    is_as_before(&server, first, &format!("after {days} days"));
}
