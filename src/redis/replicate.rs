//! Commands for replicas and the AOF.

use crate::redis::api::api;
use crate::redis::args::Args;
use crate::redis::ctx::Ctx;
use crate::redis::main_thread::MainThread;
use crate::redis::string::ServerString;
use arrayvec::ArrayVec;
use redis_module::raw::RedisModuleString;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::raw::c_char;

/// The largest number of arguments that a `ReplicatedCommand` holds. The longest SET has 13.
const MAX_WORDS: usize = 16;

/// A word of the commands for replicas and the AOF, of which the server's string is made once.
pub struct FixedWord {
    text: &'static [u8],
    string: MainThread<Option<ServerString>>,
}

impl FixedWord {
    /// Returns the word of this text.
    pub const fn new(text: &'static str) -> FixedWord {
        FixedWord { text: text.as_bytes(), string: MainThread::new(None) }
    }

    fn raw(&'static self) -> *mut RedisModuleString {
        self.string.with(|string| string.get_or_insert_with(|| ServerString::new(self.text)).raw())
    }
}

/// The arguments of a command for replicas and the AOF: some of the running command's, then new ones.
pub struct ReplicatedCommand<'a> {
    /// All arguments; each is valid during `'a`, for ever as a `FixedWord`, or is one of `made`.
    words: ArrayVec<*mut RedisModuleString, MAX_WORDS>,
    made: ArrayVec<ServerString, MAX_WORDS>,
    command: PhantomData<&'a ()>,
}

impl<'a> ReplicatedCommand<'a> {
    /// Begins with the first `count` arguments of the running command, after its name.
    ///
    /// # Panics
    /// If `count` is larger than `MAX_WORDS`.
    pub fn new(args: Args<'a>, count: usize) -> Self {
        let words = args.strings(count).iter().copied().collect();
        ReplicatedCommand { words, made: ArrayVec::new(), command: PhantomData }
    }

    /// Adds a word.
    ///
    /// # Panics
    /// If there are `MAX_WORDS` arguments already. So do `bytes` and `number`.
    pub fn word(&mut self, word: &'static FixedWord) {
        self.words.push(word.raw());
    }

    /// Adds an argument.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.add(ServerString::new(bytes));
    }

    /// Adds a number as an argument.
    pub fn number(&mut self, number: i64) {
        self.add(ServerString::of_number(number));
    }

    fn add(&mut self, string: ServerString) {
        self.words.push(string.raw());
        self.made.push(string);
    }
}

impl Ctx<'_> {
    /// Sends the running command, as it came, to replicas and the AOF.
    pub fn replicate_verbatim(&self) {
        // SAFETY: the context is a running command's.
        unsafe { api!(RedisModule_ReplicateVerbatim)(self.raw()) };
    }

    /// Sends a command of this name to replicas and the AOF.
    pub fn replicate(&self, name: &CStr, mut command: ReplicatedCommand<'_>) {
        let words = &mut command.words;
        // SAFETY: the context is valid. Format `v` takes an array of strings and its length; the strings
        // outlive the call, which counts its own references.
        unsafe {
            api!(RedisModule_Replicate)(
                self.raw(),
                name.as_ptr(),
                c"v".as_ptr(),
                words.as_mut_ptr(),
                words.len(),
            )
        };
    }

    /// Sends `UNLINK name` to replicas and the AOF.
    pub fn replicate_unlink(&self, name: &[u8]) {
        // SAFETY: the context is valid. Format `b` takes a pointer and a length, and the call copies the
        // bytes.
        unsafe {
            api!(RedisModule_Replicate)(
                self.raw(),
                c"UNLINK".as_ptr(),
                c"b".as_ptr(),
                name.as_ptr().cast::<c_char>(),
                name.len(),
            )
        };
    }
}
