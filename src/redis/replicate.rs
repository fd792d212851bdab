//! A command for replicas and the AOF: words of the running command, which are lent, and words that are made.

use crate::redis::args::Args;
use crate::redis::ctx::{Ctx, ServerString};
use redis_module::raw::RedisModuleString;
use std::ffi::CStr;
use std::marker::PhantomData;

/// See the head of this file.
pub struct ReplicatedCommand<'a> {
    words: Vec<*mut RedisModuleString>,
    /// How many of the words, the first ones, are the running command's.
    lent: usize,
    command: PhantomData<&'a ()>,
}

impl<'a> ReplicatedCommand<'a> {
    /// Begins with the first `count` arguments of the running command.
    pub fn new(args: Args<'a>, count: usize) -> Self {
        // Room for what is to come, too.
        let mut words = Vec::with_capacity(16);
        words.extend_from_slice(args.strings(count));
        ReplicatedCommand { lent: words.len(), words, command: PhantomData }
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.words.push(ServerString::new(bytes).keep());
    }

    pub fn number(&mut self, number: i64) {
        self.words.push(ServerString::of_number(number).keep());
    }
}

impl Drop for ReplicatedCommand<'_> {
    fn drop(&mut self) {
        self.words.drain(self.lent..).for_each(|made| drop(ServerString(made)));
    }
}

impl Ctx<'_> {
    /// Sends a command of this name to replicas and the AOF.
    pub fn replicate(&self, name: &CStr, mut command: ReplicatedCommand<'_>) {
        let words = &mut command.words;
        // SAFETY: format `v` takes an array of strings and its length; the strings outlive the call, which
        // keeps its own references.
        unsafe {
            api!(RedisModule_Replicate)(
                self.raw,
                name.as_ptr(),
                c"v".as_ptr(),
                words.as_mut_ptr(),
                words.len(),
            )
        };
    }
}
