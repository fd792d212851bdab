//! A command's arguments, as bytes.

use crate::redis::ctx::KeyRef;
use redis_module::raw::RedisModuleString;
use std::slice;

/// The arguments of a command, its name included, as the server holds them during the call.
#[derive(Clone, Copy)]
pub struct Args<'a>(pub(super) &'a [*mut RedisModuleString]);

impl<'a> Args<'a> {
    /// How many there are, the command's name included.
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Argument `position`; the command's name is 0. Empty where there is none.
    pub fn get(self, position: usize) -> &'a [u8] {
        self.0.get(position).map_or(&[], |&string| bytes(string))
    }

    /// Argument `position` as the name of a key that the server is told of. Empty where there is none.
    pub fn key(self, position: usize) -> KeyRef<'a> {
        self.0.get(position).map_or(KeyRef::from(&[][..]), |&string| KeyRef::string(string))
    }

    /// The arguments from `position` on.
    pub fn from(self, position: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        self.0.get(position..).unwrap_or_default().iter().map(|&string| bytes(string))
    }

    /// The first `count` arguments after the command's name, as the server's strings.
    pub(super) fn strings(self, count: usize) -> &'a [*mut RedisModuleString] {
        self.0.get(1..=count).unwrap_or_default()
    }
}

/// The bytes of a string that the server keeps for the length of the call.
pub(super) fn bytes<'a>(string: *const RedisModuleString) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: the caller took `string` from the server in the callback that is running, and the server keeps it
    // unchanged until that returns; `'a` is bound to the callback by the types that hold it.
    unsafe {
        let start = api!(RedisModule_StringPtrLen)(string, &mut length);
        match start.is_null() {
            true => &[],
            false => slice::from_raw_parts(start.cast(), length),
        }
    }
}
