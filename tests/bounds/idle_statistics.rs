//! Misses leave statistics of their personas, and no more than 1 MiB of them in all databases.

use testkit::{Raw, RawClient, Server, args, info_field};

/// The bound of the statistics in all databases.
const IDLE_BYTES: i64 = 1 << 20;

/// The growth of `used_memory` that a test allows: the statistics, and the buffers of the test's clients.
const GROWTH: i64 = 2 << 20;

fn used_memory(server: &Server) -> i64 {
    info_field(&mut server.connect(), "memory", "used_memory").parse().expect("a number")
}

fn evicted_keys(server: &Server) -> i64 {
    info_field(&mut server.connect(), "stats", "evicted_keys").parse().expect("a number")
}

/// A user that may read the personas `t:*` and nothing else, as the client of a tenant.
fn tenant(server: &Server) -> RawClient {
    let mut admin = server.raw();
    admin.ok("ACL SETUSER tenant on >secret %R~t:* -@all +chatcache.get +select");
    let mut tenant = server.raw();
    tenant.ok("AUTH tenant secret");
    tenant
}

/// Requests responses of personas that have none, each with a name of this length.
fn miss(con: &mut RawClient, personas: std::ops::Range<usize>, name_bytes: usize) {
    for n in personas {
        let persona = format!("t:{n:0width$}", width = name_bytes - 2);
        assert_eq!(con.call(&args!["CHATCACHE.GET", "persona", "", persona, "hello"]), Raw::NullBulk);
    }
}

#[test]
fn misses_of_any_personas_in_all_databases_take_a_mebibyte_and_evict_no_response() {
    const RESPONSES: usize = 2_000;
    let server = Server::builder().config("maxmemory-policy allkeys-lfu").start();
    let mut con = server.raw();
    testkit::fill_persona(&mut con, "ann", "helper", RESPONSES, 1000);
    let mut tenant = tenant(&server);
    let before = used_memory(&server);
    con.ok(&format!("CONFIG SET maxmemory {}", before + 2 * GROWTH));
    for database in 0..16 {
        tenant.ok(&format!("SELECT {database}"));
        miss(&mut tenant, 0..250, 65_002);
        miss(&mut tenant, 0..1_100, 1_000);
        miss(&mut tenant, 0..1_000, 12);
        let stats = con.stats("");
        assert!(stats["idle-bytes"] <= IDLE_BYTES, "{database}: {stats:?}");
        let growth = used_memory(&server) - before;
        assert!(growth < GROWTH, "{growth} bytes after database {database}");
    }
    assert!(con.stats("")["idle-personas"] > 0);
    assert_eq!((con.stats("")["entries"], evicted_keys(&server)), (RESPONSES as i64, 0));
    con.ok("CHATCACHE.SET response ann helper more answer");
    con.ok("FLUSHALL");
    let stats = con.stats("");
    assert_eq!((stats["idle-personas"], stats["idle-bytes"]), (0, 0));
}

#[test]
fn flush_of_all_tiers_gives_the_statistics_of_its_database_back() {
    let server = Server::start();
    let mut con = server.raw();
    miss(&mut con, 0..3_000, 200);
    con.ok("SELECT 1");
    miss(&mut con, 0..10, 200);
    let both = con.stats("");
    assert!(both["idle-bytes"] > 600_000 && both["idle-personas"] == 3_010, "{both:?}");
    con.ok("SELECT 0");
    assert_eq!(con.say("CHATCACHE.FLUSH msg"), Raw::Int(0));
    assert_eq!(con.stats("")["idle-personas"], 3_010);
    assert_eq!(con.say("CHATCACHE.FLUSH"), Raw::Int(0));
    let other = con.stats("");
    assert!(other["idle-personas"] == 10 && other["idle-bytes"] < 20_000, "{other:?}");
}

#[test]
fn a_flood_of_misses_in_one_database_leaves_the_statistics_of_another() {
    let server = Server::start();
    let mut con = server.raw();
    let helper = "CHATCACHE.GET persona \"\" helper hello";
    assert_eq!(con.say(helper), Raw::NullBulk);
    con.ok("SELECT 1");
    miss(&mut con, 0..5_000, 1_000);
    con.ok("SELECT 0");
    assert_eq!(con.stats("helper")["misses"], 1);
}

#[test]
fn a_miss_gives_back_what_personas_without_entries_left_in_all_databases() {
    let server = Server::start();
    let mut con = server.raw();
    for database in 0..3 {
        con.ok(&format!("SELECT {database}"));
        let persona = |n: usize| format!("t:{n:01000}");
        let commands: Vec<_> = (0..1000)
            .flat_map(|n| {
                [
                    args!["CHATCACHE.SET", "persona", "", persona(n), "hello", "answer"].to_vec(),
                    args!["CHATCACHE.GET", "persona", "", persona(n), "hello"].to_vec(),
                    args!["CHATCACHE.DEL", "persona", "", persona(n), "hello"].to_vec(),
                ]
            })
            .collect();
        con.pipeline(&commands);
    }
    assert!(con.stats("")["idle-bytes"] > 2 * IDLE_BYTES, "{:?}", con.stats(""));
    con.say("CHATCACHE.GET persona \"\" another hello");
    assert!(con.stats("")["idle-bytes"] <= IDLE_BYTES, "{:?}", con.stats(""));
}
