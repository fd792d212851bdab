//! The power cord, pulled at any instant, round after round on the same disk.
//!
//! Each writer has personas, users and messages of its own, so it knows its entries: those that its last
//! acknowledged command left, or those that the command being sent leaves, whole.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{RngExt, SeedableRng};
use redis::{Connection, Value};
use testkit::{Raw, RawClient, Server, args, cmd, fill, get, patient, seed, text_of};

use super::consistency;
use super::times;

const WRITERS: u64 = 4;
const TIERS: [&str; 4] = ["msg", "persona", "session", "response"];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Request {
    tier: &'static str,
    user: String,
    persona: String,
    message: String,
}

impl Request {
    /// The identity of a key.
    fn key(&self) -> String {
        let Request { tier, user, persona, message } = self;
        match *tier {
            "msg" => format!("msg {message}"),
            "persona" => format!("persona {persona} {message}"),
            "session" => format!("session {user} {message}"),
            _ => format!("response {user} {persona} {message}"),
        }
    }

    fn command(&self, name: &str) -> Vec<Vec<u8>> {
        args![name, self.tier, self.user, self.persona, self.message].into()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Set(Request, String),
    Delete(Request),
    Invalidate(String),
    Forget(String),
}

impl Op {
    fn command(&self) -> Vec<Vec<u8>> {
        match self {
            Op::Set(request, response) => {
                let mut command = request.command("CHATCACHE.SET");
                command.push(response.as_bytes().to_vec());
                command
            }
            Op::Delete(request) => request.command("CHATCACHE.DEL"),
            Op::Invalidate(persona) => args!["CHATCACHE.INVALIDATE", persona].into(),
            Op::Forget(user) => args!["CHATCACHE.FORGET", user].into(),
        }
    }
}

/// The responses by key: their names, and their text.
type Responses = BTreeMap<String, (Request, String)>;

fn apply(responses: &mut Responses, op: &Op) {
    match op {
        Op::Set(request, response) => {
            responses.insert(request.key(), (request.clone(), response.clone()));
        }
        Op::Delete(request) => {
            responses.remove(&request.key());
        }
        Op::Invalidate(persona) => responses.retain(|_, (request, _)| request.persona != *persona),
        Op::Forget(user) => responses.retain(|_, (request, _)| request.user != *user),
    }
}

struct Writer {
    number: u64,
    rng: StdRng,
    responses: Responses,
    /// Every request that ever had a response, by key.
    asked: BTreeMap<String, Request>,
    written: u64,
}

impl Writer {
    fn new(number: u64, seed: u64) -> Writer {
        let rng = StdRng::seed_from_u64(seed + number);
        Writer { number, rng, responses: Responses::new(), asked: BTreeMap::new(), written: 0 }
    }

    fn draw(&mut self) -> Op {
        let Writer { number, rng, .. } = self;
        let persona = format!("p{number}-{}", rng.random_range(0..3));
        let user = format!("u{number}-{}", rng.random_range(0..3));
        match rng.random_range(0..100) {
            0..2 => Op::Invalidate(persona),
            2..4 => Op::Forget(user),
            4..20 if !self.responses.is_empty() => {
                Op::Delete(self.responses.values().choose(rng).expect("an answer").0.clone())
            }
            _ => {
                let tier = TIERS.choose(rng).expect("a tier");
                let message = format!("{number} asks {}", rng.random_range(0..40));
                self.written += 1;
                let response =
                    format!("{number} wrote {} {}", self.written, "x".repeat(rng.random_range(0..300)));
                Op::Set(Request { tier, user, persona, message }, response)
            }
        }
    }

    /// Writes until the server is gone. Returns the command that was being sent then.
    fn write(&mut self, mut con: Connection) -> Op {
        loop {
            let op = self.draw();
            if let Op::Set(request, _) = &op {
                self.asked.insert(request.key(), request.clone());
            }
            match cmd(&mut con, &op.command()) {
                Ok(Value::Okay | Value::Int(_)) => apply(&mut self.responses, &op),
                Ok(other) => panic!("{op:?} gave {other:?}"),
                Err(error) => {
                    assert!(error.is_io_error() || error.is_connection_dropped(), "{op:?}: {error}");
                    return op;
                }
            }
        }
    }

    /// Compares the entries with the expected ones: as they were, or with the last command done.
    fn compare(&mut self, con: &mut RawClient, last: &Op) {
        let commands: Vec<_> = self.asked.values().map(|request| request.command("CHATCACHE.GET")).collect();
        let found: BTreeMap<String, String> = self
            .asked
            .keys()
            .zip(con.pipeline(&commands))
            .filter(|(_, reply)| *reply != Raw::NullBulk)
            .map(|(key, reply)| (key.clone(), text_of(&reply)))
            .collect();
        let texts = |responses: &Responses| -> BTreeMap<String, String> {
            responses.iter().map(|(key, (_, response))| (key.clone(), response.clone())).collect()
        };
        let mut done = self.responses.clone();
        apply(&mut done, last);
        if found == texts(&done) {
            self.responses = done;
        }
        assert_eq!(found, texts(&self.responses), "writer {} after {last:?}", self.number);
    }
}

#[test]
fn a_power_cut_loses_no_acknowledged_write_and_no_invalidate() {
    let rounds = times("CHATCACHE_ROUNDS", 3);
    println!("{rounds} rounds");
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    // Invalidations of more than 20 responses leave keys to reclaim, others none.
    let builder = Server::builder().appendonly().config("appendfsync always");
    let mut server = builder.config("chatcache.invalidate-sync-limit 20").start();
    let mut writers: Vec<Writer> = (0..WRITERS).map(|number| Writer::new(number, seed)).collect();
    let mut rewrites = 0;
    for round in 0..rounds {
        // A persona whose reclaim is under way when the server dies.
        let mut con = server.connect();
        fill(&mut con, "persona", "", "dropped", 10_000);
        let (rewrite, at_ms) = (rng.random_bool(0.5), rng.random_range(0..400));
        let mut invalidated = false;
        let lasts: Vec<Op> = thread::scope(|scope| {
            let threads: Vec<_> = writers
                .iter_mut()
                .map(|writer| {
                    let con = server.connect();
                    scope.spawn(move || writer.write(con))
                })
                .collect();
            let before = rng.random_range(0..=at_ms);
            thread::sleep(patient(Duration::from_millis(before)));
            if rewrite {
                cmd(&mut con, &["BGREWRITEAOF"]).expect("BGREWRITEAOF");
                rewrites += 1;
            }
            if rng.random_bool(0.8) {
                assert_eq!(cmd(&mut con, &["CHATCACHE.INVALIDATE", "dropped"]), Ok(Value::Int(10_000)));
                invalidated = true;
            }
            thread::sleep(patient(Duration::from_millis(at_ms - before)));
            // SAFETY: kill has no memory to be unsafe with; the server is this test's own and has not been waited for.
            unsafe { libc::kill(server.pid() as libc::pid_t, libc::SIGKILL) };
            threads.into_iter().map(|thread| thread.join().expect("a writer")).collect()
        });
        server.wait_for_exit();
        server.start_again();
        let mut raw = server.raw();
        for (writer, last) in writers.iter_mut().zip(&lasts) {
            writer.compare(&mut raw, last);
        }
        let mut con = server.connect();
        let expected = if invalidated { None } else { Some("a77".to_owned()) };
        assert_eq!(get(&mut con, "persona", "", "dropped", "q77"), expected, "round {round}");
        let responses: usize = writers.iter().map(|writer| writer.responses.len()).sum();
        let left = if invalidated { 0 } else { 10_000 };
        let stats = consistency::counts_agree(&mut raw);
        assert_eq!(stats["entries"], responses as i64 + left, "round {round}");
        let done: u64 = writers.iter().map(|writer| writer.written).sum();
        println!("round {round}: killed after {at_ms} ms, {done} answers written so far, {responses} there");
    }
    println!("{rewrites} of {rounds} rounds had a rewrite of the AOF under way or just done");
    assert!(writers.iter().all(|writer| writer.written > 0));
}
