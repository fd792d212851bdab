//! DEL: deletes a response.

use super::arguments::{PERSONA_AT, parse_request, request_args, with_options};
use crate::redis::{Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::{Accepts, options};
use crate::store;

/// `CHATCACHE.DEL tier user persona message [ID id]`
pub struct Del;

impl Command for Del {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.del",
        summary: c"Deletes the cached response to a message in a tier",
        complexity: c"O(N) where N is the length of the message",
        tips: None,
        flags: c"write fast",
        arity: -5,
        keys: KeySpec::Delete(PERSONA_AT),
        args: || with_options(request_args(Accepts::Tiers), &options::DEL),
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let parsed = parse_request(Accepts::Tiers, &options::DEL, args)?;
        let deleted = store::delete(ctx, args, &parsed.request())?;
        ctx.reply_integer(deleted.into());
        Ok(())
    }
}
