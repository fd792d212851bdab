//! One of the crowd's processes. Each of its connections is a caller that wants the same response.
//!
//! It says `ready`, begins when it reads a line, says `calling` at each call of the model, and at last
//! `done <served>`.

use redis::{Connection, cmd};
use std::io::Write;
use std::sync::Barrier;
use std::thread::{Builder, scope, sleep};
use std::time::{Duration, Instant};

use testkit::bench::server::PATIENCE;

/// The time of the stand-in model. It serves any number of callers at once, unlike a real one.
pub const MODEL: Duration = Duration::from_millis(500);

/// The length of a lease, and of the polled lock.
pub const LEASE: Duration = Duration::from_millis(2000);

/// The interval of polling the lock (redis-py's own Lock: every 100 ms).
pub const POLL: Duration = Duration::from_millis(50);

const RESPONSE: &str = "the response of the stand-in model";

/// The way in which a caller gets the response.
#[derive(Clone, Copy)]
pub enum Way {
    Fetch,
    Lock,
    Unprotected,
}

impl Way {
    const ALL: [(Way, &str); 3] =
        [(Way::Fetch, "fetch"), (Way::Lock, "lock"), (Way::Unprotected, "unprotected")];

    pub fn word(self) -> &'static str {
        Way::ALL[self as usize].1
    }

    fn ask(self, con: &mut Connection, prompt: &str) -> redis::RedisResult<String> {
        match self {
            Way::Fetch => fetch(con, prompt),
            Way::Lock => lock(con, prompt),
            Way::Unprotected => unprotected(con, prompt),
        }
    }
}

/// `port way prompt connections`, from the command line.
pub fn run(words: &[String]) {
    let [port, way, prompt, count] = words else { panic!("--caller port way prompt connections") };
    let (way, _) = *Way::ALL.iter().find(|(_, word)| word == way).expect("a way");
    let count: usize = count.parse().expect("how many connections");
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("an address");
    let begin = Barrier::new(count + 1);
    let served = scope(|scope| {
        let callers: Vec<_> = (0..count)
            .map(|_| {
                let mut con = client.get_connection().expect("connect to the server");
                con.set_read_timeout(Some(PATIENCE)).expect("set the read time-out");
                let (begin, prompt) = (&begin, prompt.as_str());
                let caller = move || {
                    begin.wait();
                    way.ask(&mut con, prompt)
                };
                Builder::new().stack_size(256 << 10).spawn_scoped(scope, caller).expect("start a thread")
            })
            .collect();
        say("ready");
        let read = std::io::stdin().read_line(&mut String::new());
        if read.unwrap_or(0) == 0 {
            std::process::exit(1);
        }
        begin.wait();
        let right =
            |response: redis::RedisResult<String>| response.is_ok_and(|response| response == RESPONSE);
        callers
            .into_iter()
            .filter_map(|caller| caller.join().ok())
            .map(right)
            .filter(|&is_right| is_right)
            .count()
    });
    say(&format!("done {served}"));
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn stand_in_model() -> &'static str {
    say("calling");
    sleep(MODEL);
    RESPONSE
}

fn request(prompt: &str) -> [&str; 4] {
    ["persona", "bench", "helper", prompt]
}

pub fn fetch_command(prompt: &str) -> redis::Cmd {
    let mut fetch = cmd("CHATCACHE.FETCH");
    fetch.arg(&request(prompt)).arg("WAIT").arg(30_000).arg("LEASE").arg(LEASE.as_millis() as u64);
    fetch
}

fn fetch(con: &mut Connection, prompt: &str) -> redis::RedisResult<String> {
    let request = request(prompt);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let reply: Vec<Option<String>> = fetch_command(prompt).query(con)?;
        match reply[0].as_deref().unwrap_or_default() {
            "hit" => return Ok(reply[1].clone().unwrap_or_default()),
            "lease" => {
                let response = stand_in_model();
                let set =
                    cmd("CHATCACHE.SET").arg(&request).arg(response).arg("TOKEN").arg(&reply[2]).to_owned();
                let _: Option<String> = set.query(con)?;
                return Ok(response.to_owned());
            }
            _ => sleep(POLL),
        }
    }
    Ok(String::new())
}

/// A client-side lock: SET NX PX, and the other callers poll.
fn lock(con: &mut Connection, prompt: &str) -> redis::RedisResult<String> {
    let (response_key, lock_key) = (format!("response:{prompt}"), format!("lock:{prompt}"));
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(response) = cmd("GET").arg(&response_key).query(con)? {
            return Ok(response);
        }
        let mut lock = cmd("SET");
        lock.arg(&lock_key).arg("mine").arg("NX").arg("PX").arg(LEASE.as_millis() as u64);
        if lock.query::<Option<String>>(con)?.is_some() {
            // Between the GET and the lock another may have stored it.
            if let Some(response) = cmd("GET").arg(&response_key).query(con)? {
                let _: () = cmd("DEL").arg(&lock_key).query(con)?;
                return Ok(response);
            }
            let response = stand_in_model();
            let _: () = redis::pipe().set(&response_key, response).del(&lock_key).query(con)?;
            return Ok(response.to_owned());
        }
        sleep(POLL);
    }
    Ok(String::new())
}

fn unprotected(con: &mut Connection, prompt: &str) -> redis::RedisResult<String> {
    let key = format!("response:{prompt}");
    if let Some(response) = cmd("GET").arg(&key).query(con)? {
        return Ok(response);
    }
    let response = stand_in_model();
    let _: () = cmd("SET").arg(&key).arg(response).query(con)?;
    Ok(response.to_owned())
}
