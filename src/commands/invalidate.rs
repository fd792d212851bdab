//! INVALIDATE, FORGET and FLUSH: all answers of a persona, a user or a tier, at once.
//!
//! Each marks in the index, replies how many live answers went, and leaves their keys to `reclaim`. The command
//! is replicated as it came, whatever it found: a replica's clients may follow the persona too.

use super::{persona_arg, tier_arg};
use crate::cache::access::{self, Access};
use crate::cache::{CACHE, names};
use crate::flight;
use crate::index::{Index, Invalidated};
use crate::keyspace::reclaim::AtOnce;
use crate::lease::VoidScope;
use crate::redis::{ArgKind, ArgSpec, Args, Class, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::error::CommandError;
use crate::request::{self, Accepts};
use crate::tier::Tier;

/// Among up to so many personas FLUSH tells who tracks one that it is of those that lost answers: 2 ms of it.
const MOST_TOLD_OF: usize = 10_000;

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
        let mut at_once = AtOnce::for_command(ctx);
        let mut responses = 0;
        for persona in args.from(1) {
            responses += drop_answers(ctx, &mut at_once, |index| index.invalidate_persona(persona));
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
            // What is being computed was begun with the old prompt.
            flight::void(ctx, VoidScope::Persona(database, persona));
            ctx.signal_modified(persona);
            ctx.notify(Class::Module, c"softinvalidate", persona);
        }
        ctx.replicate_verbatim();
        ctx.reply_count(responses);
        Ok(())
    }
}

/// `CHATCACHE.FORGET user [user ...]`
pub struct Forget;

impl Command for Forget {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.forget",
        summary: c"Invalidates all cached responses to one or more users",
        complexity: c"O(N) where N is the number of users and of their personas",
        tips: Some(c"request_policy:all_shards response_policy:agg_sum"),
        flags: c"write",
        arity: -2,
        keys: KeySpec::None,
        args: || vec![ArgSpec::new(c"user", ArgKind::String).repeated()],
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        access::check_all_keys(ctx, args, Access::Write)?;
        args.from(1).try_for_each(request::check_user)?;
        let database = ctx.database();
        let mut at_once = AtOnce::for_command(ctx);
        let mut responses = 0;
        for user in args.from(1) {
            let personas = CACHE.with(|cache| cache.index(database).personas_of_user(user));
            responses += drop_answers(ctx, &mut at_once, |index| index.invalidate_user(user));
            flight::void(ctx, VoidScope::User(database, user));
            for persona in personas {
                ctx.signal_modified(&*persona);
            }
        }
        finish(ctx, responses)
    }
}

/// `CHATCACHE.FLUSH [tier ...]`
pub struct Flush;

impl Command for Flush {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.flush",
        summary: c"Invalidates all cached responses of one or more tiers, or of all tiers",
        complexity: c"O(N) where N is the number of tiers and personas, however many responses they have",
        tips: Some(c"request_policy:all_shards response_policy:agg_sum"),
        flags: c"write",
        arity: -1,
        keys: KeySpec::None,
        args: || {
            let tiers = ArgKind::Block(vec![tier_arg(Accepts::Tiers)]);
            vec![ArgSpec::new(c"tiers", tiers).optional().repeated()]
        },
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        access::check_all_keys(ctx, args, Access::Write)?;
        let named: Vec<Tier> = args.from(1).map(request::parse_tier).collect::<Result<_, CommandError>>()?;
        let tiers = if named.is_empty() { &Tier::ALL[..] } else { &named };
        let mut at_once = AtOnce::for_command(ctx);
        let mut responses = 0;
        for &tier in tiers {
            let personas =
                CACHE.with(|cache| cache.index(ctx.database()).personas_of_tier(tier, MOST_TOLD_OF));
            responses += drop_answers(ctx, &mut at_once, |index| index.invalidate_tier(tier));
            flight::void(ctx, VoidScope::Tier(ctx.database(), tier));
            for persona in personas.unwrap_or_default() {
                ctx.signal_modified(&*persona);
            }
        }
        // A flush of all tiers also returns the memory of personas without entries.
        if Tier::ALL.iter().all(|tier| tiers.contains(tier)) {
            CACHE.with(|cache| cache.index(ctx.database()).forget_idle());
        }
        finish(ctx, responses)
    }
}

/// Refuses what cannot be a persona's name, and a persona that two nodes have answers of.
fn check_persona(ctx: &Ctx<'_>, persona: &[u8]) -> Result<(), CommandError> {
    request::check_persona(persona)?;
    names::check_slot_is_stable(ctx, persona)
}

/// Counts the command, sends it on as it came, and replies how many answers went.
fn finish(ctx: &Ctx<'_>, responses: u64) -> Outcome {
    CACHE.with(|cache| cache.counters.drops += 1);
    ctx.replicate_verbatim();
    ctx.reply_count(responses);
    Ok(())
}

/// Drops answers of the caller's database; how many there were.
fn drop_answers(ctx: &Ctx<'_>, at_once: &mut AtOnce, mark: impl FnOnce(&mut Index) -> Invalidated) -> u64 {
    let database = ctx.database();
    let dropped = CACHE.with(|cache| {
        let dropped = mark(cache.index(database));
        cache.counters.dropped += dropped.responses;
        dropped
    });
    at_once.reclaim(ctx, &dropped);
    dropped.responses
}
