//! The only path that writes an entry, and the only one that deletes one by request.
//!
//! SET and every other command that stores a response go through `store`, which does in this order:
//!
//! 1. The key is opened and looked into (WRONGTYPE).
//! 2. The caller's right to replace the entry there is checked (NOPERM), then the condition, then the token. Up to here
//!    nothing has changed.
//! 3. The lifetime is computed, while the old entry still has its own (KEEPTTL).
//! 4. The entry is stored in the key: over an old entry in its place in memory, else as a new value. If the server
//!    refuses the value, nothing has changed.
//! 5. The old entry leaves L1, and the index links the new one. From here on the entry is live.
//! 6. The key gets its TTL. `ModuleTypeSetValue` clears the TTL, so this comes after it.
//! 7. The lease of the request ends, and its waiters are given the response. They may have it only once it is live.
//! 8. The entry is queued to be compressed.
//! 9. Watchers and trackers are told, then subscribers: `set`, and `expire` as Redis's own SET does.
//! 10. Replicas and the AOF get one SET, with absolute times and without the condition and the token, which are decided.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use crate::cache::compressor;
use crate::cache::lookup::{Found, Lookup, lookup};
use crate::cache::{CACHE, names, rights};
use crate::config;
use crate::entry::{Entry, Facts, Placement, Response};
use crate::flight;
use crate::index::{Handle, Name, Walk};
use crate::lifetime::{Lifetime, Terms};
use crate::redis::{Args, Class, Ctx, FixedWord, Key, ReplicatedCommand, TypedKey};
use crate::request::Request;
use crate::request::error::CommandError;
use crate::request::options::Condition;
use std::borrow::Cow;

/// The position of the persona, which is the key, in `COMMAND tier user persona message`.
const PERSONA_AT: usize = 3;

/// The number of arguments of a request: tier, user, persona and message.
const REQUEST_LENGTH: usize = 4;

/// The options of a replicated SET.
static ID: FixedWord = FixedWord::new("ID");
static PXAT: FixedWord = FixedWord::new("PXAT");
static STALE: FixedWord = FixedWord::new("STALE");
static KEEPTTL: FixedWord = FixedWord::new("KEEPTTL");
static COST: FixedWord = FixedWord::new("COST");

/// A response, and the terms on which it is stored.
pub struct Write<'a> {
    /// The response, and its source.
    pub source: Source<'a>,
    /// The terms of its lifetime.
    pub terms: Terms,
    /// The condition on what the key holds.
    pub condition: Condition,
    /// A token that must prove the request's lease.
    pub token: Option<&'a [u8]>,
    /// Milliseconds that computing the response took; None to take the time for which the lease was held.
    pub cost_ms: Option<u32>,
}

/// The source of a response.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// The command's argument that follows the request.
    Argument(&'a [u8]),
    /// The draft of the lease that the token proves.
    Draft,
}

/// The outcome of `store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The response is stored.
    Stored,
    /// The condition or the token forbade it, and nothing has changed.
    Forbidden,
}

/// Stores a response; see the head of this file. `args` are the running command's, `now_ms` its reading of the clock.
///
/// # Errors
/// The key holds another type; the caller may not write the persona of the entry there; the response is longer than
/// `max-response-bytes`; its end overflows; or the server refuses the value. Nothing has changed then.
pub fn store(
    ctx: &Ctx<'_>,
    args: Args<'_>,
    request: &Request<'_>,
    write: &Write<'_>,
    now_ms: i64,
) -> Result<Outcome, CommandError> {
    if let Source::Argument(bytes) = write.source {
        check_length(ctx, bytes)?;
    }
    let name = names::key_name(request);
    let lookup = lookup(ctx, ctx.open_write(&name), request, now_ms)?;
    let other = rights::check_write(ctx, args, request, &lookup)?;
    let present = matches!(lookup, Lookup::Fresh(_));
    let forbidden = match write.condition {
        Condition::Always => false,
        Condition::IfAbsent => present,
        Condition::IfPresent => !present,
    };
    if forbidden {
        return Ok(Outcome::Forbidden);
    }
    let held_ms = match write.token.map(|token| flight::check(ctx, request, token)) {
        None => 0,
        Some(Some(held_ms)) => held_ms,
        Some(None) => return Ok(Outcome::Forbidden),
    };
    let draft;
    let bytes = match write.source {
        Source::Argument(bytes) => Cow::Borrowed(bytes),
        Source::Draft => {
            let found = write.token.and_then(|token| flight::draft(ctx, request, token));
            draft = found.ok_or(CommandError::NoDraft)?;
            let bytes = draft.bytes();
            check_length(ctx, &bytes)?;
            bytes
        }
    };
    let lifetime = Lifetime::new(ctx, write.terms, request.tier, &lookup, now_ms)?;
    let replaces = lookup.response().is_some();

    let cost_ms = write.cost_ms.unwrap_or(u32::try_from(held_ms).unwrap_or(u32::MAX));
    let facts = Facts {
        fingerprint: request.fingerprint(),
        stored_at_ms: now_ms,
        fresh_until_ms: lifetime.fresh_until,
        cost_ms,
        hits: 0,
    };
    let entry = Entry::new(Placement::Unknown, Response::new(&facts, &bytes));
    let (mut key, handle) = put(ctx, lookup, request, &name, entry)?;
    key.key_mut().set_expires_at(lifetime.expires_at);
    CACHE.with(|cache| cache.counters.sets += 1);
    let fresh_until_ms = lifetime.expires_at.unwrap_or(i64::MAX).min(lifetime.fresh_until);
    let draft_of = write.token.filter(|_| matches!(write.source, Source::Draft));
    if let Some(response) = key.raw() {
        flight::stored(ctx, request, draft_of, response, cost_ms, handle, fresh_until_ms);
    }
    compressor::enqueue(ctx, (ctx.database(), handle), bytes.len());

    ctx.signal_modified(key.key());
    if replaces {
        signal_personas(ctx, args, other.as_deref());
    }
    ctx.notify(Class::Module, c"set", key.key());
    if lifetime.expires_at.is_some() {
        ctx.notify(Class::Generic, c"expire", key.key());
    }
    replicate(ctx, args, request, write.source, &bytes, &lifetime, cost_ms);
    Ok(Outcome::Stored)
}

fn check_length(ctx: &Ctx<'_>, response: &[u8]) -> Result<(), CommandError> {
    let limit = config::MAX_RESPONSE_SIZE.get();
    if response.len() as u64 > limit && !ctx.is_replayed() {
        return Err(CommandError::ResponseTooLarge { limit });
    }
    Ok(())
}

/// Deletes the response to a request, and voids its lease. Returns false if there is no such response.
///
/// # Errors
/// The key holds another type; the caller may not write the persona of the entry there; or the persona's slot moves.
pub fn delete(ctx: &Ctx<'_>, args: Args<'_>, request: &Request<'_>) -> Result<bool, CommandError> {
    names::check_slot_is_stable(ctx, request.persona)?;
    let name = names::key_name(request);
    let lookup = lookup(ctx, ctx.open_write(&name), request, ctx.now_ms())?;
    if lookup.response().is_none() {
        flight::void_request(ctx, request);
        return Ok(false);
    }
    let other = rights::check_write(ctx, args, request, &lookup)?;
    flight::void_request(ctx, request);
    let (Lookup::Fresh(found) | Lookup::Stale(found)) = lookup else { return Ok(false) };
    let key = found.key.delete();
    CACHE.with(|cache| cache.counters.deleted += 1);
    ctx.signal_modified(&key);
    signal_personas(ctx, args, other.as_deref());
    ctx.notify(Class::Generic, c"del", &key);
    ctx.replicate_verbatim();
    Ok(true)
}

/// Stores an entry in its key, and links it in the index.
fn put<'c>(
    ctx: &Ctx<'_>,
    lookup: Lookup<'c>,
    request: &Request<'_>,
    name: &[u8],
    entry: Entry,
) -> Result<(TypedKey<'c, Entry>, Handle), CommandError> {
    let bytes = entry.raw_bytes();
    let (key, old) = match lookup {
        Lookup::Missing(key) => (store_new(key, entry)?, None),
        Lookup::Mismatch(found) | Lookup::Stale(found) | Lookup::Fresh(found) => {
            let Found { mut key, .. } = found;
            // The server sees the same value, with another entry in it.
            let old = std::mem::replace(&mut *key, entry);
            (key, Some(old))
        }
        Lookup::Forbidden => return Err(CommandError::Internal),
    };
    let (handle, walk) = link(ctx, old.as_ref(), request, name, bytes.into());
    key.move_to(Placement::Linked(handle));
    key.set_walk(walk);
    Ok((key, handle))
}

fn store_new(key: Key<'_>, entry: Entry) -> Result<TypedKey<'_, Entry>, CommandError> {
    key.store(Box::new(entry)).ok_or(CommandError::Internal)
}

/// Links the new entry of a request in the index, in the place of the old one of its key. The old one leaves the request table
/// and L1. Returns the new one's handle, and the walk to its persona.
fn link(
    ctx: &Ctx<'_>,
    old: Option<&Entry>,
    request: &Request<'_>,
    name: &[u8],
    bytes: u64,
) -> (Handle, Walk) {
    let kept = match request.id {
        None => Name::Canonical(request.digest()),
        Some(_) => Name::Own(name),
    };
    let Request { tier, user, persona, .. } = *request;
    let database = ctx.database();
    CACHE.with(|cache| {
        old.iter().for_each(|old| cache.forget(database, old));
        let index = cache.index(database);
        let handle = match old.and_then(|old| Some((old.handle()?, old.size()))) {
            Some(old) => index.relink(old, tier, persona, user, kept, bytes),
            None => index.link(tier, persona, user, kept, bytes),
        };
        cache.mark_arriving((database, handle), persona);
        (handle, cache.resolve(database, Some(handle)).walk())
    })
}

/// Sends what was stored to replicas and the AOF, as one SET.
fn replicate(
    ctx: &Ctx<'_>,
    args: Args<'_>,
    request: &Request<'_>,
    source: Source<'_>,
    response: &[u8],
    lifetime: &Lifetime,
    cost_ms: u32,
) {
    let mut command = match source {
        Source::Argument(_) => ReplicatedCommand::new(args, REQUEST_LENGTH + 1),
        Source::Draft => {
            let mut command = ReplicatedCommand::new(args, REQUEST_LENGTH);
            command.bytes(response);
            command
        }
    };
    if let Some(id) = request.id {
        command.word(&ID);
        command.bytes(id);
    }
    match lifetime.expires_at {
        Some(at) => {
            let fresh_until = lifetime.fresh_until.min(at);
            command.word(&PXAT);
            command.number(fresh_until);
            if at > fresh_until {
                command.word(&STALE);
                command.number(at.saturating_sub(fresh_until));
            }
        }
        // KEEPTTL of an entry that never expires. It never expires on the replicas either.
        None => command.word(&KEEPTTL),
    }
    if cost_ms > 0 {
        command.word(&COST);
        command.number(cost_ms.into());
    }
    ctx.replicate(c"CHATCACHE.SET", command);
}

/// Tells the clients that track or watch a persona that one of its responses has changed: the persona that the command
/// names, under whose name the response may have been read, and the other persona that it belonged to, if any.
fn signal_personas(ctx: &Ctx<'_>, args: Args<'_>, other: Option<&[u8]>) {
    ctx.signal_modified(args.key(PERSONA_AT));
    if let Some(other) = other {
        ctx.signal_modified(other);
    }
}
