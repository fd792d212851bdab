//! The counters of CHATCACHE.STATS, and what two readings of it, one after the other, say about the time between.
//!
//! A field that this server's module does not have is None all the way to the screen, where it is a dash: an
//! older module, or a newer one, is shown as far as it goes.

use std::collections::HashMap;
use std::time::Instant;

/// The fields of one look, by name.
#[derive(Clone, Debug, Default)]
pub struct Stats(HashMap<String, u64>);

impl FromIterator<(String, u64)> for Stats {
    fn from_iter<I: IntoIterator<Item = (String, u64)>>(fields: I) -> Self {
        Stats(fields.into_iter().collect())
    }
}

impl Stats {
    pub fn get(&self, field: &str) -> Option<u64> {
        self.0.get(field).copied()
    }

    /// The sum of those fields that there are; None where there is none.
    fn sum(&self, fields: &[&str]) -> Option<u64> {
        fields.iter().filter_map(|field| self.get(field)).reduce(|a, b| a.saturating_add(b))
    }
}

/// Requests of any outcome.
const ASKED: [&str; 3] = ["hits", "stale-hits", "misses"];

/// A row of the hit rates: those requests that were answered in one way.
pub struct Row {
    pub label: &'static str,
    fields: &'static [&'static str],
}

/// All rows. The first is all that needed no model: a shared wait counts as a miss when it begins, and as
/// coalesced when it ends with an answer.
pub const ROWS: [Row; 9] = [
    Row { label: "all", fields: &["hits", "stale-hits", "coalesced"] },
    Row { label: "L1", fields: &["hits-l1"] },
    Row { label: "L2", fields: &["hits-l2"] },
    Row { label: "msg", fields: &["hits-msg"] },
    Row { label: "persona", fields: &["hits-persona"] },
    Row { label: "session", fields: &["hits-session"] },
    Row { label: "response", fields: &["hits-response"] },
    Row { label: "stale", fields: &["stale-hits"] },
    Row { label: "waited", fields: &["coalesced"] },
];

/// What part of the requests was answered in each row's way; None where the field is missing or nobody asked.
pub type Shares = [Option<f64>; ROWS.len()];

/// The shares since the server started.
pub fn shares_since_start(stats: &Stats) -> Shares {
    let asked = stats.sum(&ASKED);
    ROWS.map(|row| share(stats.sum(row.fields), asked))
}

fn share(part: Option<u64>, whole: Option<u64>) -> Option<f64> {
    match (part, whole) {
        // A wait that began before the first look may end after it.
        (Some(part), Some(whole)) if whole > 0 => Some((part as f64 / whole as f64).min(1.0)),
        _ => None,
    }
}

/// The changes between two readings.
#[derive(Clone, Debug)]
pub struct Rates {
    seconds: f64,
    /// By how much each counter grew.
    grown: Stats,
}

impl Rates {
    /// Returns None if there is nothing to compare: no time between, or a counter that went down, as after a
    /// restart of the server.
    pub fn between(before: (&Stats, Instant), after: (&Stats, Instant)) -> Option<Rates> {
        let seconds = after.1.checked_duration_since(before.1)?.as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let (before, after) = (before.0, after.0);
        let counters = COUNTERS.iter().filter_map(|name| Some((*name, before.get(name)?, after.get(name)?)));
        let grown = counters.map(|(name, before, after)| Some((name.to_owned(), after.checked_sub(before)?)));
        Some(Rates { seconds, grown: grown.collect::<Option<Stats>>()? })
    }

    /// A counter's growth in a second.
    pub fn per_second(&self, counter: &str) -> Option<f64> {
        self.grown.get(counter).map(|grown| grown as f64 / self.seconds)
    }

    /// Requests in a second.
    pub fn asked_per_second(&self) -> Option<f64> {
        self.grown.sum(&ASKED).map(|asked| asked as f64 / self.seconds)
    }

    /// Requests in a second that were answered in each row's way.
    pub fn rows_per_second(&self) -> [Option<f64>; ROWS.len()] {
        ROWS.map(|row| self.grown.sum(row.fields).map(|grown| grown as f64 / self.seconds))
    }

    pub fn shares(&self) -> Shares {
        shares_since_start(&self.grown)
    }
}

/// The fields that only grow, of those that are shown.
const COUNTERS: [&str; 14] = [
    "hits",
    "hits-l1",
    "hits-l2",
    "hits-msg",
    "hits-persona",
    "hits-session",
    "hits-response",
    "stale-hits",
    "coalesced",
    "misses",
    "saved-ms",
    "sets",
    "dropped",
    "leases-granted",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn stats(fields: &[(&str, u64)]) -> Stats {
        fields.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    fn rates(before: &[(&str, u64)], after: &[(&str, u64)], ms: u64) -> Option<Rates> {
        let start = Instant::now();
        let (before, after) = (stats(before), stats(after));
        Rates::between((&before, start), (&after, start + Duration::from_millis(ms)))
    }

    /// The index of a row.
    fn row(label: &str) -> usize {
        ROWS.iter().position(|row| row.label == label).expect("a row of that label")
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let before =
            [("hits", 100), ("hits-msg", 100), ("stale-hits", 0), ("misses", 100), ("saved-ms", 5000)];
        let after =
            [("hits", 160), ("hits-msg", 130), ("stale-hits", 10), ("misses", 130), ("saved-ms", 6000)];
        let rates = rates(&before, &after, 2000).expect("rates");
        assert_eq!(rates.asked_per_second(), Some(50.0));
        assert_eq!(rates.per_second("saved-ms"), Some(500.0));
        assert_eq!(rates.shares()[row("all")], Some(0.7));
        assert_eq!(rates.shares()[row("msg")], Some(0.3));
        assert_eq!(rates.shares()[row("stale")], Some(0.1));
        assert_eq!(rates.rows_per_second()[row("msg")], Some(15.0));
    }

    #[test]
    fn what_the_module_does_not_tell_is_none() {
        let rates = rates(&[("hits", 0), ("misses", 0)], &[("hits", 1), ("misses", 1)], 1000).expect("rates");
        assert_eq!(rates.shares()[row("all")], Some(0.5));
        assert_eq!(rates.shares()[row("L1")], None);
        assert_eq!(rates.per_second("saved-ms"), None);
    }

    #[test]
    fn nobody_asking_is_no_hit_rate() {
        let same = [("hits", 5), ("misses", 5)];
        let rates = rates(&same, &same, 1000).expect("rates");
        assert_eq!(rates.shares()[row("all")], None);
        assert_eq!(rates.asked_per_second(), Some(0.0));
    }

    #[test]
    fn a_restarted_server_or_no_time_gives_no_rates() {
        assert!(rates(&[("hits", 5), ("misses", 9)], &[("hits", 6), ("misses", 1)], 1000).is_none());
        assert!(rates(&[("hits", 5)], &[("hits", 6)], 0).is_none());
    }

    #[test]
    fn waits_that_end_later_do_not_make_more_than_all() {
        let rates = rates(&[("misses", 9), ("coalesced", 0)], &[("misses", 10), ("coalesced", 4)], 1000);
        assert_eq!(rates.expect("rates").shares()[row("all")], Some(1.0));
    }
}
