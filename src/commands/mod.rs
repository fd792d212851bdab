//! The commands: each parses, acts through the rooms below, and replies.

#![forbid(unsafe_code)]

mod fetch;
mod get;
mod help;
mod inspect;
mod invalidate;
mod set;

pub use fetch::{Fetch, Release};
pub use get::Get;
pub use help::Help;
pub use inspect::{Inspect, KeyName, Personas, Stats};
pub use invalidate::{Flush, Forget, Invalidate, SoftInvalidate};
pub use set::{Delete, Set};

use crate::redis::{ArgKind, ArgSpec, Args};
use crate::request::RequestArgs;
use crate::request::error::{Accepts, CommandError};
use crate::request::options::{Grammar, RequestOptions};
use std::ffi::CStr;

/// Where the persona, which is the key, stands in `COMMAND tier user persona message`.
const PERSONA_AT: i32 = 3;

/// Where the options of those commands begin.
const REQUEST_ARGS: usize = 5;

/// The word for a tier, as COMMAND DOCS shows it.
const fn tier_token(tier: &'static CStr) -> ArgSpec {
    ArgSpec::new(tier, ArgKind::Token).token(tier)
}

const MSG_TIER: ArgSpec = tier_token(c"msg");
const PERSONA_TIER: ArgSpec = tier_token(c"persona");
const SESSION_TIER: ArgSpec = tier_token(c"session");
const RESPONSE_TIER: ArgSpec = tier_token(c"response");

const TIER: ArgSpec =
    ArgSpec::new(c"tier", ArgKind::OneOf(&[MSG_TIER, PERSONA_TIER, SESSION_TIER, RESPONSE_TIER]));
const TIER_OR_ANY: ArgSpec = ArgSpec::new(
    c"tier",
    ArgKind::OneOf(&[MSG_TIER, PERSONA_TIER, SESSION_TIER, RESPONSE_TIER, tier_token(c"any")]),
);
const USER: ArgSpec = ArgSpec::new(c"user", ArgKind::String);
const PERSONA: ArgSpec = ArgSpec::new(c"persona", ArgKind::Key);
const MESSAGE: ArgSpec = ArgSpec::new(c"message", ArgKind::String);
const ID: ArgSpec = ArgSpec::new(c"id", ArgKind::String).token(c"ID").optional();

/// `tier user persona message [ID id]`, as COMMAND DOCS shows it.
const REQUEST: &[ArgSpec] = &[TIER, USER, PERSONA, MESSAGE, ID];

/// The request of a command that has no other option than ID.
fn parse_request<'a>(
    accepts: Accepts,
    grammar: &'static Grammar,
    args: Args<'a>,
) -> Result<RequestArgs<'a>, CommandError> {
    let RequestOptions { id } = RequestOptions::parse(grammar, args.from(REQUEST_ARGS))?;
    RequestArgs::parse(accepts, fixed(args), id)
}

/// The four arguments that a request begins with.
fn fixed(args: Args<'_>) -> [&[u8]; 4] {
    [args.get(1), args.get(2), args.get(3), args.get(4)]
}
