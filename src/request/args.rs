//! Requests: the four arguments that every command about one response begins with, checked.
//!
//! They are `tier user persona message`, and an ID may come with them. `RequestArgs` holds them and gives one `Request`
//! for each tier to look in: one, or for `any` all of them from the narrowest to the widest. A request knows its key's
//! name and its fingerprint. The MD5 of the message is computed for the first key that needs it and shared by the rest:
//! a hit in L1 needs none.
//!
//! Arguments are any bytes; the checks are here.

use crate::request::error::{CommandError, Name};
use crate::request::fingerprint::Fingerprint;
use crate::request::key_name::{self, Layout, Tail};
use crate::request::limits::{MAX_MESSAGE_BYTES, MAX_NAME_BYTES};
use crate::request::parts::Parts;
use crate::request::scope::{Accepts, Scope};
use crate::tier::Tier;
use md5::{Digest, Md5};
use std::cell::{Cell, OnceCell};

/// The arguments that a command about one response begins with, checked.
#[derive(Clone, Debug)]
pub struct RequestArgs<'a> {
    /// The tiers to look in.
    pub scope: Scope,
    /// The user; empty only if the tiers' keys do not hold it.
    pub user: &'a [u8],
    /// The persona; never empty.
    pub persona: &'a [u8],
    /// The message.
    pub message: &'a [u8],
    /// The application's own ID of the message; only if the tier session is in the scope.
    pub id: Option<&'a [u8]>,
    digest: OnceCell<[u8; 16]>,
    /// That of the last tier that needed it: a command of one tier computes it once.
    fingerprint: Cell<Option<(Tier, Fingerprint)>>,
}

impl<'a> RequestArgs<'a> {
    /// Checks the four arguments of a command, and the ID among its options.
    ///
    /// # Errors
    ///
    /// Fails if the command does not accept the tier, a name is empty or too long, the message is too long, or an ID
    /// comes with a tier other than session: there it would let two requests share a response.
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
            check_id(scope, id)?;
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

    /// Returns the request in each tier to look in, from the narrowest to the widest. Without a user, `any` leaves out
    /// the tiers whose keys hold one.
    pub fn requests(&self) -> impl Iterator<Item = Request<'_>> {
        Tier::NARROWEST_FIRST
            .into_iter()
            .filter(|tier| match self.scope {
                Scope::One(asked) => *tier == asked,
                Scope::Any => !tier.needs_user() || !self.user.is_empty(),
            })
            .map(|tier| self.in_tier(tier))
    }

    /// Returns the one request of a command that accepts one tier; for `any`, that in the widest.
    pub fn request(&self) -> Request<'_> {
        match self.scope {
            Scope::One(tier) => self.in_tier(tier),
            Scope::Any => self.in_tier(Tier::Msg),
        }
    }

    fn in_tier(&self, tier: Tier) -> Request<'_> {
        let RequestArgs { user, persona, message, id, ref digest, ref fingerprint, .. } = *self;
        let id = id.filter(|_| tier == Tier::Session);
        Request { tier, user, persona, message, id, digest, fingerprint }
    }
}

/// A request in one tier: it has one key, and its response is for requests with the same parts only.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The tier.
    pub tier: Tier,
    /// The user; may be empty in the tiers whose keys do not hold it.
    pub user: &'a [u8],
    /// The persona; never empty.
    pub persona: &'a [u8],
    /// The message.
    pub message: &'a [u8],
    /// The application's own ID, which stands for the message; in the tier session only.
    pub id: Option<&'a [u8]>,
    digest: &'a OnceCell<[u8; 16]>,
    fingerprint: &'a Cell<Option<(Tier, Fingerprint)>>,
}

impl<'a> Request<'a> {
    /// Returns the MD5 of the message, computed at most once a command.
    pub fn digest(&self) -> [u8; 16] {
        *self.digest.get_or_init(|| digest(self.message))
    }

    /// Returns the part of the key that stands for the message.
    pub fn tail(&self) -> Tail<'a> {
        match self.id {
            Some(id) => Tail::Id(id),
            None => Tail::Digest(self.digest()),
        }
    }

    /// Returns the parts that tell the request from others.
    pub fn parts(&self) -> Parts<'a> {
        let Request { user, persona, message, .. } = *self;
        match (self.tier, self.id) {
            (Tier::Msg, _) => Parts::Msg { message },
            (Tier::Persona, _) => Parts::Persona { persona, message },
            (Tier::Session, Some(id)) => Parts::SessionId { user, id },
            (Tier::Session, None) => Parts::Session { user, message },
            (Tier::Response, _) => Parts::Response { user, persona, message },
        }
    }

    /// Returns the fingerprint of the parts, computed once for the requests of one tier in a row.
    pub fn fingerprint(&self) -> Fingerprint {
        match self.fingerprint.get() {
            Some((tier, known)) if tier == self.tier => known,
            _ => {
                let computed = Fingerprint::of(self.parts());
                self.fingerprint.set(Some((self.tier, computed)));
                computed
            }
        }
    }

    /// Appends the name of the request's key to `out`.
    pub fn key_name(&self, layout: Layout, out: &mut Vec<u8>) {
        key_name::write(layout, self.tier, self.user, self.persona, self.tail(), out);
    }
}

/// Returns the MD5 of a message.
pub fn digest(message: &[u8]) -> [u8; 16] {
    Md5::digest(message).into()
}

/// Returns the tier with this name, in any case.
///
/// # Errors
///
/// Fails if no tier has the name.
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

/// Checks the name of a persona.
///
/// # Errors
///
/// Fails if it is empty or too long.
pub fn check_persona(persona: &[u8]) -> Result<(), CommandError> {
    check_name(Name::Persona, persona)
}

/// Checks the name of a user whose responses are meant.
///
/// # Errors
///
/// Fails if it is empty or too long.
pub fn check_user(user: &[u8]) -> Result<(), CommandError> {
    check_name(Name::User, user)
}

/// Checks an ID, and that the scope has the tier session, which alone knows IDs.
fn check_id(scope: Scope, id: &[u8]) -> Result<(), CommandError> {
    match scope {
        Scope::Any | Scope::One(Tier::Session) => check_name(Name::Id, id),
        Scope::One(tier @ (Tier::Msg | Tier::Persona | Tier::Response)) => {
            Err(CommandError::IdOutsideSession(tier))
        }
    }
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

    fn error_text(accepts: Accepts, arguments: [&[u8]; 4], id: Option<&[u8]>) -> String {
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
    fn an_id_stands_for_the_message_in_the_tier_session() {
        let id = Some(&b"m-1"[..]);
        let with_message = one(ask("session", "ann", "helper", b"hello"), id);
        let without = one(ask("session", "ann", "helper", b""), id);
        assert_eq!(with_message.request().fingerprint(), without.request().fingerprint());
        assert_eq!(key_name(&with_message), key_name(&without));
    }

    #[test]
    fn an_id_outside_the_tier_session_is_refused() {
        for tier in ["msg", "persona", "response"] {
            for accepts in [Accepts::Tiers, Accepts::TiersAndAny] {
                for id in [&b"m-1"[..], b""] {
                    let text = format!("ERR the tier {tier} takes no ID: ID is for the tier session");
                    assert_eq!(error_text(accepts, ask(tier, "ann", "helper", b"hello"), Some(id)), text);
                }
            }
        }
    }

    #[test]
    fn any_uses_an_id_for_its_look_in_the_tier_session_only() {
        let id = Some(&b"m-1"[..]);
        for user in ["ann", ""] {
            let asked =
                RequestArgs::parse(Accepts::TiersAndAny, ask("any", user, "helper", b"hello"), id).unwrap();
            for request in asked.requests() {
                assert_eq!(request.id, id.filter(|_| request.tier == Tier::Session));
            }
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
    fn the_requests_of_any_have_the_fingerprints_of_their_own_tiers() {
        let asked =
            RequestArgs::parse(Accepts::TiersAndAny, ask("any", "ann", "helper", b"hello"), None).unwrap();
        for request in asked.requests() {
            let computed = Fingerprint::of(request.parts());
            assert_eq!([request.fingerprint(), request.fingerprint()], [computed; 2]);
        }
    }

    #[test]
    fn an_unknown_tier_is_refused_with_the_names_of_the_tiers() {
        let arguments = ask("all", "ann", "helper", b"hello");
        let text = "ERR unknown tier: use msg, persona, session or response";
        assert_eq!(error_text(Accepts::Tiers, arguments, None), text);
        assert_eq!(error_text(Accepts::Tiers, ask("any", "ann", "helper", b"hello"), None), text);
        assert_eq!(parse_tier(b"\xff\0").unwrap_err().message(), text);
        let text = "ERR unknown tier: use msg, persona, session, response or any";
        assert_eq!(error_text(Accepts::TiersAndAny, arguments, None), text);
    }

    #[test]
    fn empty_names_are_refused() {
        let refused = |tier, user, persona, id| error_text(Accepts::Tiers, ask(tier, user, persona, b""), id);
        assert_eq!(refused("msg", "ann", "", None), "ERR the persona is empty");
        let text = "ERR the user is empty: the tier session needs one";
        assert_eq!(refused("session", "", "helper", Some(b"m-1")), text);
        let text = "ERR the user is empty: the tier response needs one";
        assert_eq!(refused("response", "", "helper", None), text);
        let text = "ERR the ID is empty: leave ID out if there is none";
        assert_eq!(refused("session", "ann", "helper", Some(b"")), text);
        assert_eq!(check_user(b"").unwrap_err().message(), "ERR the user is empty");
        assert_eq!(check_user(b"ann"), Ok(()));
    }

    #[test]
    fn names_and_messages_are_refused_beyond_their_limits_only() {
        let fits = vec![b'x'; MAX_NAME_BYTES];
        let long = vec![b'x'; MAX_NAME_BYTES + 1];
        assert!(RequestArgs::parse(Accepts::Tiers, [b"session", &fits, &fits, b""], Some(&fits)).is_ok());
        let text = "ERR the persona is longer than 65535 bytes";
        assert_eq!(error_text(Accepts::Tiers, [b"msg", b"u", &long, b""], None), text);
        let text = "ERR the user is longer than 65535 bytes";
        assert_eq!(error_text(Accepts::Tiers, [b"msg", &long, b"p", b""], None), text);
        let text = "ERR the ID is longer than 65535 bytes";
        assert_eq!(error_text(Accepts::Tiers, [b"session", b"u", b"p", b""], Some(&long)), text);
        let fits = vec![b'x'; MAX_MESSAGE_BYTES];
        assert!(RequestArgs::parse(Accepts::Tiers, [b"msg", b"u", b"p", &fits], None).is_ok());
        let long = vec![b'x'; MAX_MESSAGE_BYTES + 1];
        let text = "ERR the message is longer than 16777216 bytes";
        assert_eq!(error_text(Accepts::Tiers, [b"msg", b"u", b"p", &long], None), text);
    }

    #[test]
    fn errors_without_an_argument_have_their_texts() {
        let text = "WRONGTYPE Operation against a key holding the wrong kind of value";
        assert_eq!(CommandError::WrongType.message(), text);
        let text = "ERR the response is larger than chatcache.max-response-bytes (16777216)";
        assert_eq!(CommandError::ResponseTooLarge { limit: 16_777_216 }.message(), text);
        assert_eq!(CommandError::Internal.message(), "ERR internal error: see the server log");
        let text = "ERR syntax error: the only option of CHATCACHE.GET is ID";
        assert_eq!(CommandError::UnknownOption(&options::GET).message(), text);
    }
}
