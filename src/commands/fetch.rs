//! FETCH and RELEASE: a response, or the lease to compute it.

use super::arguments::{PERSONA_AT, REQUEST_ARGS, request_args, request_words, with_options};
use crate::cache::hot::{self, HotLookup};
use crate::cache::lookup::{Lookup, count_miss, count_stale_hit, lookup, read};
use crate::cache::{access, names};
use crate::config;
use crate::flight;
use crate::redis::{Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::error::CommandError;
use crate::request::options::{self, FetchOptions, ReleaseOptions};
use crate::request::{Accepts, RequestArgs};

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
        args: || with_options(request_args(Accepts::Tiers), &options::FETCH),
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let options = FetchOptions::parse(args.from(REQUEST_ARGS))?;
        let asked = RequestArgs::parse(Accepts::Tiers, request_words(args), options.id)?;
        let request = asked.request();
        let now_ms = ctx.now_ms();
        let miss = match hot::get(ctx, &request, now_ms) {
            HotLookup::Hit(response) => {
                flight::reply_hit(ctx, &response);
                return Ok(());
            }
            HotLookup::Miss(miss) => miss,
        };
        let name = names::key_name(&request);
        let lease_ms = options.lease_ms.unwrap_or_else(|| config::LEASE_MS.get());
        let lookup = lookup(ctx, ctx.open_read(&name), &request, now_ms)?;
        match access::visible(ctx, args, &request, lookup) {
            Lookup::Fresh(found) => {
                hot::serve(ctx, found, &request, miss, now_ms, |response| flight::reply_hit(ctx, response))?;
            }
            Lookup::Stale(found) => {
                count_stale_hit(ctx, request.tier, &found, now_ms);
                let token = match !ctx.is_replica() && access::may_replace(ctx, &request, &found) {
                    true => flight::refresh(ctx, &request, lease_ms),
                    false => None,
                };
                ctx.reply_array(3);
                ctx.reply_bytes(b"stale");
                read(&found, |response| ctx.reply_bytes(response))?;
                match token {
                    Some(token) => ctx.reply_bytes(&flight::token_text(&token)),
                    None => ctx.reply_null(),
                }
            }
            lookup @ (Lookup::Missing(_) | Lookup::Mismatch(_) | Lookup::Forbidden) => {
                let is_forbidden = matches!(lookup, Lookup::Forbidden);
                drop(lookup);
                if ctx.is_replica() {
                    return Err(CommandError::LeaseOnReplica.into());
                }
                count_miss(ctx, asked.persona);
                let waiters = config::MAX_WAITERS.get();
                let reply = match is_forbidden {
                    true => Some(flight::dummy_lease(ctx, lease_ms)),
                    false => flight::fetch(ctx, &request, &name, lease_ms, options.wait_ms, waiters),
                };
                if let Some(reply) = reply {
                    flight::reply(ctx, &reply);
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
        args: || with_options(request_args(Accepts::Tiers), &options::RELEASE),
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let options = ReleaseOptions::parse(args.from(REQUEST_ARGS))?;
        let asked = RequestArgs::parse(Accepts::Tiers, request_words(args), options.id)?;
        ctx.reply_integer(flight::release(ctx, &asked.request(), options.token).into());
        Ok(())
    }
}
