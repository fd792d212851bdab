//! GET: the answer, if there is one.

use super::{ID, MESSAGE, PERSONA, PERSONA_AT, TIER_OR_ANY, USER, parse_request};
use crate::cache::access;
use crate::cache::{self, CACHE};
use crate::redis::{Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::error::Accepts;
use crate::request::options;

/// `CHATCACHE.GET tier user persona message [ID id]`
pub struct Get;

impl Command for Get {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.get",
        summary: c"Returns the cached response to a message, in one tier or in any",
        complexity: c"O(N) where N is the length of the message",
        tips: None,
        flags: c"readonly fast",
        arity: -5,
        keys: KeySpec::Read(PERSONA_AT),
        args: &[TIER_OR_ANY, USER, PERSONA, MESSAGE, ID],
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let asked = parse_request(Accepts::TiersAndAny, &options::GET, args)?;
        let now_ms = ctx.now_ms();
        for request in asked.requests() {
            let not_hot = match cache::hot(ctx, &request, now_ms) {
                Ok(response) => {
                    ctx.reply_bytes(&response);
                    return Ok(());
                }
                Err(not_hot) => not_hot,
            };
            let key = ctx.open_read(&cache::key_name(&request));
            let lookup = cache::lookup(ctx, &key, &request, now_ms)?;
            let lookup = access::visible(ctx, args, &request, lookup);
            if lookup.fresh().is_some() {
                cache::give(ctx, key, &request, not_hot, now_ms, |response| ctx.reply_bytes(response))?;
                return Ok(());
            }
        }
        CACHE.with(|cache| cache.count_miss(ctx.database(), asked.persona));
        ctx.reply_null();
        Ok(())
    }
}
