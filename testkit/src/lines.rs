//! A line as one types it into redis-cli, and the few shapes that replies have.

use std::collections::BTreeMap;

use crate::{Raw, RawClient};

/// A line, cut at its spaces; `""` is an empty word.
pub fn words(line: &str) -> Vec<&str> {
    line.split(' ').map(|word| if word == "\"\"" { "" } else { word }).collect()
}

impl RawClient {
    /// Sends a line and gives the reply.
    #[track_caller]
    pub fn say(&mut self, line: &str) -> Raw {
        self.call(&words(line))
    }

    /// Sends a line that gets the reply `OK`.
    #[track_caller]
    pub fn ok(&mut self, line: &str) {
        assert_eq!(self.say(line), Raw::simple("OK"), "{line}");
    }

    /// Sends a line that gets a whole number.
    #[track_caller]
    pub fn number(&mut self, line: &str) -> i64 {
        match self.say(line) {
            Raw::Int(number) => number,
            other => panic!("{line} gave {other:?}"),
        }
    }

    /// Sends a line that gets text.
    #[track_caller]
    pub fn text(&mut self, line: &str) -> String {
        match self.say(line) {
            Raw::Bulk(bytes) | Raw::Verbatim { text: bytes, .. } => {
                String::from_utf8(bytes).expect("text in UTF-8")
            }
            Raw::Simple(text) => text,
            other => panic!("{line} gave {other:?}"),
        }
    }

    /// The counters of `CHATCACHE.STATS`, or of one persona.
    #[track_caller]
    pub fn stats(&mut self, persona: &str) -> BTreeMap<String, i64> {
        let mut line = vec!["CHATCACHE.STATS"];
        line.extend((!persona.is_empty()).then_some(persona));
        numbers(self.call(&line))
    }

    /// Sends many commands before it reads their replies.
    #[track_caller]
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> Vec<Raw> {
        let mut replies = Vec::with_capacity(commands.len());
        // In parts, so that neither side's buffers fill while nobody reads.
        for part in commands.chunks(1000) {
            for command in part {
                self.send(command);
            }
            replies.extend(part.iter().map(|_| self.read()));
        }
        replies
    }

    /// Runs lines as one transaction, and gives their replies.
    #[track_caller]
    pub fn transaction(&mut self, lines: &[&str]) -> Vec<Raw> {
        self.ok("MULTI");
        for line in lines {
            assert_eq!(self.say(line), Raw::simple("QUEUED"), "{line}");
        }
        match self.say("EXEC") {
            Raw::Array(replies) => replies,
            other => panic!("EXEC gave {other:?}"),
        }
    }
}

/// A map reply in its order: RESP3's map or RESP2's flat array.
#[track_caller]
pub fn pairs(reply: Raw) -> Vec<(String, Raw)> {
    let pairs: Vec<(Raw, Raw)> = match reply {
        Raw::Map(pairs) => pairs,
        Raw::Array(items) => items.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
        other => panic!("expected a map, got {other:?}"),
    };
    pairs.into_iter().map(|(name, value)| (text_of(&name), value)).collect()
}

/// A map reply by name.
#[track_caller]
pub fn fields(reply: Raw) -> BTreeMap<String, Raw> {
    pairs(reply).into_iter().collect()
}

/// A map reply whose values are whole numbers.
#[track_caller]
pub fn numbers(reply: Raw) -> BTreeMap<String, i64> {
    let number = |value| match value {
        Raw::Int(number) => number,
        other => panic!("expected a number, got {other:?}"),
    };
    pairs(reply).into_iter().map(|(name, value)| (name, number(value))).collect()
}

#[track_caller]
pub fn text_of(reply: &Raw) -> String {
    match reply {
        Raw::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Raw::Simple(text) => text.clone(),
        other => panic!("expected text, got {other:?}"),
    }
}

/// The elements of an array (or set) reply.
#[track_caller]
pub fn items(reply: Raw) -> Vec<Raw> {
    match reply {
        Raw::Array(items) | Raw::Set(items) => items,
        other => panic!("expected an array, got {other:?}"),
    }
}

/// The texts of an array reply.
#[track_caller]
pub fn texts(reply: Raw) -> Vec<String> {
    items(reply).iter().map(text_of).collect()
}

/// Stores `count` responses of `size` bytes by a user with a persona, to the messages `m-0`, `m-1`, …
#[track_caller]
pub fn fill_persona(con: &mut RawClient, user: &str, persona: &str, count: usize, size: usize) {
    let response = "x".repeat(size);
    let set =
        |n| ["CHATCACHE.SET", "response", user, persona, &format!("m-{n}"), &response].map(String::from);
    let sets: Vec<_> = (0..count).map(|n| set(n).to_vec()).collect();
    assert!(con.pipeline(&sets).iter().all(|reply| *reply == Raw::simple("OK")));
}
