//! PERSONAS: a page of the personas that have responses, with their counters.

use super::arguments::with_options;
use super::fields::{count_of, text};
use crate::cache::CACHE;
use crate::cache::rights::{self, Access};
use crate::redis::{Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::options::{self, PageOptions};

/// `CHATCACHE.PERSONAS [CURSOR c] [COUNT n]`
pub struct Personas;

impl Command for Personas {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.personas",
        summary: c"Iterates over the personas that have cached responses",
        complexity:
            c"O(N) where N is COUNT for every call, or the number of personas for a complete iteration",
        tips: Some(c"nondeterministic_output request_policy:special response_policy:special"),
        flags: c"readonly",
        arity: -1,
        keys: KeySpec::None,
        args: || with_options(vec![], &options::PERSONAS),
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        rights::check_all_keys(ctx, args, Access::Read)?;
        let PageOptions { cursor, count } = PageOptions::parse(args.from(1))?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let page =
            CACHE.with(|cache| cache.known_index(ctx.database()).map(|index| index.personas(cursor, count)));
        let (next, personas) = page.unwrap_or_default();
        ctx.reply_array(2);
        ctx.reply_bytes(next.to_string().as_bytes());
        ctx.reply_array(personas.len());
        for (name, report) in personas {
            ctx.reply_map(5);
            text(ctx, "name", &name);
            count_of(ctx, "entries", report.entries);
            count_of(ctx, "bytes", report.bytes);
            count_of(ctx, "hits", report.hits);
            count_of(ctx, "misses", report.misses);
        }
        Ok(())
    }
}
