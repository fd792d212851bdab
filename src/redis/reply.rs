//! Replies to the caller. The texts are the module's own; bytes may be a user's.

use crate::redis::api::api;
use crate::redis::ctx::Ctx;
use crate::redis::string::c_text;
use std::ffi::CStr;

impl Ctx<'_> {
    /// Replies a status such as `+OK`.
    pub fn reply_status(&self, text: &CStr) {
        // SAFETY: the context is valid; the server copies the C string.
        unsafe { api!(RedisModule_ReplyWithSimpleString)(self.raw(), text.as_ptr()) };
    }

    /// Replies a bulk string.
    pub fn reply_bytes(&self, bytes: &[u8]) {
        // SAFETY: the context is valid; the server copies `bytes.len()` bytes.
        unsafe { api!(RedisModule_ReplyWithStringBuffer)(self.raw(), bytes.as_ptr().cast(), bytes.len()) };
    }

    /// Replies an integer.
    pub fn reply_integer(&self, number: i64) {
        // SAFETY: the context is valid; the call takes any number.
        unsafe { api!(RedisModule_ReplyWithLongLong)(self.raw(), number) };
    }

    /// Replies a count as an integer. Counts beyond `i64::MAX` do not occur and read as that.
    pub fn reply_count(&self, count: u64) {
        self.reply_integer(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Replies null.
    pub fn reply_null(&self) {
        // SAFETY: the context is valid.
        unsafe { api!(RedisModule_ReplyWithNull)(self.raw()) };
    }

    /// Begins an array; the next `length` replies are its elements.
    pub fn reply_array(&self, length: usize) {
        // SAFETY: the context is valid. A wrong length breaks this client's protocol, not memory.
        unsafe { api!(RedisModule_ReplyWithArray)(self.raw(), length as _) };
    }

    /// Begins a map of `length` pairs (in RESP2, an array of twice as many elements).
    pub fn reply_map(&self, length: usize) {
        // SAFETY: the context is valid. A wrong length breaks this client's protocol, not memory.
        unsafe { api!(RedisModule_ReplyWithMap)(self.raw(), length as _) };
    }

    /// Replies an error: its code word, a space, its text.
    pub fn reply_error(&self, text: &str) {
        let text = c_text(text);
        // SAFETY: the context is valid; the server copies the C string.
        unsafe { api!(RedisModule_ReplyWithError)(self.raw(), text.as_ptr()) };
    }

    /// Replies the server's own error for a wrong number of arguments.
    pub fn reply_wrong_arity(&self) {
        // SAFETY: the context is a running command's, which has the name that the error shows.
        unsafe { api!(RedisModule_WrongArity)(self.raw()) };
    }
}
