//! The flights of tests/clients/README.md with redis-rs, asynchronous: `REDIS_PORT=6379 cargo run -p client-flights`.
//!
//! A MultiplexedConnection, and a ConnectionManager as well, sends the commands of all its clones on one connection,
//! where a FETCH that waits would hold up all others. Its time-out of 500 ms would also end the wait. So each caller
//! that may wait has a connection of its own, with a time-out longer than the wait. redis-rs sends no command twice.
//!
//! A new connection for each caller is simple; a service takes them from a pool, as examples/chat_service_rs does.

use std::cell::Cell;
use std::error::Error;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisResult, cmd};
use tokio::time::sleep;

/// The time for the response of another caller, and for any other reply.
const WAIT: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(1);

/// Tier, user, persona, message.
type Request<'a> = [&'a str; 4];

/// The reply of FETCH: its state, the response, the token, and a number.
type Fetched = (String, Option<String>, Option<String>, Option<u64>);

type Failure = Box<dyn Error>;

fn chatcache(command: &str, request: &Request) -> Cmd {
    let mut chatcache = cmd(&format!("CHATCACHE.{command}"));
    chatcache.arg(request);
    chatcache
}

async fn connection(client: &Client, timeout: Duration) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(TIMEOUT))
        .set_response_timeout(Some(timeout));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// Waits on a connection of its own. The lease lasts as long as the connection.
async fn fetch(client: &Client, request: &Request<'_>) -> RedisResult<(MultiplexedConnection, Fetched)> {
    let mut own = connection(client, WAIT + TIMEOUT).await?;
    let fetched =
        chatcache("FETCH", request).arg("WAIT").arg(WAIT.as_millis() as u64).query_async(&mut own).await?;
    Ok((own, fetched))
}

/// Returns the response, computed by one caller of all processes. `compute` needs a time-out shorter than the lease
/// (`chatcache.lease-ms`, 30 s). If its future is dropped, so is the connection, and the next waiter computes.
async fn get_or_compute(
    client: &Client,
    request: &Request<'_>,
    compute: impl AsyncFnOnce() -> Result<String, Failure>,
) -> Result<String, Failure> {
    let (mut own, (_, response, token, _)) = match fetch(client, request).await {
        Ok(fetched) => fetched,
        Err(error) => {
            eprintln!("Redis is down: {error}"); // nothing is stored
            return compute().await;
        }
    };
    match (response, token) {
        // Hit, or stale while another caller refreshes it.
        (Some(response), None) => Ok(response),
        // Busy: another caller takes longer than the wait.
        (None, None) => compute().await,
        (stale, Some(token)) => match compute().await {
            Ok(response) => {
                // Stores nothing if the lease is void by now, as after INVALIDATE.
                let set = chatcache("SET", request)
                    .arg(&response)
                    .arg("TOKEN")
                    .arg(token)
                    .exec_async(&mut own)
                    .await;
                if let Err(error) = set {
                    eprintln!("Redis stored nothing: {error}");
                }
                Ok(response)
            }
            Err(failure) => {
                // The next waiter computes. If Redis is down, the lease ended with the connection.
                let _ = chatcache("RELEASE", request).arg("TOKEN").arg(token).exec_async(&mut own).await;
                stale.ok_or(failure)
            }
        },
    }
}

/// Emits the response piece by piece: the stored one, that of a caller who computes it now, or its own.
///
/// # Errors
///
/// "lost" tells that the pieces emitted so far are void: clear them, and call it again.
async fn stream(
    client: &Client,
    request: &Request<'_>,
    compute: impl AsyncFnOnce(&mut Draft<'_>) -> Result<(), Failure>,
    emit: &mut dyn FnMut(&str),
) -> Result<(), Failure> {
    let mut own = connection(client, WAIT + TIMEOUT).await?;
    let mut from = None;
    loop {
        let mut fetch = chatcache("FETCH", request);
        fetch.arg("WAIT").arg(WAIT.as_millis() as u64).arg("STREAM");
        if let Some((draft, offset)) = &from {
            fetch.arg("FROM").arg(draft).arg(*offset);
        }
        let (state, text, token, number): Fetched = fetch.query_async(&mut own).await?;
        match (state.as_str(), token, number) {
            ("lease" | "stale", Some(token), _) => {
                let mut draft = Draft { own, request, token, emit };
                compute(&mut draft).await?; // on failure the connection is dropped, and the next waiter computes
                return draft.commit().await;
            }
            ("part", Some(draft), Some(offset)) => {
                emit(&text.unwrap_or_default());
                from = Some((draft, offset));
            }
            ("lost", ..) => return Err("lost".into()),
            ("busy", ..) => {} // asks for the same again
            _ => {
                emit(&text.unwrap_or_default());
                return Ok(()); // hit, stale or rest
            }
        }
    }
}

/// The response that grows, of a caller that holds the lease.
struct Draft<'a> {
    own: MultiplexedConnection,
    request: &'a Request<'a>,
    token: String,
    emit: &'a mut dyn FnMut(&str),
}

impl Draft<'_> {
    /// Hands a piece to the readers.
    async fn say(&mut self, piece: &str) -> Result<(), Failure> {
        let mut append = chatcache("APPEND", self.request);
        append.arg(piece).arg("TOKEN").arg(&self.token).exec_async(&mut self.own).await?;
        (self.emit)(piece);
        Ok(())
    }

    /// Stores the response.
    async fn commit(mut self) -> Result<(), Failure> {
        Ok(chatcache("COMMIT", self.request).arg("TOKEN").arg(self.token).exec_async(&mut self.own).await?)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let client = Client::open(format!("redis://127.0.0.1:{}/", std::env::var("REDIS_PORT")?))?;
    let shared = connection(&client, TIMEOUT).await?;
    let question = ["persona", "ann", "helper", "What is 6 * 7?"];
    let calls = Cell::new(0);
    let count = || calls.replace(calls.get() + 1) + 1;

    // Two callers at once: one computes, the other waits for its response. The shared connection answers meanwhile.
    let caller = || {
        get_or_compute(&client, &question, async || {
            count();
            until(&shared, "waiters", 1).await?;
            Ok("42".to_owned())
        })
    };
    let (one, two) = tokio::join!(caller(), caller());
    assert_eq!((one?.as_str(), two?.as_str(), calls.take()), ("42", "42", 1));

    // The model fails: the waiter computes.
    let failing = ["persona", "ann", "helper", "And 6 * 9?"];
    let caller = || {
        get_or_compute(&client, &failing, async || {
            if count() > 1 {
                return Ok("54".to_owned());
            }
            until(&shared, "waiters", 1).await?;
            Err("the model failed".into())
        })
    };
    let (one, two) = tokio::join!(caller(), caller());
    let mut results = [one, two].map(|result| result.unwrap_or_else(|failure| failure.to_string()));
    results.sort();
    assert_eq!((results, calls.take()), (["54".to_owned(), "the model failed".to_owned()], 2));

    // A stream: the other caller reads along.
    let tree = ["persona", "ann", "helper", "What is a tree?"];
    let listen = || async {
        let mut text = String::new();
        let compute = async |draft: &mut Draft<'_>| {
            count();
            draft.say("Nodes ").await?;
            until(&shared, "readers", 1).await?;
            draft.say("with ").await?;
            draft.say("children.").await
        };
        stream(&client, &tree, compute, &mut |piece| text.push_str(piece)).await?;
        Ok::<String, Failure>(text)
    };
    let (one, two) = tokio::join!(listen(), listen());
    let whole = "Nodes with children.";
    assert_eq!((one?.as_str(), two?.as_str(), calls.take()), (whole, whole, 1));

    // The prompt changes.
    let gone: u64 = cmd("CHATCACHE.INVALIDATE").arg("helper").query_async(&mut shared.clone()).await?;
    let response = get_or_compute(&client, &question, async || Ok("forty-two".to_owned())).await?;
    assert_eq!((gone, response.as_str()), (3, "forty-two"));
    Ok(())
}

/// Returns when the server's gauge has this value.
async fn until(shared: &MultiplexedConnection, gauge: &str, value: i64) -> Result<(), Failure> {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(10) {
        let stats: std::collections::HashMap<String, i64> =
            cmd("CHATCACHE.STATS").query_async(&mut shared.clone()).await?;
        if stats[gauge] == value {
            return Ok(());
        }
        sleep(Duration::from_millis(1)).await;
    }
    Err(format!("{gauge} is not {value}").into())
}
