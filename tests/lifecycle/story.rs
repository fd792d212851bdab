//! A server with the same few entries in it for every story, and the ways a story can end.
//!
//! `helper` has five responses of 15 bytes, four of them to ann; `poet` has one of 6 bytes, to bob, as is the fifth of
//! `helper`.

use std::collections::BTreeMap;
use testkit::{Builder, Raw, RawClient, Server, args, eventually};

/// Tier, user, persona, message, response.
pub type Response = [&'static str; 5];

pub const RESPONSES: [Response; 6] = [
    ["msg", "ann", "helper", "hi", "1"],
    ["persona", "ann", "helper", "hi", "22"],
    ["session", "ann", "helper", "hi", "333"],
    ["response", "ann", "helper", "hi", "4444"],
    ["persona", "bob", "helper", "ho", "55555"],
    ["response", "bob", "poet", "hi", "666666"],
];
pub const MSG: Response = RESPONSES[0];
pub const PERSONA: Response = RESPONSES[1];
pub const SESSION: Response = RESPONSES[2];
pub const RESPONSE: Response = RESPONSES[3];
pub const BOBS: Response = RESPONSES[4];
pub const POETS: Response = RESPONSES[5];

/// The counts of one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// Entries and bytes of each persona.
    pub helper: (u64, u64),
    pub poet: (u64, u64),
    /// The entries that FORGET counts.
    pub ann: u64,
    pub bob: u64,
    /// DBSIZE.
    pub keys: u64,
}

pub const FULL: Census = Census { helper: (5, 15), poet: (1, 6), ann: 4, bob: 2, keys: 6 };
pub const EMPTY: Census = Census { helper: (0, 0), poet: (0, 0), ann: 0, bob: 0, keys: 0 };

/// One response of helper to ann, of 4 bytes.
pub const ONE: Census = Census { helper: (1, 4), poet: (0, 0), ann: 1, bob: 0, keys: 1 };

/// All but one response of helper to ann, of this many bytes, which has gone with its key.
pub fn without_anns(bytes: u64) -> Census {
    Census { helper: (4, 15 - bytes), ann: 3, keys: 5, ..FULL }
}

pub struct Fixture {
    pub server: Server,
    pub con: RawClient,
}

impl Fixture {
    pub fn new(server: Server) -> Fixture {
        let con = server.raw();
        Fixture { server, con }
    }

    #[track_caller]
    pub fn run<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Raw {
        self.con.call(args)
    }

    /// Commands in one write, so that the server runs them with nothing between them.
    pub fn together(&mut self, commands: &[&[&str]]) -> Vec<Raw> {
        let mut bytes = String::new();
        for command in commands {
            bytes += &format!("*{}\r\n", command.len());
            command.iter().for_each(|word| bytes += &format!("${}\r\n{word}\r\n", word.len()));
        }
        self.con.send_bytes(bytes.as_bytes());
        commands.iter().map(|_| self.con.read()).collect()
    }

    /// A command that must reply OK.
    #[track_caller]
    pub fn ok<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        assert_eq!(self.run(args), Raw::simple("OK"));
    }

    /// A command that must reply this number.
    #[track_caller]
    pub fn number<A: AsRef<[u8]>>(&mut self, number: i64, args: &[A]) {
        assert_eq!(self.run(args), Raw::Int(number));
    }

    #[track_caller]
    pub fn select(&mut self, database: usize) {
        self.ok(&args!["SELECT", database]);
    }

    #[track_caller]
    pub fn store(&mut self, [tier, user, persona, message, response]: Response) {
        self.ok(&["CHATCACHE.SET", tier, user, persona, message, response]);
    }

    #[track_caller]
    pub fn get(&mut self, [tier, user, persona, message, _]: Response) -> Option<Vec<u8>> {
        match self.run(&["CHATCACHE.GET", tier, user, persona, message]) {
            Raw::NullBulk => None,
            Raw::Bulk(response) => Some(response),
            // A key of another type.
            Raw::Error(text) if text.starts_with("WRONGTYPE") => None,
            other => panic!("GET: {other:?}"),
        }
    }

    #[track_caller]
    pub fn responses(&mut self, response: Response) {
        let found = self.get(response);
        assert_eq!(found.as_deref(), Some(response[4].as_bytes()), "{response:?}");
    }

    /// The name of the response's key.
    #[track_caller]
    pub fn key(&mut self, [tier, user, persona, message, _]: Response) -> Vec<u8> {
        match self.run(&["CHATCACHE.KEY", tier, user, persona, message]) {
            Raw::Bulk(name) => name,
            other => panic!("KEY: {other:?}"),
        }
    }

    #[track_caller]
    pub fn dump(&mut self, name: &[u8]) -> Vec<u8> {
        match self.run(&args!["DUMP", name]) {
            Raw::Bulk(dump) => dump,
            other => panic!("DUMP: {other:?}"),
        }
    }

    /// Stores the responses of the beginning of every story in this database.
    #[track_caller]
    pub fn seed(&mut self, database: usize) {
        self.select(database);
        RESPONSES.into_iter().for_each(|response| self.store(response));
    }

    #[track_caller]
    pub fn fresh(&mut self) {
        self.ok(&["CONFIG", "SET", "maxmemory", "0"]);
        self.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]);
        self.ok(&["FLUSHALL"]);
        self.seed(0);
    }

    pub fn reconnect(&mut self) {
        self.con = self.server.raw();
    }

    /// Counters of the whole server.
    pub fn stats(&mut self) -> BTreeMap<String, u64> {
        counters(self.run(&["CHATCACHE.STATS"]))
    }

    pub fn reclaimed(&mut self) {
        eventually(|| self.stats()["pending-reclaim"] == 0);
    }

    /// The counts of a database by PERSONAS, STATS and DBSIZE.
    #[track_caller]
    pub fn holds(&mut self, database: usize, census: Census) {
        self.select(database);
        let told = self.personas();
        let wanted: BTreeMap<String, (u64, u64)> = [("helper", census.helper), ("poet", census.poet)]
            .into_iter()
            .filter(|(_, (entries, _))| *entries > 0)
            .map(|(name, amount)| (name.to_owned(), amount))
            .collect();
        assert_eq!(told, wanted, "PERSONAS in {database}");
        for (name, amount) in [("helper", census.helper), ("poet", census.poet)] {
            let stats = counters(self.run(&["CHATCACHE.STATS", name]));
            assert_eq!((stats["entries"], stats["bytes"]), amount, "STATS {name} in {database}");
        }
        self.number(census.keys as i64, &["DBSIZE"]);
    }

    /// The counters of STATS, for all databases together.
    #[track_caller]
    pub fn totals(&mut self, all: &[Census]) {
        let stats = self.stats();
        let sum = |of: fn(&Census) -> u64| all.iter().map(of).sum::<u64>();
        assert_eq!(stats["entries"], sum(|one| one.helper.0 + one.poet.0), "entries");
        assert_eq!(stats["stored-bytes"], sum(|one| one.helper.1 + one.poet.1), "stored-bytes");
        assert_eq!(stats["raw-bytes"], sum(|one| one.helper.1 + one.poet.1), "raw-bytes");
        let personas = sum(|one| u64::from(one.helper.0 > 0) + u64::from(one.poet.0 > 0));
        assert_eq!(stats["personas"], personas, "personas");
        assert_eq!(stats["users"], sum(|one| u64::from(one.ann > 0) + u64::from(one.bob > 0)), "users");
        assert_eq!(stats["pending-reclaim"], 0, "pending-reclaim");
    }

    fn personas(&mut self) -> BTreeMap<String, (u64, u64)> {
        let Raw::Array(page) = self.run(&["CHATCACHE.PERSONAS", "COUNT", "1000"]) else { panic!("PERSONAS") };
        let [Raw::Bulk(cursor), Raw::Array(personas)] = &page[..] else { panic!("PERSONAS: {page:?}") };
        assert_eq!(cursor, b"0");
        let amounts = personas.iter().map(|persona| match persona {
            Raw::Array(fields) => match &fields[..] {
                [_, Raw::Bulk(name), _, Raw::Int(entries), _, Raw::Int(bytes), ..] => {
                    (String::from_utf8_lossy(name).into_owned(), (*entries as u64, *bytes as u64))
                }
                _ => panic!("a persona: {fields:?}"),
            },
            other => panic!("a persona: {other:?}"),
        });
        amounts.collect()
    }
}

fn counters(reply: Raw) -> BTreeMap<String, u64> {
    let Raw::Array(fields) = reply else { panic!("not a map: {reply:?}") };
    let pairs = fields.chunks(2).map(|pair| match pair {
        [Raw::Bulk(name), Raw::Int(value)] => (String::from_utf8_lossy(name).into_owned(), *value as u64),
        other => panic!("not a counter: {other:?}"),
    });
    pairs.collect()
}

/// The ways to invalidate the entries that an event has left.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Invalidate,
    Forget,
    Flush,
}

/// Tells one story six times: the responses are stored in database 0, an event follows, databases 0 and 1
/// hold the entries of `census`; then an invalidation, at once or in slices, counts and takes exactly those.
#[track_caller]
pub fn story(census: [Census; 2], happens: impl Fn(&mut Fixture)) {
    story_on(Server::builder(), census, happens);
}

#[track_caller]
pub fn story_on(builder: Builder, census: [Census; 2], happens: impl Fn(&mut Fixture)) {
    let mut fixture = Fixture::new(builder.start());
    for limit in ["512", "0"] {
        for ending in [Ending::Invalidate, Ending::Forget, Ending::Flush] {
            fixture.ok(&["CONFIG", "SET", "chatcache.invalidate-sync-limit", limit]);
            fixture.fresh();
            happens(&mut fixture);
            fixture.ok(&["CONFIG", "SET", "chatcache.invalidate-sync-limit", limit]);
            end(&mut fixture, census, ending);
        }
    }
}

#[track_caller]
fn end(fixture: &mut Fixture, census: [Census; 2], ending: Ending) {
    fixture.holds(0, census[0]);
    fixture.holds(1, census[1]);
    fixture.totals(&census);
    let mut left = census;
    for database in [0, 1] {
        let before = left[database];
        let answered = answered(fixture, database);
        let (counted, after, goes): (u64, Census, fn(&Response) -> bool) = match ending {
            Ending::Invalidate => {
                let keys = before.keys - before.helper.0;
                (before.helper.0, Census { helper: (0, 0), keys, ..before }, |response| {
                    response[2] == "helper"
                })
            }
            Ending::Forget => {
                let keys = before.keys - before.ann;
                (before.ann, Census { ann: 0, keys, ..before }, |response| response[1] == "ann")
            }
            Ending::Flush => {
                let all = before.helper.0 + before.poet.0;
                (all, Census { keys: before.keys - all, ..EMPTY }, |_| true)
            }
        };
        let drop: &[&str] = match ending {
            Ending::Invalidate => &["CHATCACHE.INVALIDATE", "helper"],
            Ending::Forget => &["CHATCACHE.FORGET", "ann"],
            Ending::Flush => &["CHATCACHE.FLUSH"],
        };
        fixture.select(database);
        fixture.number(counted as i64, drop);
        // Its entries are unreachable at once, also while their keys remain.
        let rest: Vec<Response> = answered.iter().filter(|response| !goes(response)).copied().collect();
        assert_eq!(self::answered(fixture, database), rest, "after {drop:?} in {database}");
        fixture.number(0, drop);
        fixture.reclaimed();
        fixture.select(database);
        fixture.number(after.keys as i64, &["DBSIZE"]);
        if !matches!(ending, Ending::Forget) {
            fixture.holds(database, after);
        }
        left[database] = after;
        if database == 0 {
            fixture.holds(1, census[1]);
        }
    }
}

fn answered(fixture: &mut Fixture, database: usize) -> Vec<Response> {
    fixture.select(database);
    RESPONSES
        .into_iter()
        .filter(|response| fixture.get(*response).as_deref() == Some(response[4].as_bytes()))
        .collect()
}
