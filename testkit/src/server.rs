//! A server process, from ready to gone.
//!
//! Every `Server` is the process that this test started and no other (readiness is asked
//! over a socket in its own directory), it dies with the test process however that ends, and a crash that
//! its log shows fails the test that drops it.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use redis::{Connection, ConnectionAddr, IntoConnectionInfo, ProtocolVersion};
use tempfile::TempDir;

use super::builder::{Builder, Cluster};
use super::process::{self, Process};
use super::raw::RawClient;
use super::replies::{cmd, info_field};
use super::waiting::{eventually, eventually_within, patient, poll};

/// Time limit for a start or a stop.
const LIFECYCLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time limit for a reply, so that no test waits for ever.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Marks in the log of a crash of the server or the module.
const CRASH_MARKS: [&str; 5] =
    ["BUG REPORT START", "Guru Meditation", "panicked at", "AddressSanitizer", "ThreadSanitizer"];

/// A running server (or, between `kill9` and `start_again`, a stopped one) in a directory of its own.
pub struct Server {
    dir: TempDir,
    port: Port,
    bus_port: Port,
    builder: Builder,
    /// Absent while stopped.
    process: Option<Process>,
}

impl Server {
    /// A server with the module and nothing special.
    #[track_caller]
    pub fn start() -> Server {
        Server::builder().start()
    }

    /// Options first.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(super) fn launch(builder: &Builder) -> Result<Server, String> {
        let dir = TempDir::with_prefix("chatcache-").expect("make a directory");
        builder.write_files(dir.path());
        let (port, bus_port) = (Port::free(), Port::free());
        let mut server = Server { dir, port, bus_port, builder: builder.clone(), process: None };
        // A port that is free now may be anybody's a moment later: then the next one.
        for _ in 0..20 {
            let conf = builder.conf(server.dir(), server.port(), server.bus_port.number);
            fs::write(server.dir().join("redis.conf"), conf).expect("write redis.conf");
            match server.spawn_and_wait() {
                Ok(()) => {
                    server.settle();
                    return Ok(server);
                }
                Err(log) if log.contains("Address already in use") => {
                    let _ = fs::remove_file(server.dir().join("server.log"));
                    (server.port, server.bus_port) = (Port::free(), Port::free());
                }
                Err(log) => return Err(log),
            }
        }
        panic!("found no free port in 20 tries");
    }

    /// A connection in RESP2.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        self.connect_with(ProtocolVersion::RESP2)
    }

    /// A connection in RESP3.
    #[track_caller]
    pub fn connect_resp3(&self) -> Connection {
        self.connect_with(ProtocolVersion::RESP3)
    }

    /// A connection that shows replies as they are on the wire, in RESP2 (`.raw().resp3()` for RESP3).
    #[track_caller]
    pub fn raw(&self) -> RawClient {
        RawClient::connect(self.port())
    }

    #[track_caller]
    fn connect_with(&self, protocol: ProtocolVersion) -> Connection {
        let info = ConnectionAddr::Tcp("127.0.0.1".to_owned(), self.port()).into_connection_info();
        let info = info.expect("an address");
        let redis = info.redis_settings().clone().set_protocol(protocol);
        let client = redis::Client::open(info.set_redis_settings(redis)).expect("a client");
        let timeout = patient(REPLY_TIMEOUT);
        let connection = client.get_connection_with_timeout(timeout).expect("connect to the server");
        connection.set_read_timeout(Some(timeout)).expect("set the read time-out");
        connection
    }

    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// The server's directory, with redis.conf, dump.rdb, appendonlydir, server.log.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the server is stopped").pid()
    }

    /// All that the server has logged and printed, over all its restarts.
    pub fn log(&self) -> String {
        let read = |name| {
            let bytes = fs::read(self.dir().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        read("server.log") + &read("output")
    }

    /// Returns true if the log has a crash report or a panic.
    pub fn crashed(&self) -> bool {
        let log = self.log();
        CRASH_MARKS.iter().any(|mark| log.contains(mark))
    }

    /// SHUTDOWN SAVE and start again: a planned restart with an RDB.
    #[track_caller]
    pub fn restart(&mut self) {
        self.shutdown("SAVE");
        self.start_again();
    }

    /// SHUTDOWN NOSAVE and start again: a restart from the AOF alone, or from nothing.
    #[track_caller]
    pub fn restart_without_saving(&mut self) {
        self.shutdown("NOSAVE");
        self.start_again();
    }

    /// SHUTDOWN with SAVE or NOSAVE; the server stays down.
    #[track_caller]
    pub fn shutdown(&mut self, how: &str) {
        let mut con = self.raw();
        con.send(&["SHUTDOWN", how]);
        let status = self.wait_for_exit();
        assert!(status.success(), "SHUTDOWN {how} ended with {status}:\n{}", tail(&self.log()));
    }

    /// The power cord: SIGKILL, and wait until it is gone.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.process.take().expect("the server is stopped").kill();
    }

    /// Starts a stopped server again: same directory, same port, same redis.conf.
    #[track_caller]
    pub fn start_again(&mut self) {
        if let Err(log) = self.try_start_again() {
            panic!("the server did not start again:\n{}", tail(&log));
        }
    }

    /// As `start_again`, for servers that may refuse their files. Returns the log if they do.
    #[track_caller]
    pub fn try_start_again(&mut self) -> Result<(), String> {
        assert!(self.process.is_none(), "the server is running");
        self.spawn_and_wait()?;
        self.settle();
        Ok(())
    }

    /// Waits for the end of a server that was told to end, and gives its exit status.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let process = self.process.as_mut().expect("the server is stopped");
        match poll(LIFECYCLE_TIMEOUT, || process.ended()) {
            Some(status) => {
                self.process = None;
                status
            }
            None => panic!("the server did not end:\n{}", tail(&self.log())),
        }
    }

    /// Starts the process and waits until it replies. Returns the log if it ends instead.
    fn spawn_and_wait(&mut self) -> Result<(), String> {
        let mut process = Process::start(self.dir());
        let socket = self.dir().join("redis.sock");
        let ended = poll(LIFECYCLE_TIMEOUT, || match process.ended() {
            Some(status) => Some(Some(status)),
            None if replies_to_ping(&socket) => Some(None),
            None => None,
        });
        match ended {
            Some(None) => {
                self.process = Some(process);
                Ok(())
            }
            Some(Some(status)) => Err(format!("{}\n({status})", self.log())),
            None => {
                process.kill();
                panic!("the server was not ready in time:\n{}", tail(&self.log()));
            }
        }
    }

    /// Waits for the state after PING: slots served, the link to the master up.
    fn settle(&self) {
        if self.builder.cluster == Cluster::Whole {
            let mut con = self.connect();
            if info_of_cluster(&mut con, "cluster_slots_assigned") == "0" {
                cmd(&mut con, &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).expect("CLUSTER ADDSLOTSRANGE");
            }
            eventually(|| info_of_cluster(&mut con, "cluster_state") == "ok");
        }
        if self.builder.replica_of.is_some() {
            let mut con = self.connect();
            eventually_within(LIFECYCLE_TIMEOUT, || {
                info_field(&mut con, "replication", "master_link_status") == "up"
            });
        }
    }

    /// Ends the process, and says how it had ended if it had ended by itself.
    fn stop(&mut self) -> Option<ExitStatus> {
        let mut process = self.process.take()?;
        if let Some(status) = process.ended() {
            return Some(status);
        }
        if std::env::var_os("CHATCACHE_GRACEFUL").is_some() {
            process.terminate();
            poll(LIFECYCLE_TIMEOUT, || process.ended());
        }
        process.kill();
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.stop();
        if thread::panicking() {
            eprintln!("--- the end of the log of the server on port {}:\n{}", self.port(), tail(&self.log()));
            return;
        }
        assert!(!self.crashed(), "the server crashed:\n{}", crash_report(&self.log()));
        if let Some(status) = ended.filter(|status| !status.success()) {
            let signal = status.signal().map(|signal| format!(" (signal {signal})")).unwrap_or_default();
            panic!("the server ended by itself with {status}{signal}:\n{}", tail(&self.log()));
        }
    }
}

/// Waits until the replica has applied all that the master has written so far.
#[track_caller]
pub fn replica_caught_up(master: &Server, replica: &Server) {
    let offset = |server: &Server, field: &str| -> i64 {
        info_field(&mut server.connect(), "replication", field).parse().expect("an offset")
    };
    let written = offset(master, "master_repl_offset");
    eventually_within(LIFECYCLE_TIMEOUT, || {
        info_field(&mut replica.connect(), "replication", "master_link_status") == "up"
            && offset(replica, "slave_repl_offset") >= written
    });
}

fn info_of_cluster(con: &mut Connection, field: &str) -> String {
    let reply = super::text(&cmd(con, &["CLUSTER", "INFO"]).expect("CLUSTER INFO"));
    let line = reply.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field} in {reply}")).to_owned()
}

/// The server under test is Valkey, not Redis.
pub fn is_valkey() -> bool {
    VERSION.0
}

/// The version of the server under test, as its own product counts it: `(7, 0, 15)`.
pub fn server_version() -> (u32, u32, u32) {
    VERSION.1
}

/// From `--version`: true for Valkey, and the version.
static VERSION: LazyLock<(bool, (u32, u32, u32))> = LazyLock::new(|| {
    let line = process::version_line();
    let version = line.split_whitespace().find_map(|word| word.strip_prefix("v="));
    let version = version.unwrap_or_else(|| panic!("no version in {line:?}"));
    let mut parts = version.split('.').map(|part| part.parse().expect("a version number"));
    let mut part = || parts.next().unwrap_or(0);
    (line.starts_with("Valkey"), (part(), part(), part()))
});

/// Returns true if a server there serves clients (a server that loads its data does not yet).
fn replies_to_ping(socket: &Path) -> bool {
    let ping = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(patient(Duration::from_secs(1))))?;
        stream.write_all(b"PING\r\n")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line)
    };
    // Any other error (NOAUTH, MASTERDOWN) is the reply of a server that is up.
    ping().is_ok_and(|line| !line.is_empty() && !line.starts_with("-LOADING"))
}

/// A port that no other test takes while this lives. Not even while nobody listens on it: a server that has been killed
/// starts again there, and until then its clients must not find another test's.
pub struct Port {
    pub number: u16,
    /// Locked, which ends with this process at the latest.
    _lock: File,
}

impl Port {
    /// One that nobody listens on. Below the range that the kernel takes for outgoing connections: a port
    /// from there may be a client's socket when the server starts again.
    pub fn free() -> Port {
        const FIRST: u16 = 20_000;
        const COUNT: u16 = 12_000;
        static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::random_range(0..COUNT)));
        loop {
            let number = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
            if let Some(lock) = Self::lock(number)
                && TcpListener::bind(("127.0.0.1", number)).is_ok()
            {
                return Port { number, _lock: lock };
            }
        }
    }

    fn lock(number: u16) -> Option<File> {
        // SAFETY: it only tells a number.
        let user = unsafe { libc::getuid() };
        let directory = env::temp_dir().join(format!("chatcache-ports-{user}"));
        fs::create_dir_all(&directory).expect("make a directory for the locks of ports");
        let file = File::create(directory.join(number.to_string())).expect("make the lock of a port");
        // SAFETY: the descriptor is open.
        let locked = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
        (locked == 0).then_some(file)
    }
}

/// The last lines of a log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// A log from a little before its first crash mark on.
fn crash_report(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let first = lines.iter().position(|line| CRASH_MARKS.iter().any(|mark| line.contains(mark)));
    let from = first.unwrap_or(0).saturating_sub(10);
    lines[from..lines.len().min(from + 120)].join("\n")
}
