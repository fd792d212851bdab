//! STATS: the counters of the server, or of a persona.

use super::arguments::persona_arg;
use super::fields::count_of;
use crate::cache::CACHE;
use crate::redis::{Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::report;
use crate::request;
use crate::request::error::CommandError;

/// `CHATCACHE.STATS [persona]`
pub struct Stats;

impl Command for Stats {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.stats",
        summary: c"Returns the counters of the server, or of a persona",
        complexity: c"O(1)",
        tips: Some(c"nondeterministic_output"),
        flags: c"readonly fast",
        arity: -1,
        keys: KeySpec::Read(1),
        args: || vec![persona_arg().optional()],
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        match args.len() {
            1 => server_stats(ctx),
            2 => persona_stats(ctx, args.get(1))?,
            _ => ctx.reply_wrong_arity(),
        }
        Ok(())
    }
}

fn server_stats(ctx: &Ctx<'_>) {
    let fields = report::report().fields();
    ctx.reply_map(fields.len());
    for (name, value) in fields {
        count_of(ctx, name, value);
    }
}

fn persona_stats(ctx: &Ctx<'_>, persona: &[u8]) -> Result<(), CommandError> {
    request::check_persona(persona)?;
    let report =
        CACHE.with(|cache| cache.known_index(ctx.database()).and_then(|index| index.persona_stats(persona)));
    let report = report.unwrap_or_default();
    ctx.reply_map(5);
    count_of(ctx, "entries", report.entries);
    count_of(ctx, "bytes", report.bytes);
    count_of(ctx, "hits", report.hits);
    count_of(ctx, "misses", report.misses);
    count_of(ctx, "saved-ms", report.saved_ms);
    Ok(())
}
