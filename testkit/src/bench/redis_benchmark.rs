//! Other clients' traffic: redis-benchmark, with 50 connections.

use std::process::Command;

use super::server::Server;

pub struct Load<'a> {
    pub requests: u32,
    pub pipeline: u32,
    pub words: Vec<&'a str>,
}

pub struct Speed {
    pub per_second: f64,
    /// The server's CPU time for one command. Other processes on the machine change it less than the rate.
    pub cpu_us: f64,
}

impl Load<'_> {
    pub fn run(&self, server: &Server) -> Speed {
        let before = server.cpu_time().all_threads;
        let mut command = Command::new("redis-benchmark");
        command.args(["--csv", "-c", "50", "-p", &server.port.to_string(), "-n", &self.requests.to_string()]);
        command.args(["-P", &self.pipeline.to_string()]).args(&self.words);
        let output = command.output().expect("run redis-benchmark");
        let computed = server.cpu_time().all_threads - before;
        let cpu_us = computed.as_secs_f64() * 1e6 / f64::from(self.requests);
        let text = String::from_utf8_lossy(&output.stdout);
        // "test","rps","avg_latency_ms",...
        let rate = text.lines().last().and_then(|line| line.split("\",\"").nth(1));
        let per_second = rate.and_then(|rate| rate.parse().ok());
        Speed { per_second: per_second.unwrap_or_else(|| panic!("no rate in {text:?}")), cpu_us }
    }
}
