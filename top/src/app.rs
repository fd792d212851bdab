//! The state of the screen and its changes: by readings of the server, and by keys.

use std::collections::VecDeque;
use std::time::Instant;

use crate::personas::{self, Census, Direction, Line, Sort};
use crate::server::{About, Reading};
use crate::stats::{self, Rates, Shares, Stats};

/// Number of readings in the charts: more than any screen is wide.
const HISTORY: usize = 600;

/// The state of the connection.
#[derive(Debug, Default)]
pub enum Link {
    #[default]
    Connecting,
    Up,
    Lost(String),
}

/// All that is shown.
pub struct App {
    pub address: String,
    pub database: i64,
    pub link: Link,
    pub paused: bool,
    /// The last look, kept while the server is away.
    pub last: Option<Last>,
    /// Between the last two looks.
    pub rates: Option<Rates>,
    /// The shares over time, one for each look, newest first.
    pub history: VecDeque<Shares>,
    /// The personas, sorted; or why there are none.
    pub lines: Result<Vec<Line>, String>,
    /// Their number; None until their list has been read once.
    pub personas_total: Option<usize>,
    pub sort: Sort,
    pub direction: Direction,
    /// Number of lines scrolled past.
    pub scrolled: usize,
    census: Option<Census>,
}

/// The last look.
pub struct Last {
    pub at: Instant,
    pub stats: Stats,
    pub about: About,
}

/// The action of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Quit,
    Pause,
    NextSort,
    Reverse,
    /// Scrolls down by this number of lines.
    Scroll(isize),
}

impl App {
    pub fn new(address: String, database: i64) -> App {
        App {
            address,
            database,
            link: Link::default(),
            paused: false,
            last: None,
            rates: None,
            history: VecDeque::new(),
            lines: Ok(Vec::new()),
            personas_total: None,
            sort: Sort::Asked,
            direction: Direction::Usual,
            scrolled: 0,
            census: None,
        }
    }

    /// A look, or why it failed. While paused nothing changes.
    pub fn take(&mut self, looked: Result<Reading, String>) {
        if self.paused {
            return;
        }
        match looked {
            Ok(reading) => self.take_reading(reading),
            Err(error) => {
                self.link = Link::Lost(error);
                self.rates = None;
                self.remember([None; stats::ROWS.len()]);
            }
        }
    }

    fn take_reading(&mut self, Reading { at, stats, about, personas }: Reading) {
        let again = matches!(self.link, Link::Up);
        self.link = Link::Up;
        // Across a lost connection there is no rate: it may be another server, or the same one anew.
        let before = self.last.as_ref().filter(|_| again);
        self.rates = before.and_then(|last| Rates::between((&last.stats, last.at), (&stats, at)));
        if let Some(shares) = self.rates.as_ref().map(Rates::shares) {
            self.remember(shares);
        }
        self.last = Some(Last { at, stats, about });
        match personas {
            Ok(Some(census)) => {
                self.personas_total = Some(census.total);
                self.lines = Ok(personas::compare(self.census.as_ref(), census.clone()));
                self.census = Some(census);
                self.sort_lines();
            }
            Ok(None) => {}
            Err(error) => (self.lines, self.census) = (Err(error), None),
        }
    }

    fn remember(&mut self, shares: Shares) {
        self.history.push_front(shares);
        self.history.truncate(HISTORY);
    }

    /// Does all but quitting.
    pub fn act(&mut self, action: Action) {
        match action {
            Action::Quit => {}
            // The first look after a pause is compared with the last before it, over all that time.
            Action::Pause => self.paused = !self.paused,
            Action::NextSort => {
                (self.sort, self.scrolled) = (self.sort.next(), 0);
                self.sort_lines();
            }
            Action::Reverse => {
                (self.direction, self.scrolled) = (self.direction.other(), 0);
                self.sort_lines();
            }
            Action::Scroll(lines) => {
                let last = self.lines.as_ref().map_or(0, Vec::len).saturating_sub(1);
                self.scrolled = self.scrolled.saturating_add_signed(lines).min(last);
            }
        }
    }

    pub fn shares_since_start(&self) -> Option<Shares> {
        self.last.as_ref().map(|last| stats::shares_since_start(&last.stats))
    }

    fn sort_lines(&mut self) {
        let (by, direction) = (self.sort, self.direction);
        if let Ok(lines) = &mut self.lines {
            personas::sort(lines, by, direction);
            self.scrolled = self.scrolled.min(lines.len().saturating_sub(1));
        }
    }
}
