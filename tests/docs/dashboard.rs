//! dashboards/: Grafana's dashboard asks for nothing that the exporter and the example do not export.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use regex::Regex;
use serde_json::Value;
use testkit::{Server, cmd};

use super::python::INTERPRETER;
use super::root;

/// All queries of the dashboard's panels.
fn queries() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("dashboards/chatcache.json")).expect("read the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().expect("a query").to_owned()).collect()
}

/// The metrics that the dashboard asks for.
fn wanted() -> BTreeSet<String> {
    let metric = Regex::new(r"\b(?:chatcache|redis|chat)_[a-z0-9_]+").expect("a pattern");
    let queries = queries();
    assert!(queries.iter().all(|query| metric.is_match(query)), "a query without a metric of ours");
    queries.iter().flat_map(|query| metric.find_iter(query)).map(|found| found.as_str().to_owned()).collect()
}

/// The metrics that an exposition has values of, or at least declares, as those with labels that nobody set yet.
fn exported(exposition: &str) -> BTreeSet<String> {
    let name = |line: &str| match line.strip_prefix("# TYPE ") {
        Some(declared) => {
            let (name, kind) = declared.split_once(' ')?;
            Some(if kind == "histogram" { format!("{name}_bucket") } else { name.to_owned() })
        }
        None if line.starts_with('#') => None,
        None => line.split(['{', ' ']).next().map(str::to_owned),
    };
    exposition.lines().filter_map(name).collect()
}

/// The exporter of dashboards/, and where it listens.
struct Exporter(Child, u16);

impl Exporter {
    fn start(server: &Server) -> Exporter {
        Exporter::start_as("", server)
    }

    /// With `user:password@`.
    fn start_as(credentials: &str, server: &Server) -> Exporter {
        let free = TcpListener::bind("127.0.0.1:0").expect("bind a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let url = format!("redis://{credentials}127.0.0.1:{}", server.port());
        let mut process = Command::new(INTERPRETER.as_str())
            .arg(root().join("dashboards/exporter.py"))
            .args([&url, &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the exporter");
        let mut ready = String::new();
        BufReader::new(process.stdout.take().expect("its output")).read_line(&mut ready).expect("read it");
        assert!(ready.starts_with("exporter: http"), "the exporter did not start: {ready:?}");
        Exporter(process, port)
    }

    fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.1)).expect("connect to the exporter");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("ask the exporter");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("read from the exporter");
        reply
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_dashboard_queries_only_metrics_of_the_exporter() {
    let mut server = Server::start();
    let mut con = server.connect();
    cmd(&mut con, &["CHATCACHE.SET", "msg", "ann", "helper", "hi", "hello"]).expect("SET");
    cmd(&mut con, &["CHATCACHE.GET", "msg", "ann", "helper", "hi"]).expect("GET");
    let exporter = Exporter::start(&server);
    let told = exporter.metrics();
    assert!(told.contains("chatcache_up 1.0") && told.contains("chatcache_hits_msg_total 1.0"), "{told}");
    assert!(told.contains("# TYPE chatcache_entries gauge"), "{told}");

    let of_server: BTreeSet<String> =
        wanted().into_iter().filter(|name| !name.starts_with("chat_")).collect();
    assert!(of_server.len() > 20, "{of_server:?}");
    let missing: Vec<_> = of_server.difference(&exported(&told)).cloned().collect();
    assert!(missing.is_empty(), "the dashboard asks for {missing:?}, which are not in\n{told}");

    server.kill9();
    assert!(exporter.metrics().contains("chatcache_up 0.0"), "a server that is gone is told, too");
}

#[test]
fn a_user_without_info_exports_the_counters_of_stats() {
    let server = Server::start();
    let rule = ["ACL", "SETUSER", "stats", "on", ">secret", "+client|setname", "+chatcache.stats"];
    cmd(&mut server.connect(), &rule).expect("ACL SETUSER");
    let told = Exporter::start_as("stats:secret@", &server).metrics();
    assert!(told.contains("chatcache_up 1.0") && told.contains("chatcache_hits_total 0.0"), "{told}");
}

#[test]
fn the_dashboard_queries_only_metrics_of_the_example() {
    let script = "from chat_service import metrics; print(metrics.exposition({}, {}).decode())";
    let output = Command::new(INTERPRETER.as_str())
        .args(["-c", script])
        .current_dir(root().join("examples/chat_service"))
        .env("PYTHONPATH", root().join("clients/python/src"))
        .output()
        .expect("start Python");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let of_service: BTreeSet<String> =
        wanted().into_iter().filter(|name| name.starts_with("chat_")).collect();
    assert!(!of_service.is_empty());
    let missing: Vec<_> = of_service.difference(&exported(&told)).cloned().collect();
    assert!(missing.is_empty(), "the dashboard asks for {missing:?}, which are not in\n{told}");
}

#[test]
fn panels_do_not_lie_on_each_other() {
    let text = std::fs::read_to_string(root().join("dashboards/chatcache.json")).expect("read the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("the dashboard is JSON");
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let at = |side: &str| panel["gridPos"][side].as_u64().expect("a place");
        assert!(at("x") + at("w") <= 24, "{panel} is wider than the dashboard");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{} lies on another panel", panel["title"]);
            }
        }
    }
}
