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
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult, Value, cmd};
use tokio::time::{sleep, timeout};

/// The time for the response of another caller, and for any other reply.
const WAIT: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(1);

/// Tier, user, persona, message.
type Request<'a> = [&'a str; 4];

/// The reply of FETCH: its state, the response, the token, and a number.
type Fetched = (String, Option<String>, Option<String>, Option<u64>);

type Failure = Box<dyn Error>;

async fn connection(client: &Client, timeout: Duration) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(TIMEOUT))
        .set_response_timeout(Some(timeout));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// The connection of one caller for one request. It ends with its first error, and its lease ends with it.
struct Own<'a> {
    connection: Option<MultiplexedConnection>,
    request: &'a Request<'a>,
}

impl<'a> Own<'a> {
    async fn new(client: &Client, request: &'a Request<'a>) -> Own<'a> {
        let connection = connection(client, WAIT + TIMEOUT).await;
        Own { connection: connection.inspect_err(|error| eprintln!("Redis is down: {error}")).ok(), request }
    }

    /// Sends a command. Returns `None` after an error: the response does not depend on Redis.
    async fn send<T: FromRedisValue>(&mut self, time: Duration, command: &str, args: &[&str]) -> Option<T> {
        let connection = self.connection.as_mut()?;
        let mut chatcache = cmd(&format!("CHATCACHE.{command}"));
        chatcache.arg(self.request).arg(args);
        let reply = timeout(time, chatcache.query_async(connection)).await;
        let reply = reply.map_err(Failure::from).and_then(|reply| reply.map_err(Failure::from));
        reply
            .inspect_err(|error| {
                eprintln!("{command}: {error}");
                self.connection = None;
            })
            .ok()
    }

    /// Waits on this connection. The state is "down" if Redis is down or refuses the command.
    async fn fetch(&mut self, options: &[&str]) -> Fetched {
        let wait = WAIT.as_millis().to_string();
        let fetched = self.send(WAIT + TIMEOUT, "FETCH", &[&["WAIT", &wait], options].concat()).await;
        fetched.unwrap_or(("down".to_owned(), None, None, None))
    }
}

/// Returns the response, computed by one caller of all processes. `compute` needs a time-out shorter than the lease
/// (`chatcache.lease-ms`, 30 s). If its future is dropped, so is the connection, and the next waiter computes.
async fn get_or_compute(
    client: &Client,
    request: &Request<'_>,
    compute: impl AsyncFnOnce() -> Result<String, Failure>,
) -> Result<String, Failure> {
    let mut own = Own::new(client, request).await;
    let (_, response, token, _) = own.fetch(&[]).await;
    match (response, token) {
        // Hit, or stale while another caller refreshes it.
        (Some(response), None) => Ok(response),
        // Down, or busy: another caller takes longer than the wait.
        (None, None) => compute().await,
        (stale, Some(token)) => match compute().await {
            Ok(response) => {
                // Stores nothing if the lease is void by now, as after INVALIDATE.
                own.send::<Value>(TIMEOUT, "SET", &[&response, "TOKEN", &token]).await;
                Ok(response)
            }
            // The connection is dropped, and the next waiter computes.
            Err(failure) => stale.ok_or(failure),
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
    let mut own = Own::new(client, request).await;
    let mut from = Vec::new();
    loop {
        let mut options = vec!["STREAM"];
        options.extend(from.iter().map(String::as_str));
        let (state, text, token, number) = own.fetch(&options).await;
        match (state.as_str(), token) {
            ("lease", Some(token)) => return Draft { own, token, emit }.speak(compute).await,
            ("part", Some(draft)) => {
                emit(&text.unwrap_or_default());
                from = vec!["FROM".to_owned(), draft, number.unwrap_or_default().to_string()];
            }
            ("down", _) if from.is_empty() => {
                return Draft { own, token: String::new(), emit }.speak(compute).await;
            }
            ("lost" | "down", _) => return Err("lost".into()),
            ("busy", _) => {} // asks for the same again
            // Hit, stale or rest.
            (_, token) => {
                emit(&text.unwrap_or_default());
                if let Some(token) = token {
                    // This caller refreshes what is stale: a service does it in a task of its own.
                    let draft = Draft { own, token, emit: &mut |_| {} };
                    let _ = draft.speak(compute).await.inspect_err(|failure| eprintln!("{failure}"));
                }
                return Ok(());
            }
        }
    }
}

/// The response that grows, of a caller that holds the lease. Without the connection, it is only emitted.
struct Draft<'a> {
    own: Own<'a>,
    token: String,
    emit: &'a mut dyn FnMut(&str),
}

impl Draft<'_> {
    /// Emits a piece, and hands it to the readers.
    async fn say(&mut self, piece: &str) {
        self.own.send::<Value>(TIMEOUT, "APPEND", &[piece, "TOKEN", &self.token]).await;
        (self.emit)(piece);
    }

    /// Stores the response at the end. If the model fails, the connection is dropped, and the next waiter computes.
    async fn speak(
        mut self,
        compute: impl AsyncFnOnce(&mut Draft<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        compute(&mut self).await?;
        self.own.send::<Value>(TIMEOUT, "COMMIT", &["TOKEN", &self.token]).await;
        Ok(())
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
    let whole = "Nodes with children.";
    let caller = || {
        listen(&client, &tree, async |draft| {
            count();
            draft.say("").await; // as models do
            draft.say("Nodes ").await;
            until(&shared, "readers", 1).await?;
            draft.say("with ").await;
            draft.say("children.").await;
            Ok(())
        })
    };
    let (one, two) = tokio::join!(caller(), caller());
    assert_eq!((one?.as_str(), two?.as_str(), calls.take()), (whole, whole, 1));

    // The prompt changes.
    let gone: u64 = cmd("CHATCACHE.INVALIDATE").arg("helper").query_async(&mut shared.clone()).await?;
    let response = get_or_compute(&client, &question, async || Ok("forty-two".to_owned())).await?;
    assert_eq!((gone, response.as_str()), (3, "forty-two"));

    // The model fails to refresh a stale response.
    let map = ["persona", "ann", "helper", "What is a map?"];
    let stale = ["persona", "ann", "helper", "What is a list?"];
    let mut own = Own::new(&client, &stale).await;
    own.send::<Value>(TIMEOUT, "SET", &["A sequence.", "STALE", "60000"]).await;
    cmd("CHATCACHE.SOFTINVALIDATE").arg("helper").exec_async(&mut shared.clone()).await?;
    let fail = async || Err("the model failed".into());
    assert_eq!(get_or_compute(&client, &stale, fail).await?, "A sequence.");
    let text = listen(&client, &stale, async |draft| {
        draft.say("Nodes ").await;
        Err("the model failed".into())
    });
    assert_eq!(text.await?, "A sequence.");

    // Redis refuses to store.
    maxmemory(&shared, 1).await?;
    let new = get_or_compute(&client, &stale, async || Ok("Elements in order.".to_owned())).await?;
    assert_eq!(new, "Elements in order.");
    assert_eq!(listen(&client, &tree, words).await?, whole);
    maxmemory(&shared, 0).await?;
    until(&shared, "leases", 0).await?;

    // Redis ends while three callers compute: each gets what its model says. A reader has a part that is void.
    let end = async |draft: &mut Draft<'_>| {
        draft.say("Nodes ").await;
        let stop = async {
            let found = until(&shared, "readers", 1).await;
            let _ = cmd("SHUTDOWN").arg("NOSAVE").exec_async(&mut shared.clone()).await;
            found
        };
        let (reader, found) = tokio::join!(listen(&client, &tree, words), stop);
        found?;
        assert_eq!(reader.unwrap_err().to_string(), "lost");
        draft.say("with ").await;
        draft.say("children.").await;
        Ok(())
    };
    let refresh = async || {
        assert_eq!(listen(&client, &tree, end).await?, whole);
        Err("the model failed".into())
    };
    let miss = async || {
        assert_eq!(get_or_compute(&client, &stale, refresh).await?, "A sequence.");
        count();
        Err("the model failed".into())
    };
    let failure = get_or_compute(&client, &map, miss).await.unwrap_err();
    assert_eq!((failure.to_string().as_str(), calls.take()), ("the model failed", 1));

    // Redis is down.
    assert_eq!(get_or_compute(&client, &map, async || Ok("Keys.".to_owned())).await?, "Keys.");
    assert_eq!(listen(&client, &tree, words).await?, whole);
    Ok(())
}

/// Returns all pieces of a stream.
async fn listen(
    client: &Client,
    request: &Request<'_>,
    compute: impl AsyncFnOnce(&mut Draft<'_>) -> Result<(), Failure>,
) -> Result<String, Failure> {
    let mut text = String::new();
    stream(client, request, compute, &mut |piece| text.push_str(piece)).await?;
    Ok(text)
}

async fn words(draft: &mut Draft<'_>) -> Result<(), Failure> {
    for word in ["Nodes ", "with ", "children."] {
        draft.say(word).await;
    }
    Ok(())
}

/// With 1 byte, Redis refuses to store.
async fn maxmemory(shared: &MultiplexedConnection, bytes: u64) -> RedisResult<()> {
    cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).exec_async(&mut shared.clone()).await
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
