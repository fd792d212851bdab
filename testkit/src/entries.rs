//! Words that the tests of persistence, replication and reclaim share: responses by the thousand, commands that
//! run with nothing in between, a server that is kept busy, and two states to compare.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use redis::{Connection, Value};

use crate::replies::shown;
use crate::{
    Raw, Server, args, ask, cmd, eventually, eventually_within, info_field, is_valkey, map_of, text,
};

/// A large invalidation never ends within its command in servers with this.
pub const NOTHING_AT_ONCE: &str = "chatcache.invalidate-sync-limit 0";

/// The reply of a command that must succeed with a number.
#[track_caller]
pub fn count<A: AsRef<[u8]>>(con: &mut Connection, args: &[A]) -> i64 {
    match ask(con, args) {
        Value::Int(number) => number,
        other => panic!("expected a number, got {other:?}"),
    }
}

#[track_caller]
pub fn set(con: &mut Connection, tier: &str, user: &str, persona: &str, message: &str, response: &str) {
    assert_eq!(ask(con, &args!["CHATCACHE.SET", tier, user, persona, message, response]), Value::Okay);
}

#[track_caller]
pub fn get(con: &mut Connection, tier: &str, user: &str, persona: &str, message: &str) -> Option<String> {
    match ask(con, &args!["CHATCACHE.GET", tier, user, persona, message]) {
        Value::Nil => None,
        response => Some(text(&response)),
    }
}

/// Stores responses to `q1` … `q<count>`; each is `a<i>` of its question.
#[track_caller]
pub fn fill(con: &mut Connection, tier: &str, user: &str, persona: &str, count: usize) {
    fill_with(con, tier, user, persona, count, "");
}

/// As `fill`, with more arguments after the responses, such as `PX 5000`.
#[track_caller]
pub fn fill_with(con: &mut Connection, tier: &str, user: &str, persona: &str, count: usize, more: &str) {
    const SCRIPT: &str = "for i = ARGV[4], ARGV[5] do
        redis.call('CHATCACHE.SET', ARGV[1], ARGV[2], ARGV[3], 'q' .. i, 'a' .. i, unpack(ARGV, 6))
    end";
    // In pieces, so that no script is slow enough for the server to complain.
    for first in (1..=count).step_by(20_000) {
        let last = count.min(first + 19_999);
        let mut command: Vec<Vec<u8>> = args!["EVAL", SCRIPT, 0, tier, user, persona, first, last].into();
        command.extend(more.split_whitespace().map(|word| word.as_bytes().to_vec()));
        ask(con, &command);
    }
}

/// One of the server's own counters.
#[track_caller]
pub fn stat(con: &mut Connection, name: &str) -> i64 {
    let stats = map_of(ask(con, &["CHATCACHE.STATS"]));
    text(stats.get(name).unwrap_or_else(|| panic!("no {name} in {stats:?}"))).parse().expect("a number")
}

/// Number of tombstones.
#[track_caller]
pub fn pending(con: &mut Connection) -> i64 {
    stat(con, "pending-reclaim")
}

#[track_caller]
pub fn dbsize(con: &mut Connection) -> i64 {
    count(con, &["DBSIZE"])
}

/// Waits until nothing is left to reclaim.
#[track_caller]
pub fn reclaimed(server: &Server) {
    let mut con = server.connect();
    eventually_within(std::time::Duration::from_secs(40), || pending(&mut con) == 0);
}

/// Runs commands in one go: they arrive together, so the event loop, and with it the reclaim, gets no turn in
/// between.
#[track_caller]
pub fn in_one_go(server: &Server, commands: &[&[&str]]) -> Vec<Raw> {
    let mut bytes = Vec::new();
    for command in commands {
        bytes.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
        for word in *command {
            bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
    }
    let mut client = server.raw();
    client.send_bytes(&bytes);
    commands.iter().map(|_| client.read()).collect()
}

/// `pending_reclaim` out of a reply of INFO.
#[track_caller]
pub fn pending_in(info: &Raw) -> i64 {
    let text = match info {
        Raw::Bulk(bytes) | Raw::Verbatim { text: bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("expected INFO, got {other:?}"),
    };
    let line = text.lines().find_map(|line| line.strip_prefix("chatcache_pending_reclaim:"));
    line.unwrap_or_else(|| panic!("no pending_reclaim in {text}")).trim().parse().expect("a number")
}

/// DBSIZE, the live entries and the tombstones, of one moment.
#[track_caller]
pub fn sizes(server: &Server) -> (i64, i64, i64) {
    let replies = in_one_go(server, &[&["MULTI"], &["DBSIZE"], &["CHATCACHE.STATS"], &["EXEC"]]);
    let Raw::Array(both) = &replies[3] else { panic!("{:?}", replies[3]) };
    let [Raw::Int(keys), Raw::Array(stats)] = &both[..] else { panic!("{both:?}") };
    let field = |name: &str| {
        let at = stats.iter().position(|field| *field == Raw::bulk(name)).expect("a field");
        match stats[at + 1] {
            Raw::Int(number) => number,
            _ => panic!("{name} is no number"),
        }
    };
    (*keys, field("entries"), field("pending-reclaim"))
}

/// Keeps the main thread of a server busy until dropped, so that a reclaim takes its smallest share. It sleeps
/// in the server, which costs this machine nothing.
pub struct Busy {
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Busy {
    pub fn keep(server: &Server) -> Busy {
        let stop = Arc::new(AtomicBool::new(false));
        let mut con = server.connect();
        let worker = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                // An error is the server's end.
                while !stop.load(Ordering::Relaxed) && cmd(&mut con, &["DEBUG", "SLEEP", "0.02"]).is_ok() {}
            }
        });
        Busy { stop, worker: Some(worker) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

/// The personas of the selected database, each with its number of responses and their bytes.
#[track_caller]
pub fn personas(con: &mut Connection) -> BTreeMap<String, (String, String)> {
    let mut all = BTreeMap::new();
    let mut cursor = "0".to_owned();
    loop {
        let reply = ask(con, &args!["CHATCACHE.PERSONAS", "CURSOR", cursor, "COUNT", 1000]);
        let Value::Array(parts) = reply else { panic!("not a page: {reply:?}") };
        let [next, Value::Array(page)] = &parts[..] else { panic!("not a page: {parts:?}") };
        for persona in page {
            let fields = map_of(persona.clone());
            all.insert(text(&fields["name"]), (text(&fields["entries"]), text(&fields["bytes"])));
        }
        cursor = text(next);
        if cursor == "0" {
            return all;
        }
    }
}

/// A request as arguments: tier, user, persona, message, and `ID id` if it has one.
pub type Request = Vec<Vec<u8>>;

/// The facts of one response that do not change with time: INSPECT without the times that run, the moment of expiry, the
/// response.
#[track_caller]
pub fn seen(con: &mut Connection, request: &Request) -> (BTreeMap<String, Vec<u8>>, i64) {
    let command = |name: &str| {
        let mut command = vec![name.as_bytes().to_vec()];
        command.extend(request.iter().cloned());
        command
    };
    let reply = ask(con, &command("CHATCACHE.INSPECT"));
    assert_ne!(reply, Value::Nil, "nothing is there for {}", shown(request));
    let mut fields: BTreeMap<String, Vec<u8>> =
        map_of(reply).into_iter().map(|(name, value)| (name, bytes_of(&value))).collect();
    for running in ["age-ms", "fresh-ms", "ttl-ms"] {
        fields.remove(running).unwrap_or_else(|| panic!("INSPECT has no {running}"));
    }
    let dump = ask(con, &args!["DUMP", fields["key"]]);
    fields.insert("dump".to_owned(), bytes_of(&dump));
    let expires = count(con, &args!["PEXPIRETIME", fields["key"]]);
    (fields, expires)
}

fn bytes_of(value: &Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes.clone(),
        other => text(other).into_bytes(),
    }
}

/// Waits for a BGSAVE or BGREWRITEAOF to end well.
#[track_caller]
pub fn saved_in_background(con: &mut Connection) {
    eventually(|| {
        info_field(con, "persistence", "rdb_bgsave_in_progress") == "0"
            && info_field(con, "persistence", "aof_rewrite_in_progress") == "0"
            && info_field(con, "persistence", "aof_rewrite_scheduled") == "0"
    });
    assert_eq!(info_field(con, "persistence", "rdb_last_bgsave_status"), "ok");
    assert_eq!(info_field(con, "persistence", "aof_last_bgrewrite_status"), "ok");
}

/// Stores and reads every kind of response, of two personas: the requests, each of which has a TTL of
/// its own and a number of hits.
#[track_caller]
pub fn one_of_each(con: &mut Connection) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    for persona in [&b"helper"[..], b"odd \x00\r\n\xff:%{}"] {
        for tier in ["msg", "persona", "session", "response"] {
            let message = [b"what about ", persona].concat();
            requests.push(args![tier, b"ann:\xfe", persona, message].into());
        }
        requests.push(args!["session", "bob", persona, "", "ID", [b"id\x00 ", persona].concat()].into());
        requests.push(args!["persona", "", persona, ""].into());
    }
    for (number, request) in requests.iter().enumerate() {
        let response = match number {
            0 => Vec::new(),
            1 => vec![b'x'; 1 << 20],
            _ => format!("the answer\r\n\0 {number}").into_bytes(),
        };
        let mut command: Vec<Vec<u8>> = args!["CHATCACHE.SET"].into();
        command.extend(request[..4].iter().cloned());
        command.push(response);
        command.extend(request[4..].iter().cloned());
        command.extend(args!["PX", 7_000_000 + 1_237 * number]);
        assert_eq!(ask(con, &command), Value::Okay);
        for _ in 0..number {
            let mut command: Vec<Vec<u8>> = args!["CHATCACHE.GET"].into();
            command.extend(request.iter().cloned());
            assert_ne!(ask(con, &command), Value::Nil);
        }
    }
    requests
}

/// Splits an AOF, or a replication stream, into commands.
#[track_caller]
pub fn commands_in(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    fn line<'a>(rest: &mut &'a [u8]) -> &'a str {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("a line's end");
        let line = std::str::from_utf8(&rest[1..end]).expect("a number");
        *rest = &rest[end + 2..];
        line
    }
    let mut rest = bytes;
    let mut commands = Vec::new();
    while !rest.is_empty() {
        assert_eq!(
            rest[0],
            b'*',
            "not a command: {:?}",
            String::from_utf8_lossy(&rest[..rest.len().min(60)])
        );
        let words = line(&mut rest).parse().expect("a number");
        let command = (0..words).map(|_| {
            let length: usize = line(&mut rest).parse().expect("a length");
            let word = rest[..length].to_vec();
            rest = &rest[length + 2..];
            word
        });
        let command = command.collect();
        commands.push(command);
    }
    commands
}

/// A command in words, for comparing.
pub fn as_text(command: &[Vec<u8>]) -> String {
    command.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
}

/// Returns the report of `redis-check-rdb` or `redis-check-aof`, of the running server's version, on a file, and whether
/// it found it good. The server's binary is its own checker under another name.
#[track_caller]
pub fn checked(server: &Server, what: &str, file: &Path) -> (bool, String) {
    let product = if is_valkey() { "valkey" } else { "redis" };
    let checker = server.dir().join(format!("{product}-check-{what}"));
    let process = format!("/proc/{}", server.pid());
    let binary = fs::read_link(format!("{process}/exe")).expect("the server's binary");
    std::os::unix::fs::symlink(binary, &checker).expect("link the checker");
    let mut command = Command::new(&checker);
    // Where the server found its libraries, the checker does.
    let maps = fs::read_to_string(format!("{process}/maps")).expect("what the server has mapped");
    let libraries = maps.lines().filter_map(|line| Path::new(line.split_once(" /")?.1).parent()?.to_str());
    let directories: BTreeSet<String> = libraries.map(|directory| format!("/{directory}")).collect();
    command.env("LD_LIBRARY_PATH", directories.into_iter().collect::<Vec<_>>().join(":"));
    let output = command.arg(file).output().expect("run the checker");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}
