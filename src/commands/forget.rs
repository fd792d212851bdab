//! FORGET: invalidates all responses to a user, of all personas.

use super::invalidate::{finish, invalidate};
use crate::cache::CACHE;
use crate::cache::names;
use crate::cache::rights::{self, Access};
use crate::flight;
use crate::keyspace::reclaim::SyncBudget;
use crate::lease::VoidScope;
use crate::redis::{ArgKind, ArgSpec, Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::request;
use std::collections::BTreeSet;

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
        rights::check_all_keys(ctx, args, Access::Write)?;
        names::check_no_slot_moves(ctx)?;
        args.from(1).try_for_each(request::check_user)?;
        let database = ctx.database();
        let mut budget = SyncBudget::of_command(ctx);
        let mut responses = 0;
        // A user that is named again costs nothing more.
        let users: BTreeSet<&[u8]> = args.from(1).collect();
        for user in users {
            let personas = CACHE.with(|cache| cache.index(database).personas_of_user(user));
            responses += invalidate(ctx, &mut budget, |index| index.invalidate_user(user));
            flight::void(ctx, VoidScope::User(database, user));
            for persona in personas {
                ctx.signal_modified(&*persona);
            }
        }
        finish(ctx, responses)
    }
}
