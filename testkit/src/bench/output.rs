//! The machine's description, and the files for figures.

use redis::InfoDict;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::Server;

/// The conditions of a measurement, reported with it.
pub struct Machine {
    pub date: String,
    pub cpu: String,
    pub cpus: usize,
    pub memory_gib: f64,
    pub kernel: String,
    pub server: String,
    pub commit: String,
    /// The machine's other load before the run.
    pub load: String,
}

impl Machine {
    pub fn now(server: &Server) -> Machine {
        let info: InfoDict = redis::cmd("INFO").query(&mut server.connect()).expect("INFO");
        let field = |name| info.get::<String>(name);
        let version = match field("valkey_version") {
            Some(version) => format!("Valkey {version}"),
            None => format!("Redis {}", field("redis_version").unwrap_or_default()),
        };
        let cpu = line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let memory_kib = line_of("/proc/meminfo", "MemTotal")
            .and_then(|line| line.trim_end_matches(" kB").parse::<f64>().ok())
            .unwrap_or(0.0);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let changed = said("git", &["status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock"]);
        let changed = if changed.is_empty() { "" } else { " and changes that are not committed" };
        Machine {
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            cpu,
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: memory_kib / f64::from(1 << 20),
            kernel: said("uname", &["-sr"]),
            server: format!("{version} ({})", field("mem_allocator").unwrap_or_default()),
            commit: said("git", &["rev-parse", "--short", "HEAD"]) + changed,
            load: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }

    pub fn sentence(&self) -> String {
        format!(
            "{}; {}, {} CPUs, {:.0} GiB; {}; {}; commit {}; load before the run {}.",
            self.date, self.cpu, self.cpus, self.memory_gib, self.kernel, self.server, self.commit, self.load
        )
    }

    pub fn json(&self) -> Value {
        json!({
            "date": self.date, "cpu": self.cpu, "cpus": self.cpus, "memory_gib": self.memory_gib,
            "kernel": self.kernel, "server": self.server, "commit": self.commit, "load": self.load,
        })
    }
}

/// The first line of a `name: value` file with this name.
fn line_of(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let (_, value) = text.lines().find(|line| line.starts_with(name))?.split_once(':')?;
    Some(value.trim().to_owned())
}

/// The output of a program; empty if it is not installed.
fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).current_dir(repository()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// The repository, which the testkit is a folder of.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the testkit is in a repository")
}

/// target/bench, made if it is missing.
pub fn directory() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let directory = target.join("bench");
    std::fs::create_dir_all(&directory).expect("make target/bench");
    directory
}

/// Prints a report and writes it, and its JSON, to target/bench.
pub fn write(name: &str, text: &str, json: &Value) {
    let directory = directory();
    let pretty = serde_json::to_string_pretty(json).expect("JSON of our own");
    std::fs::write(directory.join(format!("{name}.md")), text).expect("write the report");
    std::fs::write(directory.join(format!("{name}.json")), pretty + "\n").expect("write the report's JSON");
    println!("{text}\nwritten to {}/{name}.md and .json", directory.display());
}
