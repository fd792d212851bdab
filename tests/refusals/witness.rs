//! A server on which commands are refused, and a witness that sees any change that they make all the same.

use std::collections::BTreeMap;
use testkit::{Builder, Raw, RawClient, Server, words};

pub struct Witness {
    pub server: Server,
    pub con: RawClient,
}

/// All that a command could have changed.
#[derive(Debug, PartialEq)]
pub struct State {
    /// Of all keys, values and whether they end.
    digest: String,
    keys: i64,
    /// The end of the stored response.
    ends: i64,
    stats: BTreeMap<String, i64>,
    /// The replication offset.
    aof_bytes: String,
}

impl Witness {
    /// Starts a server with an AOF, one response (`msg ann helper hello`) and a plain key.
    pub fn start() -> Witness {
        Witness::of(Server::builder())
    }

    pub fn of(builder: Builder) -> Witness {
        // With fsync in the background a write may wait for it, and the AOF grow later than it should.
        let server = builder.appendonly().config("appendfsync no").start();
        let mut con = server.raw();
        con.ok("CHATCACHE.SET msg ann helper hello answer EX 5000");
        con.ok("SET plain string");
        Witness { server, con }
    }

    pub fn state(&mut self) -> State {
        state(&mut self.con)
    }

    /// Asserts that the command is refused with exactly this text, and that nothing has changed.
    #[track_caller]
    pub fn refuses<A: AsRef<[u8]>>(&mut self, command: &[A], text: &str) {
        let before = self.state();
        let reply = self.con.call(command);
        assert_eq!(reply, Raw::Error(text.to_owned()), "{}", shown(command));
        assert_eq!(self.state(), before, "{}", shown(command));
    }

    /// The same for a line of words.
    #[track_caller]
    pub fn refuses_line(&mut self, line: &str, text: &str) {
        self.refuses(&words(line), text);
    }
}

pub fn state(con: &mut RawClient) -> State {
    let key = con.text("CHATCACHE.KEY msg ann helper hello");
    let persistence = con.text("INFO persistence");
    let size = persistence.lines().find_map(|line| line.strip_prefix("aof_current_size:"));
    State {
        digest: con.text("DEBUG DIGEST"),
        keys: con.number("DBSIZE"),
        ends: con.number(&format!("PEXPIRETIME {key}")),
        stats: con.stats(""),
        aof_bytes: size.unwrap_or("no AOF").to_owned(),
    }
}

/// A command for a failure's message; not all of a long argument.
fn shown<A: AsRef<[u8]>>(command: &[A]) -> String {
    let shown = |arg: &A| arg.as_ref()[..arg.as_ref().len().min(40)].escape_ascii().to_string();
    command.iter().map(shown).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_witness_sees_any_change() {
    let mut witness = Witness::start();
    for line in [
        "CHATCACHE.SET msg ann helper hello answer EX 4000",
        "CHATCACHE.SET msg ann helper hello other KEEPTTL",
        "CHATCACHE.GET msg ann helper hello",
        "CHATCACHE.GET msg ann helper bye",
        "CHATCACHE.INVALIDATE ghost",
        "SET plain another",
    ] {
        let before = witness.state();
        witness.con.say(line);
        let after = witness.state();
        assert_ne!(after, before, "{line}");
        // A read is told to nobody; an invalidation is, whatever it finds.
        assert_eq!(after.aof_bytes != before.aof_bytes, !line.contains("GET"), "{line}");
    }
}
