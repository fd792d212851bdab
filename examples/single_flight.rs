//! Asks the cache, and the model where no other caller does already, or where Redis is down: `cargo run --example single_flight`.
//!
//! It needs a Redis with the module: REDIS_URL, or else redis://127.0.0.1:6379.

use redis::{Connection, cmd};
use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

type Response = Result<String, Box<dyn Error + Send + Sync>>;

/// The reply of FETCH: its state, the response, the token, and a number of milliseconds.
type Fetched = (String, Option<String>, Option<String>, Option<u64>);

/// Returns the response to a message: from the cache, from a caller that computes it already, or from the model.
fn respond(con: &mut Connection, user: &str, persona: &str, message: &str) -> Response {
    let request = ["response", user, persona, message];
    let mut pause = Duration::from_millis(100);
    for _ in 0..4 {
        let fetched = cmd("CHATCACHE.FETCH").arg(&request).arg("WAIT").arg(20_000).query::<Fetched>(con);
        let (state, response, token, _) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                eprintln!("FETCH: {error}");
                break;
            }
        };
        match (state.as_str(), response, token) {
            ("hit", Some(response), _) => return Ok(response),
            // Another caller refreshes it.
            ("stale", Some(response), None) => return Ok(response),
            // This caller refreshes it. If the model fails, the stale response serves.
            ("stale", Some(response), Some(token)) => {
                return compute(con, &request, &token).or(Ok(response));
            }
            ("lease", _, Some(token)) => return compute(con, &request, &token),
            // busy: another caller computes it, for longer than we waited.
            _ => sleep(pause),
        }
        pause *= 2;
    }
    ask_the_model(persona, message)
}

/// Computes and stores the response of a leased request.
fn compute(con: &mut Connection, request: &[&str; 4], token: &str) -> Response {
    let [_, _, persona, message] = request;
    let computed = ask_the_model(persona, message);
    if let Ok(response) = &computed {
        // This stores nothing and returns null if the lease is void by now, as after a change of the persona's prompt.
        let set = cmd("CHATCACHE.SET").arg(request).arg(response).arg("TOKEN").arg(token).exec(con);
        if let Err(error) = set {
            eprintln!("SET: {error}");
        }
    }
    // If nothing was stored, the next waiter computes it. If Redis is gone, the lease ended with the connection.
    let _ = cmd("CHATCACHE.RELEASE").arg(request).arg("TOKEN").arg(token).exec(con);
    computed
}

/// A stand-in: put the call of your model here, with a time-out shorter than `chatcache.lease-ms`.
fn ask_the_model(persona: &str, message: &str) -> Response {
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
        Ok(mut con) => match respond(&mut con, "ann", "helper", message) {
            Ok(response) => println!("{response}"),
            Err(error) => println!("no response: {error}"),
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
