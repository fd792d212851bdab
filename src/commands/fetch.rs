//! FETCH and RELEASE: a response, or the lease to compute it.

use super::arguments::{PERSONA_AT, REQUEST_ARGS, request_args, request_words, with_options};
use crate::cache::direct::{self, Read};
use crate::cache::lookup::{Lookup, count_miss, count_stale_hit, lookup, read};
use crate::cache::{names, rights};
use crate::config;
use crate::flight::{self, FetchTerms};
use crate::lease::{Stream, Tie};
use crate::redis::{Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::error::CommandError;
use crate::request::options::{self, Accepted, Bond, FetchOptions, Reading, TokenOptions};
use crate::request::{Accepts, Request, RequestArgs};

/// `CHATCACHE.FETCH tier user persona message [ID id] [WAIT ms] [LEASE ms] [REFRESH] [DETACHED]
/// [STREAM [FROM draft offset]]`
pub struct Fetch;

impl Command for Fetch {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.fetch",
        summary: c"Returns the cached response to a message, or the lease to compute it, or waits for it",
        complexity: c"O(N) where N is the length of the message",
        tips: Some(c"nondeterministic_output"),
        flags: c"readonly blocking",
        arity: -5,
        keys: KeySpec::Read(PERSONA_AT),
        args: || with_options(request_args(Accepts::Tiers), &options::FETCH),
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let options = match args.len() {
            ..=REQUEST_ARGS => FetchOptions::default(),
            _ => FetchOptions::parse(args.from(REQUEST_ARGS))?,
        };
        let asked = RequestArgs::parse(Accepts::Tiers, request_words(args), options.id)?;
        let request = asked.request();
        let terms = FetchTerms {
            lease_ms: options.lease_ms.unwrap_or_else(|| config::LEASE_MS.get()),
            tie: match options.bond {
                Bond::Connection => Tie::Connection,
                Bond::Detached => Tie::Detached,
            },
            wait_ms: options.wait_ms,
            stream: match options.reading {
                Reading::Whole => Stream::No,
                Reading::FromStart => Stream::FromStart,
                Reading::From(draft, offset) => flight::reading_from(ctx, draft, offset),
            },
        };
        match (options.reading, options.accepted) {
            (Reading::From(..), _) => read_along(ctx, args, &request, terms),
            (_, Accepted::Present) => fetch(ctx, args, &request, terms),
            (_, Accepted::New) => fetch_new(ctx, args, &request, terms),
        }
    }
}

/// Replies the response, or leases the request.
fn fetch(ctx: &Ctx<'_>, args: Args<'_>, request: &Request<'_>, terms: FetchTerms) -> Outcome {
    let hit = |response: &[u8], until_ms, now_ms| {
        flight::reply_hit(ctx, response, flight::ms_until(until_ms, now_ms));
    };
    if let Read::Served = direct::get(ctx, request, hit) {
        return Ok(());
    }
    let now_ms = ctx.now_ms();
    let name = names::key_name(request);
    let lookup = lookup(ctx, ctx.open_read(&name), request, now_ms)?;
    match rights::visible(ctx, args, request, lookup) {
        Lookup::Fresh(found) => {
            let fresh_ms = flight::ms_until(direct::ends_at(&found), now_ms);
            direct::serve(ctx, found, request, now_ms, |response| {
                flight::reply_hit(ctx, response, fresh_ms);
            })?;
        }
        Lookup::Stale(found) => {
            count_stale_hit(ctx, request.tier, &found, now_ms);
            let token = match !ctx.is_replica() && rights::may_replace(ctx, request, &found) {
                true => flight::refresh(ctx, request, terms),
                false => None,
            };
            let gone_ms = flight::ms_until(found.key.key().expires_at().unwrap_or(i64::MAX), now_ms);
            read(&found, |response| flight::reply_stale(ctx, response, token.as_ref(), gone_ms))?;
        }
        lookup @ (Lookup::Missing(_) | Lookup::Mismatch(_)) => {
            drop(lookup);
            lease(ctx, request, &name, terms, Sharing::Others)?;
        }
        Lookup::Forbidden => lease(ctx, request, &name, terms, Sharing::Nobody)?,
    }
    Ok(())
}

/// Leases the request as if it had no response.
fn fetch_new(ctx: &Ctx<'_>, args: Args<'_>, request: &Request<'_>, terms: FetchTerms) -> Outcome {
    let name = names::key_name(request);
    let lookup = lookup(ctx, ctx.open_read(&name), request, ctx.now_ms())?;
    let sharing = match rights::visible(ctx, args, request, lookup) {
        Lookup::Fresh(found) | Lookup::Stale(found) if !rights::may_replace(ctx, request, &found) => {
            Sharing::Nobody
        }
        Lookup::Forbidden => Sharing::Nobody,
        Lookup::Fresh(_) | Lookup::Stale(_) | Lookup::Missing(_) | Lookup::Mismatch(_) => Sharing::Others,
    };
    lease(ctx, request, &name, terms, sharing)?;
    Ok(())
}

/// Replies what follows in a draft, or blocks the caller until something does.
fn read_along(ctx: &Ctx<'_>, args: Args<'_>, request: &Request<'_>, terms: FetchTerms) -> Outcome {
    if ctx.is_replica() {
        return Err(CommandError::LeaseOnReplica.into());
    }
    let now_ms = ctx.now_ms();
    let name = names::key_name(request);
    let lookup = lookup(ctx, ctx.open_read(&name), request, now_ms)?;
    let fresh_ms = match rights::visible(ctx, args, request, lookup) {
        Lookup::Fresh(found) => flight::ms_until(direct::ends_at(&found), now_ms),
        Lookup::Stale(_) | Lookup::Missing(_) | Lookup::Mismatch(_) => Some(0),
        Lookup::Forbidden => {
            flight::reply_lost(ctx);
            return Ok(());
        }
    };
    if let Some(reply) = flight::fetch(ctx, request, &name, fresh_ms, terms) {
        flight::reply(ctx, &reply);
    }
    Ok(())
}

/// The callers that share the caller's lease.
#[derive(Clone, Copy)]
enum Sharing {
    /// All that ask the same.
    Others,
    /// Nobody shares it: the caller may not see or replace the entry in the key, so others would wait in vain.
    Nobody,
}

/// Counts a miss, and replies a lease or `busy`, or blocks the caller. `name` is the name of the response's key.
fn lease(
    ctx: &Ctx<'_>,
    request: &Request<'_>,
    name: &[u8],
    terms: FetchTerms,
    sharing: Sharing,
) -> Result<(), CommandError> {
    if ctx.is_replica() {
        return Err(CommandError::LeaseOnReplica);
    }
    count_miss(ctx, request.persona);
    let reply = match sharing {
        Sharing::Nobody => Some(flight::dummy_lease(ctx, terms)),
        Sharing::Others => flight::fetch(ctx, request, name, None, terms),
    };
    if let Some(reply) = reply {
        flight::reply(ctx, &reply);
    }
    Ok(())
}

/// `CHATCACHE.RELEASE tier user persona message [ID id] TOKEN token`
pub struct Release;

impl Command for Release {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.release",
        summary: c"Gives back the lease to compute the response to a message",
        complexity: c"O(N) where N is the length of the message",
        tips: None,
        flags: c"readonly fast",
        arity: -7,
        keys: KeySpec::Named(PERSONA_AT),
        args: || with_options(request_args(Accepts::Tiers), &options::RELEASE),
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let options = TokenOptions::parse(&options::RELEASE, args.from(REQUEST_ARGS))?;
        let asked = RequestArgs::parse(Accepts::Tiers, request_words(args), options.id)?;
        ctx.reply_integer(flight::release(ctx, &asked.request(), options.token).into());
        Ok(())
    }
}
