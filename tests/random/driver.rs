//! Draws commands, sends them one by one, in a pipeline, in MULTI or in a script, and holds each reply and
//! now and then the whole server against the model.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use testkit::{Raw, RawClient, Server, args, eventually, seed};

use super::checks;
use super::model::{DATABASES, Model, Reclaim, Value};
use super::ops::{Condition, Op, Ttl};
use super::requests::{Bytes, Request, TIERS, universe};

/// How long a key must have yet to live for a group of commands, or a check of everything, not to see it die.
const MARGIN_MS: i64 = 25;
pub const LONG_MARGIN_MS: i64 = 150;

/// Longer than any key lives whose end a test sees.
pub const NO_DEADLINE_MS: i64 = 10_000;

/// A script that runs the commands it is given, each after its number of words, and replies all replies.
const SCRIPT: &str = "
    local replies, at = {}, 1
    while at <= #ARGV do
        local words = tonumber(ARGV[at])
        replies[#replies + 1] = redis.pcall(unpack(ARGV, at + 1, at + words))
        at = at + words + 1
    end
    return replies";

/// The pause after an invalidation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pause {
    None,
    /// Until nothing is left to reclaim.
    UntilReclaimed,
}

pub struct Driver {
    pub server: Server,
    pub replica: Option<Server>,
    pub con: RawClient,
    other: RawClient,
    pub model: Model,
    pub rng: StdRng,
    pub seed: u64,
    pause: Pause,
    requests: Vec<Request>,
    /// Payloads of DUMP, each with its value.
    shelf: Vec<(Bytes, Value)>,
    /// The last commands, for the message of a failure.
    log: Vec<String>,
    step: usize,
}

/// Returns `CHATCACHE_STEPS`, or this default.
pub fn steps(usual: usize) -> usize {
    match std::env::var("CHATCACHE_STEPS") {
        Ok(steps) => steps.parse().expect("CHATCACHE_STEPS is not a number"),
        Err(_) => usual,
    }
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

impl Driver {
    pub fn new(server: Server, reclaim: Reclaim, pause: Pause) -> Driver {
        let seed = seed();
        let (con, other) = (server.raw(), server.raw());
        Driver {
            server,
            replica: None,
            con,
            other,
            model: Model::new(reclaim),
            rng: StdRng::seed_from_u64(seed),
            seed,
            pause,
            requests: universe(),
            shelf: Vec::new(),
            log: Vec::new(),
            step: 0,
        }
    }

    pub fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step += 1;
            self.wait_out_deadlines(MARGIN_MS);
            if self.chance(0.05) {
                self.watch();
            } else {
                self.group();
            }
            if self.pause == Pause::UntilReclaimed {
                self.reclaimed();
            }
            if self.step.is_multiple_of(100) {
                checks::everything(self);
            }
        }
        checks::everything(self);
    }

    /// A new connection, as after a restart.
    pub fn reconnect(&mut self) {
        (self.con, self.other) = (self.server.raw(), self.server.raw());
        self.model.selected = 0;
    }

    /// Waits until the server, and its replica, have reclaimed all tombstones.
    pub fn reclaimed(&mut self) {
        if (0..DATABASES).all(|database| self.model.invalidated(database) == 0) {
            return;
        }
        eventually(|| pending(&mut self.con) == 0);
        if let Some(replica) = &self.replica {
            testkit::replica_caught_up(&self.server, replica);
            let mut con = replica.raw();
            eventually(|| pending(&mut con) == 0);
        }
        self.model.forget_invalidated();
    }

    #[track_caller]
    pub fn fail(&self, what: &str) -> ! {
        let last = self.log.iter().rev().take(60).rev().cloned().collect::<Vec<_>>().join("\n");
        panic!("{last}\n{what}\nat step {} of CHATCACHE_SEED={}", self.step, self.seed);
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    pub fn request(&mut self) -> Request {
        self.requests.choose(&mut self.rng).expect("some requests").clone()
    }

    pub fn shelf(&mut self) -> Option<(Bytes, Value)> {
        self.shelf.choose(&mut self.rng).cloned()
    }

    /// Lets keys die that would die during the next commands, and makes the server see that they are dead.
    pub fn wait_out_deadlines(&mut self, margin_ms: i64) {
        let deadlines = |model: &Model| -> Vec<(usize, Bytes, i64)> {
            let keys = model.databases.iter().enumerate();
            keys.flat_map(|(database, keys)| {
                keys.iter().filter_map(move |(name, key)| Some((database, name.clone(), key.until?)))
            })
            .collect()
        };
        loop {
            let now = now_ms();
            let near = deadlines(&self.model);
            let near = near
                .iter()
                .map(|(.., until)| *until)
                .filter(|until| (now - 1..now + margin_ms).contains(until));
            let Some(last) = near.max() else { break };
            std::thread::sleep(Duration::from_millis((last - now + 2) as u64));
        }
        let now = now_ms();
        let dead: Vec<_> = deadlines(&self.model).into_iter().filter(|(.., until)| *until < now).collect();
        if dead.is_empty() {
            return;
        }
        for (database, name, _) in dead {
            self.select(database);
            let reply = self.con.call(&args!["EXISTS", name]);
            if reply != Raw::Int(0) {
                self.fail(&format!("{} is there after its time", name.escape_ascii()));
            }
        }
        self.model.forget_expired(now);
    }

    pub fn select(&mut self, database: usize) {
        let reply = self.con.call(&args!["SELECT", database]);
        assert_eq!(reply, Raw::simple("OK"));
        self.model.selected = database;
    }

    /// Some commands, sent in one of the ways there are.
    fn group(&mut self) {
        let mut way = *["alone", "pipeline", "MULTI", "script"].choose(&mut self.rng).expect("a way");
        // A replica reclaims at its own pace: RENAME and the like may find the key of a tombstone
        // on one side only. So each reclaim either ends first or is atomic with the next command.
        if way == "pipeline" && self.replica.is_some() && self.model.reclaim == Reclaim::Later {
            way = "alone";
        }
        let count = if way == "alone" { 1 } else { self.rng.random_range(2..12) };
        let mut ops = Vec::new();
        let mut database = self.model.selected;
        if way == "script" {
            ops.push(Op::Select(database));
        }
        while ops.len() < count {
            if self.chance(0.15) {
                database = self.rng.random_range(0..DATABASES);
                ops.push(Op::Select(database));
            }
            let op = self.draw(database);
            // DEBUG may not stand in a script, and not where its clients' keys change under a transaction.
            if matches!(op, Op::Reload) && matches!(way, "MULTI" | "script") {
                continue;
            }
            ops.push(op);
        }
        let before = self.model.selected;
        self.note(way, &ops);
        let began = now_ms();
        let replies = match way {
            "MULTI" => self.transaction(&ops),
            "script" => self.script(&ops),
            _ => self.pipeline(&ops),
        };
        self.hold(&ops, &replies, began, now_ms());
        if way == "script" {
            self.model.selected = before;
        }
    }

    pub fn pipeline(&mut self, ops: &[Op]) -> Vec<Raw> {
        let mut bytes = Vec::new();
        ops.iter().for_each(|op| encode(&op.args(), &mut bytes));
        self.con.send_bytes(&bytes);
        ops.iter().map(|_| self.con.read()).collect()
    }

    fn transaction(&mut self, ops: &[Op]) -> Vec<Raw> {
        assert_eq!(self.con.call(&["MULTI"]), Raw::simple("OK"));
        let queued = self.pipeline(ops);
        if let Some(refused) = queued.iter().find(|reply| **reply != Raw::simple("QUEUED")) {
            self.fail(&format!("MULTI does not take a command: {refused:?}"));
        }
        match self.con.call(&["EXEC"]) {
            Raw::Array(replies) => replies,
            other => self.fail(&format!("EXEC: {other:?}")),
        }
    }

    fn script(&mut self, ops: &[Op]) -> Vec<Raw> {
        let mut call = args!["EVAL", SCRIPT, 0].to_vec();
        for op in ops {
            let args = op.args();
            call.push(args.len().to_string().into_bytes());
            call.extend(args);
        }
        match self.con.call(&call) {
            Raw::Array(replies) => replies,
            other => self.fail(&format!("EVAL: {other:?}")),
        }
    }

    /// One client watches, another one writes, and EXEC is refused just when it must be.
    fn watch(&mut self) {
        let database = self.model.selected;
        let request = self.request();
        let persona = request.persona.clone();
        let text = b"between".to_vec();
        let set = Op::Set(request.clone(), text, Ttl::Tier, Condition::Always);
        let (watched, between, touched) = match self.rng.random_range(0..5) {
            0 => (persona.clone(), Op::Invalidate(vec![persona]), true),
            1 => (b"users".to_vec(), Op::Invalidate(vec![b"usersAbc".to_vec()]), false),
            2 => (request.key(), set, true),
            3 => (request.key(), Op::Get(request), false),
            _ => (b"usersAbc".to_vec(), Op::Invalidate(vec![b"nobody".to_vec(), b"usersAbc".to_vec()]), true),
        };
        let then = self.draw(database);
        if matches!(then, Op::Reload) {
            return;
        }
        self.note("WATCH, between", std::slice::from_ref(&between));
        let began = now_ms();
        assert_eq!(self.con.call(&args!["WATCH", watched]), Raw::simple("OK"));
        assert_eq!(self.other.call(&args!["SELECT", database]), Raw::simple("OK"));
        let reply = self.other.call(&between.args());
        // A refused SET, over a key of another type, touches nothing.
        let touched = touched && !matches!(reply, Raw::Error(_));
        self.hold(std::slice::from_ref(&between), &[reply], began, now_ms());
        self.note("EXEC", std::slice::from_ref(&then));
        assert_eq!(self.con.call(&["MULTI"]), Raw::simple("OK"));
        assert_eq!(self.con.call(&then.args()), Raw::simple("QUEUED"));
        match (self.con.call(&["EXEC"]), touched) {
            (Raw::NullArray, true) => {}
            // Tombstones may be reclaimed meanwhile, and that changes their keys.
            (Raw::NullArray, false) if (0..DATABASES).any(|number| self.model.invalidated(number) > 0) => {}
            (Raw::Array(replies), false) => self.hold(&[then], &replies, began, now_ms()),
            (reply, _) => {
                let watched = watched.escape_ascii();
                self.fail(&format!("{watched} was watched and touched: {touched}, but EXEC gave {reply:?}"));
            }
        }
    }

    fn hold(&mut self, ops: &[Op], replies: &[Raw], began: i64, ended: i64) {
        if ops.len() != replies.len() {
            self.fail(&format!("{} commands, {} replies", ops.len(), replies.len()));
        }
        // The times at which the commands may have run, as far as the model can tell them apart.
        let mut times = vec![began];
        for key in self.model.databases.iter().flat_map(|keys| keys.values()) {
            times.extend(
                key.until.map(|until| until.saturating_add(1)).filter(|at| (began..=ended).contains(at)),
            );
        }
        times.sort_unstable();
        times.dedup();
        match fitting(&self.model, ops, replies, &times) {
            Ok(model) => self.model = model,
            Err(why) => self.fail(&why),
        }
        // The value of a lone DUMP is known; in a group it may have been any.
        if let ([Op::Dump(name)], [Raw::Bulk(dump)]) = (ops, replies)
            && let Some(key) = self.model.databases[self.model.selected].get(name)
        {
            self.shelf.push((dump.clone(), key.value.clone()));
            if self.shelf.len() > 12 {
                let old = self.rng.random_range(0..12);
                self.shelf.swap_remove(old);
            }
        }
    }

    fn note(&mut self, way: &str, ops: &[Op]) {
        let selected = self.model.selected;
        self.log.extend(ops.iter().map(|op| format!("{way} [{selected}] {}", op.line())));
        if self.log.len() > 400 {
            self.log.drain(..200);
        }
    }

    /// Keys of the model, and now and then another.
    pub fn name(&mut self, database: usize) -> Bytes {
        let known = self.model.databases[database].len();
        if known > 0 && self.chance(0.7) {
            let at = self.rng.random_range(0..known);
            return self.model.databases[database].keys().nth(at).expect("that many keys").clone();
        }
        match self.rng.random_range(0..4) {
            0 => b"elsewhere".to_vec(),
            1 => b"else:{*}%\0\xff".to_vec(),
            _ => self.request().key(),
        }
    }
}

/// The model after these replies, if at some of these times, one after the other, they can have been.
fn fitting(model: &Model, ops: &[Op], replies: &[Raw], times: &[i64]) -> Result<Model, String> {
    let mut model = model.clone();
    for (at, (op, reply)) in ops.iter().zip(replies).enumerate() {
        let before = (times.len() > 1).then(|| model.clone());
        let fits = model.apply(op, reply, times[0]);
        match (fits, before) {
            (Ok(()), None) => {}
            (Ok(()), Some(before)) => {
                let rest = fitting(&model, &ops[at + 1..], &replies[at + 1..], times);
                return rest.or_else(|_| fitting(&before, &ops[at..], &replies[at..], &times[1..]));
            }
            (Err(_), Some(before)) => return fitting(&before, &ops[at..], &replies[at..], &times[1..]),
            (Err(why), None) => return Err(why),
        }
    }
    Ok(model)
}

/// Entries that wait to be reclaimed.
pub fn pending(con: &mut RawClient) -> u64 {
    checks::stats(con)["pending-reclaim"]
}

fn encode(args: &[Bytes], out: &mut Bytes) {
    out.extend(format!("*{}\r\n", args.len()).into_bytes());
    for arg in args {
        out.extend(format!("${}\r\n", arg.len()).into_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// All tiers' names, for FLUSH.
pub fn some_tiers(rng: &mut StdRng) -> Vec<super::requests::Tier> {
    let count = rng.random_range(0..3);
    (0..count).map(|_| *TIERS.choose(rng).expect("a tier")).collect()
}
