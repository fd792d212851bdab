//! The session of tests/clients/README.md with redis-rs, in RESP2 and in RESP3:
//! `REDIS_PORT=6379 cargo run --example client_session`.

use std::collections::HashMap;
use std::error::Error;

use redis::{Cmd, Commands, Connection, ProtocolVersion, RedisResult, Value, cmd, pipe};

const RESPONSE: &str = "A sequence of elements.";
const ASK: [&str; 4] = ["response", "ann", "helper", "What is a list?"];
const QUESTION: [&str; 4] = ["persona", "ann", "helper", "What is 6 * 7?"];

/// The reply of FETCH: its state, the response, the token, and a number of milliseconds.
type Fetched = (String, Option<i64>, Option<String>, Option<u64>);

fn chatcache(command: &str) -> Cmd {
    cmd(&format!("CHATCACHE.{command}"))
}

fn session(con: &mut Connection) -> RedisResult<()> {
    // Null, then a response. The caller's type tells the reply's: Option if it may be null.
    let nothing: Option<String> = chatcache("GET").arg(&ASK).query(con)?;
    assert_eq!(nothing, None);
    let stored: Option<String> = chatcache("SET").arg(&ASK).arg(RESPONSE).arg("EX").arg(60).query(con)?;
    assert_eq!(stored.as_deref(), Some("OK"));
    let stored: Option<String> = chatcache("SET").arg(&ASK).arg("another").arg("NX").query(con)?;
    assert_eq!(stored, None);
    let response: String = chatcache("GET").arg("any").arg(&ASK[1..]).query(con)?;
    assert_eq!(response, RESPONSE);
    let key: String = chatcache("KEY").arg(&ASK).query(con)?;
    assert_eq!(key, "response:ann:helper:8e9f78b31da43444756e562246131283");
    let seconds: i64 = con.ttl(&key)?;
    assert!((1..=60).contains(&seconds));

    // Maps read the same from both protocols.
    let inspected: HashMap<String, String> = chatcache("INSPECT").arg(&ASK).query(con)?;
    assert_eq!((&inspected["key"], &inspected["raw-bytes"]), (&key, &RESPONSE.len().to_string()));
    let nothing: Option<HashMap<String, String>> =
        chatcache("INSPECT").arg(&["msg", "ann", "helper", "?"]).query(con)?;
    assert_eq!(nothing, None);
    let stats: HashMap<String, i64> = chatcache("STATS").arg("helper").query(con)?;
    assert_eq!(stats["entries"], 1);
    let (cursor, personas): (u64, Vec<HashMap<String, String>>) =
        chatcache("PERSONAS").arg("COUNT").arg(10).query(con)?;
    assert_eq!((cursor, personas.len(), personas[0]["name"].as_str()), (0, 1, "helper"));

    // Single flight: a lease, busy for other callers, the response with its token, and then hits.
    let (kind, _, token, ms): Fetched =
        chatcache("FETCH").arg(&QUESTION).arg("LEASE").arg(5000).query(con)?;
    assert_eq!((kind.as_str(), ms), ("lease", Some(5000)));
    let token = token.expect("a token");
    let (kind, ..): Fetched = chatcache("FETCH").arg(&QUESTION).query(con)?;
    assert_eq!(kind, "busy");
    let held: bool = chatcache("RELEASE").arg(&QUESTION).arg("TOKEN").arg(&token).query(con)?;
    assert!(held);
    let stored: Option<String> =
        chatcache("SET").arg(&QUESTION).arg("41").arg("TOKEN").arg(&token).query(con)?;
    assert_eq!(stored, None);
    let (_, _, token, _): Fetched = chatcache("FETCH").arg(&QUESTION).query(con)?;
    let stored: Option<String> =
        chatcache("SET").arg(&QUESTION).arg("42").arg("TOKEN").arg(token).query(con)?;
    assert!(stored.is_some());
    let (kind, answer, ..): Fetched = chatcache("FETCH").arg(&QUESTION).query(con)?;
    assert_eq!((kind.as_str(), answer), ("hit", Some(42)));
    let softened: i64 = chatcache("SOFTINVALIDATE").arg("helper").query(con)?;
    assert_eq!(softened, 2);
    let (kind, answer, token, _): Fetched = chatcache("FETCH").arg(&QUESTION).query(con)?;
    assert_eq!((kind.as_str(), answer, token.is_some()), ("stale", Some(42), true));
    let (kind, _, token, _): Fetched = chatcache("FETCH").arg(&QUESTION).query(con)?;
    assert_eq!((kind.as_str(), token), ("stale", None));

    // An error has the server's words.
    let wrong = chatcache("GET").arg(&["nowhere", "ann", "helper", "hello"]).query::<Value>(con);
    let wrong = wrong.expect_err("there is no tier nowhere");
    assert!(wrong.detail().is_some_and(|text| text.contains("msg, persona, session")), "{wrong}");

    // A pipeline, here as a transaction.
    let bytes = b"Hel\0\r\n\xff".as_slice();
    let mut together = pipe();
    together.atomic();
    together.cmd("CHATCACHE.SET").arg(&["msg", "bob", "poet", "Hi", "Hello"]);
    together.cmd("CHATCACHE.SET").arg(&["session", "bob", "poet", "Hi"]).arg(bytes);
    together.cmd("CHATCACHE.GET").arg(&["any", "bob", "poet", "Hi"]);
    let replies: (String, String, Vec<u8>) = together.query(con)?;
    assert_eq!(replies, ("OK".to_owned(), "OK".to_owned(), bytes.to_vec()));

    // Invalidating responses.
    let there: bool = chatcache("DEL").arg(&["msg", "bob", "poet", "Hi"]).query(con)?;
    assert!(there);
    let gone: i64 = chatcache("FORGET").arg("bob").query(con)?;
    assert_eq!(gone, 1);
    let gone: i64 = chatcache("INVALIDATE").arg(&["helper", "poet"]).query(con)?;
    assert_eq!(gone, 2);
    let nothing: Option<String> = chatcache("GET").arg("any").arg(&ASK[1..]).query(con)?;
    assert_eq!(nothing, None);
    let gone: i64 = chatcache("FLUSH").query(con)?;
    assert_eq!(gone, 0);
    let lines: Vec<String> = chatcache("HELP").query(con)?;
    assert!(lines[0].starts_with("CHATCACHE"));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::var("REDIS_PORT")?;
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let version = if protocol == ProtocolVersion::RESP3 { "?protocol=resp3" } else { "" };
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}/{version}"))?;
        session(&mut client.get_connection()?)?;
    }
    Ok(())
}
