//! SET and DEL: one answer stored or deleted.

use super::{ID, MESSAGE, PERSONA, PERSONA_AT, REQUEST, REQUEST_ARGS, TIER, USER, fixed, parse_request};
use crate::cache::access;
use crate::cache::compressor;
use crate::cache::{self, CACHE, Lookup};
use crate::config;
use crate::entry::Response;
use crate::entry::{ALWAYS_FRESH, Entry, Placement};
use crate::flight;
use crate::index::{Handle, Name};
use crate::redis::{
    ArgKind, ArgSpec, Args, Class, Command, CommandSpec, Content, Ctx, Key, KeySpec, Outcome,
    ReplicatedCommand,
};
use crate::request::error::{Accepts, CommandError};
use crate::request::key_name::Tail;
use crate::request::options::{self, Condition, SetOptions, Ttl};
use crate::request::{Request, RequestArgs};

/// `CHATCACHE.SET tier user persona message response [ID id] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL] [STALE ms] [NX | XX]
/// [TOKEN token] [COST ms]`
pub struct Set;

impl Command for Set {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.set",
        summary: c"Stores the response to a message in a tier, for the tier's TTL or the one given",
        complexity: c"O(N) where N is the length of the message and the response",
        tips: None,
        flags: c"write deny-oom fast",
        arity: -6,
        keys: KeySpec::Write(PERSONA_AT),
        args: &[
            TIER,
            USER,
            PERSONA,
            MESSAGE,
            ArgSpec::new(c"response", ArgKind::String),
            ID,
            ArgSpec::new(
                c"expiration",
                ArgKind::OneOf(&[
                    ArgSpec::new(c"seconds", ArgKind::Integer).token(c"EX"),
                    ArgSpec::new(c"milliseconds", ArgKind::Integer).token(c"PX"),
                    ArgSpec::new(c"unix-time-seconds", ArgKind::UnixTime).token(c"EXAT"),
                    ArgSpec::new(c"unix-time-milliseconds", ArgKind::UnixTime).token(c"PXAT"),
                    ArgSpec::new(c"keepttl", ArgKind::Token).token(c"KEEPTTL"),
                ]),
            )
            .optional(),
            ArgSpec::new(
                c"condition",
                ArgKind::OneOf(&[
                    ArgSpec::new(c"nx", ArgKind::Token).token(c"NX"),
                    ArgSpec::new(c"xx", ArgKind::Token).token(c"XX"),
                ]),
            )
            .optional(),
            ArgSpec::new(c"stale-milliseconds", ArgKind::Integer).token(c"STALE").optional(),
            ArgSpec::new(c"token", ArgKind::String).token(c"TOKEN").optional(),
            ArgSpec::new(c"cost-milliseconds", ArgKind::Integer).token(c"COST").optional(),
        ],
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let now_ms = ctx.now_ms();
        let options = SetOptions::parse(args.from(REQUEST_ARGS + 1), now_ms)?;
        let asked = RequestArgs::parse(Accepts::Tiers, fixed(args), options.id)?;
        let request = asked.request();
        let response = args.get(REQUEST_ARGS);
        let limit = config::MAX_RESPONSE_SIZE.get();
        if response.len() as u64 > limit && !ctx.is_replayed() {
            return Err(CommandError::ResponseTooLarge { limit }.into());
        }

        let name = cache::key_name(&request);
        let mut key = ctx.open_write(&name);
        let lookup = cache::lookup(ctx, &key, &request, now_ms)?;
        let other = access::check_write(ctx, args, &request, &key)?;
        let present = lookup.fresh().is_some();
        let forbidden = match options.condition {
            Condition::Always => false,
            Condition::IfAbsent => present,
            Condition::IfPresent => !present,
        };
        if forbidden {
            ctx.reply_null();
            return Ok(());
        }
        let held_ms = match options.token {
            None => None,
            Some(token) => match flight::check(ctx, &request, token) {
                Some(held_ms) => Some(held_ms),
                None => {
                    ctx.reply_null();
                    return Ok(());
                }
            },
        };
        let cost_ms =
            options.cost_ms.or(held_ms.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX))).unwrap_or(0);
        let replaces = lookup.entry().is_some();
        let lifetime = match (options.ttl, lookup) {
            // What is replayed was fresh when its master kept the time.
            (Ttl::Keep, Lookup::Fresh(entry) | Lookup::Stale(entry)) if present || ctx.is_replayed() => {
                Lifetime { expires_at: key.expires_at(), fresh_until: entry.fresh_until_ms.get() }
            }
            _ => Lifetime::new(ctx, &options, &request, now_ms)?,
        };
        let answer = Response::new(response);
        let handle = link(ctx, &key, &request, &name, answer.len());
        let mut entry = Entry::new(Placement::Linked(handle), request.fingerprint(), answer.clone(), now_ms);
        entry.fresh_until_ms.set(lifetime.fresh_until);
        entry.cost_ms = cost_ms;
        put(ctx, &mut key, handle, entry)?;
        key.set_expires_at(lifetime.expires_at);
        CACHE.with(|cache| cache.counters.sets += 1);
        flight::stored(ctx, &request, answer, cost_ms, handle);
        compressor::add(ctx, (ctx.database(), handle), response.len());

        ctx.signal_modified(&key);
        if replaces {
            signal_personas(ctx, args, other.as_deref());
        }
        ctx.notify(Class::Module, c"set", &key);
        if lifetime.expires_at.is_some() {
            ctx.notify(Class::Generic, c"expire", &key);
        }
        replicate(ctx, args, &request, &lifetime, cost_ms);
        ctx.reply_status(c"OK");
        Ok(())
    }
}

/// How long an answer lives: fresh until one time, and there until another.
struct Lifetime {
    /// When its key ends; None for never.
    expires_at: Option<i64>,
    fresh_until: i64,
}

impl Lifetime {
    /// The lifetime that the options of SET ask for, or the settings.
    fn new(
        ctx: &Ctx<'_>,
        options: &SetOptions<'_>,
        request: &Request<'_>,
        now_ms: i64,
    ) -> Result<Self, CommandError> {
        let fresh_until = match options.ttl {
            Ttl::At(until_ms) => until_ms,
            Ttl::Relative { ms, .. } => now_ms.saturating_add(spread(ctx, ms)),
            Ttl::Tier | Ttl::Keep => now_ms.saturating_add(spread(ctx, config::ttl_ms(request.tier))),
        };
        // What is replayed says all itself: this server's settings may be others.
        // (Nothing is asked of the server where it would change nothing: it counts its memory to answer.)
        let by_setting = || match config::stale_ms(request.tier) {
            stale_ms if stale_ms > 0 && !ctx.is_replayed() => stale_ms,
            _ => 0,
        };
        match options.stale_ms.unwrap_or_else(by_setting) {
            0 => Ok(Lifetime { expires_at: Some(fresh_until), fresh_until: ALWAYS_FRESH }),
            stale_ms => {
                let expires_at = fresh_until
                    .checked_add(stale_ms)
                    .ok_or(CommandError::InvalidExpire(options::SET.command))?;
                Ok(Lifetime { expires_at: Some(expires_at), fresh_until })
            }
        }
    }
}

/// A TTL cut by up to `ttl-jitter` percent, at random, so that answers stored together do not end together.
fn spread(ctx: &Ctx<'_>, ttl_ms: i64) -> i64 {
    let percent = config::TTL_JITTER.get();
    if percent == 0 || ctx.is_replayed() {
        return ttl_ms;
    }
    let [a, b, c, d, ..] = ctx.random();
    let share = f64::from(u32::from_le_bytes([a, b, c, d])) / f64::from(u32::MAX);
    let cut = ttl_ms as f64 * share * percent as f64 / 100.0;
    (ttl_ms - cut as i64).max(1)
}

/// Makes the answer of so many bytes known to the index, in the place of the one that its key holds, if any.
fn link(ctx: &Ctx<'_>, key: &Key<'_>, request: &Request<'_>, name: &[u8], bytes: usize) -> Handle {
    let kept = match request.tail() {
        Tail::Digest(digest) => Name::Canonical(digest),
        Tail::Id(_) => Name::Own(name),
    };
    let old = match key.content::<Entry>() {
        Content::Value(old) => old.handle().map(|handle| (handle, old.size())),
        Content::Missing | Content::OtherType => None,
    };
    let Request { tier, user, persona, .. } = *request;
    let (database, bytes) = (ctx.database(), bytes as u64);
    CACHE.with(|cache| match old {
        Some((handle, size)) => {
            cache.remove_from_l1((database, handle));
            cache.index(database).relink((handle, size), tier, persona, user, kept, bytes)
        }
        None => cache.index(database).link(tier, persona, user, kept, bytes),
    })
}

/// Puts an entry that the index knows into its key, in the place of the one that is there, if any: the server sees the
/// same value, with another answer in it.
fn put(ctx: &Ctx<'_>, key: &mut Key<'_>, handle: Handle, entry: Entry) -> Result<(), CommandError> {
    let size = entry.size();
    let stored = match key.value_mut::<Entry>() {
        Some(old) => {
            *old = entry;
            true
        }
        None => key.set(Box::new(entry)),
    };
    if !stored {
        CACHE.with(|cache| cache.index(ctx.database()).unlink(handle, size));
    }
    stored.then_some(()).ok_or(CommandError::Internal)
}

/// Sends what was stored to replicas and the AOF: with the time at which it ends, since there it is later now,
/// and without the condition, which has been decided.
fn replicate(ctx: &Ctx<'_>, args: Args<'_>, request: &Request<'_>, lifetime: &Lifetime, cost_ms: u32) {
    let mut command = ReplicatedCommand::new(args, REQUEST_ARGS);
    if let Some(id) = request.id {
        command.bytes(b"ID");
        command.bytes(id);
    }
    match lifetime.expires_at {
        Some(at) => {
            let fresh_until = lifetime.fresh_until.min(at);
            command.bytes(b"PXAT");
            command.number(fresh_until);
            if at > fresh_until {
                command.bytes(b"STALE");
                command.number(at.saturating_sub(fresh_until));
            }
        }
        // Only KEEPTTL finds an answer that never ends, and the replicas' does not either.
        None => command.bytes(b"KEEPTTL"),
    }
    if cost_ms > 0 {
        command.bytes(b"COST");
        command.number(cost_ms.into());
    }
    ctx.replicate(c"CHATCACHE.SET", command);
}

/// `CHATCACHE.DEL tier user persona message [ID id]`
pub struct Delete;

impl Command for Delete {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.del",
        summary: c"Deletes the cached response to a message in a tier",
        complexity: c"O(N) where N is the length of the message",
        tips: None,
        flags: c"write fast",
        arity: -5,
        keys: KeySpec::Delete(PERSONA_AT),
        args: REQUEST,
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let asked = parse_request(Accepts::Tiers, &options::DEL, args)?;
        cache::check_in_one_place(ctx, asked.persona)?;
        let request = asked.request();
        let name = cache::key_name(&request);
        let mut key = ctx.open_write(&name);
        let lookup = cache::lookup(ctx, &key, &request, ctx.now_ms())?;
        if lookup.entry().is_none() {
            flight::void_request(ctx, &request);
            ctx.reply_integer(0);
            return Ok(());
        }
        let other = access::check_write(ctx, args, &request, &key)?;
        flight::void_request(ctx, &request);
        key.delete();
        CACHE.with(|cache| cache.counters.deleted += 1);
        ctx.signal_modified(&key);
        signal_personas(ctx, args, other.as_deref());
        ctx.notify(Class::Generic, c"del", &key);
        ctx.replicate_verbatim();
        ctx.reply_integer(1);
        Ok(())
    }
}

/// Tells who tracks or watches a persona that one of its answers is gone: the persona that the command names, under
/// whose name it may have been read, and the other whose it was, if any.
fn signal_personas(ctx: &Ctx<'_>, args: Args<'_>, other: Option<&[u8]>) {
    ctx.signal_modified(args.key(PERSONA_AT as usize));
    if let Some(other) = other {
        ctx.signal_modified(other);
    }
}
