//! A server under measurement: started for this bench, on a free port, in a directory that goes with it.

use redis::{Connection, FromRedisValue, InfoDict};
use std::collections::HashMap;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

use super::cpus::{self, CpuTime};

/// No reply takes longer: nothing here waits for ever.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    pub port: u16,
    pub max_clients: u64,
    child: Child,
    _dir: TempDir,
}

impl Server {
    /// A server with chatcache.
    pub fn with_chatcache() -> Server {
        Server::start(Some(&chatcache()))
    }

    /// A server with no module.
    pub fn plain() -> Server {
        Server::start(None)
    }

    pub fn start(module: Option<&Path>) -> Server {
        let files = raise_file_limit();
        let dir = TempDir::with_prefix("chatcache-bench-").expect("make a directory");
        let free = TcpListener::bind("127.0.0.1:0").expect("find a free port");
        let port = free.local_addr().expect("the free port").port();
        drop(free);
        let max_clients = files - 100;
        let binary = std::env::var_os("CHATCACHE_SERVER").unwrap_or_else(|| "redis-server".into());
        let parent = std::process::id();
        let mut command = Command::new(binary);
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.args(["--maxclients", &max_clients.to_string(), "--tcp-backlog", "4096"]);
        command.arg("--dir").arg(dir.path());
        if let Some(module) = module {
            command.arg("--loadmodule").arg(module);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: between fork and exec only system calls are made.
        unsafe { command.pre_exec(move || die_with(parent)) };
        let child = command.spawn().expect("start redis-server");
        let server = Server { port, max_clients, child, _dir: dir };
        let begun = Instant::now();
        while server.client().get_connection().is_err() {
            assert!(begun.elapsed() < PATIENCE, "the server did not start");
            sleep(Duration::from_millis(20));
        }
        server
    }

    /// Gives its main thread a CPU of its own.
    pub fn pinned(self) -> Server {
        cpus::pin_server(self.child.id());
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

    /// What CHATCACHE.STATS tells.
    pub fn stats(&self) -> HashMap<String, u64> {
        redis::cmd("CHATCACHE.STATS").query(&mut self.connect()).expect("CHATCACHE.STATS")
    }

    pub fn config(&self, setting: &str, value: &str) {
        let set: redis::RedisResult<()> =
            redis::cmd("CONFIG").arg("SET").arg(setting).arg(value).query(&mut self.connect());
        set.unwrap_or_else(|error| panic!("CONFIG SET {setting} {value}: {error}"));
    }

    pub fn cpu_time(&self) -> CpuTime {
        CpuTime::of(self.child.id())
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

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The module: `CHATCACHE_MODULE`, or what cargo built together with this bench.
fn chatcache() -> PathBuf {
    let beside = || std::env::current_exe().expect("this bench's path").with_file_name("libchatcache.so");
    let path = std::env::var_os("CHATCACHE_MODULE").map_or_else(beside, PathBuf::from);
    path.canonicalize().unwrap_or_else(|error| panic!("no module at {}: {error}", path.display()))
}

fn die_with(parent: u32) -> std::io::Result<()> {
    // SAFETY: both are plain system calls.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 || libc::getppid() as u32 != parent {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Raises the number of files that this process, and so the server, may open, as far as the system allows.
fn raise_file_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit, to be written and to be read.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
    let files = limit.rlim_cur.min(20_000);
    assert!(files > 4_000, "ulimit -Hn is {files}: this bench needs 4,000 open files, better 12,000");
    files
}
