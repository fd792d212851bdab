//! Requests: what a client asks for, checked, and all that can be derived from it.
//!
//! Every command about one answer begins with the same four arguments, `tier user persona message`, and may
//! have an ID. `RequestArgs` is those, checked; it holds one `Request` per tier to look in: one, or for `any` those
//! of the narrowest tier to the widest. A request knows its key's name and its fingerprint. The MD5 of the
//! message is computed when the first key needs it and shared by all: a hit in L1 never pays for it.
//!
//! Arguments are any bytes; what may not be is refused here.

use crate::request::error::{Accepts, CommandError, Name};
use crate::request::fingerprint::{Fingerprint, Parts};
use crate::request::key_name::{self, Layout, Tail};
use crate::tier::Tier;
use md5::{Digest, Md5};
use std::cell::{Cell, OnceCell};

/// The longest persona, user or ID, in bytes: far over any name, and short enough for a key's name and for
/// the lengths of the RDB format.
pub const MAX_NAME_BYTES: usize = 65_535;

/// The longest message, in bytes. MD5 costs the shared main thread some 1.5 us a KB, so this is 25 ms.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Which tiers a request is to be looked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All that the request has a key in.
    Any,
    One(Tier),
}

/// The arguments that all commands begin with, checked.
#[derive(Clone, Debug)]
pub struct RequestArgs<'a> {
    pub scope: Scope,
    pub user: &'a [u8],
    pub persona: &'a [u8],
    pub message: &'a [u8],
    pub id: Option<&'a [u8]>,
    digest: OnceCell<[u8; 16]>,
    /// Of the last tier that needed it: a command of one tier computes it once.
    fingerprint: Cell<Option<(Tier, Fingerprint)>>,
}

impl<'a> RequestArgs<'a> {
    /// Checks the four arguments, as they stand in the command, and the ID that its options gave.
    pub fn parse(
        accepts: Accepts,
        [tier, user, persona, message]: [&'a [u8]; 4],
        id: Option<&'a [u8]>,
    ) -> Result<RequestArgs<'a>, CommandError> {
        let scope = parse_scope(accepts, tier)?;
        check_persona(persona)?;
        check_length(Name::User, user)?;
        if let Scope::One(tier) = scope
            && tier.needs_user()
            && user.is_empty()
        {
            return Err(CommandError::UserNeeded(tier));
        }
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(CommandError::MessageTooLong);
        }
        if let Some(id) = id {
            check_name(Name::Id, id)?;
        }
        Ok(RequestArgs {
            scope,
            user,
            persona,
            message,
            id,
            digest: OnceCell::new(),
            fingerprint: Cell::new(None),
        })
    }

    /// The request in each tier to look in, the narrowest first. Tiers whose keys hold the user are left out
    /// of `any` where there is none.
    pub fn requests(&self) -> impl Iterator<Item = Request<'_>> {
        Tier::NARROWEST_FIRST
            .into_iter()
            .filter(|tier| match self.scope {
                Scope::One(asked) => *tier == asked,
                Scope::Any => !tier.needs_user() || !self.user.is_empty(),
            })
            .map(|tier| self.in_tier(tier))
    }

    /// The one request of a command that takes one tier; with `any`, the widest.
    pub fn request(&self) -> Request<'_> {
        match self.scope {
            Scope::One(tier) => self.in_tier(tier),
            Scope::Any => self.in_tier(Tier::Msg),
        }
    }

    fn in_tier(&self, tier: Tier) -> Request<'_> {
        let RequestArgs { user, persona, message, id, ref digest, ref fingerprint, .. } = *self;
        Request { tier, user, persona, message, id, digest, fingerprint }
    }
}

/// One tier's request: a key, and what an answer under it must have been asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub tier: Tier,
    /// May be empty in the tiers whose keys do not hold it.
    pub user: &'a [u8],
    /// Never empty.
    pub persona: &'a [u8],
    pub message: &'a [u8],
    /// Stands for the message in the session tier; the others take and ignore it.
    pub id: Option<&'a [u8]>,
    digest: &'a OnceCell<[u8; 16]>,
    fingerprint: &'a Cell<Option<(Tier, Fingerprint)>>,
}

impl<'a> Request<'a> {
    /// The message's MD5, computed at most once a command.
    pub fn digest(&self) -> [u8; 16] {
        *self.digest.get_or_init(|| digest(self.message))
    }

    /// What stands for the message in the key.
    pub fn tail(&self) -> Tail<'a> {
        match self.id {
            Some(id) if self.tier == Tier::Session => Tail::Id(id),
            _ => Tail::Digest(self.digest()),
        }
    }

    /// What an answer must have been asked to be the answer to this. Computed once for a tier's requests in a row.
    pub fn fingerprint(&self) -> Fingerprint {
        match self.fingerprint.get() {
            Some((tier, known)) if tier == self.tier => known,
            _ => {
                let computed = self.compute_fingerprint();
                self.fingerprint.set(Some((self.tier, computed)));
                computed
            }
        }
    }

    fn compute_fingerprint(&self) -> Fingerprint {
        let Request { user, persona, message, .. } = *self;
        Fingerprint::of(match (self.tier, self.id) {
            (Tier::Msg, _) => Parts::Msg { message },
            (Tier::Persona, _) => Parts::Persona { persona, message },
            (Tier::Session, Some(id)) => Parts::SessionId { user, id },
            (Tier::Session, None) => Parts::Session { user, message },
            (Tier::Response, _) => Parts::Response { user, persona, message },
        })
    }

    /// Appends the name of the request's key.
    pub fn key_name(&self, layout: Layout, out: &mut Vec<u8>) {
        key_name::write(layout, self.tier, self.user, self.persona, self.tail(), out);
    }
}

/// The MD5 of a message.
pub fn digest(message: &[u8]) -> [u8; 16] {
    Md5::digest(message).into()
}

/// The tier with this name, in any case.
pub fn parse_tier(word: &[u8]) -> Result<Tier, CommandError> {
    Tier::from_name(word).ok_or(CommandError::UnknownTier(Accepts::Tiers))
}

fn parse_scope(accepts: Accepts, word: &[u8]) -> Result<Scope, CommandError> {
    match Tier::from_name(word) {
        Some(tier) => Ok(Scope::One(tier)),
        None if accepts == Accepts::TiersAndAny && word.eq_ignore_ascii_case(b"any") => Ok(Scope::Any),
        None => Err(CommandError::UnknownTier(accepts)),
    }
}

/// Refuses what cannot be a persona's name.
pub fn check_persona(persona: &[u8]) -> Result<(), CommandError> {
    check_name(Name::Persona, persona)
}

/// Refuses what cannot be the name of somebody.
pub fn check_user(user: &[u8]) -> Result<(), CommandError> {
    check_name(Name::User, user)
}

fn check_name(name: Name, bytes: &[u8]) -> Result<(), CommandError> {
    if bytes.is_empty() {
        return Err(CommandError::EmptyName(name));
    }
    check_length(name, bytes)
}

fn check_length(name: Name, bytes: &[u8]) -> Result<(), CommandError> {
    if bytes.len() > MAX_NAME_BYTES { Err(CommandError::NameTooLong(name)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::options;

    /// Two messages with one MD5, as published with the attack by Wang and others.
    fn colliding() -> [Vec<u8>; 2] {
        let first: [u128; 8] = [
            0xd131dd02c5e6eec4693d9a0698aff95c,
            0x2fcab58712467eab4004583eb8fb7f89,
            0x55ad340609f4b30283e488832571415a,
            0x085125e8f7cdc99fd91dbdf280373c5b,
            0xd8823e3156348f5bae6dacd436c919c6,
            0xdd53e2b487da03fd02396306d248cda0,
            0xe99f33420f577ee8ce54b67080a80d1e,
            0xc69821bcb6a8839396f9652b6ff72a70,
        ];
        let second: [u128; 8] = [
            0xd131dd02c5e6eec4693d9a0698aff95c,
            0x2fcab50712467eab4004583eb8fb7f89,
            0x55ad340609f4b30283e4888325f1415a,
            0x085125e8f7cdc99fd91dbd7280373c5b,
            0xd8823e3156348f5bae6dacd436c919c6,
            0xdd53e23487da03fd02396306d248cda0,
            0xe99f33420f577ee8ce54b67080280d1e,
            0xc69821bcb6a8839396f965ab6ff72a70,
        ];
        [first, second].map(|words| words.iter().flat_map(|word| word.to_be_bytes()).collect())
    }

    fn ask<'a>(tier: &'a str, user: &'a str, persona: &'a str, message: &'a [u8]) -> [&'a [u8]; 4] {
        [tier.as_bytes(), user.as_bytes(), persona.as_bytes(), message]
    }

    fn one<'a>(arguments: [&'a [u8]; 4], id: Option<&'a [u8]>) -> RequestArgs<'a> {
        RequestArgs::parse(Accepts::Tiers, arguments, id).unwrap()
    }

    fn refusal(accepts: Accepts, arguments: [&[u8]; 4], id: Option<&[u8]>) -> String {
        RequestArgs::parse(accepts, arguments, id).unwrap_err().message().into_owned()
    }

    fn key_name(asked: &RequestArgs<'_>) -> String {
        let mut name = Vec::new();
        asked.request().key_name(Layout::Single, &mut name);
        String::from_utf8(name).unwrap()
    }

    #[test]
    fn a_client_can_compute_the_same_key() {
        let key = |tier, id| key_name(&one(ask(tier, "ann", "helper", b"hello"), id));
        assert_eq!(key("msg", None), "msg:5d41402abc4b2a76b9719d911017c592");
        assert_eq!(key("PERSONA", None), "persona:helper:5d41402abc4b2a76b9719d911017c592");
        assert_eq!(key("session", None), "session:ann:5d41402abc4b2a76b9719d911017c592");
        assert_eq!(key("session", Some(b"m-1")), "session:ann:m-1");
        assert_eq!(key("response", None), "response:ann:helper:5d41402abc4b2a76b9719d911017c592");
        let empty = one(ask("msg", "", "helper", b""), None);
        assert_eq!(key_name(&empty), "msg:d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn an_id_stands_for_the_message_in_sessions_only() {
        let id = Some(&b"m-1"[..]);
        let (asked, other) = (
            one(ask("session", "ann", "helper", b"hello"), id),
            one(ask("session", "ann", "helper", b""), id),
        );
        assert_eq!(asked.request().fingerprint(), other.request().fingerprint());
        for tier in ["msg", "persona", "response"] {
            let (with, without) = (
                one(ask(tier, "ann", "helper", b"hello"), id),
                one(ask(tier, "ann", "helper", b"hello"), None),
            );
            assert_eq!(key_name(&with), key_name(&without));
            assert_eq!(with.request().fingerprint(), without.request().fingerprint());
        }
    }

    #[test]
    fn messages_that_collide_in_md5_share_a_key_and_no_fingerprint() {
        let [first, second] = &colliding();
        assert_ne!(first, second);
        assert_eq!(digest(first), digest(second));
        for tier in ["msg", "persona", "session", "response"] {
            let (mine, theirs) =
                (one(ask(tier, "ann", "helper", first), None), one(ask(tier, "ann", "helper", second), None));
            assert_eq!(key_name(&mine), key_name(&theirs));
            assert_ne!(mine.request().fingerprint(), theirs.request().fingerprint());
        }
    }

    #[test]
    fn an_id_spelled_as_the_md5_of_a_message_shares_its_key_and_not_its_fingerprint() {
        let by_message = one(ask("session", "ann", "helper", b"hello"), None);
        let id = b"5d41402abc4b2a76b9719d911017c592";
        let by_id = one(ask("session", "ann", "helper", b"hello"), Some(id));
        assert_eq!(key_name(&by_message), key_name(&by_id));
        assert_ne!(by_message.request().fingerprint(), by_id.request().fingerprint());
    }

    #[test]
    fn any_looks_from_the_narrowest_tier_to_the_widest() {
        let tiers = |user| {
            let asked =
                RequestArgs::parse(Accepts::TiersAndAny, ask("Any", user, "helper", b"hello"), None).unwrap();
            asked.requests().map(|request| request.tier).collect::<Vec<_>>()
        };
        assert_eq!(tiers("ann"), Tier::NARROWEST_FIRST);
        assert_eq!(tiers(""), [Tier::Persona, Tier::Msg]);
        let asked = one(ask("persona", "ann", "helper", b"hello"), None);
        assert_eq!(asked.requests().map(|request| request.tier).collect::<Vec<_>>(), [Tier::Persona]);
    }

    #[test]
    fn the_md5_is_computed_for_the_first_key_that_holds_it_and_no_sooner() {
        let id = Some(&b"m-1"[..]);
        let asked =
            RequestArgs::parse(Accepts::TiersAndAny, ask("any", "ann", "helper", b"hello"), id).unwrap();
        let mut requests = asked.requests();
        let session = requests.next().unwrap();
        session.fingerprint();
        session.key_name(Layout::Single, &mut Vec::new());
        assert_eq!(asked.digest.get(), None);
        requests.next().unwrap().key_name(Layout::Single, &mut Vec::new());
        assert_eq!(asked.digest.get(), Some(&digest(b"hello")));
    }

    #[test]
    fn an_unknown_tier_is_refused_with_the_names_of_the_tiers() {
        let arguments = ask("all", "ann", "helper", b"hello");
        let text = "ERR unknown tier: use msg, persona, session or response";
        assert_eq!(refusal(Accepts::Tiers, arguments, None), text);
        assert_eq!(refusal(Accepts::Tiers, ask("any", "ann", "helper", b"hello"), None), text);
        assert_eq!(parse_tier(b"\xff\0").unwrap_err().message(), text);
        let text = "ERR unknown tier: use msg, persona, session, response or any";
        assert_eq!(refusal(Accepts::TiersAndAny, arguments, None), text);
    }

    #[test]
    fn names_that_are_missing_are_refused() {
        let refused = |tier, user, persona, id| refusal(Accepts::Tiers, ask(tier, user, persona, b""), id);
        assert_eq!(refused("msg", "ann", "", None), "ERR the persona is empty");
        let text = "ERR the user is empty: the tier session needs one";
        assert_eq!(refused("session", "", "helper", Some(b"m-1")), text);
        let text = "ERR the user is empty: the tier response needs one";
        assert_eq!(refused("response", "", "helper", None), text);
        let text = "ERR the ID is empty: leave ID out where there is none";
        assert_eq!(refused("msg", "", "helper", Some(b"")), text);
        assert_eq!(check_user(b"").unwrap_err().message(), "ERR the user is empty");
        assert_eq!(check_user(b"ann"), Ok(()));
    }

    #[test]
    fn what_is_too_long_is_refused_and_what_just_fits_is_not() {
        let fits = vec![b'x'; MAX_NAME_BYTES];
        let long = vec![b'x'; MAX_NAME_BYTES + 1];
        assert!(RequestArgs::parse(Accepts::Tiers, [b"msg", &fits, &fits, b""], Some(&fits)).is_ok());
        let text = "ERR the persona is longer than 65535 bytes";
        assert_eq!(refusal(Accepts::Tiers, [b"msg", b"u", &long, b""], None), text);
        let text = "ERR the user is longer than 65535 bytes";
        assert_eq!(refusal(Accepts::Tiers, [b"msg", &long, b"p", b""], None), text);
        let text = "ERR the ID is longer than 65535 bytes";
        assert_eq!(refusal(Accepts::Tiers, [b"msg", b"u", b"p", b""], Some(&long)), text);
        let fits = vec![b'x'; MAX_MESSAGE_BYTES];
        assert!(RequestArgs::parse(Accepts::Tiers, [b"msg", b"u", b"p", &fits], None).is_ok());
        let long = vec![b'x'; MAX_MESSAGE_BYTES + 1];
        let text = "ERR the message is longer than 16777216 bytes";
        assert_eq!(refusal(Accepts::Tiers, [b"msg", b"u", b"p", &long], None), text);
    }

    #[test]
    fn refusals_that_have_no_arguments_to_blame_have_their_texts() {
        let text = "WRONGTYPE Operation against a key holding the wrong kind of value";
        assert_eq!(CommandError::WrongType.message(), text);
        let text = "ERR the response is larger than chatcache.max-response-bytes (16777216)";
        assert_eq!(CommandError::ResponseTooLarge { limit: 16_777_216 }.message(), text);
        assert_eq!(CommandError::Internal.message(), "ERR internal error: see the server log");
        let text = "ERR syntax error: the only option of CHATCACHE.GET is ID";
        assert_eq!(CommandError::UnknownOption(&options::GET).message(), text);
    }
}
