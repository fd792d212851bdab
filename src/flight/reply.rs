//! The replies of FETCH: always an array of four, so that one type fits all of them in any client.
//!
//! The elements are the state, the response or null, the token or null, and a number of milliseconds or null.

use crate::entry::Response;
use crate::lease::{DraftName, DraftNews, Token};
use crate::redis::Ctx;

/// The reply of a FETCH.
pub enum FetchReply {
    /// The fresh response.
    Hit {
        /// The response.
        response: Response,
        /// Milliseconds for which it stays fresh; None for ever.
        fresh_ms: Option<u64>,
    },
    /// The caller computes the response.
    Lease {
        /// Proves the lease.
        token: Token,
        /// The lease's length in milliseconds.
        ms: u64,
    },
    /// Another caller computes the response.
    Busy {
        /// Milliseconds left of its lease.
        ms: u64,
    },
    /// The caller reads along.
    Draft {
        /// The news for it.
        news: DraftNews,
        /// Milliseconds for which the response that the draft has become stays fresh; None for ever.
        fresh_ms: Option<u64>,
    },
}

/// Replies the outcome of a FETCH.
pub fn reply(ctx: &Ctx<'_>, reply: &FetchReply) {
    match reply {
        FetchReply::Hit { response, fresh_ms } => reply_hit(ctx, response.stored(), *fresh_ms),
        FetchReply::Lease { token, ms } => four(ctx, b"lease", None, Some(token.as_bytes()), Some(*ms)),
        FetchReply::Busy { ms } => four(ctx, b"busy", None, None, Some(*ms)),
        FetchReply::Draft { news: DraftNews::Part { name, part, next }, .. } => {
            four(ctx, b"part", Some(&part.bytes()), Some(name.as_bytes()), Some(*next as u64));
        }
        FetchReply::Draft { news: DraftNews::Rest(part), fresh_ms } => {
            four(ctx, b"rest", Some(&part.bytes()), None, *fresh_ms);
        }
        FetchReply::Draft { news: DraftNews::Lost, .. } => reply_lost(ctx),
    }
}

/// Replies a fresh response, with the milliseconds for which it stays fresh; None for ever.
pub fn reply_hit(ctx: &Ctx<'_>, response: &[u8], fresh_ms: Option<u64>) {
    four(ctx, b"hit", Some(response), None, fresh_ms);
}

/// Replies a stale response, with the token for the caller that refreshes it, and the milliseconds until it is gone;
/// None for never.
pub fn reply_stale(ctx: &Ctx<'_>, response: &[u8], token: Option<&Token>, left_ms: Option<u64>) {
    four(ctx, b"stale", Some(response), token.map(Token::as_bytes), left_ms);
}

/// Replies that a draft is void.
pub fn reply_lost(ctx: &Ctx<'_>) {
    four(ctx, b"lost", None, None, None);
}

fn four(ctx: &Ctx<'_>, state: &[u8], response: Option<&[u8]>, token: Option<&[u8; 16]>, number: Option<u64>) {
    ctx.reply_array(4);
    ctx.reply_bytes(state);
    match response {
        Some(response) => ctx.reply_bytes(response),
        None => ctx.reply_null(),
    }
    match token {
        Some(token) => ctx.reply_bytes(&hex(token)),
        None => ctx.reply_null(),
    }
    match number {
        Some(number) => ctx.reply_count(number),
        None => ctx.reply_null(),
    }
}

/// Returns the milliseconds from now until a time, both in Unix milliseconds; None for `i64::MAX`, which means never.
pub fn ms_until(until_ms: i64, now_ms: i64) -> Option<u64> {
    (until_ms != i64::MAX).then(|| u64::try_from(until_ms.saturating_sub(now_ms)).unwrap_or(0))
}

/// Returns 16 bytes as 32 hex digits.
fn hex(bytes: &[u8; 16]) -> [u8; 32] {
    let mut digits = const_hex::Buffer::<16>::new();
    digits.format(bytes);
    *digits.as_byte_array()
}

/// Returns the token that a client shows, or None if the text is no token.
pub(super) fn parse_token(text: &[u8]) -> Option<Token> {
    parse_hex(text).map(Token::from_bytes)
}

/// Returns the name of a draft that a client shows, or None if the text is no name.
pub(super) fn parse_draft(text: &[u8]) -> Option<DraftName> {
    parse_hex(text).map(DraftName::from_bytes)
}

fn parse_hex(text: &[u8]) -> Option<[u8; 16]> {
    let digits: &[u8; 32] = text.try_into().ok()?;
    const_hex::decode_to_array(digits).ok()
}
