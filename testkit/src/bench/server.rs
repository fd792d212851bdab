//! A server under measurement: started for one bench, with as many clients as the system allows.

use std::collections::HashMap;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use redis::{Connection, FromRedisValue, InfoDict};

use super::cpus::{self, CpuTime};
use crate::Builder;

/// No reply takes longer: nothing here waits for ever.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    pub port: u16,
    pub max_clients: u64,
    server: crate::Server,
}

impl Server {
    /// A server with chatcache.
    pub fn with_chatcache() -> Server {
        Server::start(crate::Server::builder())
    }

    /// A server with no module.
    pub fn plain() -> Server {
        Server::start(crate::Server::builder().without_module())
    }

    /// A server with another module.
    pub fn with_module(path: &Path) -> Server {
        Server::start(crate::Server::builder().module(path))
    }

    fn start(builder: Builder) -> Server {
        let max_clients = raise_file_limit() - 100;
        let server = builder.config(format!("maxclients {max_clients}")).config("tcp-backlog 4096").start();
        Server { port: server.port(), max_clients, server }
    }

    /// Gives its main thread a CPU of its own.
    pub fn pinned(self) -> Server {
        cpus::pin_server(self.server.pid());
        self
    }

    fn client(&self) -> redis::Client {
        redis::Client::open(("127.0.0.1", self.port)).expect("an address")
    }

    pub fn connect(&self) -> Connection {
        let con = self.client().get_connection().expect("connect to the server");
        con.set_read_timeout(Some(PATIENCE)).expect("set the read time-out");
        con
    }

    pub fn info<T: FromRedisValue>(&self, field: &str) -> T {
        let info: InfoDict = redis::cmd("INFO").query(&mut self.connect()).expect("INFO");
        info.get(field).unwrap_or_else(|| panic!("no {field} in INFO"))
    }

    /// The counters of CHATCACHE.STATS.
    pub fn stats(&self) -> HashMap<String, u64> {
        redis::cmd("CHATCACHE.STATS").query(&mut self.connect()).expect("CHATCACHE.STATS")
    }

    pub fn config(&self, setting: &str, value: &str) {
        let set: redis::RedisResult<()> =
            redis::cmd("CONFIG").arg("SET").arg(setting).arg(value).query(&mut self.connect());
        set.unwrap_or_else(|error| panic!("CONFIG SET {setting} {value}: {error}"));
    }

    pub fn cpu_time(&self) -> CpuTime {
        CpuTime::of(self.server.pid())
    }

    /// `used_memory`, once the server has given back the buffers of clients that say nothing.
    pub fn settled_memory(&self) -> f64 {
        sleep(Duration::from_secs(4));
        let mut last: f64 = self.info("used_memory");
        for _ in 0..20 {
            sleep(Duration::from_secs(1));
            let now: f64 = self.info("used_memory");
            if (now - last).abs() < 100_000.0 {
                return now;
            }
            last = now;
        }
        last
    }
}

/// Raises the number of files that this process, and so the server, may open, as far as the system allows.
pub fn raise_file_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit, to be written and to be read.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
    let files = limit.rlim_cur.min(20_000);
    assert!(
        files > 5_000,
        "ulimit -Hn is {files}: thousands of clients need 5,000 open files, better 12,000"
    );
    files
}
