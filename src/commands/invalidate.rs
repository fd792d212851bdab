//! INVALIDATE and SOFTINVALIDATE: all responses of a persona at once.
//!
//! INVALIDATE marks the persona's responses in the index and replies their number; `keyspace/reclaim.rs` deletes their
//! keys. FORGET and FLUSH do so for a user and a tier, through `invalidate` and `finish`.

use super::arguments::persona_arg;
use crate::cache::{CACHE, names};
use crate::flight;
use crate::index::{Index, Invalidated};
use crate::keyspace::reclaim::SyncBudget;
use crate::lease::VoidScope;
use crate::redis::{Args, Class, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request;
use crate::request::error::CommandError;

/// `CHATCACHE.INVALIDATE persona [persona ...]`
pub struct Invalidate;

impl Command for Invalidate {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.invalidate",
        summary: c"Invalidates all cached responses of one or more personas",
        complexity: c"O(N) where N is the number of personas, however many responses they have",
        tips: Some(c"request_policy:multi_shard response_policy:agg_sum"),
        flags: c"write fast",
        arity: -2,
        keys: KeySpec::DeleteFrom(1),
        args: || vec![persona_arg().repeated()],
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        args.from(1).try_for_each(|persona| check_persona(ctx, persona))?;
        let mut budget = SyncBudget::of_command(ctx);
        let mut responses = 0;
        for persona in args.from(1) {
            responses += invalidate(ctx, &mut budget, |index| index.invalidate_persona(persona));
            flight::void(ctx, VoidScope::Persona(ctx.database(), persona));
            ctx.signal_modified(persona);
            ctx.notify(Class::Module, c"invalidate", persona);
        }
        finish(ctx, responses)
    }
}

/// `CHATCACHE.SOFTINVALIDATE persona [persona ...]`
pub struct SoftInvalidate;

impl Command for SoftInvalidate {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.softinvalidate",
        summary: c"Makes all cached responses of one or more personas stale, for FETCH to refresh",
        complexity: c"O(N) where N is the number of personas, however many responses they have",
        tips: Some(c"request_policy:multi_shard response_policy:agg_sum"),
        flags: c"write fast",
        arity: -2,
        keys: KeySpec::WriteFrom(1),
        args: || vec![persona_arg().repeated()],
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        args.from(1).try_for_each(|persona| check_persona(ctx, persona))?;
        let database = ctx.database();
        let mut responses = 0;
        for persona in args.from(1) {
            responses += CACHE.with(|cache| cache.index(database).soft_invalidate_persona(persona));
            // Responses that are being computed are of the old prompt.
            flight::void(ctx, VoidScope::Persona(database, persona));
            ctx.signal_modified(persona);
            ctx.notify(Class::Module, c"softinvalidate", persona);
        }
        ctx.replicate_verbatim();
        ctx.reply_count(responses);
        Ok(())
    }
}

/// Checks the name of a persona, and that all its entries are on this node: its slot may be moving.
fn check_persona(ctx: &Ctx<'_>, persona: &[u8]) -> Result<(), CommandError> {
    request::check_persona(persona)?;
    names::check_slot_is_stable(ctx, persona)
}

/// Invalidates responses in the index of the caller's database, and reclaims them as far as the budget allows. Returns
/// the number of responses that were live.
pub fn invalidate(
    ctx: &Ctx<'_>,
    budget: &mut SyncBudget,
    mark: impl FnOnce(&mut Index) -> Invalidated,
) -> u64 {
    let database = ctx.database();
    let invalidated = CACHE.with(|cache| {
        let invalidated = mark(cache.index(database));
        cache.counters.dropped += invalidated.responses;
        invalidated
    });
    budget.reclaim(ctx, &invalidated);
    invalidated.responses
}

/// Counts the command, replicates it verbatim, and replies the number of responses that it invalidated. A command that
/// found none is replicated too: clients of a replica may track the persona there.
pub fn finish(ctx: &Ctx<'_>, responses: u64) -> Outcome {
    CACHE.with(|cache| cache.counters.drops += 1);
    ctx.replicate_verbatim();
    ctx.reply_count(responses);
    Ok(())
}
