//! INSPECT: the facts about a response. It counts no use of the response.

use super::arguments::{PERSONA_AT, parse_request, request_args, with_options};
use super::fields::{number, text};
use crate::cache::lookup::{Lookup, lookup};
use crate::cache::{CACHE, names, rights};
use crate::entry::ALWAYS_FRESH;
use crate::entry::compression::Encoding;
use crate::index::Origin;
use crate::redis::{Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::{Accepts, options};

/// `CHATCACHE.INSPECT tier user persona message [ID id]`
pub struct Inspect;

impl Command for Inspect {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.inspect",
        summary: c"Returns the facts about a cached response, without counting as a use of it",
        complexity: c"O(N) where N is the length of the message",
        tips: Some(c"nondeterministic_output"),
        flags: c"readonly fast",
        arity: -5,
        keys: KeySpec::Read(PERSONA_AT),
        args: || with_options(request_args(Accepts::Tiers), &options::INSPECT),
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let parsed = parse_request(Accepts::Tiers, &options::INSPECT, args)?;
        let request = parsed.request();
        let name = names::key_name(&request);
        let now_ms = ctx.now_ms();
        let lookup = lookup(ctx, ctx.open_peek(&name), &request, now_ms)?;
        let lookup = rights::visible(ctx, args, &request, lookup);
        let stale = matches!(lookup, Lookup::Stale(_));
        let Some(entry) = lookup.response() else {
            ctx.reply_null();
            return Ok(());
        };
        let database = ctx.database();
        let origin = entry.handle().and_then(|handle| CACHE.with(|cache| cache.origin(database, handle)));
        let Some(Origin { tier, persona, user, .. }) = origin else {
            ctx.reply_null();
            return Ok(());
        };
        // -1 for a key that never expires, as in PTTL.
        let ttl_ms = entry.key.key().expires_at().map_or(-1, |at| at.saturating_sub(now_ms).max(0));
        let fresh_ms = match entry.fresh_until_ms() {
            _ if stale => 0,
            ALWAYS_FRESH => ttl_ms,
            until_ms => {
                let left_ms = until_ms.saturating_sub(now_ms).max(0);
                if ttl_ms < 0 { left_ms } else { left_ms.min(ttl_ms) }
            }
        };
        ctx.reply_map(12);
        text(ctx, "key", &name);
        text(ctx, "tier", tier.name().as_bytes());
        text(ctx, "user", &user);
        text(ctx, "persona", &persona);
        number(ctx, "age-ms", now_ms.saturating_sub(entry.stored_at_ms()).max(0));
        number(ctx, "fresh-ms", fresh_ms);
        number(ctx, "ttl-ms", ttl_ms);
        number(ctx, "hits", entry.hits().into());
        number(ctx, "cost-ms", entry.cost_ms().into());
        number(ctx, "raw-bytes", entry.raw_bytes().into());
        number(ctx, "stored-bytes", i64::try_from(entry.size().stored).unwrap_or(i64::MAX));
        let encoding: &[u8] = match entry.encoding() {
            Encoding::Raw => b"raw",
            Encoding::Lz4 => b"lz4",
            Encoding::Zstd => b"zstd",
            Encoding::Trained(_) => b"zstd-dictionary",
        };
        text(ctx, "encoding", encoding);
        Ok(())
    }
}
