//! The least that a module's command costs, for the bench to compare with:
//!
//! - `NULL.GET tier user persona message` replies null;
//! - `NULL.CEILING tier user persona message` replies the same 1,024 bytes to any request;
//! - `NULL.SPREAD tier user persona message` replies 1,024 bytes from one of a thousand places, which the message's first ten
//!   digits choose: it waits for memory as any cache does;
//! - `NULL.FOUR tier user persona message` replies those in an array of four, as FETCH;
//! - `NULL.KEYED tier user key message` replies the string that stands under a ready-made key name.
//!
//! The few calls that they need are declared here, with no dependency.

use std::ffi::{CStr, c_char, c_int, c_long, c_longlong, c_void};
use std::mem::transmute;
use std::sync::{LazyLock, OnceLock};

const OK: c_int = 0;
const FAILED: c_int = 1;

/// `REDISMODULE_READ` of redismodule.h.
const READ: c_int = 1;

/// The position of the key in the arguments of NULL.KEYED.
const KEY_AT: usize = 3;

/// The reply of the ceiling, as long as the bench's responses.
static RESPONSE: [u8; 1024] = [b'x'; 1024];

/// The replies of NULL.SPREAD and NULL.FOUR, each in an allocation of its own.
static RESPONSES: LazyLock<Vec<Box<[u8; 1024]>>> = LazyLock::new(|| vec![Box::new(RESPONSE); 1000]);

/// The position of the message in the arguments.
const MESSAGE_AT: usize = 4;

type GetApi = unsafe extern "C" fn(*const c_char, *mut *mut c_void) -> c_int;
type Command = unsafe extern "C" fn(*mut c_void, *mut *mut c_void, c_int) -> c_int;
type SetModuleAttribs = unsafe extern "C" fn(*mut c_void, *const c_char, c_int, c_int);
type CreateCommand = unsafe extern "C" fn(
    *mut c_void,
    *const c_char,
    Command,
    *const c_char,
    c_int, // the first key, the last, and the step between two
    c_int,
    c_int,
) -> c_int;

type ReplyWithArray = unsafe extern "C" fn(*mut c_void, c_long) -> c_int;
type ReplyWithLongLong = unsafe extern "C" fn(*mut c_void, c_longlong) -> c_int;
type StringPtrLen = unsafe extern "C" fn(*mut c_void, *mut usize) -> *const u8;
type ReplyWithNull = unsafe extern "C" fn(*mut c_void) -> c_int;
type ReplyWithStringBuffer = unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> c_int;
type OpenKey = unsafe extern "C" fn(*mut c_void, *mut c_void, c_int) -> *mut c_void;
type StringDma = unsafe extern "C" fn(*mut c_void, *mut usize, c_int) -> *mut c_char;
type CloseKey = unsafe extern "C" fn(*mut c_void);

/// The calls of the commands.
struct Api {
    reply_null: ReplyWithNull,
    reply_bytes: ReplyWithStringBuffer,
    reply_array: ReplyWithArray,
    reply_number: ReplyWithLongLong,
    bytes: StringPtrLen,
    open_key: OpenKey,
    string: StringDma,
    close_key: CloseKey,
}

static API: OnceLock<Api> = OnceLock::new();

/// # Safety
/// The server calls this once, with the context of a module that loads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RedisModule_OnLoad(ctx: *mut c_void, _: *mut *mut c_void, _: c_int) -> c_int {
    // SAFETY: the contract of this function is that of `load`.
    unsafe { load(ctx) }.unwrap_or(FAILED)
}

/// Registers the commands, or returns None if the server lacks a call.
///
/// # Safety
/// The context is that of a module that loads.
unsafe fn load(ctx: *mut c_void) -> Option<c_int> {
    // SAFETY: the first field of a module's context is the function that finds the others by name; their types
    // are those of the server's redismodule.h.
    unsafe {
        let get_api = *ctx.cast::<GetApi>();
        let find = |name: &CStr| {
            let mut found: *mut c_void = std::ptr::null_mut();
            (get_api(name.as_ptr(), &mut found) == OK && !found.is_null()).then_some(found)
        };
        let set_attributes: SetModuleAttribs = transmute(find(c"RedisModule_SetModuleAttribs")?);
        let create_command: CreateCommand = transmute(find(c"RedisModule_CreateCommand")?);
        let _ = API.set(Api {
            reply_null: transmute::<*mut c_void, ReplyWithNull>(find(c"RedisModule_ReplyWithNull")?),
            reply_bytes: transmute::<*mut c_void, ReplyWithStringBuffer>(find(
                c"RedisModule_ReplyWithStringBuffer",
            )?),
            reply_array: transmute::<*mut c_void, ReplyWithArray>(find(c"RedisModule_ReplyWithArray")?),
            reply_number: transmute::<*mut c_void, ReplyWithLongLong>(find(
                c"RedisModule_ReplyWithLongLong",
            )?),
            bytes: transmute::<*mut c_void, StringPtrLen>(find(c"RedisModule_StringPtrLen")?),
            open_key: transmute::<*mut c_void, OpenKey>(find(c"RedisModule_OpenKey")?),
            string: transmute::<*mut c_void, StringDma>(find(c"RedisModule_StringDMA")?),
            close_key: transmute::<*mut c_void, CloseKey>(find(c"RedisModule_CloseKey")?),
        });
        set_attributes(ctx, c"null".as_ptr(), 1, 1);
        let commands: [(&CStr, Command); 5] = [
            (c"null.get", get),
            (c"null.ceiling", ceiling),
            (c"null.spread", spread),
            (c"null.four", four),
            (c"null.keyed", keyed),
        ];
        let registered = commands.map(|(name, command)| {
            create_command(ctx, name.as_ptr(), command, c"readonly fast".as_ptr(), 3, 3, 1)
        });
        Some(if registered == [OK; 5] { OK } else { FAILED })
    }
}

unsafe extern "C" fn get(ctx: *mut c_void, _: *mut *mut c_void, _: c_int) -> c_int {
    let Some(api) = API.get() else { return FAILED };
    // SAFETY: the context is this command's.
    unsafe { (api.reply_null)(ctx) }
}

unsafe extern "C" fn ceiling(ctx: *mut c_void, _: *mut *mut c_void, _: c_int) -> c_int {
    let Some(api) = API.get() else { return FAILED };
    // SAFETY: the context is this command's, and the bytes are static.
    unsafe { (api.reply_bytes)(ctx, RESPONSE.as_ptr().cast(), RESPONSE.len()) }
}

unsafe extern "C" fn spread(ctx: *mut c_void, args: *mut *mut c_void, count: c_int) -> c_int {
    let Some(api) = API.get() else { return FAILED };
    // SAFETY: the arguments are this command's.
    let Some(response) = (unsafe { chosen(api, args, count) }) else { return FAILED };
    // SAFETY: the context is this command's, and the bytes stay for ever.
    unsafe { (api.reply_bytes)(ctx, response.as_ptr().cast(), response.len()) }
}

unsafe extern "C" fn four(ctx: *mut c_void, args: *mut *mut c_void, count: c_int) -> c_int {
    let Some(api) = API.get() else { return FAILED };
    // SAFETY: the arguments are this command's.
    let Some(response) = (unsafe { chosen(api, args, count) }) else { return FAILED };
    // SAFETY: the context is this command's, and the bytes stay for ever.
    unsafe {
        (api.reply_array)(ctx, 4);
        (api.reply_bytes)(ctx, c"hit".as_ptr(), 3);
        (api.reply_bytes)(ctx, response.as_ptr().cast(), response.len());
        (api.reply_null)(ctx);
        (api.reply_number)(ctx, 3_599_000)
    }
}

/// Returns the response that the message's first ten digits choose.
///
/// # Safety
/// The arguments are those of a running command, and `count` is their number.
unsafe fn chosen(api: &Api, args: *mut *mut c_void, count: c_int) -> Option<&'static [u8; 1024]> {
    if count as usize <= MESSAGE_AT {
        return None;
    }
    let mut length = 0;
    // SAFETY: the argument is one of this command's.
    let start = unsafe { (api.bytes)(*args.add(MESSAGE_AT), &mut length) };
    // SAFETY: the server returned the start and the length of the argument's bytes, which stay while the command runs.
    let message = unsafe { std::slice::from_raw_parts(start, length) };
    let digits = message.iter().take(10).take_while(|byte| byte.is_ascii_digit());
    let number = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    RESPONSES.get(number % RESPONSES.len()).map(|response| &**response)
}

unsafe extern "C" fn keyed(ctx: *mut c_void, args: *mut *mut c_void, count: c_int) -> c_int {
    let Some(api) = API.get() else { return FAILED };
    if count as usize <= KEY_AT {
        return FAILED;
    }
    // SAFETY: the arguments are this command's; the string is valid until its key is closed, and an absent key is null.
    unsafe {
        let key = (api.open_key)(ctx, *args.add(KEY_AT), READ);
        if key.is_null() {
            return (api.reply_null)(ctx);
        }
        let mut length = 0;
        let string = (api.string)(key, &mut length, READ);
        (api.reply_bytes)(ctx, string, length);
        (api.close_key)(key);
    }
    OK
}
