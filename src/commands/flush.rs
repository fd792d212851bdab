//! FLUSH: invalidates all responses of a tier, or of all tiers.

use super::arguments::tier_arg;
use super::invalidate::{finish, invalidate};
use crate::cache::CACHE;
use crate::cache::names;
use crate::cache::rights::{self, Access};
use crate::flight;
use crate::keyspace::reclaim::SyncBudget;
use crate::lease::VoidScope;
use crate::redis::{ArgKind, ArgSpec, Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request::error::CommandError;
use crate::request::{self, Accepts};
use crate::tier::Tier;

/// FLUSH signals the clients that track a persona only in a database of at most this many personas: 2 ms of signals.
const MOST_SIGNALLED: usize = 10_000;

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
        rights::check_all_keys(ctx, args, Access::Write)?;
        names::check_no_slot_moves(ctx)?;
        let named: Vec<Tier> = args.from(1).map(request::parse_tier).collect::<Result<_, CommandError>>()?;
        // A tier that is named again costs nothing more.
        let is_meant = |tier: &Tier| named.is_empty() || named.contains(tier);
        let tiers: Vec<Tier> = Tier::ALL.into_iter().filter(is_meant).collect();
        let mut budget = SyncBudget::of_command(ctx);
        let mut responses = 0;
        for &tier in &tiers {
            let personas =
                CACHE.with(|cache| cache.index(ctx.database()).personas_of_tier(tier, MOST_SIGNALLED));
            responses += invalidate(ctx, &mut budget, |index| index.invalidate_tier(tier));
            flight::void(ctx, VoidScope::Tier(ctx.database(), tier));
            for persona in personas.unwrap_or_default() {
                ctx.signal_modified(&*persona);
            }
        }
        // A flush of all tiers also returns the memory of personas without entries.
        if tiers.len() == Tier::ALL.len() {
            CACHE.with(|cache| cache.index(ctx.database()).forget_idle());
        }
        finish(ctx, responses)
    }
}
