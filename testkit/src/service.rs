//! A service under failovers: it stores, reads, computes under leases and invalidates, one persona by one
//! client, and remembers the acknowledged writes.

use std::sync::atomic::{AtomicBool, Ordering};

use redis::{RedisResult, Value};

use crate::{ClusterClient, SentinelClient, args, text};

/// Tells services to stop when it goes out of scope, also if a test fails.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A client that finds a persona's master, whoever that is by now.
pub trait FailoverClient {
    /// Returns the reply to a command, from the first server that gives one.
    fn call<A: AsRef<[u8]>>(&mut self, persona: &str, command: &[A]) -> RedisResult<Value>;

    /// Returns true if the last write will outlive its master.
    fn is_kept(&mut self, persona: &str) -> bool;
}

impl FailoverClient for ClusterClient {
    fn call<A: AsRef<[u8]>>(&mut self, persona: &str, command: &[A]) -> RedisResult<Value> {
        self.call(persona, command)
    }

    fn is_kept(&mut self, persona: &str) -> bool {
        self.kept_by(persona, 1) == 1
    }
}

impl FailoverClient for SentinelClient {
    fn call<A: AsRef<[u8]>>(&mut self, _persona: &str, command: &[A]) -> RedisResult<Value> {
        self.call(command)
    }

    fn is_kept(&mut self, _persona: &str) -> bool {
        self.is_kept()
    }
}

/// A service's record of its persona.
pub struct Story {
    persona: String,
    /// The responses that must be there.
    kept: Vec<usize>,
    /// All before this one are promised to be gone.
    gone: usize,
    /// The responses so far.
    next: usize,
    /// Number of acknowledged invalidations.
    pub invalidations: usize,
}

impl Story {
    pub fn new(persona: impl Into<String>) -> Story {
        Story { persona: persona.into(), kept: Vec::new(), gone: 0, next: 0, invalidations: 0 }
    }

    /// Goes on until told to stop; fails the test where a promise is broken.
    pub fn go_on(&mut self, client: &mut impl FailoverClient, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.step(client);
        }
    }

    /// Stores one response, and now and then more.
    pub fn step(&mut self, client: &mut impl FailoverClient) {
        let n = self.next;
        self.next += 1;
        if self.store(client, n) {
            self.kept.push(n);
        }
        if n.is_multiple_of(3) {
            self.check_some(client);
        }
        if n % 40 == 39 {
            self.call(client, &args!["CHATCACHE.INVALIDATE", self.persona]);
            // Acknowledged or not, its responses need no longer be there.
            self.kept.clear();
            if client.is_kept(&self.persona) {
                self.gone = self.next;
                self.invalidations += 1;
            }
        }
    }

    /// Stores a response, every other one under a lease; whether it is promised to stay.
    fn store(&self, client: &mut impl FailoverClient, n: usize) -> bool {
        let request = |name: &str| args![name, "persona", "", self.persona, format!("q{n}")].to_vec();
        let mut command = request("CHATCACHE.SET");
        command.push(format!("a{n}").into_bytes());
        if n.is_multiple_of(2) {
            let mut fetch = request("CHATCACHE.FETCH");
            fetch.extend(args!["LEASE", 60_000]);
            let Value::Array(reply) = self.call(client, &fetch) else { panic!("FETCH") };
            match text(&reply[0]).as_str() {
                "lease" => command.extend(args!["TOKEN", text(&reply[2])]),
                // Its first try got the lease, and the connection broke before it heard of it.
                "busy" => {}
                other => panic!("{} q{n}: {other}", self.persona),
            }
        }
        match self.call(client, &command) {
            Value::Okay => client.is_kept(&self.persona),
            // The lease ended with the master that gave it, or with the first try.
            Value::Nil => false,
            other => panic!("SET: {other:?}"),
        }
    }

    fn check_some(&self, client: &mut impl FailoverClient) {
        if let Some(&n) = self.kept.get(self.next * 7 % self.kept.len().max(1)) {
            assert_eq!(self.get(client, n), Some(format!("a{n}")), "{} q{n} is lost", self.persona);
        }
        if self.gone > 0 {
            let n = self.next * 11 % self.gone;
            assert_eq!(self.get(client, n), None, "{} q{n} is undead", self.persona);
        }
    }

    /// Checks that all promises hold.
    #[track_caller]
    pub fn check(&self, client: &mut impl FailoverClient) {
        for &n in &self.kept {
            assert_eq!(self.get(client, n), Some(format!("a{n}")), "{} q{n} is lost", self.persona);
        }
        for n in 0..self.gone {
            assert_eq!(self.get(client, n), None, "{} q{n} is undead", self.persona);
        }
    }

    fn get(&self, client: &mut impl FailoverClient, n: usize) -> Option<String> {
        let command = args!["CHATCACHE.GET", "persona", "", self.persona, format!("q{n}")];
        match self.call(client, &command) {
            Value::Nil => None,
            response => Some(text(&response)),
        }
    }

    #[track_caller]
    fn call<A: AsRef<[u8]>>(&self, client: &mut impl FailoverClient, command: &[A]) -> Value {
        client.call(&self.persona, command).unwrap_or_else(|error| panic!("{}: {error}", self.persona))
    }
}
