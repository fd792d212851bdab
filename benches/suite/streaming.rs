//! A model that says its response piece by piece, and a crowd that asks for it at once: with FETCH STREAM, with FETCH that
//! waits for the end, with a stream that is read by XREAD, and with a model call for every caller.
//!
//! The callers wait when the model says its first piece. A holder on a connection of its own hands the pieces over.

use redis::{Cmd, Connection, cmd};
use serde_json::json;
use std::sync::mpsc;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::Bench;
use crate::prober::pings;
use crate::readers::{self, Next, Reply, Way};
use crate::report::{Goal, Row, Series, Table, figure};
use testkit::bench::figures::median;
use testkit::bench::server::{PATIENCE, Server};

const CROWD: usize = 1_000;
const LARGE_CROWD: usize = 10_000;

const PIECES_PER_SECOND: u32 = 60;
const PIECE_BYTES: usize = 24;

/// The interval of polling.
const POLL: Duration = Duration::from_millis(50);

/// The longest wait of a reader.
const WAIT_MS: usize = 50_000;

/// A model that talks for some seconds, about one question.
struct Model {
    pieces: Vec<Vec<u8>>,
    question: String,
}

impl Model {
    fn request(&self) -> [&str; 4] {
        ["persona", "ann", "helper", &self.question]
    }

    fn fetch(&self) -> Cmd {
        cmd("CHATCACHE.FETCH").arg(&self.request()).to_owned()
    }

    fn key(&self) -> String {
        format!("stream:{}", self.question)
    }

    fn time(&self) -> Duration {
        Duration::from_secs(1) * self.pieces.len() as u32 / PIECES_PER_SECOND
    }
}

/// One way to hand a response on, from the holder's side and from the readers'.
trait Contest: Way {
    /// The number of callers that are ready to read, of those that are connected.
    fn ready(&self, server: &Server, crowd: usize) -> usize;

    fn lease(&self, con: &mut Connection) -> String;
    fn append(&self, con: &mut Connection, token: &str, piece: &[u8]);
    fn commit(&self, con: &mut Connection, token: &str);
}

fn lease(model: &Model, con: &mut Connection) -> String {
    let lease: Vec<Option<String>> = model.fetch().query(con).expect("FETCH");
    lease[2].clone().expect("a token")
}

fn elements(reply: Reply) -> Vec<Reply> {
    match reply {
        Reply::Array(elements) => elements,
        _ => panic!("the server replied no array"),
    }
}

struct Streamed<'a>(&'a Model);

impl Way for Streamed<'_> {
    fn begin(&self) -> Vec<u8> {
        self.0.fetch().arg("STREAM").arg("WAIT").arg(WAIT_MS).get_packed_command()
    }

    fn take(&self, reply: Reply, text: &mut Vec<u8>) -> Next {
        let reply = elements(reply);
        text.extend_from_slice(reply[1].bytes());
        match reply[0].bytes() {
            b"part" => {
                let Reply::Number(next) = reply[3] else { panic!("no offset") };
                let draft = reply[2].bytes();
                let from = self.0.fetch().arg("STREAM").arg("FROM").arg(draft).arg(next).to_owned();
                Next::Ask(from.to_owned().arg("WAIT").arg(WAIT_MS).get_packed_command())
            }
            b"rest" | b"hit" => Next::End,
            other => panic!("a reader is told {}", String::from_utf8_lossy(other)),
        }
    }
}

impl Contest for Streamed<'_> {
    fn ready(&self, server: &Server, _: usize) -> usize {
        server.stats()["waiters"] as usize
    }

    fn lease(&self, con: &mut Connection) -> String {
        lease(self.0, con)
    }

    fn append(&self, con: &mut Connection, token: &str, piece: &[u8]) {
        let mut append = cmd("CHATCACHE.APPEND");
        append.arg(&self.0.request()).arg(piece).arg("TOKEN").arg(token);
        let length: Option<usize> = append.query(con).expect("APPEND");
        assert!(length.is_some(), "the lease is lost");
    }

    fn commit(&self, con: &mut Connection, token: &str) {
        let mut commit = cmd("CHATCACHE.COMMIT");
        let stored: Option<String> =
            commit.arg(&self.0.request()).arg("TOKEN").arg(token).query(con).expect("COMMIT");
        assert!(stored.is_some(), "the lease is lost");
    }
}

struct Whole<'a>(&'a Model);

impl Way for Whole<'_> {
    fn begin(&self) -> Vec<u8> {
        self.0.fetch().arg("WAIT").arg(WAIT_MS).get_packed_command()
    }

    fn take(&self, reply: Reply, text: &mut Vec<u8>) -> Next {
        text.extend_from_slice(elements(reply)[1].bytes());
        Next::End
    }
}

impl Contest for Whole<'_> {
    fn ready(&self, server: &Server, _: usize) -> usize {
        server.stats()["waiters"] as usize
    }

    fn lease(&self, con: &mut Connection) -> String {
        lease(self.0, con)
    }

    fn append(&self, _: &mut Connection, _: &str, _: &[u8]) {}

    fn commit(&self, con: &mut Connection, token: &str) {
        let mut set = cmd("CHATCACHE.SET");
        set.arg(&self.0.request()).arg(self.0.pieces.concat()).arg("TOKEN").arg(token);
        let stored: Option<String> = set.query(con).expect("SET");
        assert!(stored.is_some(), "the lease is lost");
    }
}

/// XADD of each piece; the readers ask with XREAD, now and then or with BLOCK.
struct Xread<'a, const BLOCK: bool>(&'a Model);

impl<const BLOCK: bool> Xread<'_, BLOCK> {
    fn after(&self, id: &[u8]) -> Vec<u8> {
        let mut xread = cmd("XREAD");
        if BLOCK {
            xread.arg("BLOCK").arg(WAIT_MS);
        }
        xread.arg("STREAMS").arg(self.0.key()).arg(id).get_packed_command()
    }
}

impl<const BLOCK: bool> Way for Xread<'_, BLOCK> {
    fn delay(&self) -> Duration {
        POLL
    }

    fn begin(&self) -> Vec<u8> {
        self.after(b"0")
    }

    fn take(&self, reply: Reply, text: &mut Vec<u8>) -> Next {
        if let Reply::Array(streams) = reply {
            let mut stream = elements(streams.into_iter().next().expect("a stream"));
            for entry in elements(stream.pop().expect("its entries")) {
                let fields = elements(elements(entry).pop().expect("its fields"));
                match fields[0].bytes() {
                    b"end" => return Next::End,
                    _ => text.extend_from_slice(fields[1].bytes()),
                }
            }
        }
        // The entries' IDs are numbers from 1 on, and each has a piece.
        let next = self.after(format!("0-{}", text.len() / PIECE_BYTES).as_bytes());
        if BLOCK { Next::Ask(next) } else { Next::AskAfter(next) }
    }
}

impl<const BLOCK: bool> Contest for Xread<'_, BLOCK> {
    fn ready(&self, server: &Server, crowd: usize) -> usize {
        if BLOCK { server.info("blocked_clients") } else { crowd }
    }

    fn lease(&self, con: &mut Connection) -> String {
        let mut lock = cmd("SET");
        lock.arg(format!("lock:{}", self.0.key())).arg("mine").arg("NX").arg("PX").arg(30_000);
        lock.query::<Option<String>>(con).expect("SET NX").expect("the lock")
    }

    fn append(&self, con: &mut Connection, _: &str, piece: &[u8]) {
        let mut xadd = cmd("XADD");
        let _: String = xadd.arg(self.0.key()).arg("0-*").arg("piece").arg(piece).query(con).expect("XADD");
    }

    fn commit(&self, con: &mut Connection, _: &str) {
        let key = self.0.key();
        let _: () = redis::pipe()
            .cmd("SET")
            .arg(format!("response:{key}"))
            .arg(self.0.pieces.concat())
            .ignore()
            .cmd("XADD")
            .arg(&key)
            .arg("0-*")
            .arg("end")
            .arg("1")
            .ignore()
            .cmd("DEL")
            .arg(format!("lock:{key}"))
            .ignore()
            .query(con)
            .expect("the end of the stream");
    }
}

/// GET, a model call, and SET: the pieces come from the caller's own model.
struct Own<'a>(&'a Model);

impl Way for Own<'_> {
    fn delay(&self) -> Duration {
        self.0.time()
    }

    fn begin(&self) -> Vec<u8> {
        cmd("CHATCACHE.GET").arg(&self.0.request()).get_packed_command()
    }

    fn take(&self, reply: Reply, text: &mut Vec<u8>) -> Next {
        match reply {
            Reply::Null => {
                *text = self.0.pieces.concat();
                Next::AskAfter(cmd("CHATCACHE.SET").arg(&self.0.request()).arg(&*text).get_packed_command())
            }
            _ => Next::End,
        }
    }
}

impl Contest for Own<'_> {
    fn ready(&self, _: &Server, crowd: usize) -> usize {
        crowd
    }

    fn lease(&self, _: &mut Connection) -> String {
        String::new()
    }

    fn append(&self, _: &mut Connection, _: &str, _: &[u8]) {}

    fn commit(&self, _: &mut Connection, _: &str) {}
}

/// The figures of one crowd.
struct Run {
    /// Milliseconds from the model's first piece to a reader's, p50 and p99.
    first_ms: [f64; 2],
    /// Milliseconds from the model's end to a reader's.
    end_ms: [f64; 2],
    ping_p99_ms: f64,
    ping_longest_ms: f64,
    /// Milliseconds of the server's CPU, all threads.
    cpu_ms: f64,
    parts: f64,
}

fn run<C: Contest>(server: &Server, model: &Model, crowd: usize, contest: &C) -> Run {
    let mut con = server.connect();
    let token = contest.lease(&mut con);
    let before = server.cpu_time();
    let ((seen, (first, end)), mut pings) = pings(server, || {
        scope(|scope| {
            let (asked, all_have_asked) = mpsc::channel();
            let holder = scope.spawn(move || {
                all_have_asked.recv().expect("the readers ask");
                hold(server, model, crowd, contest, &mut con, &token)
            });
            let seen = readers::read(server, crowd, contest, || asked.send(()).expect("the holder waits"));
            (seen, holder.join().expect("the holder ends"))
        })
    });
    let cpu = server.cpu_time().all_threads - before.all_threads;
    let response = model.pieces.concat();
    assert!(seen.iter().all(|seen| seen.text == response), "a reader has other bytes than the model said");
    let ms_since = |at: Instant, since: Instant| at.saturating_duration_since(since).as_secs_f64() * 1e3;
    let mut firsts: Vec<f64> =
        seen.iter().map(|seen| ms_since(seen.first.expect("a piece"), first)).collect();
    let mut ends: Vec<f64> = seen.iter().map(|seen| ms_since(seen.end, end)).collect();
    let parts: u32 = seen.iter().map(|seen| seen.parts).sum();
    Run {
        first_ms: [0.5, 0.99].map(|part| quantile(&mut firsts, part)),
        end_ms: [0.5, 0.99].map(|part| quantile(&mut ends, part)),
        ping_p99_ms: quantile(&mut pings, 0.99),
        ping_longest_ms: quantile(&mut pings, 1.0),
        cpu_ms: cpu.as_secs_f64() * 1e3,
        parts: f64::from(parts) / crowd as f64,
    }
}

/// Waits until the crowd does, and says the pieces. Returns the moments of the first and of the end.
fn hold<C: Contest>(
    server: &Server,
    model: &Model,
    crowd: usize,
    contest: &C,
    con: &mut Connection,
    token: &str,
) -> (Instant, Instant) {
    let begun = Instant::now();
    while contest.ready(server, crowd) < crowd {
        assert!(begun.elapsed() < PATIENCE, "not all callers wait");
        sleep(Duration::from_millis(20));
    }
    let first = Instant::now();
    for (piece, n) in model.pieces.iter().zip(0..) {
        let at = first + Duration::from_secs(1) * n / PIECES_PER_SECOND;
        sleep(at.saturating_duration_since(Instant::now()));
        contest.append(con, token, piece);
    }
    sleep((first + model.time()).saturating_duration_since(Instant::now()));
    let end = Instant::now();
    contest.commit(con, token);
    (first, end)
}

fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(part * (values.len() - 1) as f64) as usize]
}

type Runner = fn(&Server, &Model, usize) -> Run;

const STREAMED: (&str, Runner) =
    ("FETCH STREAM", |server, model, crowd| run(server, model, crowd, &Streamed(model)));
const WHOLE: (&str, Runner) =
    ("FETCH that waits for the end", |server, model, crowd| run(server, model, crowd, &Whole(model)));
const POLLED: (&str, Runner) =
    ("XADD, and XREAD every 50 ms", |server, model, crowd| run(server, model, crowd, &Xread::<false>(model)));
const BLOCKED: (&str, Runner) =
    ("XADD, and XREAD BLOCK", |server, model, crowd| run(server, model, crowd, &Xread::<true>(model)));
const OWN: (&str, Runner) =
    ("GET, a model call each, SET", |server, model, crowd| run(server, model, crowd, &Own(model)));

/// One way and a size of its crowd, with its runs.
struct Entrant {
    name: &'static str,
    run: Runner,
    crowd: usize,
    runs: Vec<Run>,
}

impl Entrant {
    fn new((name, run): (&'static str, Runner), crowd: usize) -> Entrant {
        Entrant { name, run, crowd, runs: Vec::new() }
    }

    fn has_own_models(&self) -> bool {
        self.name == OWN.0
    }

    fn values(&self, value: impl Fn(&Run) -> f64) -> Vec<f64> {
        self.runs.iter().map(value).collect()
    }

    fn row(&self) -> Vec<String> {
        let words = |value: fn(&Run) -> f64| figure(median(&self.values(value)));
        let [first, end] = match self.has_own_models() {
            true => ["0".to_owned(), "0".to_owned()],
            false => [
                format!("{}, {}", words(|run| run.first_ms[0]), words(|run| run.first_ms[1])),
                format!("{}, {}", words(|run| run.end_ms[0]), words(|run| run.end_ms[1])),
            ],
        };
        let calls = if self.has_own_models() { self.crowd } else { 1 };
        vec![
            figure(self.crowd as f64),
            self.name.to_owned(),
            first,
            end,
            format!("{}, {}", words(|run| run.ping_p99_ms), words(|run| run.ping_longest_ms)),
            figure(calls as f64),
            words(|run| run.cpu_ms),
            words(|run| run.parts),
        ]
    }
}

pub fn run_all(bench: &mut Bench) {
    let (crowd, large, pieces, rounds) = match bench.options.quick {
        true => (100, 300, 30, 1),
        false => (CROWD, LARGE_CROWD, 3 * PIECES_PER_SECOND, 3),
    };
    let server = Server::with_chatcache().pinned();
    let large = large.min(server.max_clients as usize - 1_000);
    let text = bench.text.prompt(pieces as usize * PIECE_BYTES);
    let model = |question| Model {
        pieces: text.as_bytes().chunks(PIECE_BYTES).map(<[u8]>::to_vec).collect(),
        question,
    };
    let mut entrants: Vec<Entrant> =
        [STREAMED, WHOLE, POLLED, BLOCKED, OWN].map(|way| Entrant::new(way, crowd)).into();
    entrants.extend([STREAMED, WHOLE].map(|way| Entrant::new(way, large)));
    for round in 0..rounds {
        eprintln!("streaming: round {} of {rounds}", round + 1);
        for (at, entrant) in entrants.iter_mut().enumerate() {
            let ran = (entrant.run)(&server, &model(format!("question {round} {at}")), entrant.crowd);
            entrant.runs.push(ran);
        }
    }

    let readers = figure(crowd as f64);
    let [streamed, whole, ..] = &entrants[..] else { return };
    for (what, value, limit_ms) in [
        ("first piece", (|run| run.first_ms[1]) as fn(&Run) -> f64, 250.0),
        ("end", |run| run.end_ms[1], 500.0),
        ("PING of another client", |run| run.ping_p99_ms, 25.0),
    ] {
        let ours = Series::of("p99", "ms", streamed.values(value));
        let goal = Goal::Told(format!("within {limit_ms} ms"), ours.median() <= limit_ms);
        bench.report.add(Row {
            what: format!("{readers} readers of a streamed response: {what}, p99"),
            ours,
            other: Some(Series::of(whole.name, "ms", whole.values(value))),
            goal: Some(goal),
        });
    }
    bench.report.table(Table {
        title: format!(
            "Streamed responses: a model that says {} pieces of {PIECE_BYTES} bytes, {PIECES_PER_SECOND} a second",
            pieces
        ),
        columns: [
            "callers",
            "how",
            "first piece after the model's: p50, p99, ms",
            "end after the model's: p50, p99, ms",
            "PING of another client: p99, longest, ms",
            "model calls",
            "server CPU, ms",
            "parts a reader",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: entrants.iter().map(Entrant::row).collect(),
        json: entrants
            .iter()
            .map(|entrant| {
                json!({"how": entrant.name, "callers": entrant.crowd,
                       "first_p50_ms": entrant.values(|run| run.first_ms[0]),
                       "first_p99_ms": entrant.values(|run| run.first_ms[1]),
                       "end_p50_ms": entrant.values(|run| run.end_ms[0]),
                       "end_p99_ms": entrant.values(|run| run.end_ms[1]),
                       "ping_p99_ms": entrant.values(|run| run.ping_p99_ms),
                       "ping_longest_ms": entrant.values(|run| run.ping_longest_ms),
                       "cpu_ms": entrant.values(|run| run.cpu_ms), "parts": entrant.values(|run| run.parts)})
            })
            .collect(),
    });
}
