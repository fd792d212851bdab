//! `NULL.GET tier user persona message` replies null to any request: the least that a module's command costs, for the
//! bench to compare with. The four calls that it needs are declared here, with no dependency.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

const OK: c_int = 0;
const FAILED: c_int = 1;

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
type ReplyWithNull = unsafe extern "C" fn(*mut c_void) -> c_int;

static REPLY_WITH_NULL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// # Safety
/// The server calls this once, with the context of a module that loads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RedisModule_OnLoad(ctx: *mut c_void, _: *mut *mut c_void, _: c_int) -> c_int {
    // SAFETY: the first field of a module's context is the function that finds the others by name; their types
    // are those of the server's redismodule.h.
    unsafe {
        let get_api = *ctx.cast::<GetApi>();
        let find = |name: &CStr| {
            let mut found: *mut c_void = std::ptr::null_mut();
            (get_api(name.as_ptr(), &mut found) == OK && !found.is_null()).then_some(found)
        };
        let (Some(attributes), Some(create), Some(reply)) = (
            find(c"RedisModule_SetModuleAttribs"),
            find(c"RedisModule_CreateCommand"),
            find(c"RedisModule_ReplyWithNull"),
        ) else {
            return FAILED;
        };
        REPLY_WITH_NULL.store(reply, Ordering::Relaxed);
        let set_attributes: SetModuleAttribs = std::mem::transmute(attributes);
        let create_command: CreateCommand = std::mem::transmute(create);
        set_attributes(ctx, c"null".as_ptr(), 1, 1);
        create_command(ctx, c"null.get".as_ptr(), get, c"readonly fast".as_ptr(), 3, 3, 1)
    }
}

unsafe extern "C" fn get(ctx: *mut c_void, _: *mut *mut c_void, _: c_int) -> c_int {
    // SAFETY: there is no command before the function is stored, and its type is the one in redismodule.h.
    unsafe {
        let reply: ReplyWithNull = std::mem::transmute(REPLY_WITH_NULL.load(Ordering::Relaxed));
        reply(ctx)
    }
}
