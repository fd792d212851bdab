//! SET: stores a response.

use super::arguments::{PERSONA_AT, REQUEST_ARGS, request_args, request_words, with_options};
use crate::lifetime::Terms;
use crate::redis::{ArgKind, ArgSpec, Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::options::{self, SetOptions};
use crate::request::{Accepts, RequestArgs};
use crate::store::{self, Source, Write};

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
        args: || {
            let mut args = request_args(Accepts::Tiers);
            args.push(ArgSpec::new(c"response", ArgKind::String));
            with_options(args, &options::SET)
        },
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let now_ms = ctx.now_ms();
        let options = SetOptions::parse(args.from(REQUEST_ARGS + 1), now_ms)?;
        let parsed = RequestArgs::parse(Accepts::Tiers, request_words(args), options.id)?;
        let write = Write {
            source: Source::Argument(args.get(REQUEST_ARGS)),
            terms: Terms { ttl: options.ttl, stale_ms: options.stale_ms, command: options::SET.command },
            condition: options.condition,
            token: options.token,
            cost_ms: options.cost_ms,
        };
        match store::store(ctx, args, &parsed.request(), &write, now_ms)? {
            store::Outcome::Stored => ctx.reply_status(c"OK"),
            store::Outcome::Forbidden => ctx.reply_null(),
        }
        Ok(())
    }
}
