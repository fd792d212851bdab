//! Latency of GET while the server has half of what it could do, against native GET at half of what that could.

use serde_json::{Map, json};
use std::time::Duration;

use crate::Bench;
use crate::charts::{self, Line};
use crate::contest::{self, Contestant};
use crate::generator::{Load, at_rate};
use crate::report::{Goal, Row, Series, Table, figure};
use crate::requests::{HOT, RESPONSE_BYTES, get, message, native_key, store_hot, store_hot_native};
use testkit::bench::figures::median;
use testkit::bench::server::Server;

const PROMPT_BYTES: usize = 100;

const QUANTILES: [f64; 6] = [0.5, 0.75, 0.9, 0.99, 0.999, 0.9999];

pub fn run(bench: &mut Bench) {
    let (plain, ours) = (Server::plain().pinned(), Server::with_chatcache().pinned());
    let responses = bench.text.pieces(HOT as usize, RESPONSE_BYTES);
    let (message, key) = (message(&bench.text, PROMPT_BYTES), native_key());
    store_hot(&ours, &message, &responses);
    store_hot_native(&plain, &responses);
    let loads = [Load::of(&["GET", &key], HOT), Load::of(&get(&message), HOT)];
    let servers = [&plain, &ours];
    let options = &bench.options;

    let [native_top, our_top] = contest::run(
        "latency: top load",
        options,
        3,
        [
            Contestant::top("native GET", &plain, loads[0].clone(), options),
            Contestant::top("hot GET", &ours, loads[1].clone(), options),
        ],
    );
    let rates = [native_top.median() / 2.0, our_top.median() / 2.0];

    let rounds = options.rounds();
    let time = options.time().mul_f64(1.5).max(Duration::from_millis(500));
    // For each of the two, for each round, for each quantile.
    let mut latencies: [Vec<Vec<f64>>; 2] = [vec![], vec![]];
    for round in 0..rounds {
        eprintln!("latency at half the top load: round {} of {rounds}", round + 1);
        for turn in 0..2 {
            let at = (turn + round) % 2;
            let all = at_rate(servers[at], &loads[at], rates[at], time);
            latencies[at].push(quantiles(&all));
        }
    }
    let p99 = |at: usize| {
        let place = QUANTILES.iter().position(|quantile| *quantile == 0.99).expect("p99 is one of them");
        latencies[at].iter().map(|quantiles| quantiles[place]).collect::<Vec<_>>()
    };
    bench.report.add(Row {
        what: format!("p99 of hot GET at half its top load ({}/s)", figure(rates[1])),
        ours: Series::of("p99", "us", p99(1)),
        other: Some(Series::of(format!("native GET at half of its ({}/s)", figure(rates[0])), "us", p99(0))),
        goal: Some(Goal::AtMost(1.1)),
    });

    let medians = latencies.each_ref().map(|rounds| {
        let at = |place: usize| median(&rounds.iter().map(|quantiles| quantiles[place]).collect::<Vec<_>>());
        (0..QUANTILES.len()).map(at).collect::<Vec<_>>()
    });
    let mut table = Table {
        title: "Latency at half the top load, us (median of the rounds)".to_owned(),
        columns: ["", "p50", "p75", "p90", "p99", "p99.9", "p99.99"].map(str::to_owned).to_vec(),
        rows: vec![],
        json: json!(null),
    };
    let mut values = Map::new();
    for (name, medians) in [("native GET", &medians[0]), ("hot GET", &medians[1])] {
        values.insert(name.to_owned(), json!(medians));
        let figures = medians.iter().map(|&us| figure(us));
        table.rows.push(std::iter::once(name.to_owned()).chain(figures).collect());
    }
    table.json = json!({"quantiles": QUANTILES, "us": values});
    bench.report.table(table);

    // One, two, three ... nines: how rare a latency is, on a scale of its own.
    let points = |medians: &[f64]| {
        QUANTILES.iter().zip(medians).map(|(quantile, &us)| (1.0 / (1.0 - quantile), us)).collect()
    };
    let lines = [Line::other("native GET", points(&medians[0])), Line::ours("hot GET", points(&medians[1]))];
    let axes = charts::Axes { x: "one reply in N is slower", y: "us" };
    charts::lines("latency", "Latency of GET at half the top load", axes, &lines);
    bench.report.chart("latency", "Latency of GET at half the top load");
}

fn quantiles(latencies: &[f64]) -> Vec<f64> {
    let mut sorted = latencies.to_vec();
    sorted.sort_by(f64::total_cmp);
    QUANTILES.iter().map(|part| sorted[(part * (sorted.len() - 1) as f64) as usize]).collect()
}
