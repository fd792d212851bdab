//! GET: hot, cold, compressed, of long prompts; against GET of a ready-made key, a script, and the least that a module's
//! command costs which takes the same arguments: the ceiling replies the same bytes to any request, the spread ceiling as many
//! from one of a thousand places, the keyed ceiling the value of a ready-made key.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::charts::{self, Bar};
use crate::contest::{self, Contestant};
use crate::generator::{Load, PIPELINE, Speed, send};
use crate::report::{Goal, Row, Series, figure};
use crate::requests::{
    HOT, PERSONA, RESPONSE_BYTES, encodings, get, message, native_key, store_hot, store_hot_by_script,
    store_hot_native,
};
use crate::resp::{NUMBER, Template};
use testkit::bench::cpus::beside_servers;
use testkit::bench::output;
use testkit::bench::redis_benchmark;
use testkit::bench::server::{PATIENCE, Server};

const PROMPT_BYTES: usize = 100;
const LONG_PROMPT_BYTES: usize = 4_096;

/// Hot GET against native GET and a script; and this bench's generator against redis-benchmark.
pub fn hot(bench: &mut Bench) {
    let (plain, ours) = (Server::plain().pinned(), Server::with_chatcache().pinned());
    let null = Server::with_module(&null_module()).pinned();
    let responses = bench.text.pieces(HOT as usize, RESPONSE_BYTES);
    let (message, key) = (message(&bench.text, PROMPT_BYTES), native_key());
    store_hot(&ours, &message, &responses);
    store_hot_native(&plain, &responses);
    let script = store_hot_by_script(&plain, &message, &responses);

    let before = warm(&ours, &message);
    let options = &bench.options;
    let evalsha = ["EVALSHA", &script, "1", PERSONA, &message];
    let [ceiling, spread, four, fetch] =
        ["NULL.CEILING", "NULL.SPREAD", "NULL.FOUR", "CHATCACHE.FETCH"].map(|name| named(name, &message));
    let [native, ceiling, spread, four, hot, fetch, evalsha, reference] = contest::run(
        "hot-get",
        options,
        options.rounds(),
        [
            Contestant::top("native GET", &plain, Load::of(&["GET", &key], HOT), options),
            Contestant::top("ceiling", &null, Load::of(&ceiling, HOT), options),
            Contestant::top("ceiling, spread", &null, Load::of(&spread, HOT), options),
            Contestant::top("ceiling, FETCH's reply", &null, Load::of(&four, HOT).replying_hits(), options),
            Contestant::top("hot GET", &ours, Load::of(&get(&message), HOT), options),
            Contestant::top("FETCH that hits", &ours, Load::of(&fetch, HOT).replying_hits(), options),
            Contestant::top("EVALSHA", &plain, Load::of(&evalsha, HOT), options),
            Contestant::new("redis-benchmark", "/s", || by_redis_benchmark(&plain, &key, options.quick)),
        ],
    );
    note_l1_share(bench, &ours, &before, "100 B prompts");
    let what = format!("hot GET, {PROMPT_BYTES} B prompt, 1 KB response");
    bench.compare(&what, &hot, &ceiling, Some(Goal::AtLeast(0.92)));
    bench.compare(&what, &hot, &spread, None);
    bench.compare(&what, &hot, &native, None);
    bench.compare(&what, &hot, &evalsha, Some(Goal::AtLeast(3.0)));
    bench.compare("FETCH that hits", &fetch, &hot, Some(Goal::AtLeast(0.97)));
    bench.compare("FETCH that hits", &fetch, &four, None);
    bench.compare("the reply of FETCH alone", &four, &spread, None);
    bench.compare("this bench's generator: native GET", &native, &reference, None);
    bench.bars.extend([&native, &ceiling, &evalsha].map(|series| bar(series, Bar::other)));
    bench.bars.push(bar(&hot, Bar::ours));
}

/// The same native GET by redis-benchmark, in about the same time.
fn by_redis_benchmark(plain: &Server, key: &str, is_quick: bool) -> Speed {
    // redis-benchmark's own placeholder has twelve digits.
    let key = key.replace(&format!("00{NUMBER}"), "__rand_int__");
    let hot = HOT.to_string();
    let load = redis_benchmark::Load {
        requests: if is_quick { 100_000 } else { 500_000 },
        pipeline: PIPELINE as u32,
        words: vec!["-r", &hot, "GET", &key],
    };
    let speed = beside_servers(|| load.run(plain));
    Speed { per_second: speed.per_second, main_us: speed.cpu_us, all_us: speed.cpu_us }
}

/// GET with L1 off, of raw and of compressed responses, against native GET.
pub fn cold(bench: &mut Bench) {
    let (plain, null) = (Server::plain().pinned(), Server::with_module(&null_module()).pinned());
    let [raw, compressed] = ["none", "zstd"].map(|compression| {
        let server = Server::with_chatcache().pinned();
        server.config("chatcache.l1-max-bytes", "0");
        server.config("chatcache.compression", compression);
        server
    });
    let responses = bench.text.pieces(HOT as usize, RESPONSE_BYTES);
    let (message, key) = (message(&bench.text, PROMPT_BYTES), native_key());
    store_hot_native(&plain, &responses);
    store_hot_native(&null, &responses);
    for server in [&raw, &compressed] {
        store_hot(server, &message, &responses);
    }
    let raw_left = || encodings(&compressed, &message, HOT).iter().filter(|word| *word == "raw").count();
    let compress = || {
        let begun = Instant::now();
        while raw_left() > 0 {
            assert!(begun.elapsed() < PATIENCE, "{} responses are not compressed yet", raw_left());
            sleep(Duration::from_millis(100));
        }
    };
    compress();
    // Again, as on a server that has seen a thousand responses: it has a dictionary then.
    for _ in 0..2 {
        store_hot(&compressed, &message, &responses);
        compress();
    }
    let words = encodings(&compressed, &message, HOT);
    let with_dictionary = words.iter().filter(|word| *word == "zstd-dictionary").count();
    bench.report.note(format!("GET of compressed responses: {with_dictionary} of {HOT} use a dictionary."));

    let options = &bench.options;
    let ours = || Load::of(&get(&message), HOT);
    let mut keyed = named("NULL.KEYED", &message);
    keyed[3] = &key;
    let [native, ceiling, raw, compressed] = contest::run(
        "cold-get",
        options,
        options.rounds(),
        [
            Contestant::top("native GET", &plain, Load::of(&["GET", &key], HOT), options),
            Contestant::top("keyed ceiling", &null, Load::of(&keyed, HOT), options),
            Contestant::top("GET, L1 off", &raw, ours(), options),
            Contestant::top("GET, compressed", &compressed, ours(), options),
        ],
    );
    assert_eq!(raw_left(), 0, "responses did not stay compressed while they were measured");
    let what = "GET with L1 off, 100 B prompt, 1 KB response";
    bench.compare(what, &raw, &ceiling, Some(Goal::AtLeast(0.75)));
    bench.compare(what, &raw, &native, None);
    bench.compare(
        "GET of a compressed response (zstd), L1 off",
        &compressed,
        &native,
        Some(Goal::AtLeast(0.3)),
    );
    bench.bars.extend([bar(&raw, Bar::ours), bar(&compressed, Bar::ours)]);
}

/// Hot GET of a 4 KB prompt against a script, against a command that reads as much and does nothing, and the ceiling.
pub fn long_prompt(bench: &mut Bench) {
    let (plain, ours) = (Server::plain().pinned(), Server::with_chatcache().pinned());
    let null = Server::with_module(&null_module()).pinned();
    let responses = bench.text.pieces(HOT as usize, RESPONSE_BYTES);
    let message = message(&bench.text, LONG_PROMPT_BYTES);
    store_hot(&ours, &message, &responses);
    let script = store_hot_by_script(&plain, &message, &responses);

    let before = warm(&ours, &message);
    let options = &bench.options;
    let [nothing, ceiling, spread] =
        ["NULL.GET", "NULL.CEILING", "NULL.SPREAD"].map(|name| named(name, &message));
    let evalsha = ["EVALSHA", &script, "1", PERSONA, &message];
    let [nothing, ceiling, spread, hot, evalsha] = contest::run(
        "long-prompt",
        options,
        options.rounds(),
        [
            Contestant::top("null command, 4 KB", &null, Load::of(&nothing, HOT).replying_null(), options),
            Contestant::top("ceiling, 4 KB", &null, Load::of(&ceiling, HOT), options),
            Contestant::top("ceiling, spread, 4 KB", &null, Load::of(&spread, HOT), options),
            Contestant::top("hot GET, 4 KB", &ours, Load::of(&get(&message), HOT), options),
            Contestant::top("EVALSHA, 4 KB", &plain, Load::of(&evalsha, HOT), options),
        ],
    );
    note_l1_share(bench, &ours, &before, "4 KB prompts");
    let what = "hot GET, 4 KB prompt, 1 KB response";
    bench.compare(what, &hot, &ceiling, Some(Goal::AtLeast(0.93)));
    bench.compare(what, &hot, &spread, None);
    bench.compare(what, &hot, &evalsha, Some(Goal::AtLeast(3.5)));
    bench.compare(what, &hot, &nothing, None);
    bench.bars.extend([&nothing, &ceiling, &evalsha].map(|series| bar(series, Bar::other)));
    bench.bars.push(bar(&hot, Bar::ours));
}

/// One chart of all GETs that were measured.
pub fn chart(bench: &mut Bench) {
    if !bench.bars.is_empty() {
        charts::bars("get", "GET: responses a second (50 connections, pipeline 32)", &bench.bars);
        bench.report.chart("get", "GET: responses a second");
    }
}

/// Requests the hot responses until they are in L1. Returns the server's counters then.
fn warm(server: &Server, message: &str) -> HashMap<String, u64> {
    let passes = Template::new(&[get(message)]);
    for _ in 0..10 {
        send(server, &passes, 0..HOT);
    }
    server.stats()
}

fn note_l1_share(bench: &mut Bench, server: &Server, before: &HashMap<String, u64>, prompts: &str) {
    let after = server.stats();
    let counted = |name: &str| (after[name] - before[name]) as f64;
    let share = 100.0 * counted("hits-l1") / counted("hits");
    bench.report.note(format!("Hot GET of {prompts}: {} % of the responses came from L1.", figure(share)));
}

/// The arguments of a GET, under another command's name.
fn named<'a>(name: &'a str, message: &'a str) -> Vec<&'a str> {
    let mut words = get(message);
    words[0] = name;
    words
}

fn bar(series: &Series, bar: fn(&str, f64) -> Bar) -> Bar {
    bar(&series.name, series.median())
}

/// Builds the module with the least commands.
fn null_module() -> PathBuf {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/null_module/Cargo.toml");
    let target = output::directory().join("null-module");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release", "--locked", "--manifest-path", manifest, "--target-dir"]);
    let built = build.arg(&target).status().expect("run cargo");
    assert!(built.success(), "benches/null_module does not build");
    target.join("release/libnull_module.so")
}

impl Bench {
    /// Adds a row to the report.
    pub fn compare(&mut self, what: &str, ours: &Series, other: &Series, goal: Option<Goal>) {
        let (what, ours, other) = (what.to_owned(), ours.clone(), Some(other.clone()));
        self.report.add(Row { what, ours, other, goal });
    }
}
