//! KEY, INSPECT, PERSONAS and STATS: what there is, without touching it.

use super::{PERSONA_AT, parse_request, persona_arg, request_args, with_options};
use crate::cache::access::{self, Access};
use crate::cache::lookup::{Lookup, lookup};
use crate::cache::{CACHE, names};
use crate::entry::ALWAYS_FRESH;
use crate::entry::compression::Encoding;
use crate::index::Origin;
use crate::redis::{Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use crate::report;
use crate::request::error::CommandError;
use crate::request::options::{self, PageOptions};
use crate::request::{self, Accepts};

/// `CHATCACHE.KEY tier user persona message [ID id]`
pub struct KeyName;

impl Command for KeyName {
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
        let asked = parse_request(Accepts::Tiers, &options::KEY, args)?;
        ctx.reply_bytes(&names::key_name(&asked.request()));
        Ok(())
    }
}

/// `CHATCACHE.INSPECT tier user persona message [ID id]`
pub struct Inspect;

impl Command for Inspect {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.inspect",
        summary: c"Returns the facts about a cached response, without counting as a use of it",
        complexity: c"O(N) where N is the length of the message",
        tips: Some(c"nondeterministic_output"),
        flags: c"readonly fast",
        arity: -5,
        keys: KeySpec::Read(PERSONA_AT),
        args: || with_options(request_args(Accepts::Tiers), &options::INSPECT),
    };

    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome {
        let asked = parse_request(Accepts::Tiers, &options::INSPECT, args)?;
        let request = asked.request();
        let name = names::key_name(&request);
        let now_ms = ctx.now_ms();
        let lookup = lookup(ctx, ctx.open_peek(&name), &request, now_ms)?;
        let lookup = access::visible(ctx, args, &request, lookup);
        let stale = matches!(lookup, Lookup::Stale(_));
        let Some(entry) = lookup.response() else {
            ctx.reply_null();
            return Ok(());
        };
        let database = ctx.database();
        let origin = entry.handle().and_then(|handle| CACHE.with(|cache| cache.origin(database, handle)));
        let Some(Origin { tier, persona, user, .. }) = origin else {
            ctx.reply_null();
            return Ok(());
        };
        // As PTTL says it: -1 for a key that never expires.
        let ttl_ms = entry.key.key().expires_at().map_or(-1, |at| at.saturating_sub(now_ms).max(0));
        let fresh_ms = match entry.fresh_until_ms.get() {
            _ if stale => 0,
            ALWAYS_FRESH => ttl_ms,
            until_ms => {
                let left_ms = until_ms.saturating_sub(now_ms).max(0);
                if ttl_ms < 0 { left_ms } else { left_ms.min(ttl_ms) }
            }
        };
        ctx.reply_map(12);
        text(ctx, "key", &name);
        text(ctx, "tier", tier.name().as_bytes());
        text(ctx, "user", &user);
        text(ctx, "persona", &persona);
        number(ctx, "age-ms", now_ms.saturating_sub(entry.stored_at_ms).max(0));
        number(ctx, "fresh-ms", fresh_ms);
        number(ctx, "ttl-ms", ttl_ms);
        number(ctx, "hits", entry.hits().into());
        number(ctx, "cost-ms", entry.cost_ms.into());
        number(ctx, "raw-bytes", entry.raw_bytes().into());
        number(ctx, "stored-bytes", i64::try_from(entry.size().stored).unwrap_or(i64::MAX));
        let encoding: &[u8] = match entry.encoding() {
            Encoding::Raw => b"raw",
            Encoding::Lz4 => b"lz4",
            Encoding::Zstd => b"zstd",
            Encoding::Trained(_) => b"zstd-dictionary",
        };
        text(ctx, "encoding", encoding);
        Ok(())
    }
}

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
        access::check_all_keys(ctx, args, Access::Read)?;
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

fn text(ctx: &Ctx<'_>, name: &str, value: &[u8]) {
    ctx.reply_bytes(name.as_bytes());
    ctx.reply_bytes(value);
}

fn number(ctx: &Ctx<'_>, name: &str, value: i64) {
    ctx.reply_bytes(name.as_bytes());
    ctx.reply_integer(value);
}

fn count_of(ctx: &Ctx<'_>, name: &str, value: u64) {
    ctx.reply_bytes(name.as_bytes());
    ctx.reply_count(value);
}
