//! GET, SET and INVALIDATE from ten thousand responses to three million.

use redis::cmd;
use serde_json::json;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::charts::{self, Axes, Line};
use crate::contest::{self, Contestant};
use crate::generator::{Load, Nulls, Numbers, send};
use crate::report::{Goal, Row, Series, Table, figure};
use crate::requests::{PERSONA, get, message, native_key, native_set, set};
use crate::resp::Template;
use testkit::bench::cpus::beside_servers;
use testkit::bench::figures::median;
use testkit::bench::server::{PATIENCE, Server};

const SIZES: [u64; 6] = [10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000];

/// Short responses: this is about how many there are.
const RESPONSE_BYTES: usize = 100;
const PROMPT_BYTES: usize = 100;

/// At small sizes INVALIDATE is measured more than once.
const INVALIDATES: u64 = 5;
const OFTEN_UP_TO: u64 = 100_000;

/// The measurements at one size.
struct Point {
    entries: u64,
    get: Series,
    native_get: Series,
    set: Series,
    native_set: Series,
    invalidate_us: Vec<f64>,
}

pub fn run(bench: &mut Bench) {
    let sizes = if bench.options.quick { &SIZES[..3] } else { &SIZES[..] };
    let points: Vec<Point> = sizes.iter().map(|&entries| measure(bench, entries)).collect();
    let [first, .., last] = points.as_slice() else { panic!("there are several sizes") };

    let at = |point: &Point| format!("with {} responses", figure(point.entries as f64));
    let mut grown = |what: &str, get: fn(&Point) -> &Series| {
        bench.report.add(Row {
            what: format!("{what} {}", at(last)),
            ours: get(last).clone(),
            other: Some(Series { name: at(first), ..get(first).clone() }),
            goal: None,
        });
    };
    grown("GET", |point| &point.get);
    grown("native GET", |point| &point.native_get);
    grown("SET over an response", |point| &point.set);
    grown("native SET EX over a value", |point| &point.native_set);
    bench.report.add(Row {
        what: format!("INVALIDATE {}", at(last)),
        ours: Series::of("INVALIDATE", "us", last.invalidate_us.clone()),
        other: Some(Series::of(at(first), "us", first.invalidate_us.clone())),
        goal: Some(Goal::AtMost(4.0)),
    });

    let columns = ["responses", "GET/s", "native GET/s", "SET/s", "native SET EX/s", "INVALIDATE, us"];
    let row = |point: &Point| {
        let series = [&point.get, &point.native_get, &point.set, &point.native_set];
        let mut words = vec![figure(point.entries as f64)];
        words
            .extend(series.map(|series| {
                format!("{} ({:.2} us CPU)", figure(series.median()), median(&series.main_us))
            }));
        words.push(figure(median(&point.invalidate_us)));
        words
    };
    bench.report.table(Table {
        title: "From few responses to many".to_owned(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: points.iter().map(row).collect(),
        json: points
            .iter()
            .map(|point| {
                json!({
                    "responses": point.entries, "get": point.get.values, "native_get": point.native_get.values,
                    "set": point.set.values, "native_set": point.native_set.values,
                    "get_us": point.get.main_us, "native_get_us": point.native_get.main_us,
                    "set_us": point.set.main_us, "native_set_us": point.native_set.main_us,
                    "invalidate_us": point.invalidate_us,
                })
            })
            .collect(),
    });

    let line = |get: fn(&Point) -> &Series| {
        points.iter().map(|point| (point.entries as f64, median(&get(point).main_us))).collect()
    };
    let lines = [
        Line::ours("GET", line(|point| &point.get)),
        Line::ours_too("SET", line(|point| &point.set)),
        Line::other("native GET", line(|point| &point.native_get)),
        Line::other_too("native SET EX", line(|point| &point.native_set)),
        Line::third(
            "INVALIDATE, until the reply",
            points.iter().map(|point| (point.entries as f64, median(&point.invalidate_us))).collect(),
        ),
    ];
    let axes = Axes { x: "responses", y: "us (GET, SET: the server's CPU time)" };
    let title = "From ten thousand responses to three million";
    charts::lines("scale", title, axes, &lines);
    bench.report.chart("scale", title);
}

fn measure(bench: &Bench, entries: u64) -> Point {
    let options = &bench.options;
    let (plain, ours) = (Server::plain().pinned(), Server::with_chatcache().pinned());
    let response = bench.text.prompt(RESPONSE_BYTES);
    let (message, key) = (message(&bench.text, PROMPT_BYTES), native_key());
    let chatcache = Template::new(&[set(&message, &response)]);
    let native = Template::new(&[native_set(&key, &response)]);
    let part = format!("scale, {} responses", figure(entries as f64));
    eprintln!("{part}: storing");
    send(&plain, &native, 0..entries);
    send(&ours, &chatcache, 0..entries);
    let over = |template: &Template| Load {
        template: template.clone(),
        numbers: Numbers::Below(entries),
        nulls: Nulls::None,
    };
    // There are many sizes.
    let time = options.time() / 2;
    let [native_get, get, native_set, set] = contest::run(
        &part,
        options,
        2,
        [
            Contestant::top_for("native GET", &plain, Load::of(&["GET", &key], entries), time),
            Contestant::top_for("GET", &ours, Load::of(&get(&message), entries), time),
            Contestant::top_for("native SET EX", &plain, over(&native), time),
            Contestant::top_for("SET", &ours, over(&chatcache), time),
        ],
    );
    drop(plain);
    let mut invalidate_us = vec![invalidate(&ours, entries)];
    if entries <= OFTEN_UP_TO {
        for _ in 1..INVALIDATES {
            send(&ours, &chatcache, 0..entries);
            invalidate_us.push(invalidate(&ours, entries));
        }
    }
    Point { entries, get, native_get, set, native_set, invalidate_us }
}

/// Time to the reply, in microseconds. Then waits until the tombstones are reclaimed, as another invalidation may follow.
fn invalidate(server: &Server, entries: u64) -> f64 {
    let mut con = server.connect();
    let us = beside_servers(|| {
        let begun = Instant::now();
        let invalidated: u64 = cmd("CHATCACHE.INVALIDATE").arg(PERSONA).query(&mut con).expect("INVALIDATE");
        assert_eq!(invalidated, entries);
        begun.elapsed().as_secs_f64() * 1e6
    });
    let begun = Instant::now();
    while entries <= OFTEN_UP_TO && server.stats()["pending-reclaim"] > 0 {
        assert!(begun.elapsed() < PATIENCE, "the reclaim does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    us
}
