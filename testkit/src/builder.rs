//! The options of a server before it starts. They become the lines of a redis.conf in the server's own
//! directory, so CONFIG REWRITE works and a restart reads the rewritten file.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::Server;

#[derive(Clone)]
enum Module {
    Without,
    /// chatcache, with the arguments of loadmodule.
    Chatcache(Vec<String>),
    Other(PathBuf),
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Cluster {
    Off,
    /// A node that knows no slots and no other nodes.
    Node,
    /// The only node, with all slots.
    Whole,
}

/// The options of a server to start: `Server::builder().config("maxmemory 10mb").start()`.
#[derive(Clone)]
pub struct Builder {
    module: Module,
    lines: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    pub(super) cluster: Cluster,
    pub(super) replica_of: Option<u16>,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            module: Module::Chatcache(Vec::new()),
            lines: Vec::new(),
            files: Vec::new(),
            cluster: Cluster::Off,
            replica_of: None,
        }
    }

    /// One line as it stands in redis.conf: `maxmemory 10mb`, `chatcache.ttl-msg 5`. Later lines win.
    pub fn config(mut self, line: impl Into<String>) -> Builder {
        self.lines.push(line.into());
        self
    }

    /// Arguments of loadmodule: `&["ttl-msg", "5"]`.
    pub fn module_args<A: AsRef<str>>(mut self, args: &[A]) -> Builder {
        self.module = Module::Chatcache(args.iter().map(|arg| arg.as_ref().to_owned()).collect());
        self
    }

    /// A server that has never heard of chatcache.
    pub fn without_module(mut self) -> Builder {
        self.module = Module::Without;
        self
    }

    /// A server with this module instead of chatcache.
    pub fn module(mut self, path: &Path) -> Builder {
        self.module = Module::Other(path.to_owned());
        self
    }

    /// A whole cluster in one node: all slots are its own. Some 2 s slower to start than others.
    pub fn cluster(mut self) -> Builder {
        self.cluster = Cluster::Whole;
        self
    }

    /// A cluster node with no slots, for tests that deal them out.
    pub fn cluster_node(mut self) -> Builder {
        self.cluster = Cluster::Node;
        self
    }

    /// A replica; it starts with its link to the master up.
    pub fn replica_of(mut self, master: &Server) -> Builder {
        self.replica_of = Some(master.port());
        self.config(format!("replicaof 127.0.0.1 {}", master.port()))
    }

    /// Writes are kept in the AOF, so `kill9` loses none.
    pub fn appendonly(self) -> Builder {
        self.config("appendonly yes")
    }

    /// A file that is in the server's directory before it starts: `dump.rdb` with given bytes.
    pub fn file(mut self, name: &str, contents: impl Into<Vec<u8>>) -> Builder {
        self.files.push((name.to_owned(), contents.into()));
        self
    }

    /// A running server that replies to PING, or a failed test with the server's log.
    #[track_caller]
    pub fn start(self) -> Server {
        match self.try_start() {
            Ok(server) => server,
            Err(log) => panic!("the server did not start:\n{log}"),
        }
    }

    /// A running server, or the log of one that would not start.
    pub fn try_start(self) -> Result<Server, String> {
        Server::launch(&self)
    }

    pub(super) fn write_files(&self, dir: &Path) {
        for (name, contents) in &self.files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("make the directory");
            std::fs::write(path, contents).expect("write the file");
        }
    }

    /// The redis.conf of a server on these ports.
    pub(super) fn conf(&self, dir: &Path, port: u16, bus_port: u16) -> String {
        let mut conf = String::new();
        let mut line = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|arg| quoted(arg)).collect();
            writeln!(conf, "{}", args.join(" ")).expect("write to a String");
        };
        let path = |name: &str| dir.join(name).to_str().expect("a path in UTF-8").to_owned();
        line(&["bind", "127.0.0.1"]);
        line(&["port", &port.to_string()]);
        line(&["unixsocket", &path("redis.sock")]);
        line(&["dir", dir.to_str().expect("a path in UTF-8")]);
        line(&["logfile", &path("server.log")]);
        line(&["loglevel", "notice"]);
        line(&["save", ""]);
        line(&["enable-debug-command", "yes"]);
        line(&["enable-module-command", "yes"]);
        // The default gives other replicas 5 s to join one transfer; the tests have no 5 s.
        line(&["repl-diskless-sync-delay", "0"]);
        if self.cluster != Cluster::Off {
            line(&["cluster-enabled", "yes"]);
            line(&["cluster-port", &bus_port.to_string()]);
        }
        let module = match &self.module {
            Module::Without => None,
            Module::Chatcache(args) => Some((module_path(), args.as_slice())),
            Module::Other(path) => Some((path.clone(), &[][..])),
        };
        if let Some((path, args)) = module {
            let mut words = vec!["loadmodule", path.to_str().expect("a path in UTF-8")];
            words.extend(args.iter().map(String::as_str));
            line(&words);
        }
        for line in &self.lines {
            writeln!(conf, "{line}").expect("write to a String");
        }
        conf
    }
}

/// A word of redis.conf, in quotes, whatever is in it.
fn quoted(word: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in word.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', byte.into()]),
            b' '..=b'~' => quoted.push(byte.into()),
            _ => write!(quoted, "\\x{byte:02x}").expect("write to a String"),
        }
    }
    quoted.push('"');
    quoted
}

/// The module under test: `CHATCACHE_MODULE`, or the build of this test's profile.
fn module_path() -> PathBuf {
    if let Some(path) = std::env::var_os("CHATCACHE_MODULE") {
        return std::fs::canonicalize(&path)
            .unwrap_or_else(|error| panic!("CHATCACHE_MODULE={}: {error}", path.display()));
    }
    // The one beside this test, in target/<profile>/deps: it was built just now, with the test. The one in
    // target/<profile> itself is copied there by `cargo build` only, and may be of yesterday.
    let test = std::env::current_exe().expect("this test's own path");
    let profile = test.ancestors().nth(2).expect("a test in target/<profile>/deps");
    let path = profile.join("deps/libchatcache.so");
    assert!(path.exists(), "no module at {}: is it still a cdylib?", path.display());
    path
}
