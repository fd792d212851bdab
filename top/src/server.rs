//! The server: looked at once a refresh, over one connection, which is made anew whenever it is lost.
//!
//! A refresh is bounded: STATS, INFO, and `PAGES` pages of PERSONAS.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redis::{Client, Connection, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};

use crate::format;
use crate::personas::{Census, Persona, Sweep};
use crate::stats::Stats;

/// No server may hold the view up for longer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Number of pages of PERSONAS in one refresh.
const PAGES: usize = 4;
const PAGE: usize = 250;

/// The sections of INFO that are shown: others take the server longer, the more clients it has.
const INFO: [&str; 3] = ["server", "memory", "replication"];

/// One look.
#[derive(Debug)]
pub struct Reading {
    pub at: Instant,
    pub stats: Stats,
    pub about: About,
    /// The personas, in those readings that come to the end of their list; or why they cannot be read.
    pub personas: Result<Option<Census>, String>,
}

/// Fields of INFO about the server around the module; all of it is "as far as known", since a user's ACL rules
/// may deny INFO.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// `Redis 7.0.15`, `Valkey 8.0.1`.
    pub product: Option<String>,
    pub role: Option<String>,
    pub uptime: Option<Duration>,
    pub used_memory: Option<u64>,
    pub max_memory: Option<u64>,
}

/// A server to look at, connected or not.
pub struct Server {
    client: Client,
    connection: Option<Connection>,
    cursor: String,
    sweep: Sweep,
}

impl Server {
    /// Does not connect yet. The error is one of the URL.
    pub fn new(url: &str) -> Result<Server, String> {
        let client = Client::open(url)
            .map_err(|error| format!("{}; one looks like redis://127.0.0.1:6379", told(&error)))?;
        Ok(Server { client, connection: None, cursor: first(), sweep: Sweep::default() })
    }

    /// The server's address, without the URL's password.
    pub fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    pub fn database(&self) -> i64 {
        self.client.get_connection_info().redis_settings().db()
    }

    /// Looks, connecting first where there is no connection. After an error the next look tries again.
    pub fn read(&mut self) -> Result<Reading, String> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                (self.cursor, self.sweep) = (first(), Sweep::default());
                self.connect().map_err(|error| told(&error))?
            }
        };
        let reading = self.read_from(&mut connection).map_err(|error| match error.kind() {
            // The server's error for an unknown command.
            ErrorKind::Server(ServerErrorKind::ResponseError) if told(&error).contains("unknown command") => {
                "the module chatcache is not loaded there".to_owned()
            }
            _ => told(&error),
        })?;
        self.connection = Some(connection);
        Ok(reading)
    }

    fn connect(&self) -> RedisResult<Connection> {
        let connection = self.client.get_connection_with_timeout(TIMEOUT)?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        connection.set_write_timeout(Some(TIMEOUT))?;
        Ok(connection)
    }

    fn read_from(&mut self, connection: &mut Connection) -> RedisResult<Reading> {
        let fields: HashMap<String, Value> = redis::cmd("CHATCACHE.STATS").query(connection)?;
        let at = Instant::now();
        let stats = fields.iter().filter_map(|(name, value)| Some((name.clone(), number(value)?))).collect();
        let about = match redis::cmd("INFO").arg(&INFO).query::<String>(connection) {
            Ok(info) => About::from_info(&info),
            Err(error) if is_denied(&error) => About::default(),
            Err(error) => return Err(error),
        };
        let personas = match self.read_personas(connection) {
            Ok(census) => Ok(census),
            Err(error) if is_denied(&error) => Err(told(&error)),
            Err(error) => return Err(error),
        };
        Ok(Reading { at, stats, about, personas })
    }

    fn read_personas(&mut self, connection: &mut Connection) -> RedisResult<Option<Census>> {
        for _ in 0..PAGES {
            let mut page = redis::cmd("CHATCACHE.PERSONAS");
            page.arg("CURSOR").arg(&self.cursor).arg("COUNT").arg(PAGE);
            let (cursor, personas): (String, Vec<HashMap<String, Value>>) = page.query(connection)?;
            let read_at = Instant::now();
            self.sweep.add(personas.iter().map(|fields| persona(fields, read_at)).collect());
            self.cursor = cursor;
            if self.cursor == first() {
                return Ok(Some(self.sweep.finish()));
            }
        }
        Ok(None)
    }
}

/// The cursor that begins a list, and ends one.
fn first() -> String {
    "0".to_owned()
}

fn persona(fields: &HashMap<String, Value>, read_at: Instant) -> Persona {
    let count = |name| fields.get(name).and_then(number).unwrap_or(0);
    let name = match fields.get("name") {
        Some(Value::BulkString(name)) => name.clone(),
        Some(Value::SimpleString(name)) => name.clone().into_bytes(),
        _ => Vec::new(),
    };
    let (entries, bytes, hits, misses) = (count("entries"), count("bytes"), count("hits"), count("misses"));
    Persona { name, entries, bytes, hits, misses, read_at }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(digits) => str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

/// The user may not run this command; others it may.
fn is_denied(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

/// The error as the server put it, or what went wrong on the way to it.
fn told(error: &RedisError) -> String {
    if error.is_timeout() {
        return format!("no reply within {}", format::duration(TIMEOUT));
    }
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

impl About {
    fn from_info(info: &str) -> About {
        let field = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(value.trim().to_owned())
        };
        let bytes = |name| field(name).and_then(|value| value.parse().ok());
        let product = match field("valkey_version") {
            Some(version) => Some(format!("Valkey {version}")),
            None => field("redis_version").map(|version| format!("Redis {version}")),
        };
        About {
            product,
            role: field("role").map(|role| if role == "slave" { "replica".to_owned() } else { role }),
            uptime: bytes("uptime_in_seconds").map(Duration::from_secs),
            used_memory: bytes("used_memory"),
            // 0 is how INFO says that there is no limit.
            max_memory: bytes("maxmemory").filter(|limit| *limit > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use testkit::{eventually, is_valkey};

    fn ask(server: &testkit::Server, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        testkit::cmd(&mut server.connect(), &words).unwrap_or_else(|error| panic!("{line}: {error}"));
    }

    fn view_of(server: &testkit::Server, credentials: &str, query: &str) -> Server {
        Server::new(&format!("redis://{credentials}127.0.0.1:{}/{query}", server.port())).expect("a URL")
    }

    #[test]
    fn a_look_tells_what_the_server_tells_in_resp2_and_resp3() {
        let server = testkit::Server::builder().config("maxmemory 100mb").start();
        for line in ["SET msg ann helper hi hello", "GET msg ann helper hi", "GET msg ann coder hey"] {
            ask(&server, &format!("CHATCACHE.{line}"));
        }
        for query in ["", "?protocol=resp3"] {
            let reading = view_of(&server, "", query).read().expect("a reading");
            let stats = ["hits-msg", "misses", "entries"].map(|field| reading.stats.get(field));
            assert_eq!(stats, [Some(1), Some(1), Some(1)], "{query:?}");
            let census = reading.personas.expect("no error").expect("a whole list");
            let told: Vec<_> =
                census.personas.iter().map(|p| (p.name.as_slice(), p.entries, p.hits, p.misses)).collect();
            assert_eq!(told, [(b"helper".as_slice(), 1, 1, 0)], "{query:?}");
            let product = reading.about.product.expect("a product");
            assert!(product.starts_with(if is_valkey() { "Valkey " } else { "Redis " }), "{product}");
            assert_eq!(reading.about.max_memory, Some(100 * 1024 * 1024));
        }
    }

    #[test]
    fn a_server_that_comes_back_is_looked_at_again() {
        let mut server = testkit::Server::start();
        let mut view = view_of(&server, "", "");
        view.read().expect("a reading");
        server.kill9();
        view.read().expect_err("the server is gone");
        server.start_again();
        eventually(|| view.read().is_ok());
    }

    #[test]
    fn a_list_longer_than_a_refresh_goes_on_in_the_next() {
        let server = testkit::Server::start();
        let mut con = server.connect();
        for number in 0..PAGES * PAGE + 10 {
            let persona = format!("p{number}");
            testkit::cmd(&mut con, &["CHATCACHE.SET", "msg", "ann", &persona, &persona, "a"]).expect("SET");
        }
        let mut view = view_of(&server, "", "");
        assert_eq!(view.read().expect("a reading").personas, Ok(None));
        let census = view.read().expect("a reading").personas.expect("no error").expect("the end");
        assert_eq!(census.total, PAGES * PAGE + 10);
    }

    #[test]
    fn a_server_without_the_module_says_so() {
        let server = testkit::Server::builder().without_module().start();
        let error = view_of(&server, "", "").read().expect_err("no module");
        assert_eq!(error, "the module chatcache is not loaded there");
    }

    #[test]
    fn a_server_that_hangs_is_told_in_words() {
        let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("bind a port");
        let address = mute.local_addr().expect("an address");
        let mut view = Server::new(&format!("redis://{address}")).expect("a URL");
        assert_eq!(view.read().expect_err("nobody replies"), "no reply within 2s");
    }

    #[test]
    fn a_url_that_is_none_is_told_what_one_looks_like() {
        let error = Server::new("127.0.0.1:6379").err().expect("no scheme");
        assert!(error.ends_with("; one looks like redis://127.0.0.1:6379"), "{error}");
    }

    #[test]
    fn a_rediss_url_speaks_tls() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind a port");
        let address = listener.local_addr().expect("an address");
        let first_byte = std::thread::spawn(move || {
            let mut byte = [0];
            listener.accept().expect("a client").0.read_exact(&mut byte).expect("a byte");
            byte[0]
        });
        let mut view = Server::new(&format!("rediss://{address}")).expect("a URL");
        view.read().expect_err("whoever listens there hangs up");
        const HANDSHAKE: u8 = 22;
        assert_eq!(first_byte.join().expect("the thread"), HANDSHAKE);
    }

    #[test]
    fn a_replica_is_called_one() {
        assert_eq!(About::from_info("role:slave\r\n").role.as_deref(), Some("replica"));
        assert_eq!(About::from_info("role:master\r\n").role.as_deref(), Some("master"));
    }

    #[test]
    fn a_user_with_few_rights_sees_what_they_allow() {
        let server = testkit::Server::start();
        ask(&server, "ACL SETUSER cy on >secret +chatcache.stats");
        let mut view = view_of(&server, "cy:secret@", "");
        assert!(!view.address().contains("secret"), "{}", view.address());
        let reading = view.read().expect("a reading");
        assert_eq!(reading.stats.get("hits"), Some(0));
        assert_eq!(reading.about, About::default());
        assert!(reading.personas.is_err_and(|error| error.starts_with("NOPERM ")));
        let error = view_of(&server, "cy:wrong@", "").read().expect_err("a wrong password");
        assert!(error.to_lowercase().contains("password"), "{error}");
    }
}
