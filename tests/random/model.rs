//! The behaviour of Redis with chatcache in its simplest form: a map for each database, looked through whole.
//!
//! `Model::apply` takes a command and the reply that it got, says whether that reply can be, and follows it.
//! If several replies are possible (a tombstone that may be reclaimed by now, a key that may be evicted),
//! the reply tells the model which it was.

use std::collections::{BTreeMap, BTreeSet};

use super::ops::{Condition, Op, Ttl};
use super::requests::{Asked, Bytes, Request, TIERS, Tier};

pub const DATABASES: usize = 3;

/// The TTL of a response that keeps its tier's: a time that no test sees.
pub const LATER: i64 = i64::MAX;

#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub asked: Asked,
    pub tier: Tier,
    pub persona: Bytes,
    pub user: Bytes,
    pub text: Bytes,
    /// No command of ours gives it any more; its key is in the keyspace until it is reclaimed.
    pub invalidated: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(Bytes),
    Response(Response),
}

#[derive(Clone, Debug)]
pub struct Key {
    pub value: Value,
    /// The last millisecond at which it is there; None for ever.
    pub until: Option<i64>,
}

/// Certainty about a key.
#[derive(Clone, Copy, PartialEq)]
enum Presence {
    Absent,
    Perhaps,
    There,
}
use Presence::{Absent, Perhaps, There};
use testkit::Raw;

/// The fate of the keys of tombstones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reclaim {
    AtOnce,
    Later,
}

#[derive(Clone)]
pub struct Model {
    pub databases: Vec<BTreeMap<Bytes, Key>>,
    pub selected: usize,
    pub reclaim: Reclaim,
    /// The server has little memory: any key may be gone.
    pub evicting: bool,
}

/// The reply of PERSONAS: entries and bytes by name.
pub type Personas = BTreeMap<Bytes, (u64, u64)>;

impl Model {
    pub fn new(reclaim: Reclaim) -> Model {
        Model { databases: vec![BTreeMap::new(); DATABASES], selected: 0, reclaim, evicting: false }
    }

    /// Returns true if this reply is possible at this time; then the model has followed the command.
    pub fn apply(&mut self, op: &Op, reply: &Raw, now: i64) -> Result<(), String> {
        self.follow(op, reply, now).ok_or_else(|| {
            let database = self.selected;
            format!("{reply:?} cannot be the reply in database {database} to {}", op.line())
        })
    }

    pub fn responses(&self, database: usize) -> impl Iterator<Item = &Response> {
        self.databases[database].values().filter_map(|key| match &key.value {
            Value::Response(response) if !response.invalidated => Some(response),
            _ => None,
        })
    }

    pub fn personas(&self, database: usize) -> Personas {
        let mut personas = Personas::new();
        for response in self.responses(database) {
            let (entries, bytes) = personas.entry(response.persona.clone()).or_default();
            *entries += 1;
            *bytes += response.text.len() as u64;
        }
        personas
    }

    pub fn users(&self, database: usize) -> usize {
        let users = self.responses(database).map(|response| &response.user).filter(|user| !user.is_empty());
        users.collect::<BTreeSet<_>>().len()
    }

    /// Keys whose time is over: the server has been made to delete them.
    pub fn forget_expired(&mut self, now: i64) {
        for database in &mut self.databases {
            database.retain(|_, key| key.until.is_none_or(|until| until >= now));
        }
    }

    /// Forgets the tombstones, all of which the server has reclaimed.
    pub fn forget_invalidated(&mut self) {
        for database in &mut self.databases {
            database.retain(|_, key| !is_invalidated(key));
        }
    }

    pub fn invalidated(&self, database: usize) -> usize {
        self.databases[database].values().filter(|key| is_invalidated(key)).count()
    }

    fn here(&mut self) -> &mut BTreeMap<Bytes, Key> {
        &mut self.databases[self.selected]
    }

    fn key(&self, database: usize, name: &[u8], now: i64) -> Option<&Key> {
        self.databases[database].get(name).filter(|key| key.until.is_none_or(|until| until >= now))
    }

    fn presence(&self, database: usize, name: &[u8], now: i64) -> Presence {
        match self.key(database, name, now) {
            None => Absent,
            Some(key) if is_invalidated(key) || self.evicting => Perhaps,
            Some(_) => There,
        }
    }

    fn presence_here(&self, name: &[u8], now: i64) -> Presence {
        self.presence(self.selected, name, now)
    }

    fn follow(&mut self, op: &Op, reply: &Raw, now: i64) -> Option<()> {
        match op {
            Op::Select(database) => {
                self.selected = *database;
                is(ok(reply))
            }
            Op::Set(request, text, ttl, condition) => self.set(request, text, ttl, *condition, reply, now),
            Op::Get(request) => self.get(std::slice::from_ref(request), reply, now),
            Op::GetAny(request) => self.get(&request.in_any_tier(), reply, now),
            Op::Delete(request) => {
                if self.is_text(request, now) {
                    return is(is_error(reply, "WRONGTYPE"));
                }
                let there = self.response(request, now).is_some();
                if there {
                    self.here().remove(&request.key());
                }
                is(count_between(reply, u64::from(there && !self.evicting), u64::from(there)))
            }
            Op::Inspect(request) => self.inspect(request, reply, now),
            Op::Invalidate(personas) => {
                self.drop(|response| personas.contains(&response.persona), reply, now)
            }
            Op::Forget(users) => self.drop(|response| users.contains(&response.user), reply, now),
            Op::Flush(tiers) => {
                self.drop(|response| tiers.is_empty() || tiers.contains(&response.tier), reply, now)
            }
            Op::Count(word, names) => {
                let all = |wanted: &[Presence]| {
                    let found = names.iter().filter(|name| wanted.contains(&self.presence_here(name, now)));
                    found.count() as u64
                };
                let (least, most) = (all(&[There]), all(&[There, Perhaps]));
                if *word != "EXISTS" {
                    for name in names {
                        self.here().remove(name);
                    }
                }
                is(count_between(reply, least, most))
            }
            Op::Rename(from, to) => {
                let source = self.presence_here(from, now);
                match reply {
                    Raw::Error(text) => {
                        self.here().remove(from);
                        is(text == "ERR no such key" && source != There)
                    }
                    _ => {
                        self.shift(from, self.selected, to)?;
                        is(ok(reply) && source != Absent)
                    }
                }
            }
            Op::RenameNx(from, to) => {
                let source = self.presence_here(from, now);
                let target = self.presence_here(to, now);
                match reply {
                    Raw::Error(text) => {
                        self.here().remove(from);
                        is(text == "ERR no such key" && source != There)
                    }
                    Raw::Int(0) => is(source != Absent && target != Absent),
                    Raw::Int(1) => {
                        self.shift(from, self.selected, to)?;
                        is(source != Absent && target != There && from != to)
                    }
                    _ => None,
                }
            }
            Op::Copy { from, to, database, replace } => {
                let database = database.unwrap_or(self.selected);
                if database == self.selected && from == to {
                    return is(is_error(reply, "ERR source and destination objects are the same"));
                }
                let source = self.presence_here(from, now);
                let target = self.presence(database, to, now);
                match reply {
                    Raw::Int(0) => is(source != There || (target != Absent && !replace)),
                    Raw::Int(1) => {
                        let key = self.here().get(from)?.clone();
                        self.databases[database].insert(to.clone(), key);
                        is(source != Absent && (target != There || *replace))
                    }
                    _ => None,
                }
            }
            Op::Move(name, database) => {
                if *database == self.selected {
                    return is(is_error(reply, "ERR source and destination objects are the same"));
                }
                let source = self.presence_here(name, now);
                let target = self.presence(*database, name, now);
                match reply {
                    Raw::Int(0) => is(source != There || target != Absent),
                    Raw::Int(1) => {
                        self.shift(name, *database, name)?;
                        is(source != Absent && target != There)
                    }
                    _ => None,
                }
            }
            Op::SwapDb(one, other) => {
                self.databases.swap(*one, *other);
                is(ok(reply))
            }
            Op::Expire(name, _, _, until) => match (reply, self.presence_here(name, now)) {
                (Raw::Int(0), There) | (Raw::Int(1), Absent) => None,
                (Raw::Int(0), _) => Some(()),
                (Raw::Int(1), _) if *until < now => {
                    self.here().remove(name);
                    Some(())
                }
                (Raw::Int(1), _) => {
                    self.here().get_mut(name)?.until = Some(*until);
                    Some(())
                }
                _ => None,
            },
            Op::Persist(name) => {
                let mortal = self.key(self.selected, name, now).is_some_and(|key| key.until.is_some());
                match (reply, self.presence_here(name, now)) {
                    (Raw::Int(0), presence) => is(presence != There || !mortal),
                    (Raw::Int(1), presence) => {
                        self.here().get_mut(name)?.until = None;
                        is(presence != Absent && mortal)
                    }
                    _ => None,
                }
            }
            Op::SetText(name, text) => {
                self.here().insert(name.clone(), Key { value: Value::Text(text.clone()), until: None });
                is(ok(reply))
            }
            Op::GetSet(name, text) => {
                let presence = self.presence_here(name, now);
                let value = self.key(self.selected, name, now).map(|key| key.value.clone());
                if let Some(Value::Response(_)) = value
                    && *reply != Raw::NullBulk
                {
                    return is(is_error(reply, "WRONGTYPE"));
                }
                let possible = match &value {
                    Some(Value::Text(old)) => *reply == Raw::bulk(old),
                    _ => presence != There && *reply == Raw::NullBulk,
                };
                self.here().insert(name.clone(), Key { value: Value::Text(text.clone()), until: None });
                is(possible || (presence == Perhaps && *reply == Raw::NullBulk))
            }
            Op::Dump(name) => match (reply, self.presence_here(name, now)) {
                (Raw::NullBulk, presence) => is(presence != There),
                (Raw::Bulk(_), presence) => is(presence != Absent),
                _ => None,
            },
            Op::Restore { name, value, until, replace, .. } => {
                let target = self.presence_here(name, now);
                if let Raw::Error(text) = reply {
                    return is(text.starts_with("BUSYKEY") && target != Absent && !replace);
                }
                self.here().remove(name);
                if until.is_none_or(|until| until >= now) {
                    self.here().insert(name.clone(), Key { value: value.clone(), until: *until });
                }
                is(ok(reply) && (target != There || *replace))
            }
            Op::FlushDb(_) => {
                self.here().clear();
                is(ok(reply))
            }
            Op::FlushAll(_) => {
                self.databases.iter_mut().for_each(BTreeMap::clear);
                is(ok(reply))
            }
            Op::Reload => is(ok(reply)),
        }
    }

    /// Takes a key from its place and puts it into another, over whatever is there.
    fn shift(&mut self, from: &Bytes, database: usize, to: &Bytes) -> Option<()> {
        let key = self.here().remove(from)?;
        self.databases[database].insert(to.clone(), key);
        Some(())
    }

    fn is_text(&self, request: &Request, now: i64) -> bool {
        let key = self.key(self.selected, &request.key(), now);
        key.is_some_and(|key| matches!(key.value, Value::Text(_)))
    }

    /// Returns the response to exactly this request.
    fn response(&self, request: &Request, now: i64) -> Option<&Response> {
        match &self.key(self.selected, &request.key(), now)?.value {
            Value::Response(response) if !response.invalidated && response.asked == request.asked() => {
                Some(response)
            }
            _ => None,
        }
    }

    fn get(&mut self, requests: &[Request], reply: &Raw, now: i64) -> Option<()> {
        for request in requests {
            if self.is_text(request, now) {
                return is(is_error(reply, "WRONGTYPE"));
            }
            if let Some(response) = self.response(request, now) {
                if self.evicting && *reply == Raw::NullBulk {
                    return Some(());
                }
                return is(*reply == Raw::bulk(&response.text));
            }
        }
        is(*reply == Raw::NullBulk)
    }

    fn inspect(&self, request: &Request, reply: &Raw, now: i64) -> Option<()> {
        if self.is_text(request, now) {
            return is(is_error(reply, "WRONGTYPE"));
        }
        let Some(response) = self.response(request, now) else { return is(*reply == Raw::NullBulk) };
        let Raw::Array(fields) = reply else { return is(self.evicting && *reply == Raw::NullBulk) };
        let field = |name: &str| {
            let at = fields.iter().step_by(2).position(|field| *field == Raw::bulk(name))?;
            fields.get(at * 2 + 1).cloned()
        };
        is(field("key")? == Raw::bulk(request.key())
            && field("tier")? == Raw::bulk(response.tier.name())
            && field("user")? == Raw::bulk(&response.user)
            && field("persona")? == Raw::bulk(&response.persona)
            && field("raw-bytes")? == Raw::Int(response.text.len() as i64))
    }

    fn set(
        &mut self,
        request: &Request,
        text: &Bytes,
        ttl: &Ttl,
        condition: Condition,
        reply: &Raw,
        now: i64,
    ) -> Option<()> {
        if self.is_text(request, now) {
            return is(is_error(reply, "WRONGTYPE"));
        }
        let present = self.response(request, now).is_some();
        match condition {
            Condition::IfAbsent if present => return is(*reply == Raw::NullBulk),
            Condition::IfPresent if !present => return is(*reply == Raw::NullBulk),
            _ => {}
        }
        let until = match ttl {
            Ttl::Keep if present => self.key(self.selected, &request.key(), now)?.until,
            Ttl::Keep | Ttl::Tier => Some(LATER),
            Ttl::Given(_, until) => Some(*until),
        };
        let value = Value::Response(Response {
            asked: request.asked(),
            tier: request.tier,
            persona: request.persona.clone(),
            user: request.user.clone(),
            text: text.clone(),
            invalidated: false,
        });
        self.here().insert(request.key(), Key { value, until });
        is(ok(reply))
    }

    fn drop(&mut self, hit: impl Fn(&Response) -> bool, reply: &Raw, now: i64) -> Option<()> {
        let (mut least, mut most) = (0, 0);
        for key in self.databases[self.selected].values_mut() {
            let Value::Response(response) = &mut key.value else { continue };
            if !response.invalidated && hit(response) {
                response.invalidated = true;
                most += 1;
                // One whose time is over counts until the server has removed it.
                let sure = key.until.is_none_or(|until| until >= now) && !self.evicting;
                least += u64::from(sure);
            }
        }
        if self.reclaim == Reclaim::AtOnce {
            self.here().retain(|_, key| !is_invalidated(key));
        }
        is(count_between(reply, least, most))
    }
}

pub fn is_invalidated(key: &Key) -> bool {
    matches!(&key.value, Value::Response(response) if response.invalidated)
}

fn is(possible: bool) -> Option<()> {
    possible.then_some(())
}

fn ok(reply: &Raw) -> bool {
    *reply == Raw::simple("OK")
}

fn is_error(reply: &Raw, start: &str) -> bool {
    matches!(reply, Raw::Error(text) if text.starts_with(start))
}

fn count_between(reply: &Raw, least: u64, most: u64) -> bool {
    matches!(reply, Raw::Int(count) if (least..=most).contains(&count.unsigned_abs()) && *count >= 0)
}

/// Number of live entries of each tier, over all databases.
pub fn by_tier(model: &Model) -> [u64; 4] {
    TIERS.map(|tier| {
        let all = (0..DATABASES).flat_map(|database| model.responses(database));
        all.filter(|response| response.tier == tier).count() as u64
    })
}
