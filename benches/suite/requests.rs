//! The requests and responses: in chatcache's commands, and as a client would do without it.

use redis::Cmd;

use crate::resp::{NUMBER, numbered};
use crate::text::Text;
use testkit::bench::server::Server;

pub const PERSONA: &str = "helper";

/// The index set that stands for the module's index: the keys of a persona's responses.
pub const INDEX: &str = "index:helper";

/// Longer than any run: nothing expires meanwhile.
pub const DAY: &str = "86400";

/// Number of hot prompts.
pub const HOT: u64 = 1_000;

pub const RESPONSE_BYTES: usize = 1_024;

/// Number of commands under way while responses are stored one by one.
const PIPELINE: u64 = 500;

/// Hashes a message and gets its response: the work of a script that spares clients the key.
pub const SCRIPT_GET: &str =
    "return redis.call('GET', 'persona:' .. KEYS[1] .. ':' .. redis.sha1hex(ARGV[1]))";
const SCRIPT_SET: &str =
    "redis.call('SET', 'persona:' .. KEYS[1] .. ':' .. redis.sha1hex(ARGV[1]), ARGV[2], 'EX', 86400)";

/// Returns a message of this many bytes, with a number in it.
pub fn message(text: &Text, bytes: usize) -> String {
    format!("{NUMBER} {}", text.prompt(bytes - NUMBER.len() - 1))
}

pub fn get(message: &str) -> Vec<&str> {
    vec!["CHATCACHE.GET", "persona", "ann", PERSONA, message]
}

/// With a TTL of its own, as its rival's.
pub fn set<'a>(message: &'a str, response: &'a str) -> Vec<&'a str> {
    vec!["CHATCACHE.SET", "persona", "ann", PERSONA, message, response, "EX", DAY]
}

/// A key as long as chatcache's, with a number where that has an MD5: a client that knows it has hashed already.
pub fn native_key() -> String {
    format!("persona:{PERSONA}:{}{NUMBER}", "0".repeat(22))
}

pub fn native_set<'a>(key: &'a str, response: &'a str) -> Vec<&'a str> {
    vec!["SET", key, response, "EX", DAY]
}

/// Stores what these commands say, for the numbers from 0 on.
pub fn store(server: &Server, count: u64, command: impl Fn(u64) -> Cmd) {
    let mut con = server.connect();
    for from in (0..count).step_by(PIPELINE as usize) {
        let mut pipeline = redis::pipe();
        for number in from..count.min(from + PIPELINE) {
            pipeline.add_command(command(number)).ignore();
        }
        let stored: redis::RedisResult<()> = pipeline.query(&mut con);
        stored.expect("store responses");
    }
}

/// The hot responses, for chatcache.
pub fn store_hot(server: &Server, message: &str, responses: &[Vec<u8>]) {
    store(server, responses.len() as u64, |number| {
        let mut set = redis::cmd("CHATCACHE.SET");
        set.arg("persona").arg("ann").arg(PERSONA).arg(numbered(message, number));
        set.arg(&responses[number as usize]).arg("EX").arg(DAY).to_owned()
    });
}

/// The same under ready-made keys.
pub fn store_hot_native(server: &Server, responses: &[Vec<u8>]) {
    let key = native_key();
    store(server, responses.len() as u64, |number| {
        let mut set = redis::cmd("SET");
        set.arg(numbered(&key, number)).arg(&responses[number as usize]).arg("EX").arg(DAY).to_owned()
    });
}

/// The same as `SCRIPT_GET` finds them; the script's SHA1.
pub fn store_hot_by_script(server: &Server, message: &str, responses: &[Vec<u8>]) -> String {
    store(server, responses.len() as u64, |number| {
        let mut set = redis::cmd("EVAL");
        set.arg(SCRIPT_SET).arg(1).arg(PERSONA).arg(numbered(message, number));
        set.arg(&responses[number as usize]).to_owned()
    });
    let load = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT_GET).query(&mut server.connect());
    load.expect("SCRIPT LOAD")
}

/// `CHATCACHE.INSPECT`'s `encoding` of each of the first responses.
pub fn encodings(server: &Server, message: &str, count: u64) -> Vec<String> {
    let mut con = server.connect();
    let inspect = |number| {
        let mut inspect = redis::cmd("CHATCACHE.INSPECT");
        inspect.arg("persona").arg("ann").arg(PERSONA).arg(numbered(message, number));
        let map: redis::Value = inspect.query(&mut con).expect("INSPECT");
        let fields = map.as_map_iter().into_iter().flatten();
        let word =
            |value: &redis::Value| redis::from_redis_value::<String>(value.clone()).unwrap_or_default();
        fields.filter(|(name, _)| word(name) == "encoding").map(|(_, value)| word(value)).collect()
    };
    (0..count).map(inspect).collect()
}
