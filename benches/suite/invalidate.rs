//! Invalidates all responses of a persona: by INVALIDATE, of a million, a hundred thousand and a thousand, and by the
//! ways of clients without the module. Each is timed while another client sends PINGs, and the bytes that it adds to the
//! replication stream are counted.

use redis::{Connection, cmd};
use serde_json::json;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::charts::{self, Bar};
use crate::generator::send;
use crate::prober::longest_stall;
use crate::report::{Goal, Row, Series, Table, figure};
use crate::requests::{INDEX, PERSONA, RESPONSE_BYTES, message, native_key, native_set, set};
use crate::resp::{NUMBER, Template};
use testkit::bench::figures::{median, spread};
use testkit::bench::server::{PATIENCE, Server};

const PROMPT_BYTES: usize = 100;

const MILLION: u64 = 1_000_000;
const HUNDRED_THOUSAND: u64 = 100_000;
const THOUSAND: u64 = 1_000;

/// Number of invalidations of a thousand in a round.
const SMALL_INVALIDATIONS: usize = 20;

/// Time that the quiet server is watched; longer if the reclaim before took longer.
const QUIET: Duration = Duration::from_secs(4);

/// One way to invalidate responses, with its measurements.
struct Way {
    name: String,
    seconds: Vec<f64>,
    stalls_ms: Vec<f64>,
    stream_bytes: Vec<f64>,
}

impl Way {
    fn new(name: impl Into<String>) -> Way {
        Way { name: name.into(), seconds: vec![], stalls_ms: vec![], stream_bytes: vec![] }
    }

    /// Times `invalidate`, which returns the number of responses that it invalidated, and then waits until they are reclaimed.
    fn measure(
        &mut self,
        server: &Server,
        count: u64,
        invalidate: impl FnOnce(&mut Connection) -> u64 + Send,
    ) {
        let mut con = server.connect();
        let offset: u64 = server.info("master_repl_offset");
        let ((), stall) = longest_stall(server, || {
            let begun = Instant::now();
            let invalidated = invalidate(&mut con);
            self.seconds.push(begun.elapsed().as_secs_f64());
            assert_eq!(invalidated, count, "{}", self.name);
            wait_until_reclaimed(&mut con);
        });
        self.stalls_ms.push(stall);
        self.stream_bytes.push((server.info::<u64>("master_repl_offset") - offset) as f64);
    }

    fn row(&self) -> Vec<String> {
        let (low, high) = spread(&self.stalls_ms);
        vec![
            self.name.clone(),
            format!("{} ms", figure(median(&self.seconds) * 1e3)),
            format!("{} ms ({} to {})", figure(median(&self.stalls_ms)), figure(low), figure(high)),
            format!("{} bytes", figure(median(&self.stream_bytes))),
        ]
    }
}

pub fn run(bench: &mut Bench) {
    let (million, hundred_thousand) = (bench.options.count(MILLION), bench.options.count(HUNDRED_THOUSAND));
    let rounds = 3;
    let ours = Server::with_chatcache().pinned();
    // Compression would take time of its own.
    ours.config("chatcache.compression", "none");
    let plain = Server::plain().pinned();
    // A script that takes longer than this would make the server refuse all others.
    plain.config("busy-reply-threshold", "0");
    start_replication_stream(&ours, Server::with_chatcache());
    start_replication_stream(&plain, Server::plain());

    let (message, key) = (message(&bench.text, PROMPT_BYTES), native_key());
    let response = bench.text.prompt(RESPONSE_BYTES);
    let sets_of = |persona| {
        let mut words = set(&message, &response);
        words[3] = persona;
        Template::new(&[words])
    };
    let (large, small) = (sets_of(PERSONA), sets_of("small"));
    let native = Template::new(&[native_set(&key, &response), vec!["SADD", INDEX, &key]]);

    let mut of_million = Way::new(format!("INVALIDATE of {}", figure(million as f64)));
    let mut of_hundred_thousand = Way::new(format!("INVALIDATE of {}", figure(hundred_thousand as f64)));
    let mut of_thousand = Way::new(format!("INVALIDATE of {}", figure(THOUSAND as f64)));
    let (mut thousands, mut quiet_ms, mut reclaims) = (vec![], vec![], vec![]);
    for round in 0..rounds {
        eprintln!("invalidate, by INVALIDATE: round {} of {rounds}", round + 1);
        send(&ours, &large, 0..million);
        sleep(Duration::from_millis(500));
        let watch = QUIET.max(Duration::from_secs_f64(reclaims.last().copied().unwrap_or(0.0)));
        quiet_ms.push(longest_stall(&ours, || sleep(watch)).1);
        for _ in 0..SMALL_INVALIDATIONS {
            send(&ours, &small, 0..THOUSAND);
            of_thousand.measure(&ours, THOUSAND, |con| invalidate(con, "small"));
        }
        thousands.push(median(&of_thousand.seconds[round * SMALL_INVALIDATIONS..]) * 1e6);
        let begun = Instant::now();
        of_million.measure(&ours, million, |con| invalidate(con, PERSONA));
        reclaims.push(begun.elapsed().as_secs_f64());
        send(&ours, &large, 0..hundred_thousand);
        of_hundred_thousand.measure(&ours, hundred_thousand, |con| invalidate(con, PERSONA));
    }

    let mut by_script = Way::new(format!("Lua: SMEMBERS and UNLINK, {}", figure(million as f64)));
    let mut by_unlink = Way::new(format!("SSCAN and pipelined UNLINK, {}", figure(million as f64)));
    let mut by_del = Way::new(format!("SSCAN and DEL of 400 keys each, {}", figure(million as f64)));
    let mut by_scan = Way::new(format!("SCAN and DEL, key by key, {}", figure(hundred_thousand as f64)));
    let mut by_pages =
        Way::new(format!("SCAN COUNT 1000 and DEL of each page, {}", figure(hundred_thousand as f64)));
    for round in 0..rounds - 1 {
        eprintln!("invalidate, without the module: round {} of {}", round + 1, rounds - 1);
        send(&plain, &native, 0..million);
        by_script.measure(&plain, million, script);
        send(&plain, &native, 0..million);
        by_unlink.measure(&plain, million, |con| delete_pages(con, "UNLINK", 1_000));
        send(&plain, &native, 0..million);
        by_del.measure(&plain, million, |con| delete_pages(con, "DEL", 400));
        for (way, count) in [(&mut by_scan, 10), (&mut by_pages, 1_000)] {
            send(&plain, &native, 0..hundred_thousand);
            way.measure(&plain, hundred_thousand, |con| scan(con, count));
        }
    }

    let us = |way: &Way| way.seconds.iter().map(|seconds| seconds * 1e6).collect::<Vec<_>>();
    let report = &mut bench.report;
    report.add(Row {
        what: format!("INVALIDATE of {} responses: the reply", figure(million as f64)),
        ours: Series::of("reply", "us", us(&of_million)),
        other: Some(Series::of("of 1,000", "us", thousands)),
        goal: Some(Goal::AtMost(4.0)),
    });
    let (stall, quiet) = (median(&of_million.stalls_ms), median(&quiet_ms));
    report.add(Row {
        what: "longest stall of another client during it and its reclaim".to_owned(),
        ours: Series::of("stall", "ms", of_million.stalls_ms.clone()),
        other: Some(Series::of("the same server, quiet", "ms", quiet_ms.clone())),
        goal: Some(Goal::Told("at most 3 x + 2 ms".to_owned(), stall <= 3.0 * quiet + 2.0)),
    });
    report.add(Row {
        what: format!("longest stall while {} keys go", figure(million as f64)),
        ours: Series::of("INVALIDATE and reclaim", "ms", of_million.stalls_ms.clone()),
        other: Some(Series::of(&by_del.name, "ms", by_del.stalls_ms.clone())),
        goal: None,
    });
    let goals = [Some(Goal::AtLeast(1000.0)), None, None, None];
    let rivals = [&by_scan, &by_pages, &by_script, &by_unlink];
    let same_size = [&of_hundred_thousand, &of_hundred_thousand, &of_million, &of_million];
    for ((rival, same), goal) in rivals.into_iter().zip(same_size).zip(goals) {
        let per_second = |way: &Way| vec![1.0 / median(&way.seconds)];
        report.add(Row {
            what: format!("{}: how many times faster", same.name),
            ours: Series::of("INVALIDATE", "/s", per_second(same)),
            other: Some(Series::of(&rival.name, "/s", per_second(rival))),
            goal,
        });
    }
    report.add(Row {
        what: format!("replication stream of INVALIDATE of {}, its reclaim included", figure(million as f64)),
        ours: Series::of("stream", "bytes", of_million.stream_bytes.clone()),
        other: Some(Series::of(&by_unlink.name, "bytes", vec![median(&by_unlink.stream_bytes)])),
        goal: Some(Goal::Told("under 1,024 bytes".to_owned(), spread(&of_million.stream_bytes).1 < 1024.0)),
    });
    report.note(format!(
        "After INVALIDATE of {} the memory was back after {} s (median): the keys are deleted in slices.",
        figure(million as f64),
        figure(median(&reclaims)),
    ));

    let ways = [
        &of_thousand,
        &of_hundred_thousand,
        &of_million,
        &by_script,
        &by_unlink,
        &by_del,
        &by_pages,
        &by_scan,
    ];
    report.table(Table {
        title: "Invalidating the responses of a persona".to_owned(),
        columns: ["how", "time", "longest stall of another client", "replication stream"]
            .map(str::to_owned)
            .to_vec(),
        rows: ways.iter().map(|way| way.row()).collect(),
        json: ways
            .iter()
            .map(|way| {
                json!({"how": way.name, "seconds": way.seconds, "stalls_ms": way.stalls_ms,
                       "stream_bytes": way.stream_bytes})
            })
            .collect(),
    });
    let bar = |way: &&Way| {
        let bar = if way.name.starts_with("INVALIDATE") { Bar::ours } else { Bar::other };
        bar(&way.name, median(&way.seconds) * 1e3)
    };
    let bars: Vec<Bar> = ways.iter().map(bar).collect();
    let title = "Invalidating responses: milliseconds until no client gets one any more";
    charts::log_bars("invalidate", title, &bars);
    report.chart("invalidate", title);
}

/// Gives a server a replication stream: its backlog goes on when the replica that began it is gone.
fn start_replication_stream(master: &Server, replica: Server) {
    let mut con = replica.connect();
    let started: redis::RedisResult<()> = cmd("REPLICAOF").arg("127.0.0.1").arg(master.port).query(&mut con);
    started.expect("REPLICAOF");
    let begun = Instant::now();
    while replica.info::<String>("master_link_status") != "up" {
        assert!(begun.elapsed() < PATIENCE, "the replica does not come up");
        sleep(Duration::from_millis(50));
    }
    drop(replica);
    while master.info::<u32>("connected_slaves") > 0 {
        assert!(begun.elapsed() < PATIENCE, "the replica does not go");
        sleep(Duration::from_millis(50));
    }
}

fn invalidate(con: &mut Connection, persona: &str) -> u64 {
    cmd("CHATCACHE.INVALIDATE").arg(persona).query(con).expect("INVALIDATE")
}

/// Waits until all tombstones are reclaimed. A server without the module has none.
fn wait_until_reclaimed(con: &mut Connection) {
    let begun = Instant::now();
    loop {
        let stats: redis::RedisResult<std::collections::HashMap<String, u64>> =
            cmd("CHATCACHE.STATS").query(con);
        let Ok(stats) = stats else { return };
        if stats["pending-reclaim"] == 0 {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "the reclaim does not end");
        sleep(Duration::from_millis(20));
    }
}

/// Deletes all keys in one script, in pieces that fit Lua's stack.
fn script(con: &mut Connection) -> u64 {
    const SCRIPT: &str = "local keys = redis.call('SMEMBERS', KEYS[1])
        for from = 1, #keys, 1000 do
            redis.call('UNLINK', unpack(keys, from, math.min(from + 999, #keys)))
        end
        redis.call('UNLINK', KEYS[1])
        return #keys";
    cmd("EVAL").arg(SCRIPT).arg(1).arg(INDEX).query(con).expect("EVAL")
}

/// Deletes page by page, with the UNLINK or DEL of a page in the same round trip as the next SSCAN.
fn delete_pages(con: &mut Connection, command: &str, count: u64) -> u64 {
    let sscan = |cursor: u64| cmd("SSCAN").arg(INDEX).arg(cursor).arg("COUNT").arg(count).to_owned();
    let (mut cursor, mut keys): (u64, Vec<String>) = sscan(0).query(con).expect("SSCAN");
    let mut deleted = 0;
    while cursor != 0 {
        let delete = cmd(command).arg(&keys).to_owned();
        let both = redis::pipe().add_command(delete).add_command(sscan(cursor)).to_owned();
        let (of_page, next): (u64, (u64, Vec<String>)) = both.query(con).expect("a page");
        deleted += of_page;
        (cursor, keys) = next;
    }
    let last: u64 = cmd(command).arg(&keys).query(con).expect("the last page");
    let _: u64 = cmd("UNLINK").arg(INDEX).query(con).expect("UNLINK of the index set");
    deleted + last
}

/// `clear_pattern` of many applications: SCAN, and DEL. With redis-py's COUNT of 10, key by key; with
/// larger pages, one DEL for each.
fn scan(con: &mut Connection, count: u64) -> u64 {
    let pattern = native_key().replace(&format!("{}{NUMBER}", "0".repeat(22)), "*");
    let (mut cursor, mut deleted) = (0_u64, 0);
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(count);
        let (next, keys): (u64, Vec<String>) = scan.query(con).expect("SCAN");
        let pages: Vec<&[String]> =
            if count > 10 { keys.chunks(keys.len().max(1)).collect() } else { keys.chunks(1).collect() };
        for page in pages {
            deleted += cmd("DEL").arg(page).query::<u64>(con).expect("DEL");
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let _: u64 = cmd("DEL").arg(INDEX).query(con).expect("DEL of the index set");
    deleted
}
