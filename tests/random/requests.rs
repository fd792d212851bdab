//! Few requests, so that they meet: names that are prefixes of each other, messages of one MD5, and an ID
//! that is spelled as the MD5 of a message.

use md5::{Digest, Md5};

pub type Bytes = Vec<u8>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    Msg,
    Persona,
    Session,
    Response,
}

pub const TIERS: [Tier; 4] = [Tier::Msg, Tier::Persona, Tier::Session, Tier::Response];

impl Tier {
    pub fn name(self) -> &'static str {
        match self {
            Tier::Msg => "msg",
            Tier::Persona => "persona",
            Tier::Session => "session",
            Tier::Response => "response",
        }
    }

    fn needs_user(self) -> bool {
        matches!(self, Tier::Session | Tier::Response)
    }
}

/// The identity of a request: two requests with the same one share an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    Msg(Bytes),
    Persona(Bytes, Bytes),
    SessionId(Bytes, Bytes),
    Session(Bytes, Bytes),
    Response(Bytes, Bytes, Bytes),
}

#[derive(Clone, Debug)]
pub struct Request {
    pub tier: Tier,
    pub user: Bytes,
    pub persona: Bytes,
    pub message: Bytes,
    pub id: Option<Bytes>,
}

pub fn personas() -> Vec<Bytes> {
    vec![b"users".to_vec(), b"usersAbc".to_vec(), b"p:{*}%\0\xfe".to_vec()]
}

/// The first is nobody: only `msg` and `persona` take him.
pub fn users() -> Vec<Bytes> {
    vec![b"".to_vec(), b"ann".to_vec(), b"ann:{x}%3A\0\xff".to_vec()]
}

pub fn messages() -> Vec<Bytes> {
    let [one, other] = colliding();
    vec![b"hi".to_vec(), one, other]
}

pub fn ids() -> Vec<Option<Bytes>> {
    vec![None, Some(b"m:1".to_vec()), Some(hex(b"hi"))]
}

/// Every request there is.
pub fn universe() -> Vec<Request> {
    let mut all = Vec::new();
    for tier in TIERS {
        for user in users().into_iter().filter(|user| !tier.needs_user() || !user.is_empty()) {
            for persona in personas() {
                for message in messages() {
                    for id in ids().into_iter().filter(|id| id.is_none() || tier == Tier::Session) {
                        let (user, persona, message) = (user.clone(), persona.clone(), message.clone());
                        all.push(Request { tier, user, persona, message, id });
                    }
                }
            }
        }
    }
    all
}

impl Request {
    pub fn asked(&self) -> Asked {
        let Request { user, persona, message, .. } = self.clone();
        match (self.tier, self.id.clone()) {
            (Tier::Msg, _) => Asked::Msg(message),
            (Tier::Persona, _) => Asked::Persona(persona, message),
            (Tier::Session, Some(id)) => Asked::SessionId(user, id),
            (Tier::Session, None) => Asked::Session(user, message),
            (Tier::Response, _) => Asked::Response(user, persona, message),
        }
    }

    /// The key's name, from the table in the spec.
    pub fn key(&self) -> Bytes {
        let (user, persona, digest) = (encoded(&self.user), encoded(&self.persona), hex(&self.message));
        let tail = match &self.id {
            Some(id) if self.tier == Tier::Session => encoded(id),
            _ => digest,
        };
        let parts: &[&[u8]] = match self.tier {
            Tier::Msg => &[b"msg", &tail],
            Tier::Persona => &[b"persona", &persona, &tail],
            Tier::Session => &[b"session", &user, &tail],
            Tier::Response => &[b"response", &user, &persona, &tail],
        };
        parts.join(&b':')
    }

    /// The tiers of GET any, in its order.
    pub fn in_any_tier(&self) -> Vec<Request> {
        let tiers = [Tier::Session, Tier::Response, Tier::Persona, Tier::Msg];
        let here = tiers.into_iter().filter(|tier| !tier.needs_user() || !self.user.is_empty());
        here.map(|tier| Request { tier, ..self.clone() }).collect()
    }

    /// The command for this request, in this tier.
    pub fn command(&self, word: &str, tier: &str, more: &[Bytes]) -> Vec<Bytes> {
        let mut args = vec![format!("CHATCACHE.{word}").into_bytes(), tier.into()];
        args.extend([self.user.clone(), self.persona.clone(), self.message.clone()]);
        args.extend_from_slice(more);
        if let Some(id) = &self.id {
            args.extend([b"ID".to_vec(), id.clone()]);
        }
        args
    }
}

fn hex(message: &[u8]) -> Bytes {
    Md5::digest(message).iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

fn encoded(name: &[u8]) -> Bytes {
    let mut encoded = Bytes::new();
    for byte in name {
        match byte {
            b'%' | b':' | b'{' | b'}' => encoded.extend(format!("%{byte:02X}").into_bytes()),
            _ => encoded.push(*byte),
        }
    }
    encoded
}

/// Two messages with one MD5, as published with the attack by Wang and others.
fn colliding() -> [Bytes; 2] {
    const ONE: &str = "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f89\
                       55ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b\
                       d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0\
                       e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70";
    let one: Bytes = (0..128).map(|at| u8::from_str_radix(&ONE[at * 2..at * 2 + 2], 16).unwrap()).collect();
    let mut other = one.clone();
    for at in [19, 45, 59, 83, 109, 123] {
        other[at] ^= 0x80;
    }
    assert_eq!(hex(&one), hex(&other));
    assert_ne!(one, other);
    [one, other]
}
