//! APPEND and COMMIT: a response that comes in pieces, and its end.

use super::arguments::{PERSONA_AT, REQUEST_ARGS, request_args, request_words, with_options};
use crate::config;
use crate::flight;
use crate::lease::AppendOutcome;
use crate::lifetime::Terms;
use crate::redis::{ArgKind, ArgSpec, Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::error::CommandError;
use crate::request::options::{self, CommitOptions, Condition, TokenOptions};
use crate::request::{Accepts, RequestArgs};
use crate::store::{self, Source, Write};

/// `CHATCACHE.APPEND tier user persona message piece [ID id] TOKEN token`
pub struct Append;

impl Command for Append {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.append",
        summary: c"Adds a piece to the draft of a lease, for the callers that read along",
        complexity: c"O(N) where N is the length of the message and the piece",
        tips: None,
        flags: c"write deny-oom fast",
        arity: -8,
        keys: KeySpec::Write(PERSONA_AT),
        args: || {
            let mut args = request_args(Accepts::Tiers);
            args.push(ArgSpec::new(c"piece", ArgKind::String));
            with_options(args, &options::APPEND)
        },
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let options = TokenOptions::parse(&options::APPEND, args.from(REQUEST_ARGS + 1))?;
        let asked = RequestArgs::parse(Accepts::Tiers, request_words(args), options.id)?;
        match flight::append(ctx, &asked.request(), options.token, args.get(REQUEST_ARGS)) {
            AppendOutcome::Appended(length) => ctx.reply_count(length as u64),
            AppendOutcome::Refused => ctx.reply_null(),
            AppendOutcome::TooLong => {
                return Err(CommandError::ResponseTooLarge { limit: config::MAX_RESPONSE_SIZE.get() }.into());
            }
        }
        Ok(())
    }
}

/// `CHATCACHE.COMMIT tier user persona message [ID id] [EX s | PX ms | EXAT s | PXAT ms] [STALE ms] TOKEN token
/// [COST ms]`
pub struct Commit;

impl Command for Commit {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.commit",
        summary: c"Stores the draft of a lease as the response to a message",
        complexity: c"O(N) where N is the length of the message and the draft",
        tips: None,
        flags: c"write deny-oom fast",
        arity: -7,
        keys: KeySpec::Write(PERSONA_AT),
        args: || with_options(request_args(Accepts::Tiers), &options::COMMIT),
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let now_ms = ctx.now_ms();
        let options = CommitOptions::parse(args.from(REQUEST_ARGS), now_ms)?;
        let asked = RequestArgs::parse(Accepts::Tiers, request_words(args), options.id)?;
        let write = Write {
            source: Source::Draft,
            terms: Terms { ttl: options.ttl, stale_ms: options.stale_ms, command: options::COMMIT.command },
            condition: Condition::Always,
            token: Some(options.token),
            cost_ms: options.cost_ms,
        };
        match store::store(ctx, args, &asked.request(), &write, now_ms)? {
            store::Outcome::Stored => ctx.reply_status(c"OK"),
            store::Outcome::Forbidden => ctx.reply_null(),
        }
        Ok(())
    }
}
