//! Speed and memory of the cache, measured against what a client would do without it:
//! `make bench`.
//!
//! The bench starts its own servers: with chatcache as it is released, and without a module. Contestants are
//! measured in turn, in rounds of one run, so that a busy machine is busy for all of it; the report gives medians,
//! ratios and their spread, and each goal. Beside each speed stands the CPU time that the server's main thread took
//! for a command, which other programs on the machine change less than the speed.
//!
//! - `options`: the command line. `text`: real questions and answers. `report`, `charts`: the results.
//! - `resp`, `generator`: load on a server. `prober`: a client that is kept waiting. `contest`: rounds.
//! - `readers`: thousands of connections that read one response.
//! - `requests`: the requests and responses. `gets`, `sets`, `latency`, `invalidate`, `memory`, `scale`,
//!   `million`, `streaming`:
//!   the parts.
//! - `testkit::bench`: servers, CPUs, medians, files.

mod charts;
mod contest;
mod generator;
mod gets;
mod invalidate;
mod latency;
mod memory;
mod million;
mod options;
mod prober;
mod readers;
mod report;
mod requests;
mod resp;
mod scale;
mod sets;
mod streaming;
mod text;

use charts::Bar;
use options::Options;
use report::Report;
use testkit::bench::output::Machine;
use testkit::bench::server::Server;
use text::Text;

type Part = fn(&mut Bench);

/// The parts of the suite, by the names that `--only` takes.
const PARTS: [(&str, Part); 10] = [
    ("hot-get", gets::hot),
    ("cold-get", gets::cold),
    ("long-prompt", gets::long_prompt),
    ("set", sets::run),
    ("latency", latency::run),
    ("invalidate", invalidate::run),
    ("memory", memory::run),
    ("scale", scale::run),
    ("million", million::run),
    ("streaming", streaming::run_all),
];

pub struct Bench {
    options: Options,
    text: Text,
    report: Report,
    /// For the chart of all GETs.
    bars: Vec<Bar>,
}

fn main() {
    let options = Options::parse().unwrap_or_else(|complaint| {
        eprintln!("suite: {complaint}");
        std::process::exit(2);
    });
    let text = Text::load(options.data.as_deref());
    let mut report = Report::new(Machine::now(&Server::plain()), &text.source);
    if options.quick {
        report.note("A QUICK run, to see that the bench works: its figures mean little.");
    }
    let mut bench = Bench { options, text, report, bars: Vec::new() };
    for (name, part) in PARTS {
        if bench.options.wants(name) {
            part(&mut bench);
        }
    }
    gets::chart(&mut bench);
    bench.report.write();
}
