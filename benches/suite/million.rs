//! GETs over a million responses of 1 KB, with the module's default settings: all alike, by Zipf, and one after another;
//! against native GET of the same, and against the module with L1 off.

use std::collections::HashMap;
use std::iter;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::Bench;
use crate::contest::{self, Contestant};
use crate::generator::{Load, Nulls, Numbers, send};
use crate::report::{Goal, Row, Series};
use crate::requests::{get, message, native_key, native_set, set};
use crate::resp::Template;
use testkit::bench::server::{PATIENCE, Server};

const ENTRIES: u64 = 1_000_000;
const QUICK_ENTRIES: u64 = 20_000;
const RESPONSE_BYTES: usize = 1_024;
const PROMPT_BYTES: usize = 100;

/// Different responses, of real text: far more than a dictionary holds.
const TEXTS: u64 = 2_000;

/// The requests of a Zipf distribution that a load repeats.
const DRAWN: usize = 2_000_000;

pub fn run(bench: &mut Bench) {
    let entries = if bench.options.quick { QUICK_ENTRIES } else { ENTRIES };
    let (plain, ours) = (Server::plain().pinned(), Server::with_chatcache().pinned());
    let without_l1 = Server::with_chatcache().pinned();
    without_l1.config("chatcache.l1-max-bytes", "0");
    let (message, key) = (message(&bench.text, PROMPT_BYTES), native_key());
    eprintln!("million: storing");
    for (n, response) in bench.text.pieces(TEXTS as usize, RESPONSE_BYTES).iter().enumerate() {
        let numbers = entries * n as u64 / TEXTS..entries * (n as u64 + 1) / TEXTS;
        let response = String::from_utf8_lossy(response);
        send(&plain, &Template::new(&[native_set(&key, &response)]), numbers.clone());
        for server in [&ours, &without_l1] {
            send(server, &Template::new(&[set(&message, &response)]), numbers.clone());
        }
    }
    [&ours, &without_l1].into_iter().for_each(compressed);
    let loads = [
        ("uniform", Numbers::Below(entries), Some(Goal::AtLeast(0.7))),
        ("Zipf (s = 1)", Numbers::Of(zipf(entries)), Some(Goal::AtLeast(0.85))),
        ("one after another", Numbers::Of((0..entries).collect()), None),
    ];
    for (name, numbers, goal) in loads {
        let load = |words: &[&str]| Load {
            template: Template::new(&[words.to_vec()]),
            numbers: numbers.clone(),
            nulls: Nulls::None,
        };
        let options = &bench.options;
        let [native, ours, off] = contest::run(
            &format!("million, {name}"),
            options,
            options.rounds(),
            [
                Contestant::top("native GET", &plain, load(&["GET", &key]), options),
                Contestant::top("GET", &ours, load(&get(&message)), options),
                Contestant::top("GET, L1 off", &without_l1, load(&get(&message)), options),
            ],
        );
        let what = format!("GET, {name} over {entries} responses of 1 KB, default settings");
        bench.compare(&what, &ours, &native, goal);
        bench.compare(&what, &ours, &off, Some(Goal::AtLeast(0.95)));
    }
    sleep(bench.options.rest());
    let [resident, used] = ["used_memory_rss", "used_memory"].map(|field| vec![ours.info(field)]);
    bench.report.add(Row {
        what: format!("resident memory after {entries} SETs at full speed, these GETs and a rest"),
        ours: Series::of("RSS", "B", resident),
        other: Some(Series::of("used_memory", "B", used)),
        goal: Some(Goal::AtMost(1.3)),
    });
}

/// Waits until the compressor has nothing left to do.
fn compressed(server: &Server) {
    let begun = Instant::now();
    let waiting = |stats: HashMap<String, u64>| stats["waiting-to-compress"];
    while waiting(server.stats()) > 0 {
        assert!(begun.elapsed() < 10 * PATIENCE, "the compressor did not end");
        sleep(Duration::from_millis(200));
    }
}

/// Draws numbers below `limit`: the nth most frequent comes 1/n times as often as the first, and stands anywhere.
fn zipf(limit: u64) -> Arc<[u64]> {
    let mut random = SmallRng::seed_from_u64(1);
    let mut places: Vec<u64> = (0..limit).collect();
    places.shuffle(&mut random);
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=limit)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let draw = || {
        let point = random.random_range(0.0..sum);
        places[sums.partition_point(|sum| *sum <= point).min(places.len() - 1)]
    };
    iter::repeat_with(draw).take(DRAWN).collect()
}
