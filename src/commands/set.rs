//! SET and DEL: one answer stored or deleted.

use super::{ID, MESSAGE, PERSONA, PERSONA_AT, REQUEST, REQUEST_ARGS, TIER, USER, fixed, parse_request};
use crate::redis::{ArgKind, ArgSpec, Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::RequestArgs;
use crate::request::error::Accepts;
use crate::request::options::{self, SetOptions};
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
        let write = Write {
            source: Source::Argument(args.get(REQUEST_ARGS)),
            ttl: options.ttl,
            stale_ms: options.stale_ms,
            condition: options.condition,
            token: options.token,
            cost_ms: options.cost_ms,
            command: options::SET.command,
        };
        match store::store(ctx, args, &asked.request(), &write, now_ms)? {
            store::Outcome::Stored => ctx.reply_status(c"OK"),
            store::Outcome::Forbidden => ctx.reply_null(),
        }
        Ok(())
    }
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
        let deleted = store::delete(ctx, args, &asked.request())?;
        ctx.reply_integer(deleted.into());
        Ok(())
    }
}
