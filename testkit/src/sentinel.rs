//! A master with replicas, three sentinels that replace it when it fails, and a client that asks them for the master.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use redis::{Connection, RedisResult, Value};
use tempfile::TempDir;

use super::process::Process;
use super::replies::{cmd, info_field, text};
use super::server::Port;
use super::waiting::{eventually_within, patient};
use super::{Builder, Server};

/// The name under which the sentinels know the master.
const NAME: &str = "answers";

/// Silence after which a sentinel takes a master for dead.
const DOWN_AFTER: Duration = Duration::from_secs(2);

/// Time limit for sentinels to know each other.
const GATHERING: Duration = Duration::from_secs(40);

/// Time that a client goes on trying.
const PERSISTENCE: Duration = Duration::from_secs(40);

/// A master, which is server 0, its replicas and their sentinels.
pub struct Watched {
    servers: Vec<Server>,
    sentinels: Vec<Sentinel>,
}

impl Watched {
    /// A master with this many replicas in step, and three sentinels that know of all.
    #[track_caller]
    pub fn start(replicas: usize, options: impl Fn(Builder) -> Builder) -> Watched {
        let master = options(Server::builder()).start();
        let mut servers = vec![];
        servers.extend((0..replicas).map(|_| options(Server::builder()).replica_of(&master).start()));
        servers.insert(0, master);
        let sentinels: Vec<Sentinel> = (0..3).map(|_| Sentinel::watch(servers[0].port())).collect();
        for sentinel in &sentinels {
            eventually_within(GATHERING, || {
                let told = info_field(&mut sentinel.connect().expect("a sentinel"), "sentinel", "master0");
                told.contains("status=ok") && told.contains(&format!("slaves={replicas},sentinels=3"))
            });
        }
        Watched { servers, sentinels }
    }

    pub fn server(&self, n: usize) -> &Server {
        &self.servers[n]
    }

    pub fn server_mut(&mut self, n: usize) -> &mut Server {
        &mut self.servers[n]
    }

    /// The number of the server that the sentinels agree on as the master, if they do.
    pub fn master(&self) -> Option<usize> {
        let told: Vec<u16> =
            self.sentinels.iter().filter_map(|sentinel| master_of(sentinel.port.number)).collect();
        let port = *told.first()?;
        let agreed = told.len() == self.sentinels.len() && told.iter().all(|other| *other == port);
        let server = self.servers.iter().position(|server| server.port() == port)?;
        agreed.then_some(server)
    }

    /// A client that counts a write as kept once this many replicas have it.
    pub fn client(&self, replicas: usize) -> SentinelClient {
        let sentinels = self.sentinels.iter().map(|sentinel| sentinel.port.number).collect();
        SentinelClient { sentinels, connection: None, replicas }
    }
}

/// A running sentinel.
struct Sentinel {
    port: Port,
    process: Option<Process>,
    _dir: TempDir,
}

impl Sentinel {
    fn watch(master: u16) -> Sentinel {
        let dir = TempDir::with_prefix("chatcache-sentinel-").expect("make a directory");
        let port = Port::free();
        let conf = format!(
            "bind 127.0.0.1\nport {}\ndir {}\nlogfile {}\n\
             sentinel monitor {NAME} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {NAME} {}\n\
             sentinel failover-timeout {NAME} {}\n",
            port.number,
            dir.path().display(),
            dir.path().join("server.log").display(),
            patient(DOWN_AFTER).as_millis(),
            patient(DOWN_AFTER * 5).as_millis(),
        );
        fs::write(dir.path().join("redis.conf"), conf).expect("write the sentinel's file");
        let process = Some(Process::start_sentinel(dir.path()));
        let sentinel = Sentinel { port, process, _dir: dir };
        eventually_within(GATHERING, || sentinel.connect().is_ok());
        sentinel
    }

    fn connect(&self) -> RedisResult<Connection> {
        connect(self.port.number)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }
}

fn connect(port: u16) -> RedisResult<Connection> {
    let con = redis::Client::open(("127.0.0.1", port))?
        .get_connection_with_timeout(patient(Duration::from_secs(2)))?;
    con.set_read_timeout(Some(patient(Duration::from_secs(5))))?;
    Ok(con)
}

/// The master's port by a sentinel's word.
fn master_of(sentinel: u16) -> Option<u16> {
    let mut con = connect(sentinel).ok()?;
    match cmd(&mut con, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).ok()? {
        Value::Array(address) => text(address.get(1)?).parse().ok(),
        _ => None,
    }
}

/// A client as clients of sentinels are: where its master fails, it asks for the new one.
pub struct SentinelClient {
    sentinels: Vec<u16>,
    connection: Option<Connection>,
    replicas: usize,
}

impl SentinelClient {
    /// The reply of a master; an error of the command's own, or that none was found in a while.
    pub fn call<A: AsRef<[u8]>>(&mut self, command: &[A]) -> RedisResult<Value> {
        let end = Instant::now() + patient(PERSISTENCE);
        loop {
            let error = match self.connected().and_then(|con| cmd(con, command)) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let elsewhere = matches!(error.code(), Some("READONLY" | "LOADING" | "MASTERDOWN" | "UNBLOCKED"));
            if Instant::now() >= end || !(elsewhere || error.is_io_error()) {
                return Err(error);
            }
            self.connection = None;
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns true if all replicas have the last write.
    pub fn is_kept(&mut self) -> bool {
        super::kept_by(self.connection.as_mut(), self.replicas) >= self.replicas
    }

    fn connected(&mut self) -> RedisResult<&mut Connection> {
        if self.connection.is_none() {
            let port = self.sentinels.iter().find_map(|&sentinel| master_of(sentinel));
            self.connection = Some(connect(port.unwrap_or(0))?);
        }
        Ok(self.connection.as_mut().expect("just connected"))
    }
}
