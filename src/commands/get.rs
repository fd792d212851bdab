//! GET: the response to a message, or null.

use super::arguments::{PERSONA_AT, parse_request, request_args, with_options};
use crate::cache::direct::{self, Read};
use crate::cache::lookup::{Lookup, count_miss, lookup};
use crate::cache::{names, rights};
use crate::redis::{Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::{Accepts, options};
use std::cell::LazyCell;

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
        args: || with_options(request_args(Accepts::TiersAndAny), &options::GET),
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let parsed = parse_request(Accepts::TiersAndAny, &options::GET, args)?;
        let now_ms = LazyCell::new(|| ctx.now_ms());
        for request in parsed.requests() {
            if let Read::Served = direct::get(ctx, &request, |response, _, _| ctx.reply_bytes(response)) {
                return Ok(());
            }
            let key = ctx.open_read(&names::key_name(&request));
            let lookup = lookup(ctx, key, &request, *now_ms)?;
            if let Lookup::Fresh(found) = rights::visible(ctx, args, &request, lookup) {
                direct::serve(ctx, found, &request, *now_ms, |response| ctx.reply_bytes(response))?;
                return Ok(());
            }
        }
        count_miss(ctx, parsed.persona);
        ctx.reply_null();
        Ok(())
    }
}
