//! The personas, busiest first: pages of CHATCACHE.PERSONAS put together to whole lists, and lists compared.
//!
//! A server may have a million personas, so the list is read a few pages a refresh, and no more of it is kept
//! than `KEPT`.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Instant;

/// Number of personas that are kept: those with the most requests.
pub const KEPT: usize = 10_000;

/// A persona when it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Persona {
    pub name: Vec<u8>,
    pub entries: u64,
    pub bytes: u64,
    pub hits: u64,
    pub misses: u64,
    pub read_at: Instant,
}

impl Persona {
    fn asked(&self) -> u64 {
        self.hits.saturating_add(self.misses)
    }
}

/// A list being read.
#[derive(Default)]
pub struct Sweep {
    personas: Vec<Persona>,
    total: usize,
}

/// A list read to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Census {
    /// At most `KEPT` of them.
    pub personas: Vec<Persona>,
    /// Their number.
    pub total: usize,
}

impl Sweep {
    pub fn add(&mut self, page: Vec<Persona>) {
        self.total += page.len();
        self.personas.extend(page);
        if self.personas.len() >= 2 * KEPT {
            self.cut();
        }
    }

    /// The list, now that its last page is there; the next begins.
    pub fn finish(&mut self) -> Census {
        self.cut();
        let Sweep { personas, total } = std::mem::take(self);
        Census { personas, total }
    }

    fn cut(&mut self) {
        self.personas.sort_by_key(|persona| std::cmp::Reverse(persona.asked()));
        self.personas.truncate(KEPT);
    }
}

/// A persona on the screen.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub persona: Persona,
    /// Requests in a second since the list before; None in the first.
    pub asked_per_second: Option<f64>,
}

impl Line {
    /// Hits among all requests so far.
    pub fn hit_share(&self) -> Option<f64> {
        let asked = self.persona.asked();
        (asked > 0).then(|| self.persona.hits as f64 / asked as f64)
    }
}

/// The order of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Asked,
    Hits,
    Entries,
    Bytes,
    Name,
}

impl Sort {
    pub fn next(self) -> Sort {
        match self {
            Sort::Asked => Sort::Hits,
            Sort::Hits => Sort::Entries,
            Sort::Entries => Sort::Bytes,
            Sort::Bytes => Sort::Name,
            Sort::Name => Sort::Asked,
        }
    }

    /// Largest first, and names from A on.
    fn compare(self, a: &Line, b: &Line) -> Ordering {
        let by_name = || a.persona.name.cmp(&b.persona.name);
        let largest = |of: fn(&Line) -> f64| of(b).total_cmp(&of(a));
        let order = match self {
            // An unknown value sorts last.
            Sort::Asked => largest(|line| line.asked_per_second.unwrap_or(-1.0))
                .then_with(|| b.persona.asked().cmp(&a.persona.asked())),
            Sort::Hits => largest(|line| line.hit_share().unwrap_or(-1.0)),
            Sort::Entries => b.persona.entries.cmp(&a.persona.entries),
            Sort::Bytes => b.persona.bytes.cmp(&a.persona.bytes),
            Sort::Name => Ordering::Equal,
        };
        order.then_with(by_name)
    }
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Usual,
    Reversed,
}

impl Direction {
    pub fn other(self) -> Direction {
        match self {
            Direction::Usual => Direction::Reversed,
            Direction::Reversed => Direction::Usual,
        }
    }
}

/// The lines of a list, with what has happened since the one before.
pub fn compare(before: Option<&Census>, now: Census) -> Vec<Line> {
    let before: HashMap<&[u8], &Persona> = before
        .map(|census| census.personas.iter().map(|persona| (persona.name.as_slice(), persona)).collect())
        .unwrap_or_default();
    let line = |persona: Persona| {
        let asked_per_second = before.get(persona.name.as_slice()).and_then(|before| {
            let seconds = persona.read_at.checked_duration_since(before.read_at)?.as_secs_f64();
            // Fewer than before: the server has restarted, or forgotten the persona in between.
            let asked = persona.asked().checked_sub(before.asked())?;
            (seconds > 0.0).then(|| asked as f64 / seconds)
        });
        Line { persona, asked_per_second }
    };
    now.personas.into_iter().map(line).collect()
}

/// Sorts; equal ones stand by name, so that the screen does not flicker.
pub fn sort(lines: &mut [Line], by: Sort, direction: Direction) {
    lines.sort_by(|a, b| match direction {
        Direction::Usual => by.compare(a, b),
        Direction::Reversed => by.compare(b, a),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn persona(name: &str, entries: u64, bytes: u64, hits: u64, misses: u64, read_at: Instant) -> Persona {
        Persona { name: name.into(), entries, bytes, hits, misses, read_at }
    }

    fn names(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8_lossy(&line.persona.name).into_owned()).collect()
    }

    #[test]
    fn pages_make_a_list() {
        let now = Instant::now();
        let mut sweep = Sweep::default();
        sweep.add(vec![persona("a", 1, 1, 0, 0, now)]);
        sweep.add(vec![persona("b", 1, 1, 5, 0, now), persona("c", 1, 1, 1, 1, now)]);
        let census = sweep.finish();
        assert_eq!(census.total, 3);
        assert_eq!(names(&compare(None, census)), ["b", "c", "a"]);
        assert_eq!(sweep.finish().total, 0, "the next list begins with nothing");
    }

    #[test]
    fn of_very_many_the_busiest_are_kept() {
        let now = Instant::now();
        let mut sweep = Sweep::default();
        for page in 0..30_u64 {
            let asked = |at: u64| persona(&format!("p{page}-{at}"), 1, 1, page * 1000 + at, 0, now);
            sweep.add((0..1000).map(asked).collect());
        }
        let census = sweep.finish();
        assert_eq!((census.total, census.personas.len()), (30_000, KEPT));
        assert!(census.personas.iter().all(|persona| persona.hits >= 20_000));
    }

    #[test]
    fn the_rate_is_of_the_time_between_two_readings_of_that_persona() {
        let start = Instant::now();
        let later = start + Duration::from_secs(4);
        let before = Census { personas: vec![persona("a", 1, 1, 10, 10, start)], total: 1 };
        let now = vec![persona("a", 1, 1, 20, 20, later), persona("new", 1, 1, 9, 9, later)];
        let lines = compare(Some(&before), Census { personas: now, total: 2 });
        let rates: Vec<_> = lines.iter().map(|line| line.asked_per_second).collect();
        assert_eq!(rates, [Some(5.0), None]);
    }

    #[test]
    fn a_counter_that_went_down_is_no_rate() {
        let start = Instant::now();
        let before = Census { personas: vec![persona("a", 1, 1, 10, 10, start)], total: 1 };
        let now = vec![persona("a", 1, 1, 1, 0, start + Duration::from_secs(1))];
        assert_eq!(compare(Some(&before), Census { personas: now, total: 1 })[0].asked_per_second, None);
    }

    #[test]
    fn lines_are_sorted_by_each_column_and_back() {
        let now = Instant::now();
        let line = |persona, asked_per_second| Line { persona, asked_per_second };
        let mut lines = vec![
            line(persona("a", 9, 10, 1, 9, now), Some(2.0)),
            line(persona("b", 5, 90, 9, 1, now), Some(7.0)),
            line(persona("c", 7, 50, 0, 0, now), None),
        ];
        let mut by = |sort_by, direction| {
            sort(&mut lines, sort_by, direction);
            names(&lines).concat()
        };
        assert_eq!(by(Sort::Asked, Direction::Usual), "bac");
        assert_eq!(by(Sort::Hits, Direction::Usual), "bac");
        assert_eq!(by(Sort::Entries, Direction::Usual), "acb");
        assert_eq!(by(Sort::Bytes, Direction::Usual), "bca");
        assert_eq!(by(Sort::Name, Direction::Usual), "abc");
        assert_eq!(by(Sort::Name, Direction::Reversed), "cba");
    }

    #[test]
    fn the_key_goes_through_all_columns() {
        let all = [Sort::Asked, Sort::Hits, Sort::Entries, Sort::Bytes, Sort::Name];
        assert_eq!(all.map(Sort::next), [Sort::Hits, Sort::Entries, Sort::Bytes, Sort::Name, Sort::Asked]);
    }
}
