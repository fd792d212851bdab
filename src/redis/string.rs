//! The server's strings, ours and borrowed, and C strings for it.
//!
//! A string that the server lends is valid while the callback runs that received it; one that the module
//! makes is freed by `ServerString`. Bytes from a user travel with their length and never as a C string.

use crate::redis::api::api;
use redis_module::raw::RedisModuleString;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::os::raw::{c_char, c_longlong};
use std::ptr;
use std::slice;

// `RedisModule_CreateStringFromLongLong` and its like take the module's integers as they are.
const _: () = assert!(size_of::<c_longlong>() == size_of::<i64>());

/// Returns the bytes of a string of the server's.
///
/// # Safety
/// `string` is null or a valid string, and neither it nor its bytes change or end during `'a`.
pub(super) unsafe fn bytes<'a>(string: *const RedisModuleString) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: the string is valid by this function's contract; for null the server returns a text of its own
    // (Redis 7.0, module.c, RM_StringPtrLen).
    let start = unsafe { api!(RedisModule_StringPtrLen)(string, &mut length) };
    match start.is_null() {
        true => &[],
        // SAFETY: the server returned the start and length of the string's bytes, which stay during `'a`.
        false => unsafe { slice::from_raw_parts(start.cast(), length) },
    }
}

/// A string of the server's that the module owns and frees.
pub(super) struct ServerString(*mut RedisModuleString);

impl ServerString {
    /// Makes a string of a copy of `bytes`.
    pub(super) fn new(bytes: &[u8]) -> Self {
        // SAFETY: the server copies `bytes.len()` bytes; a null context means that the module frees the
        // string.
        ServerString(unsafe {
            api!(RedisModule_CreateString)(ptr::null_mut(), bytes.as_ptr().cast(), bytes.len())
        })
    }

    /// Makes a string of the number's decimal digits.
    pub(super) fn of_number(number: i64) -> Self {
        // SAFETY: the call takes any number; a null context means that the module frees the string.
        ServerString(unsafe { api!(RedisModule_CreateStringFromLongLong)(ptr::null_mut(), number) })
    }

    /// Takes over a string that the server hands to the module.
    ///
    /// # Safety
    /// `string` is a valid string that the module must free, and nothing else frees it.
    pub(super) unsafe fn take(string: *mut RedisModuleString) -> Self {
        ServerString(string)
    }

    /// Returns the string for a call to the server; it is valid while `self` is.
    pub(super) fn raw(&self) -> *mut RedisModuleString {
        self.0
    }

    /// Returns the string's bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the string is valid while `self` is, and the module changes none of its strings.
        unsafe { bytes(self.0) }
    }

    /// Returns the string for a call that takes it over; the module frees it no more.
    pub(super) fn give(self) -> *mut RedisModuleString {
        ManuallyDrop::new(self).0
    }
}

impl Drop for ServerString {
    fn drop(&mut self) {
        // SAFETY: `self` owns the string and is its only owner, so this frees it once.
        unsafe { api!(RedisModule_FreeString)(ptr::null_mut(), self.0) };
    }
}

/// A key's name for the server: bytes, or a string that an argument or an open key has already.
#[derive(Clone, Copy)]
pub struct KeyRef<'a>(Name<'a>);

#[derive(Clone, Copy)]
enum Name<'a> {
    Bytes(&'a [u8]),
    /// Valid during `'a`.
    String(*mut RedisModuleString, PhantomData<&'a RedisModuleString>),
}

impl<'a> KeyRef<'a> {
    /// Borrows a string of the server's.
    ///
    /// # Safety
    /// `string` is a valid string during `'a`.
    pub(super) unsafe fn borrow(string: *mut RedisModuleString) -> Self {
        KeyRef(Name::String(string, PhantomData))
    }

    /// Runs `body` with the name as a string, valid until `body` returns.
    pub(super) fn with(self, body: impl FnOnce(*mut RedisModuleString)) {
        match self.0 {
            Name::String(string, _) => body(string),
            Name::Bytes(bytes) => body(ServerString::new(bytes).raw()),
        }
    }
}

impl<'a> From<&'a [u8]> for KeyRef<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        KeyRef(Name::Bytes(bytes))
    }
}

impl<'a> From<&'a ServerString> for KeyRef<'a> {
    fn from(string: &'a ServerString) -> Self {
        KeyRef(Name::String(string.raw(), PhantomData))
    }
}

/// Returns one of the module's own texts as a C string. A NUL, which these texts do not have, ends it.
pub(super) fn c_text(text: &str) -> CString {
    let until_nul = text.split('\0').next().unwrap_or_default();
    CString::new(until_nul).unwrap_or_default()
}

/// Returns a pointer to the C string, or null for `None`.
pub(super) fn c_pointer(text: Option<&'static CStr>) -> *const c_char {
    text.map_or(ptr::null(), CStr::as_ptr)
}
