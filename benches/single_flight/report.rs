//! Figures: a Markdown table for people, and the same as JSON.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::caller::{LEASE, MODEL, POLL};
use crate::crowd::{ACCIDENT_AFTER, CONNECTIONS, Case, PROCESSES, Run};
use crate::server::Server;

/// One figure, and the goal it is held against.
pub struct Row {
    name: String,
    value: f64,
    text: String,
    goal: Option<(String, bool)>,
}

impl Row {
    pub fn new(name: impl Into<String>, value: f64, text: String) -> Row {
        Row { name: name.into(), value, text, goal: None }
    }

    /// The median of some ratios, and their spread.
    pub fn ratio(name: impl Into<String>, ratios: &[f64]) -> Row {
        let (low, high) = spread(ratios);
        let text = format!("{:.3} ({low:.3} to {high:.3}, {} rounds)", median(ratios), ratios.len());
        Row::new(name, median(ratios), text)
    }

    pub fn bytes(name: &str, bytes: f64) -> Row {
        Row::new(name, bytes, format!("{bytes:.0} bytes"))
    }

    pub fn at_least(self, limit: f64) -> Row {
        let met = self.value >= limit;
        Row { goal: Some((format!("at least {limit}"), met)), ..self }
    }

    pub fn at_most(self, limit: f64) -> Row {
        let met = self.value <= limit;
        Row { goal: Some((format!("at most {limit}"), met)), ..self }
    }
}

pub struct Report {
    head: String,
    crowds: String,
    rows: Vec<Row>,
    json: Vec<String>,
}

impl Report {
    pub fn new(server: &Server) -> Report {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let head = format!(
            "Redis {}, {} CPUs, load before the run {}",
            server.info::<String>("redis_version"),
            std::thread::available_parallelism().map_or(0, usize::from),
            load.split(' ').take(3).collect::<Vec<_>>().join(" "),
        );
        Report { head, crowds: String::new(), rows: Vec::new(), json: Vec::new() }
    }

    pub fn crowd(&mut self, case: &Case, runs: &[Run]) {
        let model_ms = MODEL.as_secs_f64() * 1e3;
        let times: Vec<f64> = runs.iter().map(|run| run.took.as_secs_f64() * 1e3).collect();
        let calls: Vec<f64> = runs.iter().map(|run| run.calls as f64).collect();
        let commands: Vec<f64> = runs.iter().map(|run| run.commands as f64).collect();
        let answered: usize = runs.iter().map(|run| run.answered).sum();
        let expected: usize = runs.iter().map(|run| run.expected).sum();
        let (time, (low, high)) = (median(&times), spread(&times));
        let most_calls = spread(&calls).1;
        let goal = case.goal.zip(case.calls).map(|(goal, calls)| {
            let goal_ms = goal.as_secs_f64() * 1e3;
            let met = time <= goal_ms && most_calls <= calls as f64 && answered == expected;
            (format!("{calls} calls, {goal_ms:.0} ms"), met)
        });
        let (goal_text, met) = goal_words(goal.as_ref());
        let _ = writeln!(
            self.crowds,
            "| {} | {most_calls:.0} | {time:.0} ms ({low:.0} to {high:.0}) | {:.2} | {answered} of {expected} | {:.0} | {goal_text} |",
            case.name,
            time / model_ms,
            median(&commands),
        );
        self.json.push(format!(
            "{{\"name\": \"{}\", \"model_calls\": {most_calls}, \"all_answered_ms\": {time:.1}, \
             \"low_ms\": {low:.1}, \"high_ms\": {high:.1}, \"answered\": {answered}, \"expected\": {expected}, \
             \"commands\": {}, \"goal_met\": {met}}}",
            case.name,
            median(&commands),
        ));
    }

    pub fn add(&mut self, row: Row) {
        let (_, met) = goal_words(row.goal.as_ref());
        self.json.push(format!(
            "{{\"name\": \"{}\", \"value\": {:.4}, \"goal_met\": {met}}}",
            row.name, row.value
        ));
        self.rows.push(row);
    }

    /// Prints the tables, and writes them to target/bench.
    pub fn write(&self) {
        let mut text = format!("# Single flight\n\n{}\n\n", self.head);
        let _ = writeln!(
            text,
            "{} connections in {PROCESSES} processes ask for one missing prompt; the stand-in model takes {} ms and \
             answers any number at once; a lease and a lock live {} ms; a lock is polled every {} ms; the accident \
             comes {} ms into the first model call; of a killed process, {CONNECTIONS} callers, nobody is waited for.\n",
            PROCESSES * CONNECTIONS,
            MODEL.as_millis(),
            LEASE.as_millis(),
            POLL.as_millis(),
            ACCIDENT_AFTER.as_millis(),
        );
        text += "| how | model calls (most) | until all are answered: median (range) | x the model's time | answered | \
                 commands at the server | goal |\n| --- | --- | --- | --- | --- | --- | --- |\n";
        text += &self.crowds;
        text += "\n| figure | median (range) | goal |\n| --- | --- | --- |\n";
        for row in &self.rows {
            let _ = writeln!(text, "| {} | {} | {} |", row.name, row.text, goal_words(row.goal.as_ref()).0);
        }
        let json =
            format!("{{\"machine\": \"{}\", \"figures\": [\n  {}\n]}}\n", self.head, self.json.join(",\n  "));
        let directory = target().join("bench");
        std::fs::create_dir_all(&directory).expect("make target/bench");
        std::fs::write(directory.join("single-flight.md"), &text).expect("write single-flight.md");
        std::fs::write(directory.join("single-flight.json"), json).expect("write single-flight.json");
        println!("{text}\nwritten to {}/single-flight.md and .json", directory.display());
    }
}

/// A goal for the table, and for JSON whether it is met.
fn goal_words(goal: Option<&(String, bool)>) -> (String, &'static str) {
    match goal {
        Some((goal, true)) => (format!("{goal}: met"), "true"),
        Some((goal, false)) => (format!("{goal}: MISSED"), "false"),
        None => (String::new(), "null"),
    }
}

fn target() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| here.join("target"), PathBuf::from)
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + sorted[middle]) / 2.0 } else { sorted[middle] }
}

/// The lowest and the highest.
pub fn spread(values: &[f64]) -> (f64, f64) {
    values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)))
}
