//! Figures: a Markdown table for people, and the same as JSON.

use serde_json::{Value, json};
use std::fmt::Write;

use crate::caller::{LEASE, MODEL, POLL};
use crate::crowd::{ACCIDENT_AFTER, CONNECTIONS, Case, PROCESSES, Run};
use testkit::bench::figures::{median, spread};
use testkit::bench::output::{self, Machine};
use testkit::bench::server::Server;

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
    machine: Machine,
    crowds: String,
    rows: Vec<Row>,
    json: Vec<Value>,
}

impl Report {
    pub fn new(server: &Server) -> Report {
        Report { machine: Machine::now(server), crowds: String::new(), rows: Vec::new(), json: Vec::new() }
    }

    pub fn crowd(&mut self, case: &Case, runs: &[Run]) {
        let model_ms = MODEL.as_secs_f64() * 1e3;
        let times: Vec<f64> = runs.iter().map(|run| run.took.as_secs_f64() * 1e3).collect();
        let calls: Vec<f64> = runs.iter().map(|run| run.calls as f64).collect();
        let commands: Vec<f64> = runs.iter().map(|run| run.commands as f64).collect();
        let served: usize = runs.iter().map(|run| run.served).sum();
        let expected: usize = runs.iter().map(|run| run.expected).sum();
        let (time, (low, high)) = (median(&times), spread(&times));
        let most_calls = spread(&calls).1;
        let goal = case.goal.zip(case.calls).map(|(goal, calls)| {
            let goal_ms = goal.as_secs_f64() * 1e3;
            let met = time <= goal_ms && most_calls <= calls as f64 && served == expected;
            (format!("{calls} calls, {goal_ms:.0} ms"), met)
        });
        let goal_text = goal_words(goal.as_ref());
        let _ = writeln!(
            self.crowds,
            "| {} | {most_calls:.0} | {time:.0} ms ({low:.0} to {high:.0}) | {:.2} | {served} of {expected} | {:.0} | {goal_text} |",
            case.name,
            time / model_ms,
            median(&commands),
        );
        self.json.push(json!({
            "name": case.name, "model_calls": most_calls, "all_served_ms": time, "low_ms": low, "high_ms": high,
            "served": served, "expected": expected, "commands": median(&commands),
            "goal_met": goal.map(|(_, met)| met),
        }));
    }

    pub fn add(&mut self, row: Row) {
        let met = row.goal.as_ref().map(|(_, met)| met);
        self.json.push(json!({"name": row.name, "value": row.value, "goal_met": met}));
        self.rows.push(row);
    }

    /// Prints the tables, and writes them to target/bench.
    pub fn write(&self) {
        let mut text = format!("# Single flight\n\n{}\n\n", self.machine.sentence());
        let _ = writeln!(
            text,
            "{} connections in {PROCESSES} processes ask for one missing prompt; the stand-in model takes {} ms and \
             serves any number at once; a lease and a lock live {} ms; a lock is polled every {} ms; the accident \
             comes {} ms into the first model call; of a killed process, {CONNECTIONS} callers, which the count leaves out.\n",
            PROCESSES * CONNECTIONS,
            MODEL.as_millis(),
            LEASE.as_millis(),
            POLL.as_millis(),
            ACCIDENT_AFTER.as_millis(),
        );
        text += "| how | model calls (most) | until all are served: median (range) | x the model's time | served | \
                 commands at the server | goal |\n| --- | --- | --- | --- | --- | --- | --- |\n";
        text += &self.crowds;
        text += "\n| figure | median (range) | goal |\n| --- | --- | --- |\n";
        for row in &self.rows {
            let _ = writeln!(text, "| {} | {} | {} |", row.name, row.text, goal_words(row.goal.as_ref()));
        }
        let json = json!({"machine": self.machine.json(), "figures": self.json});
        output::write("single-flight", &text, &json);
    }
}

/// A goal for the table.
fn goal_words(goal: Option<&(String, bool)>) -> String {
    match goal {
        Some((goal, true)) => format!("{goal}: met"),
        Some((goal, false)) => format!("{goal}: MISSED"),
        None => String::new(),
    }
}
