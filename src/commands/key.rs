//! KEY: the name of a response's key. The key need not exist.

use super::arguments::{PERSONA_AT, parse_request, request_args, with_options};
use crate::cache::names;
use crate::redis::{Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::{Accepts, options};

/// `CHATCACHE.KEY tier user persona message [ID id]`
pub struct Key;

impl Command for Key {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.key",
        summary: c"Returns the name of the key that holds the response to a message",
        complexity: c"O(N) where N is the length of the message",
        tips: None,
        flags: c"readonly fast",
        arity: -5,
        keys: KeySpec::Named(PERSONA_AT),
        args: || with_options(request_args(Accepts::Tiers), &options::KEY),
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let parsed = parse_request(Accepts::Tiers, &options::KEY, args)?;
        ctx.reply_bytes(&names::key_name(&parsed.request()));
        Ok(())
    }
}
