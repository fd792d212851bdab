//! FETCH and RELEASE: an answer, or the lease to compute it.

use super::{ID, MESSAGE, PERSONA, PERSONA_AT, REQUEST_ARGS, TIER, USER, fixed};
use crate::cache::access;
use crate::cache::{self, CACHE, Lookup};
use crate::config;
use crate::flight;
use crate::redis::{ArgKind, ArgSpec, Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::RequestArgs;
use crate::request::error::{Accepts, CommandError};
use crate::request::options::{FetchOptions, ReleaseOptions};

/// `CHATCACHE.FETCH tier user persona message [ID id] [WAIT ms] [LEASE ms]`
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
        args: &[
            TIER,
            USER,
            PERSONA,
            MESSAGE,
            ID,
            ArgSpec::new(c"wait-milliseconds", ArgKind::Integer).token(c"WAIT").optional(),
            ArgSpec::new(c"lease-milliseconds", ArgKind::Integer).token(c"LEASE").optional(),
        ],
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let options = FetchOptions::parse(args.from(REQUEST_ARGS))?;
        let asked = RequestArgs::parse(Accepts::Tiers, fixed(args), options.id)?;
        let request = asked.request();
        let now_ms = ctx.now_ms();
        let not_hot = match cache::hot(ctx, &request, now_ms) {
            Ok(response) => {
                flight::reply_hit(ctx, &response);
                return Ok(());
            }
            Err(not_hot) => not_hot,
        };
        let name = cache::key_name(&request);
        let lease_ms = options.lease_ms.unwrap_or_else(|| config::LEASE_MS.get());
        let key = ctx.open_read(&name);
        match access::visible(ctx, args, &request, cache::lookup(ctx, &key, &request, now_ms)?) {
            Lookup::Fresh(_) => {
                cache::give(ctx, key, &request, not_hot, now_ms, |response| {
                    flight::reply_hit(ctx, response)
                })?;
            }
            Lookup::Stale(entry) => {
                cache::count_stale_hit(ctx, request.tier, entry, now_ms);
                let token = match !ctx.is_replica() && access::may_replace(ctx, &request, entry) {
                    true => flight::refresh(ctx, &request, lease_ms),
                    false => None,
                };
                ctx.reply_array(3);
                ctx.reply_bytes(b"stale");
                cache::read(entry, |response| ctx.reply_bytes(response))?;
                match token {
                    Some(token) => ctx.reply_bytes(&flight::token_text(&token)),
                    None => ctx.reply_null(),
                }
            }
            lookup @ (Lookup::Missing | Lookup::Mismatch | Lookup::Forbidden) => {
                let hidden = matches!(lookup, Lookup::Forbidden);
                drop(key);
                if ctx.is_replica() {
                    return Err(CommandError::LeaseOnReplica.into());
                }
                CACHE.with(|cache| {
                    cache.counters.misses += 1;
                    cache.index(ctx.database()).record_miss(asked.persona);
                });
                let waiters = config::MAX_WAITERS.get();
                let response = match hidden {
                    true => Some(flight::dummy_lease(ctx, lease_ms)),
                    false => flight::fetch(ctx, &request, &name, lease_ms, options.wait_ms, waiters),
                };
                if let Some(response) = response {
                    flight::reply(ctx, &response);
                }
            }
        }
        Ok(())
    }
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
        args: &[TIER, USER, PERSONA, MESSAGE, ID, ArgSpec::new(c"token", ArgKind::String).token(c"TOKEN")],
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let options = ReleaseOptions::parse(args.from(REQUEST_ARGS))?;
        let asked = RequestArgs::parse(Accepts::Tiers, fixed(args), options.id)?;
        ctx.reply_integer(flight::release(ctx, &asked.request(), options.token).into());
        Ok(())
    }
}
