//! Commands: what a command tells the server about itself, and the one callback behind all of them.
//!
//! A command is a type that implements `Command`: a `CommandSpec`, from which COMMAND INFO, DOCS and GETKEYS and
//! the clients' hints are made, and `run`. The callback checks the arity, runs it, and turns its error into a
//! reply.

use crate::redis::api::{ERR, OK};
use crate::redis::args::Args;
use crate::redis::ctx::{Ctx, c_text};
use crate::redis::guard;
use crate::redis::settings::c_pointer;
use redis_module::raw::{self, RedisModuleCommand, RedisModuleCtx, RedisModuleString};
use std::borrow::Cow;
use std::ffi::CStr;
use std::os::raw::c_int;
use std::ptr;
use std::slice;

/// What `run` leaves to be replied when it has not replied itself: the text of an error.
pub type Outcome = Result<(), Cow<'static, str>>;

/// A command.
pub trait Command {
    const SPEC: CommandSpec;

    /// Carries the command out and replies, or gives the error to reply. The number of arguments agrees with
    /// the arity.
    fn run(ctx: &Ctx<'_>, args: Args<'_>) -> Outcome;
}

/// A command as the server and its clients know it.
pub struct CommandSpec {
    pub name: &'static CStr,
    pub summary: &'static CStr,
    pub complexity: &'static CStr,
    /// What clients of a cluster, and whoever compares replies, should know: Redis's command tips, with spaces between.
    pub tips: Option<&'static CStr>,
    /// As `RedisModule_CreateCommand` takes them: `write`, `readonly`, `fast`, `deny-oom` …
    pub flags: &'static CStr,
    /// The number of arguments, the name included; -N for N or more.
    pub arity: i32,
    pub keys: KeySpec,
    /// Makes the arguments, at load.
    pub args: fn() -> Vec<ArgSpec>,
}

/// Which arguments are keys, and what is done to them.
pub enum KeySpec {
    None,
    /// One argument; the data of the key is not touched.
    Named(i32),
    /// One argument, whose data is read.
    Read(i32),
    /// One argument, whose data is written.
    Write(i32),
    /// One argument, some of whose data is deleted.
    Delete(i32),
    /// All arguments from this one, whose data is written.
    WriteFrom(i32),
    /// All arguments from this one, whose data is deleted.
    DeleteFrom(i32),
}

impl KeySpec {
    /// First key, last key, step, flags.
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
    String,
    Integer,
    UnixTime,
    /// The key that the command's `KeySpec` describes.
    Key,
    /// A word that stands for itself.
    Token,
    OneOf(Vec<ArgSpec>),
    Block(Vec<ArgSpec>),
}

impl ArgSpec {
    pub fn new(name: &'static CStr, kind: ArgKind) -> Self {
        ArgSpec { name, kind, token: None, flags: raw::REDISMODULE_CMD_ARG_NONE }
    }

    /// An argument that `token` announces, or for `ArgKind::Token` is.
    pub fn token(mut self, token: &'static CStr) -> Self {
        self.token = Some(token);
        self
    }

    pub fn optional(mut self) -> Self {
        self.flags |= raw::REDISMODULE_CMD_ARG_OPTIONAL;
        self
    }

    pub fn repeated(mut self) -> Self {
        self.flags |= raw::REDISMODULE_CMD_ARG_MULTIPLE;
        self
    }
}

/// Registers a command with all that the server can be told of it; false if the server refuses it.
pub(super) fn register<C: Command>(ctx: &Ctx<'_>, category: Option<&CStr>) -> bool {
    let spec = C::SPEC;
    let (first, last) = spec.keys.range().map_or((0, 0), |(first, last, _)| (first, last));
    let step = c_int::from(first != 0);
    // SAFETY: the server copies names, flags and, in SetCommandInfo, all that `info` points to; the arena keeps
    // the argument arrays until then.
    unsafe {
        let created = api!(RedisModule_CreateCommand)(
            ctx.raw,
            spec.name.as_ptr(),
            Some(callback::<C>),
            spec.flags.as_ptr(),
            first,
            last,
            step,
        );
        let command = api!(RedisModule_GetCommand)(ctx.raw, spec.name.as_ptr());
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
        let informed = api!(RedisModule_SetCommandInfo)(command, &info) == OK;
        informed && category.is_none_or(|category| set_categories(command, category, spec.flags))
    }
}

/// Makes an ACL category for the module's commands, where the server lets modules do that (Redis 7.4, Valkey 8.0).
pub(super) fn add_category(ctx: &Ctx<'_>, name: &'static CStr) -> Option<&'static CStr> {
    let add = optional!(RedisModule_AddACLCategory)?;
    // SAFETY: called at load; the server copies the name.
    (unsafe { add(ctx.raw, name.as_ptr()) } == OK).then_some(name)
}

/// Puts a command into the module's category and into those that its flags say, as the server does with its own.
fn set_categories(command: *mut RedisModuleCommand, category: &CStr, flags: &CStr) -> bool {
    let Some(set) = optional!(RedisModule_SetCommandACLCategories) else { return true };
    let categories = c_text(&categories(&category.to_string_lossy(), &flags.to_string_lossy()));
    // SAFETY: called at load, with a command that the server has just given.
    unsafe { set(command, categories.as_ptr()) == OK }
}

/// The categories of a command with these flags.
fn categories(module: &str, flags: &str) -> String {
    let has = |flag| flags.split(' ').any(|word| word == flag);
    let access = if has("write") { "write" } else { "read" };
    let speed = if has("fast") { "fast" } else { "slow" };
    let blocking = if has("blocking") { " blocking" } else { "" };
    format!("{module} {access} {speed}{blocking}")
}

/// The server's form of the key spec, ended by a zeroed one.
fn raw_key_specs(keys: &KeySpec) -> Vec<raw::RedisModuleCommandKeySpec> {
    // SAFETY: the struct is plain C data for which all zeroes is the documented end marker.
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

/// The server's form of an argument list, ended by a zeroed one and kept in the arena.
fn raw_args(
    args: &[ArgSpec],
    arena: &mut Vec<Vec<raw::RedisModuleCommandArg>>,
) -> *mut raw::RedisModuleCommandArg {
    let mut list: Vec<raw::RedisModuleCommandArg> = Vec::with_capacity(args.len() + 1);
    for arg in args {
        // SAFETY: plain C data, for which null pointers and zeroes mean "not given".
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
    // SAFETY: as above.
    list.push(unsafe { std::mem::zeroed() });
    let start = list.as_mut_ptr();
    arena.push(list);
    start
}

extern "C" fn callback<C: Command>(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: c_int,
) -> c_int {
    let ctx = Ctx::new(ctx);
    let outcome = guard::run("a command", None, || {
        // SAFETY: the server passes `argc` strings and keeps them during the call.
        let argv = unsafe { slice::from_raw_parts(argv, usize::try_from(argc).unwrap_or(0)) };
        Some(C::run(&ctx, Args(argv)))
    });
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
