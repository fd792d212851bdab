//! The caller of a command, and the rights that the server's ACL gives that user.
//!
//! The server checks a command's declared keys before the module sees it. This file does the further checks:
//! it gives the caller's name, and says if a user of that name may run a certain command. Rights change and
//! users go while clients wait, so the module keeps a name only, and each check looks the user up again.

use crate::redis::api::{OK, api};
use crate::redis::ctx::Ctx;
use crate::redis::string::ServerString;
use redis_module::raw::{self, RedisModuleString, RedisModuleUser};
use std::ffi::CString;
use std::ptr;
use std::slice;
use std::sync::Arc;

/// The caller of a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A caller without ACL rules: the master, the AOF, or a module that calls for itself.
    Trusted,
    /// A user of the ACL.
    User(UserName),
    /// A caller that the server does not name.
    Unknown,
}

/// The name of a user of the ACL. The user may be gone by now, or be another module's own: such a user has no
/// rights.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserName(Arc<[u8]>);

impl Ctx<'_> {
    /// Returns the caller whose rights hold for the running command.
    pub fn caller(&self) -> Caller {
        if self.is_replayed() {
            return Caller::Trusted;
        }
        // SAFETY: the context is valid; the call takes any client ID.
        let name = unsafe { api!(RedisModule_GetClientUserNameById)(self.raw(), self.client()) };
        if !name.is_null() {
            // SAFETY: the server hands the string to the module to free.
            return Caller::User(UserName(unsafe { ServerString::take(name) }.bytes().into()));
        }
        // The client has no connection: it is a script's, or another module's. `GetCurrentUserName` knows the
        // user of these, but without a user it ends the server (read in Redis 7.0, module.c:8764; so in 8.0).
        match self.has_user() {
            Some(true) => {
                // SAFETY: the context is valid, and its client has a user.
                let name = unsafe { api!(RedisModule_GetCurrentUserName)(self.raw()) };
                if name.is_null() {
                    return Caller::Unknown;
                }
                // SAFETY: the server hands the string to the module to free.
                Caller::User(UserName(unsafe { ServerString::take(name) }.bytes().into()))
            }
            Some(false) => Caller::Trusted,
            None => Caller::Unknown,
        }
    }

    /// Returns true if the context's client has a user, or None if the server does not tell. A call of a
    /// missing command in the user's name (`C`) tells: without a user the server does not look for the
    /// command.
    fn has_user(&self) -> Option<bool> {
        // SAFETY: the context is valid. The format announces no argument, and asks for errors as replies
        // (`E`).
        let reply = unsafe { api!(RedisModule_Call)(self.raw(), c"(no command)".as_ptr(), c"CE".as_ptr()) };
        if reply.is_null() {
            return None;
        }
        let mut length = 0;
        // SAFETY: the reply is the module's, not freed yet.
        let start = unsafe { api!(RedisModule_CallReplyStringPtr)(reply, &mut length) };
        let text = match start.is_null() {
            true => Vec::new(),
            // SAFETY: the server returned the start and length of the reply's text, which the reply owns.
            false => unsafe { slice::from_raw_parts(start.cast::<u8>(), length) }.to_vec(),
        };
        // SAFETY: the reply is the module's to free, once; its text has been copied.
        unsafe { api!(RedisModule_FreeCallReply)(reply) };
        let says = |words: &[u8]| text.windows(words.len()).any(|window| window == words);
        match (says(b"unknown command"), says(b"cannot run as user")) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        }
    }

    /// Adds a line to ACL LOG: the user was refused this key.
    pub fn log_denied(&self, user: &UserName, key: &[u8]) {
        let key = ServerString::new(key);
        if let Some(user) = User::find(user) {
            let reason = raw::RedisModuleACLLogEntryReason_REDISMODULE_ACL_LOG_KEY;
            // SAFETY: the context is a command's, the user has been found in this callback, and the server
            // copies the key.
            unsafe { api!(RedisModule_ACLAddLogEntry)(self.raw(), user.0, key.raw(), reason) };
        }
    }
}

impl UserName {
    /// Returns true if the user may run the command that begins with these words. They must include its keys.
    pub fn may_run(&self, words: &[&[u8]]) -> bool {
        User::find(self).is_some_and(|user| user.may_run(words))
    }

    /// Returns the user's rules as ACL LIST shows them, or None if there is no such user.
    pub fn rules(&self) -> Option<Vec<u8>> {
        let user = User::find(self)?;
        // SAFETY: the user has been found in this callback.
        let rules = unsafe { api!(RedisModule_GetModuleUserACLString)(user.0) };
        // SAFETY: the server hands a string that is not null to the module to free.
        (!rules.is_null()).then(|| unsafe { ServerString::take(rules) }.bytes().to_vec())
    }
}

/// Returns true if these rules about commands alone (`+get`, `-@all` …) allow the command that begins with
/// these words.
pub fn rules_allow(rules: &[&[u8]], words: &[&[u8]]) -> bool {
    let Ok(rules) = CString::new(rules.join(&b' ')) else { return false };
    let Some(user) = User::unnamed() else { return false };
    // SAFETY: the user is the module's own, and the rules are a C string. The server takes a null context and
    // a null error, and gives no reason then.
    let code = unsafe {
        api!(RedisModule_SetModuleUserACLString)(ptr::null_mut(), user.0, rules.as_ptr(), ptr::null_mut())
    };
    code == OK && user.may_run(words)
}

/// A user, valid during one callback: another module or a command may delete it afterwards.
struct User(*mut RedisModuleUser);

impl User {
    /// Returns the user of this name, or None if there is none.
    fn find(name: &UserName) -> Option<User> {
        let name = ServerString::new(&name.0);
        // SAFETY: the string is valid during the call, which takes any name.
        let user = unsafe { api!(RedisModule_GetModuleUserFromUserName)(name.raw()) };
        (!user.is_null()).then(|| User(user))
    }

    /// Returns a new user outside the ACL, without any rights.
    fn unnamed() -> Option<User> {
        // SAFETY: the server copies the name, and keeps the user apart from its own.
        let user = unsafe { api!(RedisModule_CreateModuleUser)(c"(nobody)".as_ptr()) };
        (!user.is_null()).then(|| User(user))
    }

    fn may_run(&self, words: &[&[u8]]) -> bool {
        let words: Vec<ServerString> = words.iter().map(|word| ServerString::new(word)).collect();
        let mut argv: Vec<*mut RedisModuleString> = words.iter().map(ServerString::raw).collect();
        // SAFETY: the user is valid during this callback, and the words outlive the call.
        let code = unsafe {
            api!(RedisModule_ACLCheckCommandPermissions)(self.0, argv.as_mut_ptr(), argv.len() as _)
        };
        code == OK
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // SAFETY: `self` owns the handle, so this frees it once. A user of the ACL, from `find`, stays.
        unsafe { api!(RedisModule_FreeModuleUser)(self.0) };
    }
}
