//! Thousands of connections of this process that all wait in one command.

use redis::cmd;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use testkit::bench::server::{PATIENCE, Server};

/// The longest wait and lease.
const A_DAY_MS: u64 = 86_400_000;

/// File descriptors beyond the waiters: connections of others, the log, libraries.
const OTHER_CLIENTS: u64 = 1_400;

pub struct Waiters<'a> {
    server: &'a Server,
    streams: Vec<TcpStream>,
    /// Has the lease that all the others wait for.
    holder: redis::Connection,
    token: String,
}

impl<'a> Waiters<'a> {
    pub fn connect(server: &'a Server, count: usize) -> Self {
        let count = count.min((server.max_clients - OTHER_CLIENTS) as usize);
        let connect = |_| {
            let stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connect a waiter");
            stream.set_read_timeout(Some(PATIENCE)).expect("set the read time-out");
            stream
        };
        let streams = (0..count).map(connect).collect();
        let mut waiters = Waiters { server, streams, holder: server.connect(), token: String::new() };
        waiters.send(cmd("PING"));
        waiters.read_all(b"+PONG\r\n");
        waiters
    }

    pub fn count(&self) -> usize {
        self.streams.len()
    }

    /// All of them wait in FETCH.
    pub fn fetch(&mut self, prompt: &str) {
        let mut fetch = cmd("CHATCACHE.FETCH");
        fetch.arg(&request(prompt)).arg("LEASE").arg(A_DAY_MS);
        let lease: Vec<Option<String>> = fetch.query(&mut self.holder).expect("FETCH");
        assert_eq!(lease[0].as_deref(), Some("lease"));
        self.token = lease[2].clone().expect("a token");
        self.send(fetch.arg("WAIT").arg(A_DAY_MS).to_owned());
        self.all_blocked();
    }

    /// Their response comes: the time until the last of them has read it.
    pub fn serve(&mut self, prompt: &str) -> Duration {
        assert_eq!(self.server.info::<usize>("blocked_clients"), self.count(), "somebody waited no longer");
        let begun = Instant::now();
        let mut set = cmd("CHATCACHE.SET");
        set.arg(&request(prompt)).arg("response").arg("TOKEN").arg(&self.token);
        let stored: Option<String> = set.query(&mut self.holder).expect("SET");
        assert_eq!(stored.as_deref(), Some("OK"));
        self.read_all(b"*2\r\n$3\r\nhit\r\n$6\r\nanswer\r\n");
        begun.elapsed()
    }

    /// All of them wait in BLPOP, to compare with.
    pub fn pop(&mut self) {
        self.send(cmd("BLPOP").arg("list").arg(0).to_owned());
        self.all_blocked();
    }

    pub fn push(&mut self) {
        let values = vec!["response"; self.count()];
        let _: usize = cmd("RPUSH").arg("list").arg(values).query(&mut self.holder).expect("RPUSH");
        self.read_all(b"*2\r\n$4\r\nlist\r\n$6\r\nanswer\r\n");
    }

    fn send(&mut self, command: redis::Cmd) {
        let bytes = command.get_packed_command();
        for stream in &mut self.streams {
            stream.write_all(&bytes).expect("send a waiter's command");
        }
    }

    fn read_all(&mut self, expected: &[u8]) {
        let mut reply = vec![0; expected.len()];
        for stream in &mut self.streams {
            stream.read_exact(&mut reply).expect("read a waiter's reply");
            assert!(reply == expected, "a waiter read {:?}", String::from_utf8_lossy(&reply));
        }
    }

    fn all_blocked(&self) {
        let begun = Instant::now();
        while self.server.info::<usize>("blocked_clients") < self.count() {
            assert!(begun.elapsed() < PATIENCE, "not all clients wait");
            sleep(Duration::from_millis(20));
        }
    }
}

fn request(prompt: &str) -> [&str; 4] {
    ["persona", "bench", "helper", prompt]
}
