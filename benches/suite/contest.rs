//! Things measured in turn, so that a machine that is busy for a while is busy for all of them.

use std::time::Duration;

use crate::generator::{Load, Speed, top};
use crate::options::Options;
use crate::report::Series;
use testkit::bench::server::Server;

pub struct Contestant<'a> {
    name: &'a str,
    unit: &'static str,
    measure: Box<dyn Fn() -> Speed + 'a>,
}

impl<'a> Contestant<'a> {
    pub fn new(name: &'a str, unit: &'static str, measure: impl Fn() -> Speed + 'a) -> Self {
        Contestant { name, unit, measure: Box::new(measure) }
    }

    /// A load at its top speed.
    pub fn top(name: &'a str, server: &'a Server, load: Load, options: &'a Options) -> Self {
        Contestant::top_for(name, server, load, options.time())
    }

    /// The same, over some time.
    pub fn top_for(name: &'a str, server: &'a Server, load: Load, time: Duration) -> Self {
        Contestant::new(name, "/s", move || top(server, &load, time))
    }
}

/// Every contestant once a round, forwards in one and backwards in the next: what drifts, drifts for all.
pub fn run<const N: usize>(
    part: &str,
    options: &Options,
    rounds: usize,
    contestants: [Contestant<'_>; N],
) -> [Series; N] {
    let mut series = contestants.each_ref().map(|contestant| Series::new(contestant.name, contestant.unit));
    for round in 0..rounds {
        eprintln!("{part}: round {} of {rounds}{}", round + 1, if options.quick { " (quick)" } else { "" });
        let mut order: Vec<usize> = (0..N).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let speed = (contestants[at].measure)();
            series[at].add(speed);
        }
    }
    series
}
