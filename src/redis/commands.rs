//! Commands: their descriptions for the server, and the one callback behind all of them.
//!
//! A command is a type that implements `Command`: a `CommandSpec`, which COMMAND INFO, DOCS and GETKEYS and
//! the clients' hints show, and `run`. The server checks the arity; the callback runs the command and turns
//! its error into a reply.

use crate::redis::api::{ERR, OK, api, optional};
use crate::redis::args::Args;
use crate::redis::ctx::Ctx;
use crate::redis::guard;
use crate::redis::string::{c_pointer, c_text};
use redis_module::raw::{self, RedisModuleCommand, RedisModuleCtx, RedisModuleString};
use std::borrow::Cow;
use std::ffi::CStr;
use std::os::raw::c_int;
use std::ptr;

/// The result of `Command::run`. The error is the text of an error reply.
pub type Outcome = Result<(), Cow<'static, str>>;

/// A command.
pub trait Command {
    /// The command's description.
    const SPEC: CommandSpec;

    /// Carries the command out and replies. The number of arguments agrees with the arity.
    ///
    /// # Errors
    /// The error to reply, in place of a reply.
    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome;
}

/// The description of a command, for the server and its clients.
pub struct CommandSpec {
    /// The name, such as `chatcache.get`.
    pub name: &'static CStr,
    /// One sentence for COMMAND DOCS.
    pub summary: &'static CStr,
    /// The time complexity, for COMMAND DOCS.
    pub complexity: &'static CStr,
    /// Redis's command tips, separated by spaces: hints for clients of a cluster and for tools that compare
    /// replies.
    pub tips: Option<&'static CStr>,
    /// The flags as `RedisModule_CreateCommand` takes them: `write`, `readonly`, `fast`, `deny-oom` …
    pub flags: &'static CStr,
    /// The number of arguments, including the name; -N for N or more.
    pub arity: i32,
    /// The arguments that are keys.
    pub keys: KeySpec,
    /// Makes the arguments after the name, for COMMAND DOCS.
    pub args: fn() -> Vec<ArgSpec>,
}

/// The positions of the arguments that are keys, and the command's access to them.
pub enum KeySpec {
    /// No argument is a key.
    None,
    /// This argument; the command does not touch the key's data.
    Named(i32),
    /// This argument; the command reads the key's data.
    Read(i32),
    /// This argument; the command writes the key's data.
    Write(i32),
    /// This argument; the command deletes some of the key's data.
    Delete(i32),
    /// All arguments from this one; the command writes the keys' data.
    WriteFrom(i32),
    /// All arguments from this one; the command deletes the keys' data.
    DeleteFrom(i32),
}

impl KeySpec {
    /// Returns the first key, the last key and the flags, or None without a key.
    fn range(&self) -> Option<(i32, i32, u32)> {
        match *self {
            KeySpec::None => None,
            KeySpec::Named(at) => Some((at, at, raw::REDISMODULE_CMD_KEY_RO)),
            KeySpec::Read(at) => {
                Some((at, at, raw::REDISMODULE_CMD_KEY_RO | raw::REDISMODULE_CMD_KEY_ACCESS))
            }
            KeySpec::Write(at) => {
                Some((at, at, raw::REDISMODULE_CMD_KEY_RW | raw::REDISMODULE_CMD_KEY_UPDATE))
            }
            KeySpec::Delete(at) => {
                Some((at, at, raw::REDISMODULE_CMD_KEY_RM | raw::REDISMODULE_CMD_KEY_DELETE))
            }
            KeySpec::WriteFrom(at) => {
                Some((at, -1, raw::REDISMODULE_CMD_KEY_RW | raw::REDISMODULE_CMD_KEY_UPDATE))
            }
            KeySpec::DeleteFrom(at) => {
                Some((at, -1, raw::REDISMODULE_CMD_KEY_RM | raw::REDISMODULE_CMD_KEY_DELETE))
            }
        }
    }
}

/// An argument in COMMAND DOCS.
pub struct ArgSpec {
    name: &'static CStr,
    kind: ArgKind,
    token: Option<&'static CStr>,
    flags: u32,
}

/// The type of an argument.
pub enum ArgKind {
    /// A string.
    String,
    /// An integer.
    Integer,
    /// A moment in Unix seconds or milliseconds.
    UnixTime,
    /// The key that the command's `KeySpec` describes.
    Key,
    /// A word without a value.
    Token,
    /// One of these.
    OneOf(Vec<ArgSpec>),
    /// All of these, in this order.
    Block(Vec<ArgSpec>),
}

impl ArgSpec {
    /// A required argument.
    pub fn new(name: &'static CStr, kind: ArgKind) -> Self {
        ArgSpec { name, kind, token: None, flags: raw::REDISMODULE_CMD_ARG_NONE }
    }

    /// Puts the word `token` before the argument; an `ArgKind::Token` consists of it.
    pub fn token(mut self, token: &'static CStr) -> Self {
        self.token = Some(token);
        self
    }

    /// Makes the argument optional.
    pub fn optional(mut self) -> Self {
        self.flags |= raw::REDISMODULE_CMD_ARG_OPTIONAL;
        self
    }

    /// Lets the argument stand more than once.
    pub fn repeated(mut self) -> Self {
        self.flags |= raw::REDISMODULE_CMD_ARG_MULTIPLE;
        self
    }
}

/// Registers a command with its description; returns false if the server refuses it.
pub(super) fn register<C: Command>(ctx: &Ctx<'_>, category: Option<&CStr>) -> bool {
    let spec = C::SPEC;
    let (first, last) = spec.keys.range().map_or((0, 0), |(first, last, _)| (first, last));
    let step = c_int::from(first != 0);
    // SAFETY: the context is valid; the server copies name and flags, and the callback has the signature
    // asked for.
    let created = unsafe {
        api!(RedisModule_CreateCommand)(
            ctx.raw(),
            spec.name.as_ptr(),
            Some(callback::<C>),
            spec.flags.as_ptr(),
            first,
            last,
            step,
        )
    };
    // SAFETY: the context is valid, and the name is a C string.
    let command = unsafe { api!(RedisModule_GetCommand)(ctx.raw(), spec.name.as_ptr()) };
    if created != OK || command.is_null() {
        return false;
    }
    let mut arena = Vec::new();
    let version = raw::RedisModuleCommandInfoVersion {
        version: 1,
        sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
        sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
        sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
    };
    let mut key_specs = raw_key_specs(&spec.keys);
    let info = raw::RedisModuleCommandInfo {
        version: &version,
        summary: spec.summary.as_ptr(),
        complexity: spec.complexity.as_ptr(),
        since: c"0.1.0".as_ptr(),
        history: ptr::null_mut(),
        tips: c_pointer(spec.tips),
        arity: spec.arity,
        key_specs: key_specs.as_mut_ptr(),
        args: raw_args(&(spec.args)(), &mut arena),
    };
    // SAFETY: the command is the server's. The server copies all that `info` points to; `key_specs` and the
    // arena keep the arrays until then, each ended by a zeroed element.
    let informed = unsafe { api!(RedisModule_SetCommandInfo)(command, &info) } == OK;
    // SAFETY: the command is the server's.
    informed && category.is_none_or(|category| unsafe { set_categories(command, category, spec.flags) })
}

/// Makes an ACL category for the module's commands and returns its name, or None on servers where modules
/// cannot (before Redis 7.4 and Valkey 8.0).
pub(super) fn add_category(ctx: &Ctx<'_>, name: &'static CStr) -> Option<&'static CStr> {
    let add = optional!(RedisModule_AddACLCategory)?;
    // SAFETY: the context is valid; the server copies the name.
    (unsafe { add(ctx.raw(), name.as_ptr()) } == OK).then_some(name)
}

/// Puts a command into the module's category and into those of its flags, as the server does with its own
/// commands.
///
/// # Safety
/// `command` is one of the module's commands.
unsafe fn set_categories(command: *mut RedisModuleCommand, category: &CStr, flags: &CStr) -> bool {
    let Some(set) = optional!(RedisModule_SetCommandACLCategories) else { return true };
    let categories = c_text(&categories(&category.to_string_lossy(), &flags.to_string_lossy()));
    // SAFETY: the command is the module's, by this function's contract; the categories are a C string.
    unsafe { set(command, categories.as_ptr()) == OK }
}

/// Returns the categories of a command with these flags, separated by spaces.
fn categories(module: &str, flags: &str) -> String {
    let has = |flag| flags.split(' ').any(|word| word == flag);
    let access = if has("write") { "write" } else { "read" };
    let speed = if has("fast") { "fast" } else { "slow" };
    let blocking = if has("blocking") { " blocking" } else { "" };
    format!("{module} {access} {speed}{blocking}")
}

/// Returns the server's form of the key spec, ended by a zeroed element.
fn raw_key_specs(keys: &KeySpec) -> Vec<raw::RedisModuleCommandKeySpec> {
    // SAFETY: the struct is plain C data, for which zeroes are valid; the server documents them as the end
    // marker.
    let end: raw::RedisModuleCommandKeySpec = unsafe { std::mem::zeroed() };
    let Some((first, last, flags)) = keys.range() else { return vec![end] };
    let mut spec = end;
    spec.flags = flags.into();
    spec.begin_search_type = raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INDEX;
    spec.bs.index.pos = first;
    spec.find_keys_type = raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE;
    spec.fk.range.lastkey = if last < 0 { last } else { 0 };
    spec.fk.range.keystep = 1;
    spec.fk.range.limit = 0;
    vec![spec, end]
}

/// Returns the server's form of an argument list, ended by a zeroed element. It is valid while the arena is.
fn raw_args(
    args: &[ArgSpec],
    arena: &mut Vec<Vec<raw::RedisModuleCommandArg>>,
) -> *mut raw::RedisModuleCommandArg {
    let mut list: Vec<raw::RedisModuleCommandArg> = Vec::with_capacity(args.len() + 1);
    for arg in args {
        // SAFETY: the struct is plain C data, for which zeroes are valid and mean "not given".
        let mut entry: raw::RedisModuleCommandArg = unsafe { std::mem::zeroed() };
        entry.name = arg.name.as_ptr();
        entry.key_spec_index = if matches!(arg.kind, ArgKind::Key) { 0 } else { -1 };
        entry.token = c_pointer(arg.token);
        entry.flags = arg.flags as c_int;
        entry.type_ = match arg.kind {
            ArgKind::String => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
            ArgKind::Integer => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
            ArgKind::UnixTime => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_UNIX_TIME,
            ArgKind::Key => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY,
            ArgKind::Token => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
            ArgKind::OneOf(_) => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
            ArgKind::Block(_) => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK,
        };
        if let ArgKind::OneOf(parts) | ArgKind::Block(parts) = &arg.kind {
            entry.subargs = raw_args(parts, arena);
        }
        list.push(entry);
    }
    // SAFETY: the struct is plain C data, for which zeroes are valid; the server documents them as the end
    // marker.
    list.push(unsafe { std::mem::zeroed() });
    let start = list.as_mut_ptr();
    arena.push(list);
    start
}

/// # Safety
/// Only the server may call this, for the command that `register::<C>` registered.
unsafe extern "C" fn callback<C: Command>(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the context is this callback's.
    let ctx = unsafe { Ctx::new(ctx) };
    // SAFETY: the server passes `argc` strings and keeps them during this callback.
    let args = unsafe { Args::new(argv, argc) };
    let outcome = guard::run("a command", None, || Some(C::run(&ctx, args)));
    match outcome {
        Some(Ok(())) => OK,
        Some(Err(text)) => {
            ctx.reply_error(&text);
            OK
        }
        None => {
            ctx.reply_error("ERR internal error: see the server log");
            ERR
        }
    }
}
