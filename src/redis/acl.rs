//! Who gives a command, and what the server's ACL lets that user do.
//!
//! The server checks a command's declared keys before the module sees it. Here is what it takes to ask for more: the
//! caller's name, and whether a user of that name might give a certain command. Rights change and users go while
//! clients wait, so a name is all that is ever kept, and each question looks the user up again.

use crate::redis::args::bytes;
use crate::redis::ctx::{Ctx, ServerString};
use redis_module::raw::{self, RedisModuleString, RedisModuleUser};
use std::ffi::CString;
use std::ptr;
use std::sync::Arc;

/// Who gives a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Nobody whom an ACL holds for: the master, the AOF, or a module that calls for itself.
    Trusted,
    User(UserName),
    /// The server does not say.
    Unknown,
}

/// The name of a user of the ACL, who may be gone by now, or be one that another module has made for itself: no such
/// user may do anything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserName(Arc<[u8]>);

impl Ctx<'_> {
    /// Whose rights hold for the running command.
    pub fn caller(&self) -> Caller {
        if self.is_replayed() {
            return Caller::Trusted;
        }
        // SAFETY: the context is the running callback's. A name that the server gives is ours to free.
        let name = unsafe { api!(RedisModule_GetClientUserNameById)(self.raw, self.client()) };
        if !name.is_null() {
            return Caller::User(UserName::take(name));
        }
        // The client is none that has a connection: a script's, or another module's. `GetCurrentUserName` knows the
        // user of these, but where there is none it ends the server (read in Redis 7.0, module.c:8764; so in 8.0).
        match self.has_user() {
            Some(true) => {
                // SAFETY: as above, and there is a user.
                let name = unsafe { api!(RedisModule_GetCurrentUserName)(self.raw) };
                if name.is_null() { Caller::Unknown } else { Caller::User(UserName::take(name)) }
            }
            Some(false) => Caller::Trusted,
            None => Caller::Unknown,
        }
    }

    /// Whether the context's client has a user at all. A call in its user's name (`C`) of a command that does not
    /// exist tells: without a user the server does not even look for the command.
    fn has_user(&self) -> Option<bool> {
        // SAFETY: the format says that no argument follows, and that errors come as replies (`E`).
        let text = unsafe {
            let reply = api!(RedisModule_Call)(self.raw, c"(no command)".as_ptr(), c"CE".as_ptr());
            if reply.is_null() {
                return None;
            }
            let mut length = 0;
            let start = api!(RedisModule_CallReplyStringPtr)(reply, &mut length);
            let text = match start.is_null() {
                true => Vec::new(),
                false => std::slice::from_raw_parts(start.cast::<u8>(), length).to_vec(),
            };
            api!(RedisModule_FreeCallReply)(reply);
            text
        };
        let says = |words: &[u8]| text.windows(words.len()).any(|window| window == words);
        match (says(b"unknown command"), says(b"cannot run as user")) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        }
    }

    /// Notes in ACL LOG that the user was refused a key.
    pub fn log_denied(&self, user: &UserName, key: &[u8]) {
        let key = ServerString::new(key);
        if let Some(user) = User::find(user) {
            let reason = raw::RedisModuleACLLogEntryReason_REDISMODULE_ACL_LOG_KEY;
            // SAFETY: the context is a command's; the server copies the key.
            unsafe { api!(RedisModule_ACLAddLogEntry)(self.raw, user.0, key.0, reason) };
        }
    }
}

impl UserName {
    /// The name in a string of the server's, which it frees.
    fn take(name: *mut RedisModuleString) -> Self {
        let name = ServerString(name);
        UserName(bytes(name.0).into())
    }

    /// Whether the user may give the command that begins with these words. Its keys must be among them.
    pub fn may_run(&self, words: &[&[u8]]) -> bool {
        User::find(self).is_some_and(|user| user.may_run(words))
    }

    /// The user's rules as ACL LIST shows them; None where there is no such user.
    pub fn rules(&self) -> Option<Vec<u8>> {
        let user = User::find(self)?;
        // SAFETY: the user is there; the string is ours to free.
        let rules = unsafe { api!(RedisModule_GetModuleUserACLString)(user.0) };
        (!rules.is_null()).then(|| {
            let rules = ServerString(rules);
            bytes(rules.0).to_vec()
        })
    }
}

/// Whether rules about commands (`+get`, `-@all` …), and nothing else, allow the command that begins with these words.
pub fn rules_allow(rules: &[&[u8]], words: &[&[u8]]) -> bool {
    let Ok(rules) = CString::new(rules.join(&b' ')) else { return false };
    let Some(user) = User::unnamed() else { return false };
    // SAFETY: the user is ours. A null context and error say that nobody wants the reason.
    let code = unsafe {
        api!(RedisModule_SetModuleUserACLString)(ptr::null_mut(), user.0, rules.as_ptr(), ptr::null_mut())
    };
    code == super::api::OK && user.may_run(words)
}

/// A user, for as long as a callback runs.
struct User(*mut RedisModuleUser);

impl User {
    fn find(name: &UserName) -> Option<User> {
        let name = ServerString::new(&name.0);
        // SAFETY: takes any name.
        let user = unsafe { api!(RedisModule_GetModuleUserFromUserName)(name.0) };
        (!user.is_null()).then(|| User(user))
    }

    /// A user of nobody's, without any rights.
    fn unnamed() -> Option<User> {
        // SAFETY: the server copies the name, and does not put the user among its own.
        let user = unsafe { api!(RedisModule_CreateModuleUser)(c"(nobody)".as_ptr()) };
        (!user.is_null()).then(|| User(user))
    }

    fn may_run(&self, words: &[&[u8]]) -> bool {
        let words: Vec<ServerString> = words.iter().map(|word| ServerString::new(word)).collect();
        let mut argv: Vec<*mut RedisModuleString> = words.iter().map(|word| word.0).collect();
        // SAFETY: the words outlive the call.
        let code = unsafe {
            api!(RedisModule_ACLCheckCommandPermissions)(self.0, argv.as_mut_ptr(), argv.len() as _)
        };
        code == super::api::OK
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // SAFETY: given by the server, freed once. One that `find` gave stays among the server's own.
        unsafe { api!(RedisModule_FreeModuleUser)(self.0) };
    }
}
