//! A Redis Cluster of a test's own, from masters and replicas on free ports, and a client that goes where a
//! cluster sends it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::net::TcpStream;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use redis::{Connection, RedisResult, Value};

use super::replies::{ask, cmd, error_text, info_field, map_of, shown, text};
use super::waiting::{eventually_within, patient};
use super::{Builder, Server, args};

/// Silence after which the others take a node for dead.
const NODE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit for a cluster to agree, at first and after changes.
const GATHERING: Duration = Duration::from_secs(40);

/// Time that a client goes on trying, through failovers and slot migrations.
const PERSISTENCE: Duration = Duration::from_secs(40);

/// The slots that the tests' clusters have.
const SLOTS: u16 = 16_384;

/// Masters with even shares of the slots, in order, and their replicas: first all masters, then a replica of
/// each, then another of each.
pub struct Cluster {
    nodes: Vec<Server>,
    masters: usize,
}

impl Cluster {
    /// A cluster that all nodes agree on, with every replica in step.
    #[track_caller]
    pub fn start(masters: usize, replicas_each: usize) -> Cluster {
        Cluster::start_with(masters, replicas_each, &[])
    }

    /// The same, with lines for every node's redis.conf.
    #[track_caller]
    pub fn start_with(masters: usize, replicas_each: usize, lines: &[&str]) -> Cluster {
        let count = masters * (1 + replicas_each);
        let builder = lines.iter().fold(node_builder(), |builder, line| builder.config(*line));
        let nodes = thread::scope(|scope| {
            let starting: Vec<_> = (0..count).map(|_| scope.spawn(|| builder.clone().start())).collect();
            starting.into_iter().map(|node| node.join().expect("start a node")).collect()
        });
        let cluster = Cluster { nodes, masters };
        cluster.introduce();
        cluster.deal_out();
        cluster.eventually_agrees();
        cluster
    }

    /// The master number `n` as the cluster began, or from `masters` on a replica.
    pub fn node(&self, n: usize) -> &Server {
        &self.nodes[n]
    }

    pub fn node_mut(&mut self, n: usize) -> &mut Server {
        &mut self.nodes[n]
    }

    /// Starts a node again that was stopped.
    #[track_caller]
    pub fn start_again(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        match node.try_start_again() {
            // Redis 7.4.1 refuses its own nodes.conf where a replica in it has not taken over its master's shard id
            // yet. A file without these ids is as one of 7.0, and taken.
            Err(log) if log.contains("corrupted cluster config file") => {
                let path = node.dir().join("nodes.conf");
                let lines = fs::read_to_string(&path).expect("read nodes.conf");
                let mut parts = lines.split(",shard-id=");
                let first = parts.next().unwrap_or_default().to_owned();
                let rest = parts.map(|part| part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
                fs::write(&path, first + &rest.collect::<String>()).expect("write nodes.conf");
                node.start_again();
            }
            Err(log) => panic!("the node did not start again:\n{log}"),
            Ok(()) => {}
        }
    }

    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// Whose slots these were when the cluster began.
    pub fn slots_of(&self, master: usize) -> Range<u16> {
        let share = |n: usize| u16::try_from(usize::from(SLOTS) * n / self.masters).expect("a slot");
        share(master)..share(master + 1)
    }

    /// The master number whose persona this was when the cluster began.
    #[track_caller]
    pub fn home_of(&self, persona: &str) -> usize {
        let slot = slot_of(&mut self.nodes[0].connect(), persona.as_bytes());
        (0..self.masters).find(|&master| self.slots_of(master).contains(&slot)).expect("a master")
    }

    /// A name that begins with `prefix` for a persona of this master.
    #[track_caller]
    pub fn persona_of(&self, master: usize, prefix: &str) -> String {
        let mut con = self.nodes[0].connect();
        let slots = self.slots_of(master);
        let mut names = (0..).map(|n| format!("{prefix}{n}"));
        names.find(|name| slots.contains(&slot_of(&mut con, name.as_bytes()))).expect("a name")
    }

    /// The node's id in the cluster.
    #[track_caller]
    pub fn id(&self, n: usize) -> String {
        text(&ask(&mut self.nodes[n].connect(), &["CLUSTER", "MYID"]))
    }

    /// A client that begins at the first node.
    pub fn client(&self) -> ClusterClient {
        ClusterClient {
            ports: self.nodes.iter().map(Server::port).collect(),
            connections: HashMap::new(),
            homes: HashMap::new(),
        }
    }

    /// Opens a slot: `from` asks clients on to `to`, which takes in its keys.
    #[track_caller]
    pub fn open_slot(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (self.id(from), self.id(to));
        ask(&mut self.nodes[to].connect(), &args!["CLUSTER", "SETSLOT", slot, "IMPORTING", source]);
        ask(&mut self.nodes[from].connect(), &args!["CLUSTER", "SETSLOT", slot, "MIGRATING", target]);
    }

    /// Leaves an open slot where it is.
    #[track_caller]
    pub fn close_slot(&self, slot: u16) {
        for master in &self.nodes[..self.masters] {
            ask(&mut master.connect(), &args!["CLUSTER", "SETSLOT", slot, "STABLE"]);
        }
    }

    /// Gives an open slot to a node, and tells all masters.
    #[track_caller]
    pub fn give_slot(&self, slot: u16, to: usize) {
        let id = self.id(to);
        let order = std::iter::once(to).chain((0..self.masters).filter(|&master| master != to));
        for node in order {
            ask(&mut self.nodes[node].connect(), &args!["CLUSTER", "SETSLOT", slot, "NODE", id]);
        }
    }

    /// Begins an atomic slot migration.
    #[track_caller]
    pub fn begin_migration(&self, slots: Range<u16>, from: usize, to: usize) {
        let target = self.id(to);
        let last = slots.end - 1;
        let command = args!["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slots.start, last, "NODE", target];
        ask(&mut self.nodes[from].connect(), &command);
    }

    /// Returns the state of the last migration that a node knows of, for example `success`.
    #[track_caller]
    pub fn migration_state(&self, node: usize) -> String {
        match ask(&mut self.nodes[node].connect(), &["CLUSTER", "GETSLOTMIGRATIONS"]) {
            Value::Array(jobs) if jobs.is_empty() => String::new(),
            Value::Array(jobs) => text(&map_of(jobs[0].clone())["state"]),
            other => panic!("no migrations: {other:?}"),
        }
    }

    /// Moves slots as a whole, and waits for it.
    #[track_caller]
    pub fn migrate_slots(&self, slots: Range<u16>, from: usize, to: usize) {
        self.begin_migration(slots, from, to);
        eventually_within(GATHERING, || {
            let states = [self.migration_state(from), self.migration_state(to)];
            assert!(!states.iter().any(|state| state == "failed"), "{states:?}");
            states.iter().all(|state| state == "success")
        });
    }

    /// Waits until all running nodes have the same picture and say the cluster is well.
    #[track_caller]
    pub fn eventually_agrees(&self) {
        eventually_within(GATHERING, || {
            let running = self.nodes.iter().filter(|node| is_running(node));
            let views: Vec<Option<View>> = running.map(View::of).collect();
            views.windows(2).all(|pair| pair[0] == pair[1]) && views.iter().all(Option::is_some)
        });
    }

    /// Every node gets to know every other.
    fn introduce(&self) {
        let bus_ports: Vec<String> = self.nodes.iter().map(bus_port).collect();
        // Epochs of their own, or the nodes spend seconds agreeing on them.
        for (n, node) in self.nodes.iter().enumerate() {
            ask(&mut node.connect(), &args!["CLUSTER", "SET-CONFIG-EPOCH", n + 1]);
        }
        for (n, node) in self.nodes.iter().enumerate() {
            let mut con = node.connect();
            for (other, bus_port) in self.nodes.iter().zip(&bus_ports).skip(n + 1) {
                ask(&mut con, &args!["CLUSTER", "MEET", "127.0.0.1", other.port(), bus_port]);
            }
        }
        for node in &self.nodes {
            let mut con = node.connect();
            eventually_within(GATHERING, || {
                let nodes = text(&ask(&mut con, &["CLUSTER", "NODES"]));
                nodes.lines().count() == self.nodes.len() && !nodes.contains("handshake")
            });
        }
    }

    /// Slots for the masters, masters for the replicas.
    fn deal_out(&self) {
        for (n, node) in self.nodes.iter().enumerate() {
            let mut con = node.connect();
            if n < self.masters {
                let Range { start, end } = self.slots_of(n);
                ask(&mut con, &args!["CLUSTER", "ADDSLOTSRANGE", start, end - 1]);
            } else {
                ask(&mut con, &args!["CLUSTER", "REPLICATE", self.id(n % self.masters)]);
            }
        }
        for node in &self.nodes[self.masters..] {
            let mut con = node.connect();
            eventually_within(GATHERING, || {
                let field = |con: &mut Connection, name| info_field(con, "replication", name);
                field(&mut con, "role") == "slave" && field(&mut con, "master_link_status") == "up"
            });
        }
    }
}

fn node_builder() -> Builder {
    Server::builder()
        .cluster_node()
        .config(format!("cluster-node-timeout {}", patient(NODE_TIMEOUT).as_millis()))
        // Replicas stay with their masters.
        .config("cluster-allow-replica-migration no")
}

#[track_caller]
fn bus_port(node: &Server) -> String {
    let reply = map_of(ask(&mut node.connect(), &["CONFIG", "GET", "cluster-port"]));
    text(&reply["cluster-port"])
}

fn is_running(node: &Server) -> bool {
    TcpStream::connect(("127.0.0.1", node.port())).is_ok()
}

/// A node's view of the cluster: each node's ID, role and slots.
#[derive(PartialEq)]
struct View(Vec<String>);

impl View {
    /// Returns None while it does not serve all slots, or suspects a running node.
    fn of(node: &Server) -> Option<View> {
        let mut con = node.connect();
        let well = text(&cmd(&mut con, &["CLUSTER", "INFO"]).ok()?).contains("cluster_state:ok");
        let nodes = text(&cmd(&mut con, &["CLUSTER", "NODES"]).ok()?);
        let mut lines = Vec::new();
        for line in nodes.lines() {
            // id, address, flags, master, ping, pong, epoch, link, slots …
            let words: Vec<&str> = line.split(' ').collect();
            let flags = words[2].trim_start_matches("myself,");
            if flags.contains("fail?") || (words[7] != "connected" && !flags.contains("fail")) {
                return None;
            }
            lines.push([&[words[0], flags, words[3]], &words[8..]].concat().join(" "));
        }
        lines.sort();
        well.then_some(View(lines))
    }
}

/// The slot that the server says a name is in.
#[track_caller]
pub fn slot_of(con: &mut Connection, name: &[u8]) -> u16 {
    match ask(con, &args!["CLUSTER", "KEYSLOT", name]) {
        Value::Int(slot) => u16::try_from(slot).expect("a slot"),
        other => panic!("not a slot: {other:?}"),
    }
}

/// A client as cluster clients are: it follows MOVED and ASK, tries again on TRYAGAIN, and looks for a new master
/// where the old one is gone.
pub struct ClusterClient {
    ports: Vec<u16>,
    connections: HashMap<u16, Connection>,
    /// The port at which each persona was found last.
    homes: HashMap<String, u16>,
}

impl ClusterClient {
    /// The reply to a command about a persona; an error of the command's own, or none that took a while.
    pub fn call<A: AsRef<[u8]>>(&mut self, persona: &str, args: &[A]) -> RedisResult<Value> {
        let end = Instant::now() + patient(PERSISTENCE);
        let mut port = self.homes.get(persona).copied().unwrap_or(self.ports[0]);
        let mut asking = false;
        loop {
            let reply = self.call_at(port, asking, args);
            asking = false;
            let error = match reply {
                Ok(value) => {
                    self.homes.entry(persona.to_owned()).or_insert(port);
                    return Ok(value);
                }
                Err(error) if Instant::now() >= end => return Err(error),
                Err(error) => error,
            };
            let code = error.code().unwrap_or_default().to_owned();
            match (code.as_str(), error.redirect_node()) {
                ("MOVED", Some((address, _))) => {
                    port = port_of(address);
                    self.homes.insert(persona.to_owned(), port);
                }
                ("ASK", Some((address, _))) => {
                    port = port_of(address);
                    asking = true;
                }
                ("TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN", _) => {
                    thread::sleep(Duration::from_millis(10));
                    port = self.homes.get(persona).copied().unwrap_or(port);
                }
                _ if error.is_io_error() => {
                    // Another node knows where its slots have gone.
                    self.connections.remove(&port);
                    self.homes.remove(persona);
                    let next = self.ports.iter().position(|&other| other == port).map_or(0, |at| at + 1);
                    port = self.ports[next % self.ports.len()];
                    thread::sleep(Duration::from_millis(20));
                }
                _ => return Err(error),
            }
        }
    }

    /// The reply to a command about a persona that must succeed.
    #[track_caller]
    pub fn ask<A: AsRef<[u8]>>(&mut self, persona: &str, args: &[A]) -> Value {
        self.call(persona, args).unwrap_or_else(|error| panic!("{}: {}", shown(args), error_text(&error)))
    }

    /// Number of replicas with the last write to this persona; waits for this number.
    pub fn kept_by(&mut self, persona: &str, replicas: usize) -> usize {
        let con = self.homes.get(persona).and_then(|port| self.connections.get_mut(port));
        super::kept_by(con, replicas)
    }

    fn call_at<A: AsRef<[u8]>>(&mut self, port: u16, asking: bool, args: &[A]) -> RedisResult<Value> {
        let con = match self.connections.entry(port) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let client = redis::Client::open(("127.0.0.1", port))?;
                let connection = client.get_connection_with_timeout(patient(Duration::from_secs(2)))?;
                connection.set_read_timeout(Some(patient(Duration::from_secs(5))))?;
                place.insert(connection)
            }
        };
        if asking {
            cmd(con, &["ASKING"])?;
        }
        cmd(con, args)
    }
}

fn port_of(address: &str) -> u16 {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port in a redirection")
}
