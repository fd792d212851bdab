//! Asks the cache, and the model only where nobody else does already: `cargo run --example single_flight`.
//!
//! It wants a Redis with the module: REDIS_URL, or else redis://127.0.0.1:6379.

use redis::{Connection, cmd};
use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

type Answer = Result<String, Box<dyn Error + Send + Sync>>;

/// The reply of FETCH: its state, the response, the token, and a number of milliseconds.
type Fetched = (String, Option<String>, Option<String>, Option<u64>);

/// The answer to a message: from the cache, from whoever asks the model already, or from the model.
fn answer(con: &mut Connection, user: &str, persona: &str, message: &str) -> Answer {
    let request = ["response", user, persona, message];
    let mut pause = Duration::from_millis(100);
    for _ in 0..4 {
        let (state, response, token, _): Fetched =
            cmd("CHATCACHE.FETCH").arg(&request).arg("WAIT").arg(20_000).query(con)?;
        match (state.as_str(), response, token) {
            ("hit", Some(response), _) => return Ok(response),
            // Old, but good enough while somebody else computes a new one.
            ("stale", Some(response), None) => return Ok(response),
            // Old, and ours to refresh; if the model fails, the old one will do.
            ("stale", Some(response), Some(token)) => {
                return compute(con, &request, &token).or(Ok(response));
            }
            ("lease", _, Some(token)) => return compute(con, &request, &token),
            // busy: somebody computes it, longer than we waited.
            _ => sleep(pause),
        }
        pause *= 2;
    }
    ask_the_model(persona, message)
}

/// Computes the answer that we hold the lease for, and stores it; gives the lease back if that fails.
fn compute(con: &mut Connection, request: &[&str; 4], token: &str) -> Answer {
    let [_, _, persona, message] = request;
    let computed = ask_the_model(persona, message).and_then(|response| {
        // Null if the lease is void by now, as when the persona's prompt has changed: then nothing is stored.
        let _: Option<String> =
            cmd("CHATCACHE.SET").arg(request).arg(&response).arg("TOKEN").arg(token).query(con)?;
        Ok(response)
    });
    if computed.is_err() {
        // The next one who waits computes it. If Redis is gone too, the lease ended with the connection.
        let _ = cmd("CHATCACHE.RELEASE").arg(request).arg("TOKEN").arg(token).exec(con);
    }
    computed
}

/// A stand-in: put the call of your model here, with a time-out shorter than `chatcache.lease-ms`.
fn ask_the_model(persona: &str, message: &str) -> Answer {
    println!("(the model is asked)");
    sleep(Duration::from_millis(500));
    match message {
        "fail" => Err("the model failed".into()),
        _ => Ok(format!("{persona} says: 42")),
    }
}

fn main() -> redis::RedisResult<()> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let client = redis::Client::open(url)?;
    let ask = |message| match client.get_connection() {
        Ok(mut con) => match answer(&mut con, "ann", "helper", message) {
            Ok(response) => println!("{response}"),
            Err(error) => println!("no answer: {error}"),
        },
        Err(error) => println!("no Redis: {error}"),
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| ask("What is 6 * 7?"));
        }
    });
    ask("fail");
    Ok(())
}
