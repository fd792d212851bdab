//! HELP: the commands, as OBJECT HELP prints its own.

use crate::redis::{Args, Command, CommandSpec, Ctx, KeySpec, Outcome};
use std::ffi::CStr;

/// `CHATCACHE.HELP`
pub struct Help;

const LINES: [&CStr; 40] = [
    c"CHATCACHE.<command> [<arg> [value] ...]. Commands are:",
    c"GET <tier> <user> <persona> <message> [ID <id>]",
    c"    Return the cached response, or null. The tier any looks in all of them.",
    c"SET <tier> <user> <persona> <message> <response> [ID <id>]",
    c"    [EX <seconds> | PX <milliseconds> | EXAT <unix-seconds> |",
    c"     PXAT <unix-milliseconds> | KEEPTTL] [STALE <milliseconds>]",
    c"    [NX | XX] [TOKEN <token>] [COST <milliseconds>]",
    c"    Store a response, for the tier's TTL unless told otherwise.",
    c"FETCH <tier> <user> <persona> <message> [ID <id>]",
    c"    [WAIT <milliseconds>] [LEASE <milliseconds>]",
    c"    Return a response, or the lease to compute it, or wait for it.",
    c"RELEASE <tier> <user> <persona> <message> [ID <id>] TOKEN <token>",
    c"    Give a lease back. Return 1 or 0.",
    c"DEL <tier> <user> <persona> <message> [ID <id>]",
    c"    Delete a response. Return 1 or 0.",
    c"INVALIDATE <persona> [<persona> ...]",
    c"    Drop all responses of the personas. Return how many.",
    c"SOFTINVALIDATE <persona> [<persona> ...]",
    c"    Make all responses of the personas stale. Return how many.",
    c"FORGET <user> [<user> ...]",
    c"    Drop all responses that the users asked for. Return how many.",
    c"FLUSH [<tier> ...]",
    c"    Drop all responses of the tiers, or of all tiers. Return how many.",
    c"KEY <tier> <user> <persona> <message> [ID <id>]",
    c"    Return the name of the response's key.",
    c"INSPECT <tier> <user> <persona> <message> [ID <id>]",
    c"    Return what is known of a response, or null.",
    c"PERSONAS [CURSOR <cursor>] [COUNT <count>]",
    c"    Return a cursor, and some personas with their counters.",
    c"STATS [<persona>]",
    c"    Return the counters of the server, or of a persona.",
    c"HELP",
    c"    Print this help.",
    c"Tiers:",
    c"    msg       one answer for everybody",
    c"    persona   one answer for everybody who talks to the persona",
    c"    session   one answer for a user's message",
    c"    response  one answer for a user with a persona",
    c"The persona is the key of each command: clusters, ACLs and tracking",
    c"go by it.",
];

impl Command for Help {
    const SPEC: CommandSpec = CommandSpec {
        name: c"chatcache.help",
        summary: c"Prints the commands of the module",
        complexity: c"O(1)",
        tips: None,
        flags: c"readonly fast allow-loading allow-stale",
        arity: 1,
        keys: KeySpec::None,
        args: &[],
    };

    fn run(ctx: &Ctx<'_>, _: Args<'_>) -> Outcome {
        ctx.reply_array(LINES.len());
        for line in LINES {
            ctx.reply_status(line);
        }
        Ok(())
    }
}
