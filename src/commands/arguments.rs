//! The arguments that commands share: `tier user persona message` and the options, both as the server describes them in
//! COMMAND DOCS and as a command reads them.

use crate::redis::{ArgKind, ArgSpec, Args};
use crate::request::error::CommandError;
use crate::request::grammar::{Grammar, Value, Word};
use crate::request::options::RequestOptions;
use crate::request::{Accepts, RequestArgs};
use crate::tier::Tier;
use std::ffi::CStr;

/// The position of the persona, which is the key, in `COMMAND tier user persona message`.
pub const PERSONA_AT: i32 = 3;

/// The position of the first option of those commands.
pub const REQUEST_ARGS: usize = 5;

/// Returns `tier user persona message`, as COMMAND DOCS shows it.
pub fn request_args(accepts: Accepts) -> Vec<ArgSpec> {
    vec![
        tier_arg(accepts),
        ArgSpec::new(c"user", ArgKind::String),
        persona_arg(),
        ArgSpec::new(c"message", ArgKind::String),
    ]
}

/// Returns a tier, as COMMAND DOCS shows it.
pub fn tier_arg(accepts: Accepts) -> ArgSpec {
    let any = match accepts {
        Accepts::Tiers => None,
        Accepts::TiersAndAny => Some(c"any"),
    };
    let word = |name: &'static CStr| ArgSpec::new(name, ArgKind::Token).token(name);
    ArgSpec::new(
        c"tier",
        ArgKind::OneOf(Tier::ALL.map(Tier::c_name).into_iter().chain(any).map(word).collect()),
    )
}

/// Returns the persona, which is the key, as COMMAND DOCS shows it.
pub fn persona_arg() -> ArgSpec {
    ArgSpec::new(c"persona", ArgKind::Key)
}

/// Returns the fixed arguments followed by the options of a grammar, as COMMAND DOCS shows them.
pub fn with_options(mut fixed: Vec<ArgSpec>, grammar: &Grammar) -> Vec<ArgSpec> {
    for group in grammar.groups() {
        let needed = group.iter().any(|word| grammar.required.contains(word));
        let marked = |arg: ArgSpec| if needed { arg } else { arg.optional() };
        let options = group.iter().map(|word| option_arg(*word));
        match group.first().and_then(|word| word.spec().family.name()) {
            Some(family) => fixed.push(marked(ArgSpec::new(family, ArgKind::OneOf(options.collect())))),
            None => fixed.extend(options.map(marked)),
        }
    }
    fixed
}

fn option_arg(word: Word) -> ArgSpec {
    let option = word.spec();
    let kind = match option.value {
        Value::None => ArgKind::Token,
        Value::String => ArgKind::String,
        Value::Integer => ArgKind::Integer,
        Value::UnixTime => ArgKind::UnixTime,
        Value::DraftAndOffset => ArgKind::Block(vec![
            ArgSpec::new(c"draft", ArgKind::String),
            ArgSpec::new(c"offset", ArgKind::Integer),
        ]),
    };
    ArgSpec::new(option.name, kind).token(option.token)
}

/// Returns the request of a command that takes no option other than ID.
pub fn parse_request<'a>(
    accepts: Accepts,
    grammar: &'static Grammar,
    args: Args<'a>,
) -> Result<RequestArgs<'a>, CommandError> {
    // Most requests have no options: their grammar need not be looked at.
    let id = match args.len() {
        ..=REQUEST_ARGS => None,
        _ => RequestOptions::parse(grammar, args.from(REQUEST_ARGS))?.id,
    };
    RequestArgs::parse(accepts, request_words(args), id)
}

/// Returns the four arguments that a request begins with.
pub fn request_words(args: Args<'_>) -> [&[u8]; 4] {
    [args.get(1), args.get(2), args.get(3), args.get(4)]
}
