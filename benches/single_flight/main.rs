//! The worth of single flight, measured: `make bench` (some minutes).
//!
//! - The crowd: 1,000 connections in 8 processes ask for one missing prompt whose stand-in model takes 500
//!   ms, with FETCH, with FETCH while the lease's holder dies or falls silent in its model call, with GET and a lock
//!   that callers poll, and with no protection.
//! - The rest of the server: the throughput of others while 10,000 clients wait, and what a waiter weighs.
//! - The price: FETCH that hits against GET that hits.
//!
//! Rounds of what is compared are interleaved, so that a busy machine is busy for all of it. The server is
//! this bench's own, in a directory of its own; everything is bounded in count and time, and ends by itself.
//!
//! - `crowd`: the 8 processes, from outside; `caller`: what runs in them. `waiters`: the 10,000.
//! - `report`: the tables. `testkit::bench`: that server, redis-benchmark, medians.

mod caller;
mod crowd;
mod report;
mod waiters;

use caller::{LEASE, MODEL, Way};
use crowd::{Accident, Case};
use report::{Report, Row};
use std::time::Duration;
use testkit::bench::figures::{median, spread};
use testkit::bench::redis_benchmark::Load;
use testkit::bench::server::Server;
use waiters::Waiters;

const CROWD_ROUNDS: usize = 5;
const WAITING_ROUNDS: usize = 6;
const PRICE_ROUNDS: usize = 15;
const WAITERS: usize = 10_000;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(words) = args.iter().position(|arg| arg == "--caller").map(|at| &args[at + 1..]) {
        return caller::run(words);
    }
    let server = Server::with_chatcache();
    let mut report = Report::new(&server);
    measure_crowds(&server, &mut report);
    measure_price(&server, &mut report);
    measure_waiting(&server, &mut report);
    report.write();
}

fn measure_crowds(server: &Server, report: &mut Report) {
    let at_once = MODEL.mul_f64(1.1);
    let again = |lease: Duration| (lease + MODEL).mul_f64(1.1);
    let case = |name, way, accident, calls, goal| Case { name, way, accident, calls, goal };
    let cases = [
        case("FETCH", Way::Fetch, Accident::None, Some(1), Some(at_once)),
        // The model is asked again from the moment of the accident.
        case(
            "FETCH, holder killed",
            Way::Fetch,
            Accident::Killed,
            Some(2),
            Some(again(crowd::ACCIDENT_AFTER)),
        ),
        case("FETCH, holder silent", Way::Fetch, Accident::Silent, Some(2), Some(again(LEASE))),
        case("GET and lock, polled", Way::Lock, Accident::None, None, None),
        case("GET and lock, holder killed", Way::Lock, Accident::Killed, None, None),
        case("no protection", Way::Unprotected, Accident::None, None, None),
    ];
    let mut runs: Vec<Vec<crowd::Run>> = cases.iter().map(|_| Vec::new()).collect();
    for round in 0..CROWD_ROUNDS {
        eprintln!("crowd: round {} of {CROWD_ROUNDS}", round + 1);
        for (at, case) in cases.iter().enumerate() {
            runs[at].push(crowd::run(server, case, &format!("prompt-{round}-{at}")));
        }
    }
    for (case, runs) in cases.iter().zip(&runs) {
        report.crowd(case, runs);
    }
}

/// FETCH against GET; and GET against itself, to see what the machine alone does to such a ratio.
fn measure_price(server: &Server, report: &mut Report) {
    let mut con = server.connect();
    let request = ["persona", "ann", "helper", "a-popular-question"];
    let _: () = redis::cmd("CHATCACHE.SET").arg(&request).arg("x".repeat(500)).query(&mut con).expect("SET");
    let [get, fetch] = ["CHATCACHE.GET", "CHATCACHE.FETCH"].map(|command| {
        let words = [&[command], &request[..]].concat();
        Load { requests: 300_000, pipeline: 32, words }
    });
    let (mut rates, mut costs, mut self_rates, mut self_costs) = (vec![], vec![], vec![], vec![]);
    let (mut least_fetch, mut least_get) = (f64::INFINITY, f64::INFINITY);
    for round in 0..PRICE_ROUNDS {
        eprintln!("FETCH against GET: round {} of {PRICE_ROUNDS}", round + 1);
        // FETCH stands in the middle: what drifts over a round, drifts for both.
        let [first, hit, second] = [&get, &fetch, &get].map(|load| load.run(server));
        least_fetch = least_fetch.min(hit.cpu_us);
        least_get = least_get.min(first.cpu_us).min(second.cpu_us);
        rates.push(2.0 * hit.per_second / (first.per_second + second.per_second));
        costs.push(2.0 * hit.cpu_us / (first.cpu_us + second.cpu_us));
        self_rates.push(second.per_second / first.per_second);
        self_costs.push(second.cpu_us / first.cpu_us);
    }
    report.add(Row::ratio("FETCH that hits / GET: throughput", &rates).at_least(0.95));
    report.add(Row::ratio("FETCH that hits / GET: the server's CPU time a command", &costs).at_most(1.05));
    let least = format!("{:.3} ({least_fetch:.2} / {least_get:.2} us)", least_fetch / least_get);
    report.add(Row::new(
        "FETCH that hits / GET: the least CPU time of any round",
        least_fetch / least_get,
        least,
    ));
    report.add(Row::ratio("GET / GET: throughput (noise)", &self_rates));
    report.add(Row::ratio("GET / GET: the server's CPU time a command (noise)", &self_costs));
}

fn measure_waiting(server: &Server, report: &mut Report) {
    let mut waiters = Waiters::connect(server, WAITERS);
    let count = waiters.count();
    eprintln!("{count} waiters: memory");
    let per_waiter = |after: f64, before: f64| (after - before) / count as f64;
    let idle = server.settled_memory();
    waiters.pop();
    let popping = server.settled_memory();
    waiters.push();
    let idle_again = server.settled_memory();
    waiters.fetch("weighed");
    let fetching = server.settled_memory();
    waiters.serve("weighed");
    report.add(Row::bytes("a client that waits in BLPOP, more than idle", per_waiter(popping, idle)));
    report.add(Row::bytes("a client that waits in FETCH, more than idle", per_waiter(fetching, idle_again)));

    let mut con = server.connect();
    let request = ["persona", "ann", "helper", "asked-by-others"];
    let _: () = redis::cmd("CHATCACHE.SET").arg(&request).arg("x".repeat(500)).query(&mut con).expect("SET");
    let load = Load { requests: 300_000, pipeline: 16, words: [&["CHATCACHE.GET"], &request[..]].concat() };
    let (mut ratios, mut costs, mut served) = (vec![], vec![], vec![]);
    for round in 0..WAITING_ROUNDS {
        eprintln!("{count} waiters: round {} of {WAITING_ROUNDS}", round + 1);
        let prompt = format!("waited-for-{round}");
        let before = (round % 2 == 0).then(|| load.run(server));
        waiters.fetch(&prompt);
        let waiting = load.run(server);
        served.push(waiters.serve(&prompt).as_secs_f64() * 1e3);
        let idle = before.unwrap_or_else(|| load.run(server));
        ratios.push(waiting.per_second / idle.per_second);
        costs.push(waiting.cpu_us / idle.cpu_us);
    }
    let name = |what| format!("GET, {count} waiting / none waiting: {what}");
    report.add(Row::ratio(name("throughput"), &ratios));
    report.add(Row::ratio(name("the server's CPU time a command"), &costs));
    let (low, high) = spread(&served);
    let text = format!("{:.0} ms ({low:.0} to {high:.0})", median(&served));
    report.add(Row::new(format!("from SET until all {count} waiters have read it"), median(&served), text));
}
