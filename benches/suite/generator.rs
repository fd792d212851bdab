//! Load on a server: 50 connections of one thread, many commands under way on each.
//!
//! `top` sends as fast as the server replies: each connection sends the next pipeline when all replies to the last
//! have come, as redis-benchmark does (and the report compares the two). `at_rate` sends at moments fixed
//! beforehand, whatever the server does, and measures each reply from the moment its command was due: a server
//! that stalls has to serve all requests that would have come meanwhile.

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::resp::{Replies, Template};
use testkit::bench::cpus::beside_servers;
use testkit::bench::server::{PATIENCE, Server};

const CONNECTIONS: usize = 50;

/// Commands sent at once on a connection.
pub const PIPELINE: usize = 32;

/// The warm-up of a load.
const WARM_UP: Duration = Duration::from_millis(200);

/// Number of null replies.
#[derive(Clone, Copy, PartialEq)]
pub enum Nulls {
    None,
    All,
    /// One of the replies to each unit.
    OneEach,
}

/// Which number each unit of work gets.
#[derive(Clone)]
pub enum Numbers {
    /// Any below this one, at random.
    Below(u64),
    /// One after another, from this one on.
    From(u64),
    /// These, again and again.
    Of(Arc<[u64]>),
}

/// The bytes to send.
#[derive(Clone)]
pub struct Load {
    pub template: Template,
    pub numbers: Numbers,
    pub nulls: Nulls,
}

impl Load {
    /// One command a unit, for hot keys with numbers below this, each of which has a value.
    pub fn of(words: &[&str], below: u64) -> Load {
        Load {
            template: Template::new(&[words.to_vec()]),
            numbers: Numbers::Below(below),
            nulls: Nulls::None,
        }
    }

    pub fn replying_null(self) -> Load {
        Load { nulls: Nulls::All, ..self }
    }

    /// The command replies the array of a FETCH that hits: four elements, of which the token is null.
    pub fn replying_hits(self) -> Load {
        Load { template: self.template.replying_arrays_of(4), nulls: Nulls::OneEach, ..self }
    }
}

/// A server's throughput, by time and by its own CPU time.
#[derive(Clone, Copy)]
pub struct Speed {
    pub per_second: f64,
    /// Microseconds that the main thread computed for a unit of work, and all threads.
    pub main_us: f64,
    pub all_us: f64,
}

/// The server's top speed over some time.
pub fn top(server: &Server, load: &Load, time: Duration) -> Speed {
    beside_servers(|| Run::new(server, load, u64::MAX).closed(server, Some(time)))
}

/// Sends a unit for each of these numbers, as fast as the server takes them.
pub fn send(server: &Server, template: &Template, numbers: Range<u64>) {
    let (template, first) = (template.clone(), Numbers::From(numbers.start));
    let load = Load { template, numbers: first, nulls: Nulls::None };
    beside_servers(|| Run::new(server, &load, numbers.end - numbers.start).closed(server, None));
}

/// Latencies in microseconds, of every reply, while this many units a second are due: pipelines at random moments.
pub fn at_rate(server: &Server, load: &Load, per_second: f64, time: Duration) -> Vec<f64> {
    beside_servers(|| Run::new(server, load, u64::MAX).open(per_second, time))
}

struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    sent: usize,
    replies: Replies,
    /// When what is under way was due, and how many replies it still wants.
    due: VecDeque<(Instant, usize)>,
}

impl Connection {
    /// Sends what the socket takes.
    fn flush(&mut self) {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("sending to the server: {error}"),
            }
        }
        self.out.clear();
        self.sent = 0;
    }

    /// Reads all there is: how many replies.
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let mut whole = 0;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => panic!("the server closed a connection"),
                Ok(read) => {
                    whole += self.replies.feed(&buffer[..read]);
                    if read < buffer.len() {
                        return whole;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return whole,
                Err(error) => panic!("reading from the server: {error}"),
            }
        }
    }
}

struct Run<'a> {
    load: &'a Load,
    poll: Poll,
    connections: Vec<Connection>,
    random: SmallRng,
    next: u64,
    units_left: u64,
    buffer: Vec<u8>,
}

impl<'a> Run<'a> {
    fn new(server: &Server, load: &'a Load, units: u64) -> Run<'a> {
        let poll = Poll::new().expect("an epoll");
        let connect = |token| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port));
            let stream = std::net::TcpStream::connect(address).expect("connect to the server");
            stream.set_nodelay(true).expect("set TCP_NODELAY");
            stream.set_nonblocking(true).expect("set O_NONBLOCK");
            let mut stream = TcpStream::from_std(stream);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(token), both).expect("register a connection");
            Connection { stream, out: vec![], sent: 0, replies: Replies::default(), due: VecDeque::new() }
        };
        let connections = (0..CONNECTIONS).map(connect).collect();
        let next = if let Numbers::From(first) = &load.numbers { *first } else { 0 };
        let random = SmallRng::seed_from_u64(1);
        Run { load, poll, connections, random, next, units_left: units, buffer: vec![0; 256 << 10] }
    }

    /// Writes the next pipeline to a connection; nothing where all has been sent.
    fn send(&mut self, at: usize, due: Instant) {
        let units = self.units_left.min(PIPELINE as u64);
        if units == 0 {
            return;
        }
        self.units_left -= units;
        let connection = &mut self.connections[at];
        for _ in 0..units {
            let next = self.next;
            self.next += 1;
            let number = match &self.load.numbers {
                Numbers::Below(limit) => self.random.random_range(0..*limit),
                Numbers::From(_) => next,
                Numbers::Of(numbers) => numbers[next as usize % numbers.len()],
            };
            self.load.template.write(number, &mut connection.out);
        }
        connection.due.push_back((due, units as usize * self.load.template.replies()));
        connection.flush();
    }

    /// Reads what has come, for so long at most: `came` learns when what came was due, and how many replies.
    /// Connections with nothing more under way go to `idle`.
    fn receive(
        &mut self,
        events: &mut Events,
        wait: Duration,
        mut came: impl FnMut(Instant, usize),
        idle: &mut Vec<usize>,
    ) {
        match self.poll.poll(events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            polled => polled.expect("poll"),
        }
        for event in events.iter() {
            let connection = &mut self.connections[event.token().0];
            if event.is_writable() {
                connection.flush();
            }
            if !event.is_readable() {
                continue;
            }
            let mut replies = connection.read(&mut self.buffer);
            while replies > 0 {
                let (due, wanted) = connection.due.front_mut().expect("replies to what was sent");
                let part = replies.min(*wanted);
                came(*due, part);
                replies -= part;
                *wanted -= part;
                if *wanted == 0 {
                    connection.due.pop_front();
                }
            }
            if connection.due.is_empty() {
                idle.push(event.token().0);
            }
        }
    }

    /// As fast as the server replies, for some time, or until all units have their replies.
    fn closed(mut self, server: &Server, time: Option<Duration>) -> Speed {
        let begun = Instant::now();
        let warm_up = if time.is_some() { WARM_UP } else { Duration::ZERO };
        let mut events = Events::with_capacity(CONNECTIONS);
        let mut idle: Vec<usize> = (0..CONNECTIONS).collect();
        let mut replies = 0;
        let mut measured_from = None;
        let mut last_reply = begun;
        let mut speed = None;
        loop {
            let now = Instant::now();
            if measured_from.is_none() && now - begun >= warm_up {
                measured_from = Some((Instant::now(), replies, server.cpu_time()));
            }
            let ended = time.is_some_and(|time| now - begun >= warm_up + time) || self.units_left == 0;
            // On a machine that is very busy the time may be over before anything was done in it.
            if let Some((from, before, cpu)) = measured_from
                && ended
                && speed.is_none()
                && replies > before
            {
                let units = (replies - before) as f64 / self.load.template.replies() as f64;
                let used = server.cpu_time();
                speed = Some(Speed {
                    per_second: units / (now - from).as_secs_f64(),
                    main_us: (used.main - cpu.main).as_secs_f64() * 1e6 / units,
                    all_us: (used.all_threads.saturating_sub(cpu.all_threads)).as_secs_f64() * 1e6 / units,
                });
                self.units_left = 0;
            }
            for at in idle.drain(..) {
                self.send(at, now);
            }
            if let Some(speed) = speed
                && self.connections.iter().all(|connection| connection.due.is_empty())
            {
                self.check(replies);
                return speed;
            }
            let before = replies;
            self.receive(&mut events, Duration::from_millis(100), |_, came| replies += came, &mut idle);
            if replies > before {
                last_reply = now;
            }
            assert!(now - last_reply < PATIENCE, "the server stopped replying");
        }
    }

    /// At moments fixed beforehand: the latencies.
    fn open(mut self, per_second: f64, time: Duration) -> Vec<f64> {
        let between = PIPELINE as f64 / per_second;
        let begun = Instant::now() + Duration::from_millis(1);
        let (measured_from, end) = (begun + WARM_UP, begun + WARM_UP + time);
        let mut events = Events::with_capacity(CONNECTIONS);
        let mut latencies = Vec::with_capacity((per_second * time.as_secs_f64() * 1.2) as usize);
        let (mut due, mut turn, mut replies) = (begun, 0, 0);
        loop {
            let now = Instant::now();
            while due <= now && due < end {
                self.send(turn % CONNECTIONS, due);
                turn += 1;
                // Exponential gaps: callers that know nothing of each other.
                let gap = -(1.0 - self.random.random::<f64>()).ln() * between;
                due += Duration::from_secs_f64(gap);
            }
            if due >= end && self.connections.iter().all(|connection| connection.due.is_empty()) {
                self.check(replies);
                return latencies;
            }
            assert!(now < end + PATIENCE, "the server stopped replying");
            let note = |due: Instant, came: usize| {
                replies += came;
                if due >= measured_from {
                    let us = due.elapsed().as_secs_f64() * 1e6;
                    latencies.extend(std::iter::repeat_n(us, came));
                }
            };
            // No sleep: waking up would take longer than a reply.
            self.receive(&mut events, Duration::ZERO, note, &mut Vec::new());
        }
    }

    /// The replies that this load is to measure: responses, or nothing.
    fn check(&self, replies: usize) {
        let nulls: u64 = self.connections.iter().map(|connection| connection.replies.nulls).sum();
        let expected = match self.load.nulls {
            Nulls::None => 0,
            Nulls::All => replies,
            Nulls::OneEach => replies / self.load.template.replies(),
        };
        assert_eq!(nulls, expected as u64, "null replies of {replies}");
    }
}
