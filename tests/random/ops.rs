//! The commands that the test knows, and how they are written.

use testkit::args;

use super::model::Value;
use super::requests::{Bytes, Request, Tier};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

#[derive(Clone, Debug)]
pub enum Ttl {
    Tier,
    Keep,
    /// The words, and when that is.
    Given([Bytes; 2], i64),
}

#[derive(Clone, Debug)]
pub enum Op {
    Select(usize),
    Set(Request, Bytes, Ttl, Condition),
    Get(Request),
    GetAny(Request),
    Delete(Request),
    Inspect(Request),
    Invalidate(Vec<Bytes>),
    Forget(Vec<Bytes>),
    Flush(Vec<Tier>),
    /// DEL, UNLINK, EXISTS.
    Count(&'static str, Vec<Bytes>),
    Rename(Bytes, Bytes),
    RenameNx(Bytes, Bytes),
    Copy {
        from: Bytes,
        to: Bytes,
        database: Option<usize>,
        replace: bool,
    },
    Move(Bytes, usize),
    SwapDb(usize, usize),
    /// EXPIRE, PEXPIRE, PEXPIREAT: the word, its number, and when that is; in the past deletes.
    Expire(Bytes, &'static str, i64, i64),
    Persist(Bytes),
    SetText(Bytes, Bytes),
    GetSet(Bytes, Bytes),
    Dump(Bytes),
    Restore {
        name: Bytes,
        dump: Bytes,
        value: Value,
        until: Option<i64>,
        replace: bool,
    },
    FlushDb(&'static str),
    FlushAll(&'static str),
    Reload,
}

impl Op {
    /// The command as one can read it.
    pub fn line(&self) -> String {
        let words = self.args();
        let words = words.iter().map(|word| format!("\"{}\"", word[..word.len().min(60)].escape_ascii()));
        words.collect::<Vec<_>>().join(" ")
    }

    /// The command's words.
    pub fn args(&self) -> Vec<Bytes> {
        match self {
            Op::Select(database) => args!["SELECT", database].to_vec(),
            Op::Set(request, text, ttl, condition) => {
                let mut more = vec![text.clone()];
                match ttl {
                    Ttl::Tier => {}
                    Ttl::Keep => more.push(b"KEEPTTL".to_vec()),
                    Ttl::Given(words, _) => more.extend(words.clone()),
                }
                match condition {
                    Condition::Always => {}
                    Condition::IfAbsent => more.push(b"NX".to_vec()),
                    Condition::IfPresent => more.push(b"xx".to_vec()),
                }
                request.command("SET", request.tier.name(), &more)
            }
            Op::Get(request) => request.command("GET", request.tier.name(), &[]),
            Op::GetAny(request) => request.command("GET", "any", &[]),
            Op::Delete(request) => request.command("DEL", request.tier.name(), &[]),
            Op::Inspect(request) => request.command("INSPECT", request.tier.name(), &[]),
            Op::Invalidate(personas) => many("CHATCACHE.INVALIDATE", personas),
            Op::Forget(users) => many("CHATCACHE.FORGET", users),
            Op::Flush(tiers) => {
                let names: Vec<Bytes> = tiers.iter().map(|tier| tier.name().into()).collect();
                many("CHATCACHE.FLUSH", &names)
            }
            Op::Count(word, names) => many(word, names),
            Op::Rename(from, to) => args!["RENAME", from, to].to_vec(),
            Op::RenameNx(from, to) => args!["RENAMENX", from, to].to_vec(),
            Op::Copy { from, to, database, replace } => {
                let mut copy = args!["COPY", from, to].to_vec();
                if let Some(database) = database {
                    copy.extend(args!["DB", database]);
                }
                if *replace {
                    copy.extend(args!["REPLACE"]);
                }
                copy
            }
            Op::Move(name, database) => args!["MOVE", name, database].to_vec(),
            Op::SwapDb(one, other) => args!["SWAPDB", one, other].to_vec(),
            Op::Expire(name, word, number, _) => args![word, name, number].to_vec(),
            Op::Persist(name) => args!["PERSIST", name].to_vec(),
            Op::SetText(name, text) => args!["SET", name, text].to_vec(),
            Op::GetSet(name, text) => args!["GETSET", name, text].to_vec(),
            Op::Dump(name) => args!["DUMP", name].to_vec(),
            Op::Restore { name, dump, until, replace, .. } => {
                let mut restore = args!["RESTORE", name, until.unwrap_or(0), dump, "ABSTTL"].to_vec();
                if *replace {
                    restore.extend(args!["REPLACE"]);
                }
                restore
            }
            Op::FlushDb(how) => args!["FLUSHDB", how].to_vec(),
            Op::FlushAll(how) => args!["FLUSHALL", how].to_vec(),
            Op::Reload => args!["DEBUG", "RELOAD"].to_vec(),
        }
    }
}

fn many(word: &str, more: &[Bytes]) -> Vec<Bytes> {
    [args![word].to_vec(), more.to_vec()].concat()
}
