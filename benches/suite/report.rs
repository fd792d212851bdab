//! The report: one row a comparison, held against its goal, and tables of more figures.

use serde_json::{Map, Value, json};
use std::fmt::Write;

use crate::generator::Speed;
use testkit::bench::figures::{median, spread};
use testkit::bench::output::{self, Machine};

/// The measurements of one contestant, round by round.
#[derive(Clone)]
pub struct Series {
    pub name: String,
    pub unit: &'static str,
    pub values: Vec<f64>,
    /// Microseconds of the server's CPU time a unit of work: its main thread's, and of all threads.
    pub main_us: Vec<f64>,
    pub all_us: Vec<f64>,
}

impl Series {
    pub fn new(name: impl Into<String>, unit: &'static str) -> Series {
        Series { name: name.into(), unit, values: vec![], main_us: vec![], all_us: vec![] }
    }

    pub fn of(name: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Series {
        Series { values, ..Series::new(name, unit) }
    }

    pub fn add(&mut self, speed: Speed) {
        self.values.push(speed.per_second);
        self.main_us.push(speed.main_us);
        self.all_us.push(speed.all_us);
    }

    pub fn median(&self) -> f64 {
        median(&self.values)
    }

    fn words(&self) -> String {
        let space = if self.unit.starts_with('/') { "" } else { " " };
        let mut words = format!("{}{space}{}", figure(self.median()), self.unit);
        if self.values.len() > 1 {
            let (low, high) = spread(&self.values);
            let _ = write!(words, " ({} to {})", figure(low), figure(high));
        }
        if !self.main_us.is_empty() {
            let _ = write!(words, ", {:.2} us CPU", median(&self.main_us));
            // Only where other threads did something.
            if median(&self.all_us) > 1.03 * median(&self.main_us) {
                let _ = write!(words, " (all threads {:.2})", median(&self.all_us));
            }
        }
        words
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "unit": self.unit, "median": self.median(), "values": self.values,
            "main_thread_us": self.main_us, "all_threads_us": self.all_us,
        })
    }
}

/// The bound of a ratio or a value.
#[derive(Clone)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// In words, and whether it is met.
    Told(String, bool),
}

impl Goal {
    fn words(&self) -> String {
        match self {
            Goal::AtLeast(limit) => format!("at least {limit}"),
            Goal::AtMost(limit) => format!("at most {limit}"),
            Goal::Told(words, _) => words.clone(),
        }
    }

    fn met(&self, value: f64) -> bool {
        match self {
            Goal::AtLeast(limit) => value >= *limit,
            Goal::AtMost(limit) => value <= *limit,
            Goal::Told(_, met) => *met,
        }
    }
}

/// One thing measured, mostly against another one.
pub struct Row {
    pub what: String,
    pub ours: Series,
    pub other: Option<Series>,
    pub goal: Option<Goal>,
}

impl Row {
    /// Ours by the other's, in each round; nothing where there is no other.
    fn ratios(&self) -> Vec<f64> {
        let Some(other) = &self.other else { return Vec::new() };
        if other.values.len() == self.ours.values.len() {
            self.ours.values.iter().zip(&other.values).map(|(ours, other)| ours / other).collect()
        } else {
            vec![self.ours.median() / other.median()]
        }
    }

    /// The same by CPU time of the main thread: how many of ours fit into the time of the other's.
    fn cpu_ratios(&self) -> Vec<f64> {
        let other = self.other.iter().flat_map(|other| &other.main_us);
        self.ours.main_us.iter().zip(other).map(|(ours, other)| other / ours).collect()
    }

    /// The subject of the goal: the ratio or, without one, the value.
    fn value(&self) -> f64 {
        let ratios = self.ratios();
        if ratios.is_empty() { self.ours.median() } else { median(&ratios) }
    }

    fn met(&self) -> Option<bool> {
        Some(self.goal.as_ref()?.met(self.value()))
    }

    fn markdown(&self) -> String {
        let goal = match (&self.goal, self.met()) {
            (Some(goal), Some(true)) => format!("{}: met", goal.words()),
            (Some(goal), _) => format!("{}: **MISSED**", goal.words()),
            (None, _) => String::new(),
        };
        let other =
            self.other.as_ref().map_or(String::new(), |other| format!("{}: {}", other.name, other.words()));
        format!(
            "| {} | {} | {other} | {} | {} | {goal} |\n",
            self.what,
            self.ours.words(),
            ratio_words(&self.ratios()),
            ratio_words(&self.cpu_ratios()),
        )
    }

    fn json(&self) -> Value {
        json!({
            "what": self.what, "ours": self.ours.json(), "other": self.other.as_ref().map(Series::json),
            "ratios": self.ratios(), "cpu_ratios": self.cpu_ratios(), "value": self.value(),
            "goal": self.goal.as_ref().map(Goal::words), "met": self.met(),
        })
    }
}

/// A table of figures that are not held against a goal.
pub struct Table {
    pub title: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// The same for machines.
    pub json: Value,
}

pub struct Report {
    machine: Machine,
    text: String,
    notes: Vec<String>,
    rows: Vec<Row>,
    tables: Vec<Table>,
    charts: Vec<(String, String)>,
}

impl Report {
    pub fn new(machine: Machine, text: &str) -> Report {
        Report { machine, text: text.to_owned(), notes: vec![], rows: vec![], tables: vec![], charts: vec![] }
    }

    /// Something a reader of the figures must know.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub fn add(&mut self, row: Row) {
        eprint!("{}", row.markdown());
        self.rows.push(row);
    }

    pub fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// A chart that stands in target/bench as `<name>.svg`.
    pub fn chart(&mut self, name: &str, title: &str) {
        self.charts.push((name.to_owned(), title.to_owned()));
    }

    /// Prints all, and writes it to target/bench.
    pub fn write(&self) {
        let mut text =
            format!("# Speed and memory\n\n{}\n\nText: {}.\n\n", self.machine.sentence(), self.text);
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text += "\n| what | measured | against | ratio | by CPU time | goal |\n\
                 | --- | --- | --- | --- | --- | --- |\n";
        for row in &self.rows {
            text += &row.markdown();
        }
        let held = self.rows.iter().filter_map(Row::met);
        let (met, all) = held.fold((0, 0), |(met, all), is_met| (met + usize::from(is_met), all + 1));
        let _ = writeln!(text, "\n{met} of {all} goals met.");
        for table in &self.tables {
            let _ = write!(text, "\n## {}\n\n| {} |\n|", table.title, table.columns.join(" | "));
            text += &" --- |".repeat(table.columns.len());
            text.push('\n');
            for row in &table.rows {
                let _ = writeln!(text, "| {} |", row.join(" | "));
            }
        }
        for (name, title) in &self.charts {
            let _ = write!(text, "\n![{title}]({name}.svg)\n");
        }
        let tables: Map<String, Value> =
            self.tables.iter().map(|table| (table.title.clone(), table.json.clone())).collect();
        let json = json!({
            "machine": self.machine.json(), "text": self.text, "notes": self.notes,
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(), "tables": tables,
        });
        output::write("report", &text, &json);
    }
}

fn ratio_words(ratios: &[f64]) -> String {
    if ratios.is_empty() {
        return String::new();
    }
    let (low, high) = spread(ratios);
    match ratios.len() {
        1 => figure(ratios[0]),
        _ => format!("{} ({} to {})", figure(median(ratios)), figure(low), figure(high)),
    }
}

/// A number with the three digits that count, and separators where it is long.
pub fn figure(value: f64) -> String {
    let magnitude = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    let digits = (2.0 - magnitude).clamp(0.0, 6.0) as usize;
    let plain = format!("{value:.digits$}");
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && digit != '-' && (whole.len() - at).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}
