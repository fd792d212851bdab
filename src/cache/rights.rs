//! Rights to the entries of other personas.
//!
//! The server checks the persona that a command names, which is its key. A key of the tiers msg and session does not hold
//! the persona, and RENAME, COPY and RESTORE put any entry under any key: the entry under a key may be another
//! persona's. Then this file asks the server if the caller might give the same command for that persona. If not, a read
//! finds nothing and a write is refused. If the personas agree, nothing is checked.
//!
//! FORGET, FLUSH and PERSONAS concern all personas and need rights to all keys. No call of the API tells that, so it is
//! read from the text of the user's rules, as SORT with BY does inside the server: the very pattern `*`, in the part of
//! the rules (the root, or a selector) that allows the command.
//!
//! Commands of a master, an AOF or another module are not checked, as the server checks none of them.

use crate::cache::lookup::{Found, Lookup};
use crate::cache::state::CACHE;
use crate::index::Liveness;
use crate::redis::{Args, Caller, Ctx, rules_allow};
use crate::request::Request;
use crate::request::error::CommandError;
use crate::tier::Tier;
use std::sync::Arc;

/// The use of keys that a right allows.
#[derive(Clone, Copy)]
pub enum Access {
    /// Reads of their entries.
    Read,
    /// Writes and deletions.
    Write,
}

/// Returns the lookup, or `Forbidden` if the response belongs to a persona that the caller may not read.
pub fn visible<'c>(ctx: &Ctx<'_>, args: Args<'_>, request: &Request<'_>, lookup: Lookup<'c>) -> Lookup<'c> {
    // In the other tiers the fingerprint holds the persona.
    if !is_shared(request.tier) {
        return lookup;
    }
    match lookup.response().and_then(|found| other_persona(ctx, found, request)) {
        Some(persona) if !may_give(&ctx.caller(), command(args), &persona) => Lookup::Forbidden,
        _ => lookup,
    }
}

/// Checks that the caller may replace or remove the entry in a key. Returns the entry's persona if it is live and belongs
/// to another persona than the request's.
///
/// # Errors
/// `ForeignEntry` if the caller has no right to write that persona.
pub fn check_write(
    ctx: &Ctx<'_>,
    args: Args<'_>,
    request: &Request<'_>,
    lookup: &Lookup<'_>,
) -> Result<Option<Arc<[u8]>>, CommandError> {
    let Some(found) = lookup.occupant() else { return Ok(None) };
    let Some(persona) = other_persona(ctx, found, request) else { return Ok(None) };
    let caller = ctx.caller();
    if may_give(&caller, command(args), &persona) {
        return Ok(Some(persona));
    }
    if let Caller::User(user) = caller {
        ctx.log_denied(&user, &persona);
    }
    Err(CommandError::ForeignEntry)
}

/// Returns true if the caller's SET could replace this entry.
pub fn may_replace(ctx: &Ctx<'_>, request: &Request<'_>, found: &Found<'_>) -> bool {
    let Some(persona) = other_persona(ctx, found, request) else { return true };
    may_give(&ctx.caller(), (b"CHATCACHE.SET", request.tier.name().as_bytes()), &persona)
}

/// Returns true if a waiter in FETCH may have a response of this persona.
pub fn may_fetch(caller: &Caller, tier: Tier, persona: &[u8]) -> bool {
    may_give(caller, (b"CHATCACHE.FETCH", tier.name().as_bytes()), persona)
}

/// Checks that the caller may give a command that concerns all personas.
///
/// # Errors
/// `AllKeysNeeded` if the caller has no right to all keys in this command.
pub fn check_all_keys(ctx: &Ctx<'_>, args: Args<'_>, access: Access) -> Result<(), CommandError> {
    let user = match ctx.caller() {
        Caller::Trusted => return Ok(()),
        Caller::Unknown => return Err(CommandError::AllKeysNeeded),
        Caller::User(user) => user,
    };
    let rules = user.rules().unwrap_or_default();
    let parts = parts(&rules);
    let (name, first) = command(args);
    let allows = |part: &Part<'_>| parts.len() == 1 || rules_allow(&part.commands, &[name, first]);
    if parts.iter().any(|part| part.has_all_keys(access) && allows(part)) {
        return Ok(());
    }
    ctx.log_denied(&user, b"*");
    Err(CommandError::AllKeysNeeded)
}

/// Returns true if the caller has a right to all keys in any command. Callers share leases by it. Returns false if the
/// user has selectors, whose rules would take longer to read.
pub fn has_all_keys(ctx: &Ctx<'_>, access: Access) -> bool {
    caller_has_all_keys(&ctx.caller(), access)
}

/// The same for a caller whose command is over.
pub fn caller_has_all_keys(caller: &Caller, access: Access) -> bool {
    match caller {
        Caller::Trusted => true,
        Caller::Unknown => false,
        Caller::User(user) => {
            let rules = user.rules().unwrap_or_default();
            matches!(&*parts(&rules), [root] if root.has_all_keys(access))
        }
    }
}

/// Returns true if personas share the keys of this tier (in a cluster, only by RESTORE or RENAME).
pub fn is_shared(tier: Tier) -> bool {
    match tier {
        Tier::Msg | Tier::Session => true,
        Tier::Persona | Tier::Response => false,
    }
}

/// The words of a command that rights may depend on beside its persona: its name and its first argument.
type Command<'a> = (&'a [u8], &'a [u8]);

fn command(args: Args<'_>) -> Command<'_> {
    (args.get(0), args.get(1))
}

/// Returns the entry's persona if the entry is live and belongs to another persona than the request's.
fn other_persona(ctx: &Ctx<'_>, found: &Found<'_>, request: &Request<'_>) -> Option<Arc<[u8]>> {
    if found.resolved.liveness == Liveness::Dead {
        return None;
    }
    CACHE.with(|cache| {
        let owner = cache.known_index(ctx.database())?.owner(found.resolved)?;
        (**owner != *request.persona).then(|| Arc::clone(owner))
    })
}

/// Returns true if the caller might have given the command for this persona.
fn may_give(caller: &Caller, (name, tier): Command<'_>, persona: &[u8]) -> bool {
    match caller {
        Caller::Trusted => true,
        Caller::Unknown => false,
        Caller::User(user) => user.may_run(&[name, tier, b"", persona]),
    }
}

/// A part of a user's rules: the root, or a selector.
#[derive(Default)]
struct Part<'a> {
    reads_all: bool,
    writes_all: bool,
    /// The rules about commands.
    commands: Vec<&'a [u8]>,
}

impl Part<'_> {
    fn has_all_keys(&self, access: Access) -> bool {
        match access {
            Access::Read => self.reads_all,
            Access::Write => self.writes_all,
        }
    }
}

/// Returns the parts of a user's rules, which are written as in ACL LIST: words without spaces, and selectors in
/// brackets.
fn parts(rules: &[u8]) -> Vec<Part<'_>> {
    let mut parts = vec![Part::default()];
    for word in rules.split(|byte| *byte == b' ') {
        let word = match word.strip_prefix(b"(") {
            Some(first) => {
                parts.push(Part::default());
                first
            }
            None => word,
        };
        let in_selector = parts.len() > 1;
        let Some(part) = parts.last_mut() else { continue };
        match word {
            b"~*" => (part.reads_all, part.writes_all) = (true, true),
            b"%R~*" => part.reads_all = true,
            b"%W~*" => part.writes_all = true,
            // A selector ends with a rule about commands.
            [b'+' | b'-', .., b')'] if in_selector => part.commands.extend(word.strip_suffix(b")")),
            [b'+' | b'-', ..] => part.commands.push(word),
            _ => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_keys(rules: &str) -> Vec<(bool, bool)> {
        parts(rules.as_bytes()).iter().map(|part| (part.reads_all, part.writes_all)).collect()
    }

    #[test]
    fn only_the_pattern_for_all_keys_means_all_keys() {
        assert_eq!(all_keys("on nopass sanitize-payload ~* &* +@all"), [(true, true)]);
        assert_eq!(all_keys("on #ab %R~* resetchannels -@all +get"), [(true, false)]);
        assert_eq!(all_keys("on nopass %W~* ~help* resetchannels -@all"), [(false, true)]);
        for rules in ["", "on ~** +@all", "on ~helper +@all", "on ~?* +@all", "on ~~* +@all", "off &* +@all"]
        {
            assert_eq!(all_keys(rules), [(false, false)], "{rules}");
        }
    }

    #[test]
    fn each_selector_has_keys_and_commands_of_its_own() {
        let rules = b"on nopass ~helper resetchannels -@all +get (~* resetchannels -@all +@read +select|0) (%R~* +@all)";
        let parts = parts(rules);
        let seen: Vec<_> = parts.iter().map(|part| (part.reads_all, part.writes_all)).collect();
        assert_eq!(seen, [(false, false), (true, true), (true, false)]);
        assert_eq!(parts[0].commands, [&b"-@all"[..], b"+get"]);
        assert_eq!(parts[1].commands, [&b"-@all"[..], b"+@read", b"+select|0"]);
        assert_eq!(parts[2].commands, [b"+@all"]);
    }
}
