//! A command's arguments, as bytes.

use crate::redis::string::{KeyRef, bytes};
use redis_module::raw::RedisModuleString;
use std::os::raw::c_int;
use std::slice;

/// The arguments of a command, including its name, as the server holds them during the call.
#[derive(Clone, Copy)]
pub struct Args<'a>(
    /// Each is valid and unchanged during `'a`.
    &'a [*mut RedisModuleString],
);

impl<'a> Args<'a> {
    /// The arguments as the server passes them to a callback.
    ///
    /// # Safety
    /// `argv` points to `argc` valid strings, and neither the array nor a string changes or ends during `'a`.
    pub(super) unsafe fn new(argv: *mut *mut RedisModuleString, argc: c_int) -> Self {
        match usize::try_from(argc) {
            // SAFETY: the array is valid by this function's contract.
            Ok(count) if count > 0 => Args(unsafe { slice::from_raw_parts(argv, count) }),
            _ => Args(&[]),
        }
    }

    /// Returns the number of arguments, including the command's name.
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Returns argument `position`, or no bytes if the command has fewer. The command's name is argument 0.
    pub fn get(self, position: usize) -> &'a [u8] {
        // SAFETY: the string is valid during `'a`, as the field says.
        self.0.get(position).map_or(&[], |&string| unsafe { bytes(string) })
    }

    /// Returns argument `position` as a key's name for the server, or an empty name if the command has fewer.
    pub fn key(self, position: usize) -> KeyRef<'a> {
        // SAFETY: the string is valid during `'a`, as the field says.
        self.0.get(position).map_or(KeyRef::from(&[][..]), |&string| unsafe { KeyRef::borrow(string) })
    }

    /// Returns the arguments from `position` on.
    pub fn from(self, position: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        // SAFETY: each string is valid during `'a`, as the field says.
        self.0.get(position..).unwrap_or_default().iter().map(|&string| unsafe { bytes(string) })
    }

    /// Returns the first `count` arguments after the command's name as the server's strings, valid during
    /// `'a`.
    pub(super) fn strings(self, count: usize) -> &'a [*mut RedisModuleString] {
        self.0.get(1..=count).unwrap_or_default()
    }
}
