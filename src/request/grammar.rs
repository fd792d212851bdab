//! Grammar: the options of all commands, each written once.
//!
//! A row of `options!` is an option: its word, the name and kind of its value in COMMAND DOCS, and its family. The
//! parser (`option_parser`), the error texts, COMMAND DOCS and HELP are all made from these rows. A `Grammar` lists the options
//! of one command. So a new option is a row here, a place in a grammar and a field of the struct in `options`.

use std::ffi::CStr;

/// An option, as the parser and COMMAND DOCS know it.
#[derive(Debug)]
pub struct OptionSpec {
    /// The word that announces it, in capitals.
    pub token: &'static CStr,
    /// Its name in COMMAND DOCS.
    pub name: &'static CStr,
    /// Its value.
    pub value: Value,
    /// Its family.
    pub family: Family,
}

/// The value that follows an option's word, by its kind in COMMAND DOCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// No value follows.
    None,
    /// Any bytes.
    String,
    /// A whole number.
    Integer,
    /// A time since 1970.
    UnixTime,
    /// Two values: the name of a draft, and an offset into it.
    DraftAndOffset,
}

/// Options of one family, other than `Alone`, exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// It goes with every other option.
    Alone,
    /// The end of a response's life.
    Expiration,
    /// The condition of a write.
    Condition,
}

impl Family {
    /// The family's name in COMMAND DOCS; an option `Alone` is none of it.
    pub const fn name(self) -> Option<&'static CStr> {
        match self {
            Family::Alone => None,
            Family::Expiration => Some(c"expiration"),
            Family::Condition => Some(c"condition"),
        }
    }
}

macro_rules! options {
    ($($word:ident: $token:literal, $name:literal, $value:ident, $family:ident;)*) => {
        /// An option of any command.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Word {
            $(#[doc = concat!("The option ", stringify!($token), ".")] $word,)*
        }

        impl Word {
            /// All options, in the order of their numbers.
            pub const ALL: [Word; [$(Word::$word),*].len()] = [$(Word::$word),*];

            /// Returns the option's row in the table.
            pub const fn spec(self) -> &'static OptionSpec {
                match self {
                    $(Word::$word => &OptionSpec {
                        token: $token,
                        name: $name,
                        value: Value::$value,
                        family: Family::$family,
                    },)*
                }
            }
        }
    };
}

options! {
    // Word: token, name in COMMAND DOCS, kind of its value, family.
    Id: c"ID", c"id", String, Alone;
    Ex: c"EX", c"seconds", Integer, Expiration;
    Px: c"PX", c"milliseconds", Integer, Expiration;
    ExAt: c"EXAT", c"unix-time-seconds", UnixTime, Expiration;
    PxAt: c"PXAT", c"unix-time-milliseconds", UnixTime, Expiration;
    KeepTtl: c"KEEPTTL", c"keepttl", None, Expiration;
    Nx: c"NX", c"nx", None, Condition;
    Xx: c"XX", c"xx", None, Condition;
    Stale: c"STALE", c"stale-milliseconds", Integer, Alone;
    Token: c"TOKEN", c"token", String, Alone;
    Cost: c"COST", c"cost-milliseconds", Integer, Alone;
    Wait: c"WAIT", c"wait-milliseconds", Integer, Alone;
    Lease: c"LEASE", c"lease-milliseconds", Integer, Alone;
    Refresh: c"REFRESH", c"refresh", None, Alone;
    Detached: c"DETACHED", c"detached", None, Alone;
    Stream: c"STREAM", c"stream", None, Alone;
    From: c"FROM", c"from", DraftAndOffset, Alone;
    Cursor: c"CURSOR", c"cursor", Integer, Alone;
    Count: c"COUNT", c"count", Integer, Alone;
}

impl Word {
    /// Returns the option's word, in capitals.
    pub const fn token(self) -> &'static str {
        match self.spec().token.to_str() {
            Ok(token) => token,
            // The tokens above are ASCII.
            Err(_) => "",
        }
    }
}

/// A command, and the options that it takes.
#[derive(Debug, PartialEq, Eq)]
pub struct Grammar {
    /// The command's name, in capitals.
    pub command: &'static str,
    /// Its options, in the order of COMMAND DOCS; those of one family stand in a row.
    pub options: &'static [Word],
    /// Those of them that the command needs.
    pub required: &'static [Word],
}

impl Grammar {
    /// Returns the option that this argument is the word of, in any case, if the command takes it.
    pub fn find(&self, arg: &[u8]) -> Option<Word> {
        self.options.iter().copied().find(|word| word.spec().token.to_bytes().eq_ignore_ascii_case(arg))
    }

    /// Returns the options family by family; each one `Alone` is a group of its own.
    pub fn groups(&self) -> impl Iterator<Item = &'static [Word]> {
        self.options.chunk_by(|one, next| {
            let (family, other) = (one.spec().family, next.spec().family);
            family == other && family != Family::Alone
        })
    }

    /// Returns the command's options in words, for the error that an unknown one gets.
    pub fn summary(&self) -> String {
        let tokens: Vec<&str> = self.options.iter().map(|word| word.token()).collect();
        let command = self.command;
        match tokens.as_slice() {
            [] => format!("{command} has no options"),
            [only] => format!("the only option of {command} is {only}"),
            [first @ .., last] => format!("the options of {command} are {} and {last}", first.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_numbered_as_they_are_listed() {
        for (number, word) in Word::ALL.into_iter().enumerate() {
            assert_eq!(word as usize, number);
            assert!(!word.token().is_empty() && word.token().bytes().all(|byte| byte.is_ascii_uppercase()));
        }
    }

    #[test]
    fn a_grammar_groups_its_options_by_family() {
        const WORDS: &[Word] =
            &[Word::Id, Word::Ex, Word::KeepTtl, Word::Nx, Word::Xx, Word::Stale, Word::Cost];
        let grammar = Grammar { command: "X", options: WORDS, required: &[] };
        let sizes: Vec<usize> = grammar.groups().map(<[Word]>::len).collect();
        assert_eq!(sizes, [1, 2, 2, 1, 1]);
    }
}
