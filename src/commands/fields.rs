//! Fields of replies that are maps: a name, then a value.

use crate::redis::Ctx;

/// Replies a field with bytes.
pub fn text(ctx: &Ctx<'_>, name: &str, value: &[u8]) {
    ctx.reply_bytes(name.as_bytes());
    ctx.reply_bytes(value);
}

/// Replies a field with a signed number.
pub fn number(ctx: &Ctx<'_>, name: &str, value: i64) {
    ctx.reply_bytes(name.as_bytes());
    ctx.reply_integer(value);
}

/// Replies a field with a counter.
pub fn count_of(ctx: &Ctx<'_>, name: &str, value: u64) {
    ctx.reply_bytes(name.as_bytes());
    ctx.reply_count(value);
}
